"""What every reconstruction network is: a window of spikes in, an intensity image out.

One place owns three rules that all methods share:

* which readouts a network sees (`window`) and which of them it reconstructs (`key_readout`);
* padding to the spatial multiple a network needs, and cropping back (`reconstruct`);
* turning a network's output into intensity, given the light scale α of the stream (`reconstruct`).

Classical methods are networks without parameters, so nothing downstream can tell them apart.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from spikerec.errors import ConfigError, InputError, WindowError

#: Extras that are images of the size and in the unit of `Reconstruction.image`, cropped and scaled
#: with it.
FULL_SIZE_EXTRAS = ("estimates", "blind", "sides")
#: Extras in its unit, of any size.
IMAGE_EXTRAS = ("pyramid", *FULL_SIZE_EXTRAS)


class Reconstruction(NamedTuple):
    """What a network returns: an image, and named extras that a loss may ask for.

    Attributes:
        image: (B, 1, H, W) float32. Intensity in [0, 1] for a network whose `output_scale` is None;
            otherwise in the network's own unit (see `Network.output_scale`).
        extras: name → tensor or tuple of tensors; the names a network gives are its
            `provides`. Used so far: `pyramid` (images from full size down, each half the size of
            the one before), `flows` (pairs of (B, 2, h, w) fields, x then y, in pixels),
            `estimates` (coarse per-window images, (B, C, H, W) each, in the unit of `image`),
            `blind` (the image of a blind-spot network, likewise), `sides` (images of an earlier and
            of a later readout, likewise).
    """

    image: Tensor
    extras: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Padding:
    """How a picture is padded to the multiple a network needs.

    Attributes:
        mode: `replicate` repeats the edge; `zeros`; `symmetric` mirrors with the edge repeated.
        place: `centre` splits the padding, the larger half at the bottom and right; `centre_first`
            puts the larger half at the top and left; `end` pads at the bottom and right only.
    """

    mode: Literal["replicate", "zeros", "symmetric"] = "replicate"
    place: Literal["centre", "centre_first", "end"] = "centre"

    def amounts(self, size: int, multiple: int) -> tuple[int, int]:
        """Pixels to add (before, after) a side of `size` so that `multiple` divides it."""
        total = -size % multiple
        before = {"centre": total // 2, "centre_first": (total + 1) // 2, "end": 0}[self.place]
        return before, total - before


@dataclass(frozen=True)
class Blocks:
    """How a network cuts its window into blocks of readouts that it encodes alike.

    Block k is readouts [k·stride, k·stride + length). Windows that share a block share its
    features, so a streaming engine encodes each block once (`Network.encode`) and joins the
    features of `count` blocks for every image (`Network.join`).
    """

    length: int
    stride: int
    count: int

    def split(self, spikes: Tensor) -> list[Tensor]:
        """The blocks of a window: (B, T, H, W) → `count` views of (B, length, H, W)."""
        starts = (k * self.stride for k in range(self.count))
        return [spikes[:, start : start + self.length] for start in starts]


class Network(nn.Module, ABC):
    """Base of every method.

    A subclass gives `forward`, passes `window` to this constructor, and overrides the class
    attributes that differ. `forward` may assume sizes that `multiple` divides; `reconstruct` takes
    any size.

    Class attributes:
        multiple: height and width must be multiples of it inside `forward`.
        padding: how `reconstruct` gets there.
        provides: names of the extras that `forward` returns in training mode.
        published_output_scale: the `output_scale` of the published weights; 1 for firing rates.

    Args:
        window: readouts the network sees.
        output_scale: the light scale at which the network's image is intensity. On a stream of
            light scale α the intensity is image · output_scale / α. 1 for a network that gives
            firing rates; the training set's α for a network trained at one light scale; None for a
            network that gives intensity at any light scale.

    Raises:
        ConfigError: window < 1, or output_scale not in (0, 1].
    """

    multiple: ClassVar[int] = 1
    padding: ClassVar[Padding] = Padding()
    provides: ClassVar[tuple[str, ...]] = ()
    published_output_scale: ClassVar[float | None] = 1.0

    def __init__(self, window: int, output_scale: float | None = None) -> None:
        super().__init__()
        if window < 1:
            raise ConfigError(f"model.window must be at least 1, found {window}.")
        if output_scale is not None and not 0 < output_scale <= 1:
            raise ConfigError(f"output_scale must be in (0, 1] or None, found {output_scale}.")
        self.window = window
        self._output_scale = output_scale

    @property
    def output_scale(self) -> float | None:
        """Light scale at which the image is intensity; a property of the weights, set once."""
        return self._output_scale

    @property
    def key_readout(self) -> int:
        """Index in the window of the readout that is reconstructed: the middle one."""
        return self.window // 2

    @abstractmethod
    def forward(self, spikes: Tensor) -> Reconstruction:
        """Reconstruct the key readout of a window.

        Args:
            spikes: (B, window, H, W) float, 0 and 1; `multiple` divides H and W.

        Returns:
            The image (B, 1, H, W), in the unit that `output_scale` states, and in training mode the
            extras named in `provides`.

        Raises:
            InputError: another number of dimensions or readouts, or sizes that do not divide.
        """

    @classmethod
    def from_published(cls, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rename a published state dict (without `module.` prefix) to this network's names.

        The default keeps every name. A name that cannot be translated is kept as it is, so that
        loading reports it.
        """
        return dict(state)

    def prepare_for(self, state: Mapping[str, Tensor]) -> None:
        """Drop parts that only training uses and that weights of this network may leave out.

        Called with a state dict under this network's names before it is loaded. The default drops
        nothing, so that every name must be there.
        """

    def reconstruct(
        self, spikes: Tensor, light_scale: Tensor | float, *, validate: bool = True
    ) -> Reconstruction:
        """Intensity of the key readout, for a window of any height and width.

        Args:
            spikes: (B, window, H, W), values 0 and 1, any dtype.
            light_scale: light scale α of the streams, (B,) or one number, in (0, 1].
            validate: check that every value is 0 or 1 (waits for the device).

        Returns:
            Image (B, 1, H, W) in intensity, not clipped, and the extras; where padding was needed,
            only those of the image's size, which are cropped with it.

        Raises:
            InputError: wrong shape, or values other than 0 and 1.
        """
        check_window(spikes, self.window)
        if validate:
            check_binary(spikes)
        height, width = spikes.shape[-2:]
        top, bottom = self.padding.amounts(height, self.multiple)
        left, right = self.padding.amounts(width, self.multiple)
        if not (top or bottom or left or right):
            return self.to_intensity(self(spikes.to(self.dtype)), light_scale)
        # Padded as the bytes they are: four times less to copy than floats.
        padded = pad(spikes, (left, right, top, bottom), self.padding.mode)
        image, extras = self(padded.to(self.dtype))
        kept = {name: extras[name] for name in FULL_SIZE_EXTRAS if name in extras}
        inside = (..., slice(top, top + height), slice(left, left + width))
        image, kept = tree_map(lambda one: one[inside], (image, kept))
        return self.to_intensity(Reconstruction(image, kept), light_scale)

    def to_intensity(
        self, reconstruction: Reconstruction, light_scale: Tensor | float
    ) -> Reconstruction:
        """Scale image and image-like extras from the network's unit to intensity."""
        if self.output_scale is None:
            return reconstruction
        image = reconstruction.image
        alpha = torch.as_tensor(light_scale, dtype=image.dtype, device=image.device)
        gain = (self.output_scale / alpha).reshape(-1, 1, 1, 1)
        extras = {
            name: tree_map(gain.mul, value) if name in IMAGE_EXTRAS else value
            for name, value in reconstruction.extras.items()
        }
        return Reconstruction(image * gain, extras)

    @property
    def dtype(self) -> torch.dtype:
        """Floating type of the parameters; float32 for a network without any."""
        return next((p.dtype for p in self.parameters() if p.is_floating_point()), torch.float32)


