"""Padding of pictures to the size that a network needs, and cropping back, for all methods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from spikerec.kinds import checked

Mode = Literal["replicate", "zeros", "symmetric"]


@checked
@dataclass(frozen=True)
class Padding:
    """The rule by which a picture is padded to the multiple that a network needs.

    Attributes:
        mode: `replicate` repeats the edge; `zeros`; `symmetric` mirrors with the edge repeated.
        place: `centre` splits the padding, the larger half at the bottom and right; `centre_first`
            puts the larger half at the top and left; `end` pads at the bottom and right only.
    """

    mode: Mode = "replicate"
    place: Literal["centre", "centre_first", "end"] = "centre"

    def amounts(self, size: int, multiple: int) -> tuple[int, int]:
        """Pixels to add (before, after) a side of `size` so that `multiple` divides it."""
        total = -size % multiple
        before = {"centre": total // 2, "centre_first": (total + 1) // 2, "end": 0}[self.place]
        return before, total - before

    def margins(self, height: int, width: int, multiple: int) -> Margins:
        """The margins around pictures of one size."""
        rows, columns = self.amounts(height, multiple), self.amounts(width, multiple)
        return Margins(height, width, rows, columns, self.mode)


@dataclass(frozen=True)
class Margins:
    """The margins that a network needs around pictures of one size.

    Attributes:
        height: of the picture without margins, in pixels.
        width: of the picture without margins, in pixels.
        rows: pixels added at the top and at the bottom.
        columns: pixels added at the left and at the right.
        mode: how they are filled (`Padding`).
    """

    height: int
    width: int
    rows: tuple[int, int]
    columns: tuple[int, int]
    mode: Mode

    def __bool__(self) -> bool:
        """True if there is anything to add."""
        return any((*self.rows, *self.columns))

    @property
    def padded_size(self) -> tuple[int, int]:
        """Height and width with margins."""
        return self.height + sum(self.rows), self.width + sum(self.columns)

    def pad(self, x: Tensor) -> Tensor:
        """Add the margins: (..., height, width) → (..., *padded_size); `x` itself if none."""
        if self.mode == "zeros":
            return F.pad(x, (*self.columns, *self.rows)) if self else x
        return _pad_axis(_pad_axis(x, -2, self.rows, self.mode), -1, self.columns, self.mode)

    def crop(self, image: Tensor) -> Tensor:
        """Take the margins off: (..., *padded_size) → a view of (..., height, width)."""
        (top, _), (left, _) = self.rows, self.columns
        return image[..., top : top + self.height, left : left + self.width]


def _pad_axis(x: Tensor, axis: int, amounts: tuple[int, int], mode: Mode) -> Tensor:
    before, after = amounts
    if not before and not after:
        return x
    size = x.shape[axis]
    front = _sources(torch.arange(-before, 0, device=x.device), size, mode)
    back = _sources(torch.arange(size, size + after, device=x.device), size, mode)
    # The middle is copied whole: gathering it index by index takes longer than a small network.
    return torch.cat([x.index_select(axis, front), x, x.index_select(axis, back)], axis)


def _sources(positions: Tensor, size: int, mode: Mode) -> Tensor:
    """For padded positions along an axis, the positions they copy."""
    if mode == "replicate":
        return positions.clamp(0, size - 1)
    period = positions % (2 * size)  # mirror with the edge repeated: 0 1 2 2 1 0 0 1 …
    return torch.where(period < size, period, 2 * size - 1 - period)
