"""Features moved along a motion field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from spikerec.kernels.compiled import compiled, suits_compiled
from spikerec.kernels.threads import each_alone

#: Rows of a picture that one thread takes at once.
ROWS_AT_ONCE = 32


class Warped(NamedTuple):
    """Features sampled where the flow points: bilinear, the border repeated.

    Pixel p holds the features at p + flow(p).

    Attributes:
        features: (B, C, H, W).
        flow: (B, 2, H, W) in pixels, x then y.
    """

    features: Tensor
    flow: Tensor


def concatenate(parts: Sequence[Tensor | Warped]) -> Tensor:
    """Parts (B, C, H, W) one after the other in their channels, as `torch.cat`.

    On a CPU and without gradients they are sampled into their place in the result, which is in
    channels-last order: a pixel's channels lie together and are one read. PyTorch's sampler takes
    and gives planes of a channel each, which convolutions would have to turn around.
    """
    if all(_is_plain(tensor) for part in parts for tensor in _tensors(part)):
        return _write_rows(parts)
    return torch.cat(
        [_warp_by_grid(*part) if isinstance(part, Warped) else part for part in parts], 1
    )


def _tensors(part: Tensor | Warped) -> Sequence[Tensor]:
    return part if isinstance(part, Warped) else (part,)


def _is_plain(tensor: Tensor) -> bool:
    is_recorded = tensor.requires_grad and torch.is_grad_enabled()
    return suits_compiled(tensor) and tensor.dtype == torch.float32 and not is_recorded


def _warp_by_grid(features: Tensor, flow: Tensor) -> Tensor:
    """What is `Warped`, by PyTorch's sampler: with gradients, on any device."""
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


def _write_rows(parts: Sequence[Tensor | Warped]) -> Tensor:
    """`concatenate` on a CPU, by rows of the picture."""
    by_pixel = [_by_pixel(part) for part in parts]  # each (B, H, W, …)
    batch, height, width, _ = by_pixel[0][0].shape
    result = torch.empty(batch, height, width, sum(features.shape[3] for features, _ in by_pixel))

    def run(place: tuple[int, int]) -> None:
        sample, first = place
        rows = slice(first, first + ROWS_AT_ONCE)
        filled, begin = result[sample, rows], 0
        for features, flow in by_pixel:
            end = begin + features.shape[3]
            if flow is None:
                filled[..., begin:end] = features[sample, rows]
            else:
                field = flow[sample, rows].numpy()
                _sample(features[sample].numpy(), field, filled.numpy(), first, begin)
            begin = end

    firsts = range(0, height, ROWS_AT_ONCE)
    each_alone(run, [(sample, first) for sample in range(batch) for first in firsts])
    return result.permute(0, 3, 1, 2)


def _by_pixel(part: Tensor | Warped) -> tuple[Tensor, Tensor | None]:
    """Features and flow with the channels last; in memory too, where a kernel reads them."""
    if isinstance(part, Warped):
        features, flow = (tensor.detach().permute(0, 2, 3, 1).contiguous() for tensor in part)
        return features, flow
    return part.detach().permute(0, 2, 3, 1), None


@compiled(contract=True)
def _sample(
    pixels: NDArray[np.float32],
    flow: NDArray[np.float32],
    rows: NDArray[np.float32],
    first: int,
    begin: int,
) -> None:
    """Fill channels of rows of a picture with what is `Warped`.

    Args:
        pixels: features, (H, W, C).
        flow: (h, W, 2) of these rows.
        rows: (h, W, C or more), of which the C channels from `begin` are filled.
        first: where in the picture the rows begin.
        begin: the first channel to fill.
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
            filled = rows[row, column, begin : begin + channels]
            for c0 in range(0, whole, 8):
                for k in range(c0, c0 + 8):  # of known length: one instruction
                    filled[k] = (
                        a * pixels[top, left, k]
                        + b * pixels[top, right, k]
                        + c * pixels[bottom, left, k]
                        + d * pixels[bottom, right, k]
                    )
            for k in range(whole, channels):
                filled[k] = (
                    a * pixels[top, left, k]
                    + b * pixels[top, right, k]
                    + c * pixels[bottom, left, k]
                    + d * pixels[bottom, right, k]
                )
