"""How the windows of one network become images without computing anything twice.

`reconstructor` chooses by network and stride:

* a `BlockNetwork` whose windows share blocks at this stride: each block is encoded once, and its
  features are kept until no later window needs them;
* TFP: the count of the window before, with what entered and without what left, or its own;
* TFI: the first and last spike of each run of readouts between two key readouts;
* all others: each window on its own.

All give what `Network.reconstruct` gives for the window, up to the rounding of a batch. On a CPU, a
batch that holds a window for each of PyTorch's threads is not run as one: each thread runs a window
from beginning to end, and waits for the others once instead of at every operation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from types import EllipsisType
from typing import NamedTuple

import torch
from torch import Tensor

from spikerec.kernels.threads import each_alone
from spikerec.models.base import BlockNetwork, Network, pad
from spikerec.models.tfi import TFI
from spikerec.models.tfp import TFP
from spikerec.spikes.representations import UNDEFINED_INTERVAL
from spikerec.streaming.readouts import Cut, Spikes
from spikerec.streaming.tiles import Tiling

#: Beyond any readout: no spike found.
NEVER = torch.iinfo(torch.int32).max // 2


class Reconstructor(ABC):
    """Makes the images of rising key readouts of one stream."""

    @abstractmethod
    def images(self, key_readouts: Sequence[int], spikes: Spikes) -> Tensor:
        """The images of key readouts, all later than those of the call before.

        Args:
            key_readouts: rising.
            spikes: holds their windows, and that of the last key readout of the call before.

        Returns:
            (len(key_readouts), 1, H, W) float32, in the network's unit.
        """


def reconstructor(network: Network, stride: int, tiling: Tiling | None = None) -> Reconstructor:
    """The way that computes least.

    Args:
        network: in eval mode.
        stride: readouts from one key readout to the next.
        tiling: how the picture is split; None for whole.
    """
    if isinstance(network, TFP):
        return RunningRate(network, stride)
    if isinstance(network, TFI) and stride < network.window // 2:
        return RunningInterval(network, stride)
    if tiling is not None:
        return Tiled(network, tiling, stride)
    if isinstance(network, BlockNetwork) and shares_blocks(network, stride):
        return ByBlocks(network)
    return ByWindows(network)


def shares_blocks(network: BlockNetwork, stride: int) -> bool:
    """Whether a later window holds a block of an earlier one, when they are `stride` apart."""
    blocks = network.blocks
    return any(k * blocks.stride % stride == 0 for k in range(1, blocks.count))


class ByWindows(Reconstructor):
    """Each window on its own."""

    def __init__(self, network: Network) -> None:
        self.network = network

    def images(self, key_readouts: Sequence[int], spikes: Spikes) -> Tensor:
        """See `Reconstructor.images`."""
        network = self.network
        starts = [key_readout - network.key_readout for key_readout in key_readouts]
        windows = torch.stack([spikes.part(first, first + network.window) for first in starts])
        padded, inside = _padded(network, windows)
        if _suit_threads(padded):
            images = each_alone(lambda window: network(window).image, padded.chunk(len(padded)))
            return torch.cat(images)[inside].float()
        image: Tensor = network(padded).image
        return image[inside].float()


class ByBlocks(Reconstructor):
    """Each block encoded once, and joined with its neighbours for every window that holds it."""

    def __init__(self, network: BlockNetwork) -> None:
        self.network = network
        self._features: dict[int, tuple[Tensor, ...]] = {}  # by the block's first readout
        self._inside: tuple[EllipsisType, slice, slice] = (..., slice(None), slice(None))

    def images(self, key_readouts: Sequence[int], spikes: Spikes) -> Tensor:
        """See `Reconstructor.images`."""
        network, blocks = self.network, self.network.blocks
        firsts = [key_readout - network.key_readout for key_readout in key_readouts]
        starts = [[first + k * blocks.stride for first in firsts] for k in range(blocks.count)]
        missing = sorted({start for same in starts for start in same} - self._features.keys())
        windows = [spikes.part(start, start + blocks.length) for start in missing]
        if windows:
            stacked, self._inside = _padded(network, torch.stack(windows))
            self._features.update(zip(missing, self._encoded(stacked), strict=True))
        features = [[self._features[start] for start in same] for same in starts]
        for start in [start for start in self._features if start <= firsts[-1]]:
            del self._features[start]  # later windows begin later
        return self._joined(features)[self._inside].float()

    def _encoded(self, blocks: Tensor) -> Iterable[tuple[Tensor, ...]]:
        """The features of each block of (n, T, H, W)."""
        if _suit_threads(blocks):
            return each_alone(self.network.encode, blocks.chunk(len(blocks)))
        return zip(
            *(feature.chunk(len(blocks)) for feature in self.network.encode(blocks)), strict=True
        )

    def _joined(self, features: Sequence[Sequence[tuple[Tensor, ...]]]) -> Tensor:
        """The image of each window: features by block of a window, then by window."""
        if _suit_threads(features[0]):
            windows = list(zip(*features, strict=True))
            return torch.cat(each_alone(lambda one: self.network.join(one).image, windows))
        return self.network.join([_stacked(same) for same in features]).image


class RunningRate(Reconstructor):
    """TFP by counting what enters the window and what leaves it, where that is less than it holds.

    Args:
        network: tells the window.
        stride: readouts from one key readout to the next.
    """

    def __init__(self, network: TFP, stride: int) -> None:
        self.network = network
        self._is_less = 2 * stride < network.window
        self._count: Tensor | None = None
        self._window = (0, 0)

    def images(self, key_readouts: Sequence[int], spikes: Spikes) -> Tensor:
        """See `Reconstructor.images`."""
        counts = torch.stack([self._advance(key_readout, spikes) for key_readout in key_readouts])
        # a tensor, because CUDA divides by a number by multiplying with its reciprocal
        return counts.float()[:, None] / torch.full((), self.network.window, device=counts.device)

    def _advance(self, key_readout: int, spikes: Spikes) -> Tensor:
        first = key_readout - self.network.key_readout
        stop = first + self.network.window
        if self._count is None or not self._is_less:
            self._count = _count(spikes, first, stop)
        else:
            left, entered = (self._window[0], first), (self._window[1], stop)
            self._count = self._count + _count(spikes, *entered) - _count(spikes, *left)
        self._window = (first, stop)
        return self._count


class RunningInterval(Reconstructor):
    """TFI from the first and the last spike of each run of readouts between two key readouts.

    The interval around key readout k begins at the latest spike of [k + low, k + split) and ends at
    the earliest of [k + split, k + high); see `spikerec.spikes.representations.tfi` for the rules.

    Args:
        network: tells the rule and the window.
        stride: readouts from one key readout to the next.
    """

    def __init__(self, network: TFI, stride: int) -> None:
        half, after = network.window // 2, network.window - network.key_readout
        if network.rule == "key":
            self._low, self._split, self._high = 1 - half, 1, min(half + 1, after)
            self._undefined = 2 * half
        else:
            self._low, self._split, self._high = -half, 0, after
            self._undefined = UNDEFINED_INTERVAL
        self._stride = stride
        self._runs: dict[int, Run] = {}  # whole runs of `stride` readouts, by the first
        self._latest: Tensor | None = None

    def images(self, key_readouts: Sequence[int], spikes: Spikes) -> Tensor:
        """See `Reconstructor.images`."""
        return torch.stack([self._image(key_readout, spikes) for key_readout in key_readouts])[
            :, None
        ]

    def _image(self, key_readout: int, spikes: Spikes) -> Tensor:
        low, split, high = (
            key_readout + self._low,
            key_readout + self._split,
            key_readout + self._high,
        )
        if self._latest is None:
            self._latest = _run(spikes, low, split).latest
        else:
            passed = self._whole_run(spikes, split - self._stride)
            self._latest = torch.maximum(self._latest, passed.latest)
        starts = range(split, high - self._stride + 1, self._stride)
        runs = [self._whole_run(spikes, start) for start in starts]
        rest = split + len(starts) * self._stride
        if rest < high:
            runs.append(_run(spikes, rest, high))
        earliest = torch.stack([run.earliest for run in runs]).amin(0)
        for start in [start for start in self._runs if start < split]:
            del self._runs[start]
        is_found = (self._latest >= low) & (earliest < high)
        interval = torch.where(is_found, earliest - self._latest, self._undefined)
        return interval.float().reciprocal()

    def _whole_run(self, spikes: Spikes, start: int) -> Run:
        if start not in self._runs:
            self._runs[start] = _run(spikes, start, start + self._stride)
        return self._runs[start]


class Run(NamedTuple):
    """First and last spike of each pixel in a run of readouts, ±`NEVER` where there is none."""

    earliest: Tensor
    latest: Tensor


def _run(spikes: Spikes, first: int, stop: int) -> Run:
    part = spikes.part(first, stop).to(torch.int16)  # (n, H, W); a run has fewer than 2¹⁵
    length = len(part)
    ranks = torch.arange(1, length + 1, dtype=torch.int16, device=part.device)[:, None, None]
    since = (part * ranks).amax(0).int()
    until = (part * ranks.flip(0)).amax(0).int()
    return Run(
        torch.where(until > 0, stop - until, NEVER),
        torch.where(since > 0, first - 1 + since, -NEVER),
    )


class Tiled(Reconstructor):
    """Tile by tile, the seams feathered; features are kept within a tile and a batch only.

    Args:
        network: any but those that count pixel by pixel.
        tiling: of the padded picture.
        stride: readouts from one key readout to the next.
    """

    def __init__(self, network: Network, tiling: Tiling, stride: int) -> None:
        self.network = network
        self.tiling = tiling
        self._stride = stride

    def images(self, key_readouts: Sequence[int], spikes: Spikes) -> Tensor:
        """See `Reconstructor.images`."""
        tiling, mode = self.tiling, self.network.padding.mode
        return tiling.joined(
            reconstructor(self.network, self._stride).images(
                key_readouts, Cut(spikes, tiling.padding, mode, rows, columns)
            )
            for rows, columns in tiling.parts
        )


def _suit_threads(batch: Tensor | Sequence[tuple[Tensor, ...]]) -> bool:
    """Whether a batch, or the features of each of its windows, keeps all threads of a CPU busy."""
    tensor = batch if isinstance(batch, Tensor) else batch[0][0]
    return tensor.device.type == "cpu" and len(batch) >= torch.get_num_threads() > 1


def _padded(network: Network, spikes: Tensor) -> tuple[Tensor, tuple[EllipsisType, slice, slice]]:
    """Spikes (B, T, h, w) as the network takes them, and where the picture lies in its image."""
    height, width = spikes.shape[-2:]
    top, bottom = network.padding.amounts(height, network.multiple)
    left, right = network.padding.amounts(width, network.multiple)
    padded = pad(spikes.to(network.dtype), (left, right, top, bottom), network.padding.mode)
    return padded, (..., slice(top, top + height), slice(left, left + width))


def _stacked(features: Sequence[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """Features of several windows as one batch."""
    if len(features) == 1:
        return features[0]
    return tuple(torch.cat(same) for same in zip(*features, strict=True))


def _count(spikes: Spikes, first: int, stop: int) -> Tensor:
    return spikes.part(first, stop).sum(0, dtype=torch.int32)
