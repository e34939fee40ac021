"""Colour from a Bayer mosaic: its four planes reconstructed apart, balanced and put together.

A plane (every second pixel of every second row) is a grey picture of one colour, so any method
applies to it; a network that saw the mosaic itself would smear colours. The images of the planes
make a mosaic in linear intensity again. White balance multiplies it by a gain for each colour, and
OpenCV's edge-aware interpolation fills in the colours that each pixel did not see, in linear light.

Each plane begins at a fixed pixel of the picture, and tiles are cut within a plane: so the pattern
keeps its phase however a picture is split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikerec.errors import ConfigError
from spikerec.extras import require
from spikerec.models.base import Network
from spikerec.models.reconstructors import Reconstructor, Spikes
from spikerec.spikes.bayer import PLANES, BayerPattern, mosaic, plane_size
from spikerec.spikes.defects import Sample
from spikerec.streaming.light import white_rate
from spikerec.streaming.tiles import Tiled, Tiling

#: No correction; the planes' mean rates made equal; or gains of red, green and blue.
WhiteBalance = Literal["gray_world"] | Sequence[float] | None

#: Levels of the integers by which OpenCV interpolates.
LEVELS = 65535
#: Rows and columns mirrored around a mosaic: an even number keeps its pattern, and OpenCV fills in
#: no pixel that lies at the edge.
BORDER = 2


class Plane:
    """The spikes of every second pixel of every second row.

    Args:
        whole: of the picture.
        top: first row.
        left: first column.
    """

    def __init__(self, whole: Spikes, top: int, left: int) -> None:
        self._whole = whole
        self._top, self._left = top, left

    def part(self, first: int, stop: int) -> Tensor:
        """See `Spikes.part`."""
        return self._whole.part(first, stop)[:, self._top :: 2, self._left :: 2]


class ByPlanes(Reconstructor):
    """Plane by plane, each on a way of its own along the stream; the images are mosaics.

    Args:
        network: in eval mode.
        stride: readouts from one key readout to the next.
        height: of the picture, at least 2.
        width: of the picture, at least 2.
        tiling: of the largest plane; None for whole ones.

    Raises:
        ConfigError: a picture without all four planes.
    """

    def __init__(
        self, network: Network, stride: int, height: int, width: int, tiling: Tiling | None = None
    ) -> None:
        if min(height, width) < 2:
            raise ConfigError(
                f"a Bayer picture has at least 2 × 2 pixels, found {height} × {width}."
            )
        self.network = network
        self._size = height, width
        sizes = [plane_size(height, width, *place) for place in PLANES]
        self._ways = [
            network.along(stride)
            if tiling is None
            else Tiled(network, tiling.for_size(network, *size), stride)
            for size in sizes
        ]

    def windows_besides(self, key_readouts: Sequence[int]) -> Sequence[int]:
        """See `Reconstructor.windows_besides`; of each plane the same."""
        return sorted({one for way in self._ways for one in way.windows_besides(key_readouts)})

    def see(self, key_readout: int, spikes: Spikes) -> None:
        """See `Reconstructor.see`."""
        for place, way in zip(PLANES, self._ways, strict=True):
            way.see(key_readout, Plane(spikes, *place))

    def images(self, key_readouts: Sequence[int], spikes: Spikes) -> Tensor:
        """See `Reconstructor.images`."""
        whole = torch.zeros(())
        for (top, left), way in zip(PLANES, self._ways, strict=True):
            plane = Plane(spikes, top, left)
            images = way.images(key_readouts, plane)  # (n, 1, h, w)
            if not whole.ndim:
                whole = images.new_zeros(len(key_readouts), 1, *self._size)
            for image, key_readout in zip(images, key_readouts, strict=True):
                if self._is_dark(plane, key_readout):
                    image.zero_()
            whole[..., top::2, left::2] = images
        return whole

    def _is_dark(self, plane: Plane, key_readout: int) -> bool:
        """True if no pixel of the plane fires in the window: it is black then (`darken`)."""
        if (plane.part(key_readout, key_readout + 1) > 0).any():
            return False
        first = key_readout - self.network.key_readout
        return not (plane.part(first, first + self.network.window) > 0).any()


def balance_gains(
    white_balance: WhiteBalance,
    pattern: BayerPattern,
    sample: Sample | None,
    broken: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """The gains of red, green and blue, (3,): one set for a whole clip, so that nothing flickers.

    Args:
        white_balance: None for 1, 1, 1; `gray_world` for those that give red and blue the mean of
            green over the clip; or three numbers above 0.
        pattern: of the stream.
        sample: of the clip, for `gray_world`.
        broken: (H, W) pixels to leave out; None for none.

    Raises:
        ConfigError: neither of these, or a clip in which a colour is dark throughout.
    """
    if white_balance is None:
        return np.ones(3, np.float32)
    if white_balance == "gray_world" and sample is not None:
        rate = sample.rate if broken is None else np.where(broken, np.nan, sample.rate)
        colours = mosaic(pattern, *rate.shape)
        red, green, blue = (float(np.nanmean(rate[colours == colour])) for colour in "rgb")
        if min(red, green, blue) <= 0:
            raise ConfigError(
                "white_balance=gray_world, but a colour is dark throughout the clip: give three "
                "gains, or null."
            )
        return np.array([green / red, 1, green / blue], np.float32)
    gains = [] if isinstance(white_balance, str) else list(white_balance)
    if len(gains) != 3 or not all(_is_gain(gain) for gain in gains):
        raise ConfigError(
            "white_balance must be gray_world or three gains above 0, [red, green, blue], found "
            f"{white_balance!r}."
        )
    return np.array(gains, np.float32)


def _is_gain(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e6


def gain_map(gains: NDArray[np.float32], pattern: BayerPattern, size: tuple[int, int]) -> Tensor:
    """The gain of each pixel's colour, (H, W) float32."""
    colours = mosaic(pattern, *size)
    chosen = [gains[index] for index in range(3)]
    picked = np.select([colours == colour for colour in "rgb"], chosen)
    return torch.from_numpy(picked.astype(np.float32))


