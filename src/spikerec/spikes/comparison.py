"""Two recordings side by side: does a simulation fire as a camera does?

Three histograms describe how pixels fire. The firing rates and the inter-spike intervals depend on
the scene, so that two recordings of different scenes differ in them. The change from one interval
of a pixel to its next one depends on the scene only through motion: an ideal pixel under constant
light changes by one readout at most, and noise shows as larger changes. It is the one to look at
where the scenes are not the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from spikerec.errors import DataError
from spikerec.kinds import checked
from spikerec.spikes.stream import SpikeStream

#: Readouts of a piece of a stream that is looked at, and pieces of a stream.
PIECE_READOUTS = 256
PIECES = 8
#: Fewest readouts in which intervals can be seen at all.
LEAST_READOUTS = 16
#: Values that are decoded at once.
STRIP_VALUES = 1 << 24

#: Ranges of firing rate at most: each holds as many of the rates that a piece can have.
MOST_RATE_BINS = 50
#: Longest interval and largest change with a bin of their own; what is longer shares the last one.
LONGEST_INTERVAL = 64
LARGEST_CHANGE = 16

#: Colours of the recording and of the simulation in pictures: apart for the colour-blind too.
COLOURS = ((120, 160, 200), (230, 120, 20))


@dataclass(frozen=True)
class Histograms:
    """Statistics of when the pixels of one or several streams fire, from pieces spread over each.

    Attributes:
        rates: share of the pixels in equal ranges of firing rate from 0 to 1; each range holds
            `rates_per_bin` of the rates 0, 1/`piece`, 2/`piece`, …, 1.
        intervals: share of the inter-spike intervals of 1, 2, … `LONGEST_INTERVAL` readouts; the
            last holds longer ones too.
        changes: share of the absolute differences between successive intervals of a pixel of 0, 1,
            … `LARGEST_CHANGE` readouts; the last holds larger ones too. All 0 where no pixel fires
            three times.
        mean_rate: spikes a readout.
        num_streams: that were looked at.
        num_readouts: that were looked at, of all streams, in pieces of `piece` readouts.
        piece: readouts of a piece; intervals longer than it are not seen.
    """

    rates: NDArray[np.float64]
    intervals: NDArray[np.float64]
    changes: NDArray[np.float64]
    mean_rate: float
    num_streams: int
    num_readouts: int
    piece: int

    @property
    def rates_per_bin(self) -> int:
        """Rates of a piece that share a range."""
        return _rates_per_bin(self.piece)

    @property
    def median_interval(self) -> int:
        """Readouts that half of the intervals do not exceed."""
        return int(np.searchsorted(np.cumsum(self.intervals), 0.5)) + 1

    @property
    def mean_change(self) -> float:
        """Readouts by which an interval differs from the next, on average; NaN without changes."""
        if not self.changes.any():
            return math.nan
        return float(self.changes @ np.arange(len(self.changes)))


@dataclass(frozen=True)
class Comparison:
    """Histograms of a recording and of a simulation, and how far they lie apart.

    Distances are those of Wasserstein (W₁): how far a value has to be moved on average to turn one
    histogram into the other, in the units of the values. 0 if the histograms are equal.

    Attributes:
        recording: histograms of the first.
        simulation: histograms of the second, from pieces of the same length.
    """

    recording: Histograms
    simulation: Histograms

    @property
    def distances(self) -> dict[str, float]:
        """`rates` in spikes a readout; `intervals` and `changes` in readouts.

        NaN for changes that one of the two lacks.
        """
        rate = self.recording.rates_per_bin / self.recording.piece
        widths = {"rates": rate, "intervals": 1.0, "changes": 1.0}
        return {
            name: width * _distance(getattr(self.recording, name), getattr(self.simulation, name))
            for name, width in widths.items()
        }


@checked
def histograms(
    streams: SpikeStream | Sequence[SpikeStream], piece: int = PIECE_READOUTS
) -> Histograms:
    """Count how often pixels fire, and after how many readouts.

    Args:
        streams: one, or several that are counted together.
        piece: readouts of a piece; at most those of the shortest stream are taken.

    Raises:
        DataError: no stream, a stream of fewer than `LEAST_READOUTS` readouts, or one that never
            fires twice.
    """
    every = [streams] if isinstance(streams, SpikeStream) else list(streams)
    length = min([piece, *_lengths(every)])
    together = _rates_per_bin(length)
    rates = np.zeros(length // together + 1)
    intervals = np.zeros(LONGEST_INTERVAL)
    changes = np.zeros(LARGEST_CHANGE + 1)
    spikes = values = readouts = 0
    for stream in every:
        for block in _blocks(stream, length):
            pixels = block.reshape(length, -1).T  # (H·W, T)
            fired = pixels.sum(1, dtype=np.int64)
            rates += np.bincount(fired // together, minlength=len(rates))
            found, found_changes = _intervals(pixels)
            intervals += np.bincount(found - 1, minlength=LONGEST_INTERVAL)
            changes += np.bincount(found_changes, minlength=LARGEST_CHANGE + 1)
            spikes += int(fired.sum())
            values += pixels.size
        readouts += length * len(_starts(stream, length))
    if not intervals.sum():
        names = ", ".join(str(stream.path) for stream in every)
        raise DataError(f"{names}: no pixel fires twice in {length} readouts: nothing to compare.")
    return Histograms(
        rates / rates.sum(),
        intervals / intervals.sum(),
        changes / max(changes.sum(), 1),
        spikes / values,
        len(every),
        readouts,
        length,
    )


@checked
def compare(
    recording: SpikeStream | Sequence[SpikeStream],
    simulation: SpikeStream | Sequence[SpikeStream],
) -> Comparison:
    """Compare how the pixels of two recordings fire.

    Both are read in pieces of one length, so that the same intervals can be seen in both.

    Args:
        recording: a stream or several, usually of a camera.
        simulation: a stream or several, usually simulated.

    Raises:
        DataError: see `histograms`.

    Example:
        >>> import torch, spikerec
        >>> from spikerec.simulation import Camera
        >>> light = torch.full((64, 8, 8), 0.5)
        >>> one, other = (
        ...     spikerec.open(Camera(light_scale=scale).expose(light, seed=0))
        ...     for scale in (0.4, 0.8)
        ... )
        >>> f"{compare(one, other).distances['intervals']:.1f} readouts"
        '2.5 readouts'
    """
    both = [[one] if isinstance(one, SpikeStream) else list(one) for one in (recording, simulation)]
    piece = min([PIECE_READOUTS, *(length for one in both for length in _lengths(one))])
    return Comparison(histograms(both[0], piece), histograms(both[1], piece))


def picture(compared: Comparison, names: tuple[str, str]) -> Image.Image:
    """Draw the histograms one below another, the recording filled, the simulation as a line.

    Args:
        compared: what to draw.
        names: of the recording and of the simulation, for the legend.
    """
    distances = compared.distances
    panels = [
        ("firing rate, spikes a readout", "rates", (0, 0.25, 0.5, 0.75, 1)),
        ("interval between spikes, readouts", "intervals", (1, 16, 32, 48, LONGEST_INTERVAL)),
        ("change from an interval to the next, readouts", "changes", (0, 4, 8, 12, LARGEST_CHANGE)),
    ]
    width, height, top = 760, 250, 64
    canvas = Image.new("RGB", (width, top + height * len(panels)), (255, 255, 255))
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(15)
    for row, (name, colour) in enumerate(zip(names, COLOURS, strict=True)):
        draw.rectangle((24, 12 + 24 * row, 48, 26 + 24 * row), fill=colour)
        draw.text((58, 10 + 24 * row), _short(name), fill=(0, 0, 0), font=font)
    scale = "heights: square root of the share"
    draw.text((width - 24, 10), scale, fill=(80, 80, 80), font=font, anchor="ra")
    for k, (title, name, ticks) in enumerate(panels):
        pair = (getattr(compared.recording, name), getattr(compared.simulation, name))
        left, above, wide = 24, top + k * height, width - 48
        _panel(draw, (left, above), (wide, height - 70), pair)
        draw.text((left, above), title, fill=(0, 0, 0), font=font)
        apart = f"{as_text(distances[name], '.3g')} apart"
        draw.text((left + wide, above), apart, fill=(0, 0, 0), font=font, anchor="ra")
        for tick in ticks:
            value = tick * compared.recording.piece if name == "rates" else tick - ticks[0]
            values_per_bin = compared.recording.rates_per_bin if name == "rates" else 1
            share = (value + 0.5) / (values_per_bin * len(pair[0]))
            is_open = name != "rates" and tick == ticks[-1]  # the last bin holds what is longer
            place = (left + share * wide, above + height - 40)
            draw.text(place, f"{tick:g}{'+' * is_open}", fill=(80, 80, 80), font=font, anchor="ma")
    return canvas


def as_text(value: float, form: str) -> str:
    """A value as text; `n/a` for one that is not defined."""
    return "n/a" if math.isnan(value) else format(value, form)


def _panel(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    size: tuple[int, int],
    pair: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> None:
    """Both histograms on one scale: the square root of shares, so that rare ones can be seen."""
    (left, top), (width, height) = place, size
    bottom, bins = top + 26 + height, len(pair[0])
    highest = max(float(np.sqrt(one.max())) for one in pair) or 1.0
    edges = [left + round(k * width / bins) for k in range(bins + 1)]

    def y(share: float) -> int:
        return bottom - round(height * math.sqrt(share) / highest)

    for k, share in enumerate(pair[0]):
        draw.rectangle((edges[k], y(share), edges[k + 1] - 1, bottom), fill=COLOURS[0])
    line = [point for k, share in enumerate(pair[1]) for point in _step(edges, k, y(share))]
    draw.line(line, fill=COLOURS[1], width=3)
    draw.line((left, bottom, left + width, bottom), fill=(80, 80, 80))


def _step(edges: Sequence[int], k: int, y: int) -> list[tuple[int, int]]:
    return [(edges[k], y), (edges[k + 1], y)]


def _short(name: str, most: int = 45) -> str:
    return name if len(name) <= most else f"…{name[-most:]}"


def _rates_per_bin(length: int) -> int:
    return -(-(length + 1) // MOST_RATE_BINS)


def _distance(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """W₁ of two histograms, in bins; NaN if one is empty."""
    if not (one.any() and other.any()):
        return math.nan
    return float(np.abs(np.cumsum(one - other)).sum())


def _lengths(streams: Sequence[SpikeStream]) -> list[int]:
    """Readouts of each stream.

    Raises:
        DataError: there is none, or one is too short.
    """
    if not streams:
        raise DataError("expected at least one stream, found none.")
    for stream in streams:
        if stream.num_readouts < LEAST_READOUTS:
            raise DataError(
                f"{stream.path} holds {stream.num_readouts} readouts: intervals are compared in "
                f"streams of at least {LEAST_READOUTS}."
            )
    return [stream.num_readouts for stream in streams]


def _starts(stream: SpikeStream, length: int) -> NDArray[np.int64]:
    """First readouts of the pieces of a stream, spread evenly over it."""
    count = max(1, min(PIECES, stream.num_readouts // length))
    return np.linspace(0, stream.num_readouts - length, count).astype(np.int64)


def _blocks(stream: SpikeStream, length: int) -> Iterator[NDArray[np.uint8]]:
    """Spikes (length, h, W) of the pieces, cut into strips of rows that fit into memory."""
    rows = max(1, STRIP_VALUES // (length * stream.width))
    for start in _starts(stream, length).tolist():
        for top in range(0, stream.height, rows):
            yield stream[start : start + length, top : top + rows]


def _intervals(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Intervals and their changes of all pixels (N, T), each cut to the last bin."""
    pixel, readout = np.nonzero(pixels)
    interval, same = np.diff(readout), np.diff(pixel) == 0
    change, same_twice = np.abs(np.diff(interval)), same[1:] & same[:-1]
    return (
        interval[same].clip(max=LONGEST_INTERVAL),
        change[same_twice].clip(max=LARGEST_CHANGE),
    )
