"""Features moved along a motion field."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from spikerec.compiled import compiled
from spikerec.threads import each_alone

#: Rows of a picture that one thread takes at once.
ROWS_AT_ONCE = 32


def warp(features: Tensor, flow: Tensor) -> Tensor:
    """Features sampled where the flow points: bilinear, the border repeated.

    Args:
        features: (B, C, H, W).
        flow: (B, 2, H, W) in pixels, x then y.

    Returns:
        (B, C, H, W); pixel p holds the features at p + flow(p).
    """
    is_recorded = torch.is_grad_enabled() and (features.requires_grad or flow.requires_grad)
    is_plain = features.device.type == "cpu" and features.dtype == flow.dtype == torch.float32
    if is_plain and not is_recorded and not torch.compiler.is_compiling():
        return _warp_rows(features.detach(), flow.detach())
    return _warp_by_grid(features, flow)


def _warp_by_grid(features: Tensor, flow: Tensor) -> Tensor:
    """`warp` by PyTorch's sampler: with gradients, on any device."""
    height, width = features.shape[-2:]
    exact = torch.promote_types(flow.dtype, torch.float32)
    columns = torch.arange(width, dtype=exact, device=flow.device)
    rows = torch.arange(height, dtype=exact, device=flow.device)[:, None]
    # −1 and 1 are the centres of the corner pixels; a side of one pixel has no extent to move in.
    grid_x = (columns + flow[:, 0]) * (2 / max(width - 1, 1)) - 1
    grid_y = (rows + flow[:, 1]) * (2 / max(height - 1, 1)) - 1
    grid = torch.stack([grid_x, grid_y], -1)  # (B, H, W, 2)
    warped = F.grid_sample(features.to(exact), grid, padding_mode="border", align_corners=True)
    return warped.to(features.dtype)


def _warp_rows(features: Tensor, flow: Tensor) -> Tensor:
    """`warp` on a CPU, to channels-last order: a pixel's channels lie together, and are one read.

    PyTorch's sampler takes and gives planes of a channel each, which convolutions that prefer
    channels-last order then have to turn around.
    """
    pixels = features.permute(0, 2, 3, 1).contiguous()  # (B, H, W, C)
    fields = flow.permute(0, 2, 3, 1).contiguous()  # (B, H, W, 2)
    warped = torch.empty_like(pixels)

    def run(part: tuple[int, int]) -> None:
        sample, first = part
        stop = first + ROWS_AT_ONCE
        _sample(
            pixels[sample].numpy(),
            fields[sample, first:stop].numpy(),
            warped[sample, first:stop].numpy(),
            first,
        )

    firsts = range(0, pixels.shape[1], ROWS_AT_ONCE)
    each_alone(run, [(sample, first) for sample in range(len(pixels)) for first in firsts])
    return warped.permute(0, 3, 1, 2)


@compiled(contract=True)
def _sample(
    pixels: NDArray[np.float32],
    flow: NDArray[np.float32],
    warped: NDArray[np.float32],
    first: int,
) -> None:
    """Fill rows of the warped picture.

    Args:
        pixels: (H, W, C).
        flow: (h, W, 2) of these rows.
        warped: (h, W, C) to fill.
        first: where in the picture the rows begin.
    """
    height, width, channels = pixels.shape
    whole = channels - channels % 8
    for row in range(len(flow)):
        for column in range(width):
            x = np.float32(column) + flow[row, column, 0]
            y = np.float32(first + row) + flow[row, column, 1]
            # Written so that NaN falls inside too: it must not become an index.
            x = min(x, np.float32(width - 1)) if x > 0 else np.float32(0)
            y = min(y, np.float32(height - 1)) if y > 0 else np.float32(0)
            left, top = int(x), int(y)
            right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
            fx, fy = x - np.float32(left), y - np.float32(top)
            gx, gy = np.float32(1) - fx, np.float32(1) - fy
            a, b, c, d = gx * gy, fx * gy, gx * fy, fx * fy
            for c0 in range(0, whole, 8):
                for k in range(c0, c0 + 8):  # of known length: one instruction
                    warped[row, column, k] = (
                        a * pixels[top, left, k]
                        + b * pixels[top, right, k]
                        + c * pixels[bottom, left, k]
                        + d * pixels[bottom, right, k]
                    )
            for k in range(whole, channels):
                warped[row, column, k] = (
                    a * pixels[top, left, k]
                    + b * pixels[top, right, k]
                    + c * pixels[bottom, left, k]
                    + d * pixels[bottom, right, k]
                )
