"""Networks that cut their window into blocks of readouts and encode each block alike."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from spikerec.kinds import checked
from spikerec.models.base import Network, Reconstruction, check_output, check_window
from spikerec.models.reconstructors import ByBlocks, Reconstructor


@checked
@dataclass(frozen=True)
class Blocks:
    """The blocks of readouts into which a network cuts its window, and which it encodes alike.

    Block k is readouts [k·stride, k·stride + length). Windows that share a block share its
    features, so a streaming engine encodes each block once (`BlockNetwork.encode`) and joins the
    features of `count` blocks for every image (`BlockNetwork.join`).
    """

    length: int
    stride: int
    count: int

    def are_shared(self, stride: int) -> bool:
        """True if a later window holds a block of an earlier one, when they are `stride` apart."""
        return any(k * self.stride % stride == 0 for k in range(1, self.count))

    def split(self, spikes: Tensor) -> list[Tensor]:
        """The blocks of a window: (B, T, H, W) → `count` views of (B, length, H, W)."""
        starts = (k * self.stride for k in range(self.count))
        return [spikes[:, start : start + self.length] for start in starts]


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

    def run_join(
        self, features: Sequence[tuple[Tensor, ...]], size: tuple[int, int]
    ) -> Reconstruction:
        """Return what `join` returns, after a check of its form.

        Args:
            features: see `join`.
            size: H, W of the blocks.

        Raises:
            ConfigError: see `spikerec.models.base.check_output`.
        """
        shape = (len(features[0][0]), self.window, *size)
        return check_output(self, self.join(features), shape, "join")

    def along(self, stride: int) -> Reconstructor:
        """Encode each block once, where windows share blocks (see `Network.along`)."""
        return ByBlocks(self) if self.blocks.are_shared(stride) else super().along(stride)

    def forward(self, spikes: Tensor) -> Reconstruction:
        """Encode all blocks as one batch, then join them (see `Network.forward`)."""
        check_window(spikes, self.window, self.multiple)
        stacked = torch.cat(self.blocks.split(spikes))  # (count·B, length, H, W)
        features = (feature.chunk(self.blocks.count) for feature in self.encode(stacked))
        return self.join(list(zip(*features, strict=True)))
