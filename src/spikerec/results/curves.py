"""Quality against the conditions of the samples: the points, means and intervals of curves.

Two kinds of axes:

* **Factors**, of a set that varies one at a time (`data=robustness`). The condition `factor` of a
  sample names the covariate or condition in which it differs from the middle; any other label is
  the middle, which belongs to every factor. The points are the factor's levels; a factor of more
  than 32 levels is left out.
* **Covariates** of any board, and conditions with several labels. The points are the values
  themselves where there are few, else bins of about equally many samples.

A row may have covariates of its own: how much of a window is mirrored depends on the method.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikerec.results.boards import Board
from spikerec.results.facts import Column, mirrored_of
from spikerec.results.parts import FACTOR
from spikerec.results.rows import Metric
from spikerec.results.statistics import Interval, intervals
from spikerec.results.tables import row_values

Mask = NDArray[np.bool_]

#: Headings of what spikerec itself states of samples; others are named as their set names them.
TITLES = {
    "firing_rate": "Firing rate",
    "fixed_pattern": "Fixed pattern (σ)",
    "hot_pixels": "Hot pixels (share)",
    "light_scale": "Light scale",
    "mirrored": "Mirrored readouts",
    "motion": "Motion (px a readout)",
    "noise": "Noise",
    "readouts_after": "Readouts left",
}

MOST_VALUES = 8  # distinct values of a covariate that are points of their own
BINS = 6
MOST_LABELS = 12  # of a condition that is drawn against
MOST_LEVELS = 32  # of a factor
MOST_AXES = 16  # of a board, of each kind


class Point(NamedTuple):
    """A level of a factor, or a bin of a covariate.

    Attributes:
        low: least value; NaN of a label.
        high: largest value, in the bin.
        text: as ticks and tables show it.
    """

    low: float
    high: float
    text: str


@dataclass(frozen=True)
class Axis:
    """A factor, covariate or condition that quality is drawn against.

    Attributes:
        name: key of the covariate or condition.
        points: in order.
        masks: label of a row → (points, samples): which of the board's samples belong to each.
        middle: index of the middle among the points of a factor; None elsewhere.
    """

    name: str
    points: tuple[Point, ...]
    masks: dict[str, Mask]
    middle: int | None = None

    @property
    def title(self) -> str:
        """Heading."""
        return TITLES.get(self.name, self.name.replace("_", " ").capitalize())


def factors(board: Board) -> list[Axis]:
    """The factors that the board's samples vary one at a time, in the set's order.

    At most `MOST_AXES` of them, and none of more than `MOST_LEVELS` levels.
    """
    columns = dict(board.facts)
    labels = columns.pop(FACTOR, np.array([]))
    is_middle = np.array([label not in columns for label in labels.tolist()], dtype=bool)
    found: list[Axis] = []
    for name in dict.fromkeys(labels[~is_middle].tolist()):
        is_own = is_middle | (labels == name)
        levels = _distinct(columns[name][is_own])
        if not 1 < len(levels) <= MOST_LEVELS:
            continue
        points = _exact(levels)
        masks = _masks(points, columns[name]) & is_own
        middles = np.flatnonzero((masks & is_middle).any(axis=1))
        if len(middles) == 1:
            rows = board.rows | board.baselines
            found.append(Axis(name, points, dict.fromkeys(rows, masks), int(middles[0])))
        if len(found) == MOST_AXES:
            break
    return found


def covariates(board: Board) -> list[Axis]:
    """The first `MOST_AXES` covariates and conditions that differ between the board's samples."""
    by_name: dict[str, dict[str, Column]] = {}
    for label, row in board.rows.items():
        for name, column in (board.facts | mirrored_of(row, board.keys)).items():
            by_name.setdefault(name, {})[label] = column
    found: list[Axis] = []
    for name, columns in by_name.items():
        points = _points(np.concatenate(list(columns.values())))
        if len(points) > 1:
            masks = {label: _masks(points, column) for label, column in columns.items()}
            found.append(Axis(name, points, masks))
        if len(found) == MOST_AXES:
            break
    return found


def _points(column: Column) -> tuple[Point, ...]:
    """Distinct values where they are few, else bins; none where labels are many."""
    levels = _distinct(column)
    if column.dtype.kind != "f":
        return _exact(levels) if len(levels) <= MOST_LABELS else ()
    return _exact(levels) if len(levels) <= MOST_VALUES else _bins(column[~np.isnan(column)])


def _distinct(column: Column) -> list[float] | list[str]:
    """The numbers, rising, or the texts, in the order of the samples, each once."""
    if column.dtype.kind == "f":
        numbers: list[float] = np.unique(column[~np.isnan(column)]).tolist()
        return numbers
    return list(dict.fromkeys(map(str, column.tolist())))  # numbers too, where rows differ in kind


def _exact(levels: Sequence[float] | Sequence[str]) -> tuple[Point, ...]:
    """A point for each level."""
    return tuple(
        Point(np.nan, np.nan, level)
        if isinstance(level, str)
        else Point(level, level, f"{level:g}")
        for level in levels
    )


def _bins(column: Column) -> tuple[Point, ...]:
    """Bins of about equally many numbers, each from its least to its largest.

    Equal numbers are in one bin; where they are more than its share, the others share the rest.
    """
    levels, counts = np.unique(column, return_counts=True)
    up_to = counts.cumsum()
    middles = up_to - counts / 2
    bins: list[Point] = []
    start = done = 0
    for left in range(BINS, 0, -1):
        share = (len(column) - done) / left
        end = max(start + 1, int(np.searchsorted(middles, done + share, side="right")))
        low, high = float(levels[start]), float(levels[end - 1])
        bins.append(Point(low, high, f"{low:.3g}" + ("" if low == high else f" … {high:.3g}")))
        start, done = end, int(up_to[end - 1])
        if start == len(levels):
            break
    return tuple(bins)


def _masks(points: Sequence[Point], column: Column) -> Mask:
    """The samples (columns) that belong to each point (rows)."""
    if column.dtype.kind == "f":
        rows = [(column >= point.low) & (column <= point.high) for point in points]
    else:
        rows = [column == point.text for point in points]
    return np.array(rows)


def means(board: Board, axis: Axis, metric: Metric) -> dict[str, list[float | None]]:
    """Label of a row → mean at each point of an axis; None without samples.

    Along a factor of the baselines that are not shown, too.
    """
    found = {}
    for label, row in (board.rows | board.baselines).items():
        column = row_values(row, metric, board.keys)
        if column is not None and label in axis.masks:
            parts = [column[mask & ~np.isnan(column)] for mask in axis.masks[label]]
            found[label] = [float(part.mean()) if part.size else None for part in parts]
    return found


def curves(board: Board, axis: Axis) -> dict[str, dict[str, list[Interval | None]]]:
    """Key of a metric → label of a row → mean and interval at each point; None without samples.

    The intervals are the board's own: see `spikerec.results.statistics`.
    """
    values = {
        (key, label): column
        for key, metric in board.metrics.items()
        for label, row in board.rows.items()
        if label in axis.masks and (column := row_values(row, metric, board.keys)) is not None
    }
    found: dict[str, dict[str, list[Interval | None]]] = {}
    for place in range(len(axis.points)):
        masked = {
            name: np.where(axis.masks[name[1]][place], column, np.nan)
            for name, column in values.items()
        }
        estimated = intervals(masked, board.keys)
        for (key, label), one in estimated.items():
            known = None if np.isnan(one.mean) else one
            found.setdefault(key, {}).setdefault(label, []).append(known)
    return found
