"""Layers as they are seen in a video whose missing readouts were interpolated.

The field's sets are made from videos: of REDS and SREDS, 120 frames a second, between which 20 to
150 readouts are interpolated along the optical flow. An interpolated readout is less sharp than a
frame, by what sampling between the pixels of the frames costs, and the more so the nearer to half a
pixel a thing has moved. Here that is done layer by layer, so that nothing is torn where one layer
covers another: each is read bilinearly from the frames before and after, as they are on the pixels
of the scene, and the two are mixed linearly in time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from functools import cache
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor

from spikerec.simulation.layers import (
    EVERYWHERE,
    Layer,
    Place,
    Warp,
    found,
    pixel_centres,
)

Knots = tuple[slice, Tensor, Tensor]  # all of a first axis, rows and columns

#: Pixels from one place to the next at which motion is computed; between them it is linear.
FLOW_STEP = 8
#: Weight of a frame that does not show a place, beside one that does.
UNSEEN = 1e-6


@dataclass(frozen=True)
class Film:
    """The readouts that a video's frames show.

    Attributes:
        key_readout: one of them.
        interval: readouts from a frame to the next.
    """

    key_readout: int
    interval: int

    def shows(self, readout: int) -> bool:
        """True if a frame shows the readout."""
        return (readout - self.key_readout) % self.interval == 0


@dataclass(frozen=True)
class FilmedLayer(Layer):
    """A layer that is exact at the frames of a film, and interpolated at all other readouts.

    Attributes:
        film: which readouts are exact.
        error: (H, W) error of the motion that frames are interpolated by, relative to it. In the
            middle between two frames, what one shows is displaced against what the other shows by
            this share of the motion between them.
    """

    film: Film = field(kw_only=True)
    error: Tensor = field(kw_only=True)
    _kept: dict[float, tuple[Tensor, list[Tensor | None]]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def to(self, device: torch.device | str) -> Layer:
        """See `Layer.to`."""
        return filmed(super().to(device), self.film, self.error.to(device))

    def is_seen(self, readout: int) -> bool:
        """See `Layer.is_seen`."""
        return self.film.shows(readout)

    def render(self, times: Tensor, points: Tensor, place: Place = EVERYWHERE) -> Tensor:
        """See `Layer.render`."""
        parts = []
        for (first, is_frame), group in groupby(times.tolist(), self._frame_before):
            part = torch.tensor(list(group), dtype=torch.float64)
            if is_frame:
                parts.append(super().render(part, points, place))
            else:
                parts.append(self._between(part, first, points, place))
        return torch.cat(parts)

    def _frame_before(self, time: float) -> tuple[float, bool]:
        """Time of the last frame up to a time, and True if it is that frame's."""
        since = (time - self.film.key_readout) % self.film.interval
        return time - since, since == 0

    def _between(self, times: Tensor, first: float, points: Tensor, place: Place) -> Tensor:
        """The layer at times (T,) between the frame at `first` and the next: (T, C, H, W)."""
        pictures, bends = self._frames(first)
        (rows, rows_between), (columns, columns_between) = map(_knots, points.shape[:2])
        knots = (slice(None), rows[:, None], columns)
        places = self._places(times, first, points[knots[1:]].double(), bends, place, knots)
        height, width = self.error.shape
        # Linear between the knots: (2 frames, 2, T, H, W).
        grid = (places * places.new_tensor((2 / width, 2 / height))).movedim(-1, 1).to(points)
        grid = rows_between.to(grid) @ grid @ columns_between.T.to(grid)
        is_left = grid.abs().amax() > 1
        grid = grid.movedim(1, -1)
        shown = F.grid_sample(
            pictures, grid.flatten(1, 2), "bilinear", padding_mode="border", align_corners=False
        )
        shown = shown.reshape(2, -1, len(times), *points.shape[:2])
        before, after = shown.transpose(1, 2)  # (T, C, H, W) each
        shares = ((times - first) / self.film.interval).to(points)[:, None, None]
        if is_left:  # what is beyond the view of one frame is taken from the other
            is_inside = (grid.abs() <= 1).all(-1)
            weights = torch.stack((1 - shares, shares)) * is_inside + UNSEEN
            shares = weights[1] / weights.sum(0)
        return torch.lerp(before, after, shares[:, None])

    def _frames(self, first: float) -> tuple[Tensor, list[Tensor | None]]:
        """Pictures (2, C, H, W) of two frames, and how the layer bends (H, W, 2) in each.

        They are kept, for the readouts that follow.
        """
        if first not in self._kept:
            times = torch.tensor((first, first + self.film.interval), dtype=torch.float64)
            points = pixel_centres(*self.error.shape).to(self.picture.device)
            bends = [None, None] if self.warp is None else [*self.warp(times).double()]
            self._kept.clear()
            self._kept[first] = super().render(times, points), bends
        return self._kept[first]

    def _places(
        self,
        times: Tensor,
        first: float,
        points: Tensor,
        bends: list[Tensor | None],
        place: Place,
        knots: Knots,
    ) -> Tensor:
        """Places (2, T, h, w, 2) in two frames of what is at points (h, w, 3) at times (T,)."""
        matrices = self.path.homographies(times).to(points.device)
        seen = torch.einsum("tij,hwj->thwi", matrices, points)
        shown = seen[..., :2] / seen[..., 2:]
        if self.warp is not None:
            shown = shown + Warp(self.warp.fields[:, *place][knots], self.warp.waves)(times)
        frames = torch.tensor((first, first + self.film.interval), dtype=torch.float64)
        back = torch.linalg.inv(self.path.homographies(frames))
        guess = points[..., :2].expand_as(shown)
        places = torch.stack(
            [
                found(shown.flatten(0, 1), one, bend, guess.flatten(0, 1)).view_as(shown)
                for one, bend in zip(back, bends, strict=True)
            ]
        )
        error = self.error[None, *place][knots][..., None].to(places)
        return torch.lerp(points[..., :2], places, 1 + error)


@cache
def _knots(length: int) -> tuple[Tensor, Tensor]:
    """Pixels (K,) at most FLOW_STEP apart, and the weights (length, K) of the line between them."""
    knots = torch.linspace(0, length - 1, math.ceil((length - 1) / FLOW_STEP) + 1).round().long()
    pixels = torch.arange(length)
    after = torch.searchsorted(knots, pixels).clamp(max=len(knots) - 1)
    before = (after - 1).clamp(min=0)
    gap = (knots[after] - knots[before]).clamp(min=1)
    share = 1 - (knots[after] - pixels) / gap
    weights = torch.zeros(length, len(knots))
    weights[pixels, before] = 1 - share
    weights[pixels, after] += share
    return knots, weights


def filmed(layer: Layer, film: Film, error: Tensor) -> FilmedLayer:
    """Return the layer as it is seen in a film (see `FilmedLayer`)."""
    own = {one.name: getattr(layer, one.name) for one in fields(Layer)}
    return FilmedLayer(**own, film=film, error=error)
