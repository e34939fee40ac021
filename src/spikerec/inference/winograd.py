"""Wide 3 × 3 convolutions by Winograd's algorithm, where the CPU computes them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikerec.kernels.dispatch import served_by
from spikerec.kernels.winograd import CONVOLVE, transformed_kernels

#: Geometric mean of the channels in and out from which this is faster than a direct convolution.
#: Measured on two cores of an Intel Xeon (Sapphire Rapids): 0.9 × at 48 channels, 1.1 × at 72,
#: 1.5 × at 128, 2.3 × at 256.
LEAST_CHANNELS = 72


def suits_winograd(conv: nn.Conv2d) -> bool:
    """Return True if a convolution can be computed this way and is wide enough to gain by it."""
    is_plain = (conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups) == (
        (3, 3),
        (1, 1),
        (1, 1),
        (1, 1),
        1,
    )
    is_wide = conv.in_channels * conv.out_channels >= LEAST_CHANNELS**2
    is_zero_padded = conv.padding_mode == "zeros"
    return is_plain and is_wide and is_zero_padded and conv.weight.dtype == torch.float32


class WinogradConv2d(nn.Conv2d):
    """A 3 × 3 convolution that keeps the size, and the PReLU after it where there is one.

    Small images, other devices and 16 bits, whose roundings the transforms would magnify, take the
    direct convolution.

    Args:
        conv: the convolution to replace (see `suits_winograd`).

    Attributes:
        activation: the PReLU to apply to the output; None for none.
    """

    transformed: Tensor

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(conv.in_channels, conv.out_channels, 3, padding=1)
        self.weight, self.bias = conv.weight, conv.bias  # kept for modules that look at them
        self.activation: nn.PReLU | None = None
        self.register_buffer("transformed", transformed_kernels(conv.weight))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C', H, W)."""
        slope = None if self.activation is None else self.activation.weight
        return _convolve(x, self.weight, self.bias, slope, self.transformed)


@served_by(CONVOLVE)
def _convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, slope: Tensor | None, transformed: Tensor
) -> Tensor:
    """Return a 3 × 3 convolution with borders of zeros, then a PReLU.

    Args:
        x: (B, C, H, W).
        weight: (C', C, 3, 3).
        bias: (C',).
        slope: of the PReLU, (C',) or (1,); None for no PReLU.
        transformed: the weight as the kernel takes it.
    """
    del transformed
    y = F.conv2d(x, weight, bias, padding=1)
    return y if slope is None else F.prelu(y, slope)