def white_rate_of_planes(sample: Sample, gains: Tensor, broken: NDArray[np.bool_] | None) -> float:
    """Firing rate of white (`light.white_rate`) of the brightest plane, after white balance."""
    balanced = sample.rates * gains.numpy()
    return max(
        white_rate(
            replace(sample, rates=balanced[:, top::2, left::2]),
            None if broken is None else broken[top::2, left::2],
        )
        for top, left in PLANES
    )


def demosaic(mosaics: NDArray[np.float32], pattern: BayerPattern) -> NDArray[np.float32]:
    """Fill in the colours that each pixel did not see.

    Args:
        mosaics: (..., H, W) in linear intensity; values below 0 count as 0.
        pattern: of all of them.

    Returns:
        (..., H, W, 3) red, green and blue, exact to 1/65535 of each mosaic's brightest pixel. Each
        pixel keeps the colour that it saw.

    Raises:
        MissingPackageError: OpenCV is not installed.
    """
    require("cv2", "a picture in colour")
    import cv2

    code = getattr(cv2, f"COLOR_Bayer{_OPENCV_NAMES[pattern]}2RGB_EA")
    pictures = np.zeros((*mosaics.shape, 3), np.float32)
    for place in np.ndindex(*mosaics.shape[:-2]):
        white = float(mosaics[place].max())
        if white > 0:
            levels = np.rint(np.maximum(mosaics[place], 0) * (LEVELS / white)).astype(np.uint16)
            made = cv2.demosaicing(np.pad(levels, BORDER, mode="reflect"), code)
            inner = made[BORDER:-BORDER, BORDER:-BORDER]
            pictures[place] = inner * np.float32(white / LEVELS)
    return pictures


#: OpenCV names a pattern by the second row's second and third pixels.
_OPENCV_NAMES = {"rggb": "BG", "bggr": "RG", "grbg": "GB", "gbrg": "GR"}
