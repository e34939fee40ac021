"""Layers that ET-Net and HyperE2VID share: E2VID's recurrent encoder and its decoders.

Both networks are E2VID (Rebecq et al., TPAMI 2019) up to the coarsest features: a head and three
stages, each a strided convolution followed by a ConvLSTM. What the published modules keep as hidden
attributes is an argument and a result here: `RecurrentState`.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikerec.errors import InputError

#: Halvings on the way down, and doublings on the way up.
NUM_LEVELS = 3

#: Hidden map and cell of one ConvLSTM, (B, C, h, w) each.
Memory = tuple[Tensor, Tensor]


class RecurrentState(NamedTuple):
    """The state that a recurrent network carries from one call to the next.

    Attributes:
        memory: hidden map and cell of each level, finest first.
        image: the image of the call before, without gradient, where the network looks at it.
    """

    memory: tuple[Memory, ...]
    image: Tensor | None = None


class ConvLSTM(nn.Module):
    """A convolutional LSTM without peepholes (Shi et al., NeurIPS 2015).

    i, f, o, g = split(conv(cat(x, h)));  c = σ(f)·c + σ(i)·tanh(g);  h = σ(o)·tanh(c)
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gates = nn.Conv2d(2 * channels, 4 * channels, 3, padding=1)

    def forward(self, x: Tensor, memory: Memory | None) -> Memory:
        """Hidden map and cell after seeing x, (B, C, h, w); no memory is zero memory.

        Raises:
            InputError: the memory comes from another batch or image size.
        """
        if memory is None:  # a hidden map of zeros: its half of the weights adds nothing
            weight = self.gates.weight[:, : x.shape[1]]
            gates = F.conv2d(x, weight, self.gates.bias, padding=1)
        else:
            _check_memory(memory, x)
            gates = self.gates(torch.cat((x, memory[0]), dim=1))
        enter, forget, leave, candidate = gates.chunk(4, dim=1)
        # The cell sums over a whole sequence, so it keeps float32 where autocast gives bfloat16.
        cell = (enter.sigmoid() * candidate.tanh()).to(torch.promote_types(x.dtype, torch.float32))
        if memory is not None:
            cell = forget.sigmoid() * memory[1] + cell
        return leave.sigmoid() * cell.tanh().to(leave.dtype), cell


def _check_memory(memory: Memory, x: Tensor) -> None:
    if memory[0].shape != x.shape:
        raise InputError(
            f"state must hold maps of {tuple(x.shape)}, as the spikes do at this level, found "
            f"{tuple(memory[0].shape)}. Start another sequence, batch or size from state=None."
        )


class RecurrentEncoder(nn.Module):
    """E2VID's head and its three stages of strided convolution and ConvLSTM.

    Level k = 0, 1, 2 has channels · 2^(k+1) channels at 1 / 2^(k+1) of the size.

    Args:
        num_bins: input channels.
        channels: width of the head.
    """

    def __init__(self, num_bins: int, channels: int) -> None:
        super().__init__()
        widths = [channels << k for k in range(NUM_LEVELS + 1)]
        self.head = nn.Conv2d(num_bins, channels, 5, padding=2)
        self.down = nn.ModuleList(
            nn.Conv2d(fine, coarse, 5, stride=2, padding=2) for fine, coarse in pairwise(widths)
        )
        self.lstm = nn.ModuleList(ConvLSTM(width) for width in widths[1:])

    def embed(self, bins: Tensor) -> tuple[Tensor, Tensor]:
        """All that comes before the first memory: the head's map and the first strided map.

        Args:
            bins: (B, num_bins, H, W).

        Returns:
            (B, channels, H, W) and (B, 2·channels, H/2, W/2).
        """
        head = F.relu(self.head(bins))
        return head, F.relu(self.down[0](head))

    def forward(self, first: Tensor, memory: tuple[Memory, ...] | None) -> tuple[Memory, ...]:
        """The memory of the three levels after seeing the first strided map of `embed`."""
        before = (None,) * NUM_LEVELS if memory is None else memory
        after = [self.lstm[0](first, before[0])]
        for level in range(1, NUM_LEVELS):
            x = F.relu(self.down[level](after[-1][0]))
            after.append(self.lstm[level](x, before[level]))
        return tuple(after)


class UpConv(nn.Module):
    """Double the size bilinearly, then 5 × 5 convolution and ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 5, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, h, w) → (B, out, 2h, 2w)."""
        return F.relu(self.conv(double(x)))


def double(x: Tensor) -> Tensor:
    """Twice the height and width, bilinear, half-pixel centres."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