class BlockNetwork(Network):
    """A network that encodes blocks of its window alike, and joins their features.

    Attributes:
        blocks: how the window is cut; the constructor sets it.
    """

    blocks: Blocks

    @abstractmethod
    def encode(self, block: Tensor) -> tuple[Tensor, ...]:
        """Features of blocks (B, blocks.length, H, W), each sample and block on its own.

        In eval mode the features of a block depend on nothing else, so they may be kept and
        joined again for every window that shares the block.
        """

    @abstractmethod
    def join(self, features: Sequence[tuple[Tensor, ...]]) -> Reconstruction:
        """The reconstruction from the features of `blocks.count` successive blocks."""

    def forward(self, spikes: Tensor) -> Reconstruction:
        """Encode all blocks as one batch, then join them (see `Network.forward`)."""
        check_window(spikes, self.window, self.multiple)
        stacked = torch.cat(self.blocks.split(spikes))  # (count·B, length, H, W)
        features = (feature.chunk(self.blocks.count) for feature in self.encode(stacked))
        return self.join(list(zip(*features, strict=True)))


def check_window(spikes: Tensor, window: int, multiple: int = 1) -> None:
    """Refuse spikes that are not (B, window, H, W) with sides that `multiple` divides.

    Raises:
        InputError: the argument `spikes` has another number of dimensions, or indivisible sides.
        WindowError: it has another number of readouts.
    """
    if spikes.ndim != 4:
        raise InputError(
            f"spikes must be (B, {window}, H, W), found {spikes.ndim} dimensions: "
            f"{tuple(spikes.shape)}. Add the missing axes, or drop the extra ones."
        )
    if spikes.shape[1] != window:
        raise WindowError(
            f"spikes must hold {window} readouts (B, {window}, H, W), found {spikes.shape[1]}: "
            f"{tuple(spikes.shape)}. Cut the window to size, or set model.window."
        )
    height, width = spikes.shape[-2:]
    if height % multiple or width % multiple:
        raise InputError(
            f"spikes must have sides that are multiples of {multiple}, found {height} × {width}. "
            "Network.reconstruct pads any size."
        )


