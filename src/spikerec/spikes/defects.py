"""Pixels that fire too much or too little, found from a stream itself, and how to do without them.

A pixel is compared with its eight neighbours over many readouts. One neighbour may be broken too,
so the second highest and the second lowest of them are what counts. A single bright dot of one
pixel in a scene that never moves looks the same as a hot pixel: no statistic tells them apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from spikerec.errors import GeometryError
from spikerec.spikes.bayer import PLANES
from spikerec.spikes.stream import SpikeStream

if TYPE_CHECKING:
    from torch import Tensor

Spikes = TypeVar("Spikes", "Tensor", NDArray[np.uint8], NDArray[np.float32])

#: A broken pixel is this many times its neighbours, or this many times below them …
RATIO = 2.0
#: … and this many standard errors away, were every readout drawn afresh (a sensor is steadier).
DEVIATIONS = 6.0
#: Readouts of one piece of a sample.
PIECE_READOUTS = 64
#: Pixels that are unpacked, or compared with their neighbours, at once.
PIXELS_AT_ONCE = 1 << 25

#: Beyond doubt: a hot pixel fires at this rate at least, and so many times as its neighbours …
SURE_HOT_RATE = 0.5
SURE_RATIO = 3.0
#: … and a dead one is silent where a neighbour fires this often …
SURE_SPIKES = 50
#: … on no more than this share of the sensor: below 0.001 is found in recordings read with a wrong
#: geometry, and where a tenth is broken, neighbours of one another hide many.
MOST_SURE = 0.05

NEIGHBOURS = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]


@dataclass(frozen=True)
class Sample:
    """Firing rates of pieces spread evenly over a stream.

    Attributes:
        rates: (N, H, W) float32 in [0, 1], of each piece.
        starts: its first readout, N of them.
        length: readouts of a piece.
    """

    rates: NDArray[np.float32]
    starts: tuple[int, ...]
    length: int

    @property
    def rate(self) -> NDArray[np.float32]:
        """The firing rate over all pieces, (H, W)."""
        mean: NDArray[np.float32] = self.rates.mean(0)
        return mean

    @property
    def num_readouts(self) -> int:
        """Readouts that were looked at."""
        return len(self.starts) * self.length


def sample(
    stream: SpikeStream, start: int = 0, stop: int | None = None, pieces: int = 32
) -> Sample:
    """Firing rates at evenly spread places of a stream: a small part of a long one is read.

    Args:
        stream: of any length.
        start: first readout that may be looked at.
        stop: readout after the last; None for the end.
        pieces: of `PIECE_READOUTS` each; fewer where the stream is too short for so many.
    """
    end = stream.num_readouts if stop is None else min(stop, stream.num_readouts)
    length = min(PIECE_READOUTS, end - start)
    count = max(1, min(pieces, (end - start) // length))
    starts = tuple(int(first) for first in np.linspace(start, end - length, count))
    rates = np.stack([mean_rate(stream, first, first + length) for first in starts])
    return Sample(rates, starts, length)


def mean_rate(stream: SpikeStream, first: int, stop: int) -> NDArray[np.float32]:
    """The firing rate (H, W) over readouts [first, stop), of which a part is unpacked at a time."""
    step = max(1, PIXELS_AT_ONCE // (stream.height * stream.width))
    total = np.zeros((stream.height, stream.width), np.float32)  # exact: whole numbers
    for start in range(first, stop, step):
        total += stream[start : min(start + step, stop)].sum(0, dtype=np.float32)
    return total / np.float32(stop - first)


@dataclass(frozen=True)
class Defects:
    """Broken pixels, (H, W) bool each.

    Attributes:
        hot: fire far more than all but one of their neighbours.
        dead: fire far less.
    """

    hot: NDArray[np.bool_]
    dead: NDArray[np.bool_]

    @property
    def broken(self) -> NDArray[np.bool_]:
        """Either."""
        return self.hot | self.dead


def find_defects(
    rate: NDArray[np.float32], num_readouts: int, *, is_mosaic: bool = False
) -> Defects:
    """Hot and dead pixels of a firing-rate map.

    Args:
        rate: (H, W) in [0, 1].
        num_readouts: that it is the mean of.
        is_mosaic: pixels see colours (`spikes.bayer`), and are compared with others of their own.
    """
    if is_mosaic and min(rate.shape) > 1:
        return _by_colour(find_defects, rate, num_readouts)
    low, high = _second_of_neighbours(rate)
    hot = rate > RATIO * high + DEVIATIONS * _error(high, num_readouts)
    dead = RATIO * rate < low - DEVIATIONS * _error(low, num_readouts)
    return Defects(hot, dead)


def _by_colour(
    find: Callable[[NDArray[np.float32], int], Defects],
    rate: NDArray[np.float32],
    num_readouts: int,
) -> Defects:
    """Find defects within each plane of a mosaic."""
    found = Defects(np.zeros(rate.shape, np.bool_), np.zeros(rate.shape, np.bool_))
    for top, left in PLANES:
        plane = find(rate[top::2, left::2], num_readouts)
        found.hot[top::2, left::2], found.dead[top::2, left::2] = plane.hot, plane.dead
    return found


def find_sure_defects(
    rate: NDArray[np.float32], num_readouts: int, *, is_mosaic: bool = False
) -> Defects:
    """Hot and dead pixels beyond doubt, which no scene explains.

    A hot one fires in most readouts while all but one of its neighbours fire less than a third as
    often; a dead one never fires while its neighbours do often. Both are isolated: where more than
    `MOST_SURE` of all pixels would be broken, it is the scene or the geometry.

    Args:
        rate: (H, W) in [0, 1].
        num_readouts: that it is the mean of.
        is_mosaic: see `find_defects`.
    """
    if is_mosaic and min(rate.shape) > 1:
        return _by_colour(find_sure_defects, rate, num_readouts)
    low, high = _second_of_neighbours(rate)
    found = find_defects(rate, num_readouts)
    hot = found.hot & (rate > SURE_HOT_RATE) & (rate > SURE_RATIO * high)
    dead = found.dead & (rate == 0) & (low * num_readouts > SURE_SPIKES)
    if (hot | dead).mean() > MOST_SURE:
        return Defects(np.zeros_like(hot), np.zeros_like(dead))
    return Defects(hot, dead)


def find_masked(looked_at: Sample, mask_defects: bool | None, *, is_mosaic: bool) -> Defects:
    """Find the pixels that are to be replaced: those beyond doubt for None, all for True."""
    find = find_defects if mask_defects else find_sure_defects
    return find(looked_at.rate, looked_at.num_readouts, is_mosaic=is_mosaic)


def _second_of_neighbours(
    image: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The second lowest and the second highest of each pixel's eight neighbours, (H, W) each.

    Beyond the border the image is mirrored.
    """
    height, width = image.shape
    # mirrored about the outermost pixel, so that no pixel neighbours itself
    padded = np.pad(image, 1, mode="reflect" if min(height, width) > 1 else "edge")
    low, high = np.empty_like(image), np.empty_like(image)
    count = max(1, PIXELS_AT_ONCE // width)
    for top in range(0, height, count):
        stop = min(top + count, height)
        rows = padded[top : stop + 2]
        near = np.stack(
            [rows[1 + y : 1 + y + stop - top, 1 + x : 1 + x + width] for y, x in NEIGHBOURS]
        )  # (8, h, W)
        near.sort(axis=0)
        low[top:stop], high[top:stop] = near[1], near[-2]
    return low, high


def _error(rate: NDArray[np.float32], num_readouts: int) -> NDArray[np.float32]:
    """Standard error of a rate; never 0, as a pixel that was silent might not stay so."""
    variance = np.maximum(rate * (1 - rate), 1 / num_readouts)
    error: NDArray[np.float32] = np.sqrt(variance / num_readouts)
    return error


class Repair:
    """Gives each broken pixel the spikes of the nearest whole one.

    Spikes rather than an interpolated image: what a network sees stays what a sensor gives.

    Args:
        broken: (H, W) bool.
        is_mosaic: pixels see colours (`spikes.bayer`): the nearest whole one of the same colour.

    Raises:
        GeometryError: every pixel is broken, or every one of a colour.
    """

    def __init__(self, broken: NDArray[np.bool_], *, is_mosaic: bool = False) -> None:
        step = 2 if is_mosaic and min(broken.shape) > 1 else 1
        broken_pixels, whole_pixels = [], []
        for plane in PLANES if step == 2 else ((0, 0),):
            part = broken[plane[0] :: step, plane[1] :: step]
            broken_pixels.append(step * np.argwhere(part) + plane)
            whole_pixels.append(step * _nearest_whole(part) + plane)
        self._broken = tuple(np.concatenate(broken_pixels).T)  # rows and columns
        self._source = tuple(np.concatenate(whole_pixels).T)

    def __call__(self, spikes: Spikes) -> Spikes:
        """Replace the broken pixels of (..., H, W), in place; of spikes, or of their rates."""
        rows, columns = self._broken
        spikes[..., rows, columns] = spikes[..., self._source[0], self._source[1]]
        return spikes


def _nearest_whole(broken: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Row and column of the whole pixel nearest to each broken one, (N, 2)."""
    if broken.all():
        raise GeometryError(f"all {broken.size} pixels are marked as broken: none to use.")
    places = np.argwhere(broken)
    nearest = places.copy()
    left = np.arange(len(places))
    reach = 1
    while len(left):
        for offset in _offsets(reach):
            there = places[left] + offset
            is_inside = ((there >= 0) & (there < broken.shape)).all(1)
            rows, columns = np.where(is_inside[:, None], there, 0).T
            is_whole = is_inside & ~broken[rows, columns]
            nearest[left[is_whole]] = there[is_whole]
            left = left[~is_whole]
        reach *= 2
    return nearest


def _offsets(reach: int) -> NDArray[np.int64]:
    """All steps (y, x) of at most this length but none, the shortest first, to the left first."""
    side = np.arange(-reach, reach + 1)
    steps = np.stack(np.meshgrid(side, side, indexing="ij"), -1).reshape(-1, 2)[:, ::-1]
    squares = (steps**2).sum(1)
    order = np.argsort(squares, kind="stable")
    ordered: NDArray[np.int64] = steps[order][1 : int((squares <= reach**2).sum())]
    return ordered
