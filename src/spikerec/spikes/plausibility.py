"""Signs that the bits of a stream are not laid out as stated.

Nothing is compared with other recordings: each test asks whether the bits fit together in another
way better than in the stated one. Whether a picture is upside down or mirrored cannot be told.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

#: Pairs of spikes found, as a share of those that chance would give, above which two readouts do
#: not show the same pixels. Measured: 0.01 at most in recordings and REDS's streams, 0.6 where a
#: fifth of the spikes are stray ones; 0.8 at least where the size of a readout is wrong.
BY_CHANCE = 0.7
#: … and below which two pixels are the same one at successive readouts.
SAME = 0.3
#: Firing rate below which pixels are looked at: they never fire twice in a row, if the light does
#: not change.
SELDOM = 0.42
#: Pairs that chance would give, below which nothing can be said.
FEWEST_PAIRS = 1000.0
#: Readouts that may be stacked into one.
STACKED = (2, 3, 4)
#: Rows of another width fit better if their pixels differ by less than this share of those stated.
CLEARLY_LESS = 0.6
#: Narrowest row that is thought of, and fewest rows.
NARROWEST = 32
FEWEST_ROWS = 16
#: Widths this near to a multiple of the stated one only show that pixels side by side are alike.
ALIKE = 8


class Succession:
    """Count how often two bits of one place, or of two, are both spikes, and how often by chance.

    A spike camera's pixel that fires at less than every second readout has to gather light between
    two spikes, so it never fires at two successive readouts. Readouts that are cut at the wrong
    places put together bits of different pixels, which fire independently. A stated readout of
    twice the true height holds two readouts, of which one pixel's bits are a half apart.

    Args:
        rate: (H, W) firing rates of the whole clip.
        num_readouts: that they are the mean of.
    """

    def __init__(self, rate: NDArray[np.floating], num_readouts: int) -> None:
        self._square = _square_of_mean(rate, num_readouts)
        #: Pairs in time: found, expected by the rates of the run, and by those of the whole clip.
        #: The first grow with noise, the second with changes of the light.
        self._in_time = np.zeros(3)
        #: Pairs in the parts of a readout: found and expected.
        self._in_parts = {count: np.zeros(2) for count in STACKED if not len(rate) % count}

    def add(self, spikes: NDArray[np.uint8]) -> None:
        """Count readouts (T, H, W) in a row; fewer than two say nothing."""
        count = len(spikes)
        if count < 2:
            return
        fires = spikes > 0
        rate = fires.mean(0, dtype=np.float64)
        seldom = rate < SELDOM
        pixels = fires[:, seldom]
        found = (pixels[1:] & pixels[:-1]).sum()
        squares = [_square_of_mean(rate, count)[seldom].sum(), self._square[seldom].sum()]
        self._in_time += [found, *((count - 1) * np.array(squares))]
        for parts, counted in self._in_parts.items():
            rows = len(rate) // parts
            both = seldom[:rows] & seldom[rows : 2 * rows]
            pairs = fires[:, :rows] & fires[:, rows : 2 * rows]
            expected = (rate[:rows] * rate[rows : 2 * rows])[both].sum()
            counted += pairs[:, both].sum(), count * expected

    @property
    def is_by_chance(self) -> bool:
        """True where successive readouts do not show the same pixels."""
        found, *expected = self._in_time
        return bool(min(expected) > FEWEST_PAIRS and found > BY_CHANCE * max(expected))

    @property
    def stacked(self) -> int:
        """Readouts of the camera that each stated readout holds, one below the other; usually 1."""
        for count, (found, by_chance) in self._in_parts.items():
            if by_chance > FEWEST_PAIRS and found < SAME * by_chance:
                return count
        return 1


def _square_of_mean(rate: NDArray[np.floating], count: int) -> NDArray[np.float64]:
    """The square of the rates behind means of `count` spikes or none: less what noise adds."""
    mean = rate.astype(np.float64)
    square: NDArray[np.float64] = np.square(mean) - mean * (1 - mean) / max(count - 1, 1)
    return square


def better_row(rate: NDArray[np.floating], *, is_mosaic: bool = False) -> int | None:
    """Return the width at which rows would fit together much better; None if the stated one fits.

    Rows that are next to one another look alike. Pixels are therefore compared with those L further
    on in the order of storage, for every L.

    Args:
        rate: (H, W) firing rates, rows in the order in which they are stored.
        is_mosaic: rows see other colours than the ones beside them.
    """
    width = rate.shape[1]
    differences = _differences(rate)
    offsets = np.arange(NARROWEST, rate.size // FEWEST_ROWS)
    beside = np.abs(offsets - width * np.maximum(np.rint(offsets / width), 1))
    offsets = offsets[(beside > ALIKE) | ((beside == 0) & (offsets > width) & (not is_mosaic))]
    like_next = 2 * width if is_mosaic else width  # the next row of the same colours
    if like_next >= len(differences):
        return None
    least = CLEARLY_LESS * differences[like_next]
    if not len(offsets) or differences[offsets].min() > least:
        return None
    noise = 6 / math.sqrt(rate.size)
    as_good = offsets[differences[offsets] < (1 + noise) * differences[offsets].min()]
    best = int(as_good[0])
    once, twice = (
        np.square(rate[:, :-offset] - rate[:, offset:]).mean()
        if offset < width
        else differences[offset]
        for offset in (best, 2 * best)
    )
    if as_good[-1] - best > ALIKE or twice < (1 + noise) * once:
        return None  # a pattern that repeats fits in many ways, a picture in one
    if best % width == 0:
        # A stated row goes on in the next one; the rows of a striped picture do not.
        step = best // width
        if np.square(rate[:-1:step, -1] - rate[1::step, 0]).mean() > least:
            return None
    return best


def _differences(rate: NDArray[np.floating]) -> NDArray[np.float64]:
    """Mean squared difference of pixels L apart in the order of storage, for L up to a half."""
    flat = (rate - rate.mean()).astype(np.float64).ravel()
    count = len(flat)
    products = np.fft.irfft(np.abs(np.fft.rfft(flat, 2 * count)) ** 2, 2 * count)[: count // 2]
    squares = np.concatenate([[0.0], np.cumsum(flat**2)])
    offsets = np.arange(count // 2)
    both = squares[count - offsets] + squares[count] - squares[offsets]
    differences: NDArray[np.float64] = (both - 2 * products) / (count - offsets)
    return differences


def is_reversed(rate: NDArray[np.floating], row_bits: int) -> bool:
    """True if the pixels of each byte would fit together much better in the other order.

    In the wrong order, the first pixel of a byte and the last of the next are neighbours.

    Args:
        rate: (H, W) firing rates, rows in the order in which they are stored.
        row_bits: bits stored for a row; the first W of them are pixels.
    """
    height, width = rate.shape
    starts = np.arange(height)[:, None] * row_bits
    # the bytes that lie in a row with the one after them
    first = starts + np.arange(0, width, 8) + -starts % 8
    rows, columns = np.nonzero(first - starts + 15 < width)
    if not len(rows):
        return False
    places = (first - starts)[rows, columns]
    adjacent = np.square(rate[rows, places + 7] - rate[rows, places + 8]).mean()
    across = np.square(rate[rows, places] - rate[rows, places + 15]).mean()
    return bool(across < CLEARLY_LESS * adjacent)
