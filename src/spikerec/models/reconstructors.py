"""The images of rising key readouts of one stream, without computing anything twice.

A network chooses by itself (`Network.along`): each window on its own (`ByWindows`), blocks that
windows share encoded once (`ByBlocks`), or a form of its own beside the method (`models/tfp.py`,
`models/tfi.py`). All return the image of `Network.reconstruct` for the window, up to the rounding
of a batch.

On a CPU, a batch that holds a window for each of PyTorch's threads is not run as one: each thread
runs a window from beginning to end, and waits for the others once instead of at every operation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from spikerec.kernels.devices import keeps_threads_busy
from spikerec.kernels.threads import each_alone

if TYPE_CHECKING:
    from spikerec.models.base import Network
    from spikerec.models.blocks import BlockNetwork
    from spikerec.models.padding import Margins


class Spikes(Protocol):
    """A source of spikes, of which a part is in memory."""

    def part(self, first: int, stop: int) -> Tensor:
        """Readouts [first, stop) as (T, h, w) uint8, 0 and 1, on the device."""


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

    def windows_besides(self, key_readouts: Sequence[int]) -> Sequence[int]:
        """Key readouts of the windows that must be seen besides those of the images.

        Asked once, before anything is computed. By default there are none.

        Args:
            key_readouts: of all images to come, rising.

        Returns:
            Rising. Before the images of a key readout are asked for, `see` is called for each of
            these that is not later, in order.
        """
        del key_readouts
        return ()

    def see(self, key_readout: int, spikes: Spikes) -> None:
        """Go through a window of which no image is wanted; by default nothing is kept of it.

        Args:
            key_readout: of the window, rising from call to call.
            spikes: holds the window.
        """
        del key_readout, spikes


class ByWindows(Reconstructor):
    """Each window on its own.

    Args:
        network: in eval mode.
        together: give a batch to the network in one call, however many threads there are; for a
            network that shares out the threads by itself.
    """

    def __init__(self, network: Network, *, together: bool = False) -> None:
        self.network = network
        self._together = together

    def images(self, key_readouts: Sequence[int], spikes: Spikes) -> Tensor:
        """See `Reconstructor.images`."""
        network = self.network
        starts = [key_readout - network.key_readout for key_readout in key_readouts]
        windows = torch.stack([spikes.part(first, first + network.window) for first in starts])
        margins = network.margins(*windows.shape[-2:])
        padded = margins.pad(windows).to(network.dtype)
        if not self._together and keeps_threads_busy(padded.device, len(padded)):
            images = each_alone(lambda window: network.run(window).image, padded.chunk(len(padded)))
            return margins.crop(torch.cat(images)).float()
        return margins.crop(network.run(padded).image).float()


class ByBlocks(Reconstructor):
    """Each block encoded once, and joined with its neighbours for every window that holds it."""

    def __init__(self, network: BlockNetwork) -> None:
        self.network = network
        self._features: dict[int, tuple[Tensor, ...]] = {}  # by the block's first readout
        self._margins: Margins | None = None

    def images(self, key_readouts: Sequence[int], spikes: Spikes) -> Tensor:
        """See `Reconstructor.images`."""
        network, blocks = self.network, self.network.blocks
        firsts = [key_readout - network.key_readout for key_readout in key_readouts]
        starts = [[first + k * blocks.stride for first in firsts] for k in range(blocks.count)]
        missing = sorted({start for same in starts for start in same} - self._features.keys())
        windows = [spikes.part(start, start + blocks.length) for start in missing]
        if windows:
            stacked = torch.stack(windows)
            self._margins = network.margins(*stacked.shape[-2:])
            padded = self._margins.pad(stacked).to(network.dtype)
            self._features.update(zip(missing, self._encoded(padded), strict=True))
        features = [[self._features[start] for start in same] for same in starts]
        for start in [start for start in self._features if start <= firsts[-1]]:
            del self._features[start]  # later windows begin later
        assert self._margins is not None
        return self._margins.crop(self._joined(features, self._margins.padded_size)).float()

    def _encoded(self, blocks: Tensor) -> Iterable[tuple[Tensor, ...]]:
        """The features of each block of (n, T, H, W)."""
        if keeps_threads_busy(blocks.device, len(blocks)):
            return each_alone(self.network.encode, blocks.chunk(len(blocks)))
        return zip(
            *(feature.chunk(len(blocks)) for feature in self.network.encode(blocks)), strict=True
        )

    def _joined(
        self, features: Sequence[Sequence[tuple[Tensor, ...]]], size: tuple[int, int]
    ) -> Tensor:
        """The image of each window: features by block of a window, then by window."""
        if keeps_threads_busy(features[0][0][0].device, len(features[0])):
            windows = list(zip(*features, strict=True))
            images = each_alone(lambda one: self.network.run_join(one, size).image, windows)
            return torch.cat(images)
        return self.network.run_join([_stacked(same) for same in features], size).image


def _stacked(features: Sequence[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """Features of several windows as one batch."""
    if len(features) == 1:
        return features[0]
    return tuple(torch.cat(same) for same in zip(*features, strict=True))
