"""Modulated deformable convolution (Zhu et al., Deformable ConvNets v2, CVPR 2019, eq. 1).

    y(p) = b + Σ_k w_k · x(p + p_k + Δp_k) · m_k

Sampling is bilinear, and each of the four corners that lies outside the picture counts as zero.
Two implementations give the same result: torchvision's operator, and a composition of PyTorch's
own operations, which is faster on a CPU, can be exported, and runs on all devices.

Both hold the sampled columns of the batch at once, 9 · C · H · W values an image: 2.1 GB for 64
channels of 720 × 1280 in float32.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import ops

from spikerec.errors import ConfigError
from spikerec.kernels.devices import has_operators


def deform_conv2d(
    x: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    *,
    use_operator: bool | None = None,
) -> Tensor:
    """Deformable convolution of stride 1 that keeps the size.

    Taps are in row-major order, and offset group g moves the g-th of the G equal runs of channels.

    Args:
        x: (B, C, H, W).
        offset: (B, 2·G·K, H, W) in pixels for the K taps of the kernel; channel 2·(K·g + k) is
            the vertical shift of tap k in group g, the next one the horizontal.
        mask: (B, G·K, H, W), factors of the samples; None for none.
        weight: (C', C, kh, kw), with odd kh and kw.
        bias: (C',).
        use_operator: torchvision's operator, or PyTorch's own operations; None takes the operator
            on a GPU, unless the program is being exported.

    Returns:
        (B, C', H, W) in the type of `x`, sampled in float32 at least: a shift in bfloat16 would
        be rounded to sixteenths of a pixel from 16 pixels on.
    """
    if use_operator is None:
        use_operator = has_operators(x.device)
    dtype = torch.promote_types(weight.dtype, torch.float32)
    x_, offset, weight, bias = (each.to(dtype) for each in (x, offset, weight, bias))
    mask = None if mask is None else mask.to(dtype)
    if use_operator:
        padding = (weight.shape[2] // 2, weight.shape[3] // 2)
        y: Tensor = ops.deform_conv2d(x_, offset, weight, bias, padding=padding, mask=mask)
    else:
        columns = _sample(x_, offset, mask, (weight.shape[2], weight.shape[3]))
        y = F.conv2d(columns, weight.flatten(1)[:, :, None, None], bias)
    return y.to(x.dtype)


def _sample(x: Tensor, offset: Tensor, mask: Tensor | None, kernel: tuple[int, int]) -> Tensor:
    """The values under the K moved taps of every position: (B, C·K, H, W)."""
    batch, channels, height, width = x.shape
    kh, kw = kernel
    groups = offset.shape[1] // (2 * kh * kw)
    offset = offset.reshape(batch * groups, kh, kw, 2, height, width)
    rows = _tap_positions(height, kh, x.device)
    columns = _tap_positions(width, kw, x.device)
    at_y = offset[:, :, :, 0] + rows[:, None, :, None]  # (B·G, kh, kw, H, W)
    at_x = offset[:, :, :, 1] + columns[:, None, :]
    # grid_sample measures from -1 to 1 between the outer edges of the corner pixels
    grid = torch.stack(((2 * at_x + 1) / width - 1, (2 * at_y + 1) / height - 1), dim=-1)
    sampled = F.grid_sample(
        x.reshape(batch * groups, channels // groups, height, width),
        grid.reshape(batch * groups, kh * kw * height, width, 2),
        padding_mode="zeros",
        align_corners=False,
    ).reshape(batch * groups, channels // groups, kh * kw, height, width)
    if mask is not None:
        sampled = sampled * mask.reshape(batch * groups, 1, kh * kw, height, width)
    return sampled.reshape(batch, channels * kh * kw, height, width)


def _tap_positions(size: int, taps: int, device: torch.device) -> Tensor:
    """Pixels along an axis that the taps of a kernel meet at each position: (taps, size)."""
    shifts = torch.arange(taps, device=device) - taps // 2
    return shifts[:, None] + torch.arange(size, device=device)


class DeformConv2d(nn.Module):
    """3 × 3 deformable convolution that is handed a guide: its offsets and its masks' logits.

    Weight and bias start as those of `torch.nn.Conv2d` do.

    Args:
        channels: C, of input and output.
        groups: G, runs of channels with offsets of their own.
        modulation: weigh the samples by masks.

    Attributes:
        guide_channels: channels of the guide, 18·G for the offsets and then 9·G for the masks.
        use_operator: as in `deform_conv2d`.
        unseen_by_thop: see `spikerec.metrics.efficiency.macs`.

    Raises:
        ConfigError: the groups do not divide the channels.
    """

    unseen_by_thop = True

    def __init__(self, channels: int, groups: int, modulation: bool = True) -> None:
        super().__init__()
        if groups < 1 or channels % groups:
            raise ConfigError(f"deform_groups must divide channels ({channels}), found {groups}.")
        self.use_operator: bool | None = None
        self.offset_channels = 18 * groups
        self.guide_channels = (27 if modulation else 18) * groups
        self.weight = nn.Parameter(torch.empty(channels, channels, 3, 3))
        self.bias = nn.Parameter(torch.empty(channels))
        bound = (9 * channels) ** -0.5
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        """(B, C, H, W), (B, guide_channels, H, W) → (B, C, H, W); order as in `deform_conv2d`."""
        offset, logits = guide[:, : self.offset_channels], guide[:, self.offset_channels :]
        mask = logits.sigmoid() if logits.shape[1] else None
        return deform_conv2d(
            x, offset, mask, self.weight, self.bias, use_operator=self.use_operator
        )
