"""The white of a video: a light scale that is stated, or one measured over the clip.

A measured exposure has two steps. The firing rates give the unit: intensity 1 is the rate that
nearly all of the clip stays below (`light.white_rate`). Single images are sharper and noisier than
rates over 64 readouts, each method's in its own way, so each method then has a gain of its own, by
some of its images: one for the whole clip, by which 0.5 % of its pixels at most are white. So a
method has the same picture alone and beside others; the gains are stated with the result.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from spikerec.errors import ConfigError
from spikerec.spikes import SpikeStream
from spikerec.spikes.defects import PIECE_READOUTS, Sample
from spikerec.streaming.key_readouts import KeyReadouts, Windowed, reach
from spikerec.streaming.light import white_level, white_rate

if TYPE_CHECKING:
    from torch import Tensor

Exposure = float | Literal["auto", "light_scale"] | None

#: Pixels of readouts that are looked at before the first image, at most: some seconds' work.
MOST_LOOKED_AT = 1 << 29

#: Parts of a clip from whose middle an image is taken to measure the gain of each method. The first
#: and the last frame are taken too: with mirrored windows they are the noisiest.
PARTS = 6
#: Percentage of their pixels that are darker than white. With the others, and with images that are
#: brighter than those sampled, up to 0.5 % of a clip's pixels are white.
DARKER = 99.6
#: Intensity that the brightest of the darker pixels has: below 1, so that a value which many pixels
#: share (TFI has few values) is not rounded to white, whatever the gamma.
WHITE = 0.98
#: Spikes that a white pixel has in a window at least. A camera's gain has an end, too: beyond it a
#: dark scene would be shown as bright noise.
FEWEST_SPIKES = 2
#: White level of images that are dark throughout.
LEAST_WHITE = 1e-3


class Scaled(Windowed, Protocol):
    """A method as far as its windows and the unit of its images go."""

    @property
    def output_scale(self) -> float | None:
        """Light scale at which the image is intensity; None for intensity at any."""


def pieces_of(stream: SpikeStream) -> int:
    """Return the number of pieces of a stream that are looked at: fewer of a large picture."""
    return max(4, min(32, MOST_LOOKED_AT // (PIECE_READOUTS * stream.height * stream.width)))


def looked_at_part(
    key_readouts: KeyReadouts, networks: Sequence[Windowed]
) -> tuple[int, int | None]:
    """Return the readouts that frames are made of; the whole clip where they are a list."""
    if key_readouts.listed:
        return 0, None
    before, after = reach(networks)
    return max(key_readouts.first - before, 0), key_readouts.stop + after


def is_measured(exposure: Exposure, stream: SpikeStream) -> bool:
    """True if what is white is measured over the clip."""
    return exposure == "auto" or (exposure is None and stream.light_scale is None)


def choose_light(
    exposure: Exposure,
    stream: SpikeStream,
    looked_at: Sample | None,
    broken: NDArray[np.bool_] | None,
    balance: Tensor | None,
) -> tuple[float, float]:
    """Choose the light scale to reconstruct with, and the gain to show the result with.

    Args:
        exposure: see `Video`.
        stream: may state a light scale.
        looked_at: sample of the stream; None where nothing is measured.
        broken: (H, W) pixels to leave out of the measurement; None for none.
        balance: (H, W) gains of a colour camera's pixels; None for a grey camera.

    Raises:
        ConfigError: an exposure that is not one of these, or unknown of this stream.
    """
    if looked_at is not None and is_measured(exposure, stream):
        if balance is not None:
            from spikerec.streaming.colour import white_rate_of_planes  # PyTorch comes with it

            return white_rate_of_planes(looked_at, balance, broken), 1.0
        return white_rate(looked_at, broken), 1.0
    if exposure in (None, "light_scale"):
        if stream.light_scale is None:
            raise ConfigError(
                f"exposure=light_scale, but {stream.path} states none: set light_scale, or "
                "exposure=auto."
            )
        return stream.light_scale, 1.0
    if isinstance(exposure, bool) or not isinstance(exposure, int | float) or exposure <= 0:
        raise ConfigError(
            f"exposure must be auto, light_scale or a number above 0, found {exposure!r}."
        )
    return stream.light_scale or 1.0, float(exposure)


def measured_unit(images: NDArray[np.float32], network: Scaled) -> float:
    """Measure the factor that brings a method's images to the clip's unit.

    It is 1 where they are in it by the firing rates. A network whose unit does not follow from
    these is given the one in which its white level is 1, as that of the rates is.

    Args:
        images: (N, H, W), some of the clip.
        network: the method.
    """
    if network.output_scale is not None:
        return 1.0
    return 1 / max(white_level(images), LEAST_WHITE)


def measured_gain(pixels: NDArray[np.float32], network: Windowed, light_scale: float) -> float:
    """Measure the gain by which few pixels of a method's images are white.

    Args:
        pixels: intensity ≥ 0 of some images of the clip, of any shape.
        network: the method.
        light_scale: firing rate of intensity 1.

    Returns:
        A gain that makes 0.98 of the 99.6th percentile; of a clip so dark that this level is less
        than two spikes in the method's window, of those two spikes.
    """
    darkest = FEWEST_SPIKES / network.window / light_scale
    return WHITE / max(float(np.percentile(pixels, DARKER)), darkest)


def chosen_over_clip(stream: SpikeStream, key_readouts: KeyReadouts) -> Iterator[KeyReadouts]:
    """Yield the key readouts, one by one, of the images by which the gain is measured."""
    if key_readouts.listed:  # a single picture is shown as its clip would be
        key_readouts = KeyReadouts(0, stream.num_readouts, 1)
    for place in places_over_clip(len(key_readouts)):
        yield key_readouts[place : place + 1]


def places_over_clip(num_frames: int) -> list[int]:
    """Return the frames by which the gain is measured: up to eight of a clip, each once.

    Example:
        >>> places_over_clip(60)
        [0, 5, 15, 25, 35, 45, 55, 59]
    """
    middles = ((2 * part + 1) * num_frames // (2 * PARTS) for part in range(PARTS))
    return sorted({0, *middles, num_frames - 1})


def described(rates: Mapping[str, float], *, is_measured: bool) -> str:
    """Describe the firing rate that is shown as white, of each method by its name."""
    found = list(rates.values())
    if not is_measured:
        return f"white fires at {found[0]:.4g} per readout"
    each = [f"{rate:.4g} ({name})" if found[1:] else f"{rate:.4g}" for name, rate in rates.items()]
    return f"measured: white fires at {', '.join(each)} per readout"