def check_binary(spikes: Tensor) -> None:
    """Refuse values other than 0 and 1, NaN included.

    Raises:
        InputError: naming the first value found that is neither.
    """
    if spikes.dtype == torch.bool or not spikes.numel():
        return
    if spikes.dtype == torch.uint8 and spikes.amax() <= 1:  # the usual case, in one pass
        return
    wrong = (spikes != 0) & (spikes != 1)
    if bool(wrong.any()):
        found = spikes[wrong][0].item()
        raise InputError(
            f"spikes must hold only 0 and 1, found {found}. Unpack packed bits first "
            "(spikerec.spikes.unpack_bits)."
        )


def pad(x: Tensor, amounts: tuple[int, int, int, int], mode: str) -> Tensor:
    """Pad the last two axes by (left, right, top, bottom); modes as in `Padding`."""
    if mode == "zeros":
        return F.pad(x, amounts)
    left, right, top, bottom = amounts
    return _pad_axis(_pad_axis(x, -2, top, bottom, mode), -1, left, right, mode)


def _pad_axis(x: Tensor, axis: int, before: int, after: int, mode: str) -> Tensor:
    if not before and not after:
        return x
    size = x.shape[axis]
    front = _sources(torch.arange(-before, 0, device=x.device), size, mode)
    back = _sources(torch.arange(size, size + after, device=x.device), size, mode)
    # The middle is copied whole: gathering it index by index takes longer than a small network.
    return torch.cat([x.index_select(axis, front), x, x.index_select(axis, back)], axis)


def _sources(positions: Tensor, size: int, mode: str) -> Tensor:
    """For padded positions along an axis, the positions they copy."""
    if mode == "replicate":
        return positions.clamp(0, size - 1)
    period = positions % (2 * size)  # mirror with the edge repeated: 0 1 2 2 1 0 0 1 …
    return torch.where(period < size, period, 2 * size - 1 - period)
