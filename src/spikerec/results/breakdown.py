"""Breakdowns: the first level of a factor at which a method is no longer of use.

**The rule.** Along each factor, walk from the middle outward, on both sides. A method breaks down
at the first level where the mean of its PSNR over the scenes

* is below that of TFP's best window at that level, among all that were evaluated, shown or not:
  then a plain mean of the spikes would have done better; or
* is `MOST_LOST` dB or more below its own mean in the middle.

Levels are those that were evaluated; nothing is interpolated, and a difference counts however small
(the curves have the intervals). Where a method has no value at a level, the walk ends there and
says so; where it has none in the middle, nothing is said of it. Rows of TFP itself are judged by
the second rule alone, and so are all rows where TFP was not evaluated. PSNR is the plain one:
images that were aligned with the truth, or prepared otherwise, take no part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from spikerec.errors import printable
from spikerec.results.boards import BASELINE, BASELINE_METRIC, Board
from spikerec.results.curves import Axis, factors, means
from spikerec.results.tables import Column, Figure, Table

MOST_LOST = 3.0  # dB: half of the quality, as twice the mean squared error
HOLDS = "none"  # the cell of a method that holds to both ends

Means = Sequence[float | None]


class Breakdown(NamedTuple):
    """A level at which a method breaks down.

    Attributes:
        level: as the set names it.
        cause: `< TFP`, the loss: `−3.4 dB`, or both: `< TFP, −3.4 dB`; `no value` where the method
            has none at the level.
    """

    level: str
    cause: str

    def __str__(self) -> str:
        return f"{self.level} ({self.cause})"


def breakdowns(board: Board) -> dict[str, dict[str, list[Breakdown]]]:
    """Factor → label of a row → where it breaks down: at most once on each side of the middle.

    Rows without a value in the middle are left out.
    Empty for a board without factors, or without PSNR.
    """
    if BASELINE_METRIC not in board.metrics:
        return {}
    found = {}
    for axis in factors(board):
        assert axis.middle is not None
        by_row = means(board, axis, board.metrics[BASELINE_METRIC])
        best = _best_baseline(board, by_row)
        found[axis.name] = {
            label: _outward(axis, column, () if row.method == BASELINE else best)
            for label, row in board.rows.items()
            if (column := by_row.get(label)) and column[axis.middle] is not None
        }
    return found


def breakdown_table(board: Board) -> Table | None:
    """The table of a board: a row a method, a column a factor; None where there is nothing."""
    found = breakdowns(board)
    if not found:
        return None
    axes = {axis.name: axis for axis in factors(board)}
    rows = {
        label: {
            name: Figure(text=shown(by_row[label])) if label in by_row else Figure()
            for name, by_row in found.items()
        }
        for label in board.rows
    }
    columns = [Column(name, printable(axes[name].title)) for name in found]
    return Table(f"{board.name}: breaks down at", columns, rows, [rule(board)], is_board=False)


def shown(places: Sequence[Breakdown]) -> str:
    """The places as a cell: `0 (< TFP), 1 (< TFP, −3.4 dB)`, or `none`."""
    return printable(", ".join(map(str, places))) or HOLDS


def rule(board: Board) -> str:
    """The rule, in two sentences."""
    below = f"is below the best of {', '.join(board.baselines)}, or " if board.baselines else ""
    return (
        f"The first level, from the middle outward, at which the mean PSNR {below}has lost "
        f"{MOST_LOST:g} dB of that in the middle; “{HOLDS}” where it holds to both ends. Levels "
        "are those that were evaluated, without interpolation."
    )


def _best_baseline(board: Board, by_row: Mapping[str, Means]) -> Means:
    """The mean of TFP's best window at each level."""
    columns = [by_row[label] for label in board.baselines if label in by_row]
    return [
        max((mean for mean in level if mean is not None), default=None)
        for level in zip(*columns, strict=True)
    ]


def _outward(axis: Axis, column: Means, best: Means) -> list[Breakdown]:
    """The first breakdowns on either side of the middle; one alone where it is the middle."""
    assert axis.middle is not None
    middle = column[axis.middle]
    assert middle is not None

    def broken(place: int) -> Breakdown | None:
        own, level = column[place], axis.points[place].text
        if own is None:
            return Breakdown(level, "no value")
        causes = []
        if best and (other := best[place]) is not None and own < other:
            causes.append("< TFP")
        if middle - own >= MOST_LOST:
            causes.append(f"−{middle - own:.1f} dB")
        return Breakdown(level, ", ".join(causes)) if causes else None

    if at_middle := broken(axis.middle):
        return [at_middle._replace(level="middle")]
    before = (broken(place) for place in range(axis.middle - 1, -1, -1))
    after = (broken(place) for place in range(axis.middle + 1, len(column)))
    sides = (next(filter(None, side), None) for side in (before, after))
    return [place for place in sides if place is not None]
