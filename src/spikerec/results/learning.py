"""Quality against training time: the learning curves of a board's rows, as records state them.

Curves are shown together only where they are comparable: their scores are of one validation set,
and their seconds of one budget, clock and machine. Rows whose records state no curve, or one that
makes no sense, are named and left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from pydantic import TypeAdapter, ValidationError

from spikerec.errors import printable
from spikerec.results.boards import Board
from spikerec.results.rows import Row
from spikerec.results.tables import Column, Figure, Table, named
from spikerec.results.trained import MOST_TEXT, UNKNOWN, count, duration, names_in, number_in
from spikerec.training.learning import LearningCurve

#: Parts of a training at which the table has the score.
PARTS = (0.25, 0.5, 0.75, 1.0)

_LAYOUT = TypeAdapter(LearningCurve)


class Together(NamedTuple):
    """The facts that curves must share to be shown together.

    Attributes:
        seconds: of the budget; None for trainings without one.
        clock: by which they are counted.
        machine: on which.
        validation: digest of the validation, see `spikerec.training.learning.Validation`.
    """

    seconds: float | None
    clock: str
    machine: str
    validation: str


@dataclass(frozen=True)
class Learning:
    """Curves that may be compared.

    Attributes:
        together: the facts that they share.
        curves: label of a row → curve, in the order of the board.
        crops: label of a row → size of the crops it was trained on, `96×96`; empty if unknown.
    """

    together: Together
    curves: dict[str, LearningCurve]
    crops: dict[str, str]

    @property
    def budget(self) -> str:
        """The budget without the machine, in words."""
        seconds, clock = self.together.seconds, self.together.clock
        of = " of processor time" if clock == "processor" else ""
        return "no budget" if seconds is None else f"budget of {duration(seconds)}{of}"

    @property
    def validation(self) -> str:
        """The validation set, in words."""
        about = next(iter(self.curves.values())).validation
        sets = printable(", ".join(about.sets))[:MOST_TEXT] or UNKNOWN
        return sets if about.samples is None else f"{sets} ({about.samples} of its samples)"

    @property
    def title(self) -> str:
        """Budget, machine and validation set."""
        return f"{self.budget}, on {self.together.machine}, validated on {self.validation}"

    @property
    def notes(self) -> list[str]:
        """Notes for the reader of the curves."""
        found = [
            "PSNR of the validation samples while training, in dB, at parts of the training's time "
            "(interpolated). Last quarter: the gain in it, a part of which may come from a "
            "learning rate that falls towards the end."
        ]
        if self.together.seconds is None:
            found.append("Without a budget each training has a length of its own.")
        counted = [one for one, curve in self.curves.items() if _is_by_rate(curve)]
        if counted:
            found.append(
                "Times are steps by the seconds of a step that the budget measured before, of "
                f"{named(counted)}."
            )
        if untimed := [one for one, curve in self.curves.items() if curve.seconds is None]:
            found.append(f"Their time is not known, samples take its place: {named(untimed)}.")
        return found

    def table(self) -> Table:
        """A row a method: samples seen, time, scores, and the gain in the last quarter."""
        parts = [f"at {part:.0%}".replace("%", " %") for part in PARTS[:-1]]
        titles = ["Samples seen", "Time", *parts, "at the end", "Last quarter"]
        rows = {
            label: dict(zip(titles, self._figures(label), strict=True)) for label in self.curves
        }
        columns = [Column(title, title, digits=2) for title in titles]
        return Table(self.title, columns, rows, self.notes, is_board=False)

    def _figures(self, label: str) -> list[Figure]:
        curve = self.curves[label]
        scores = [_at(curve, part) for part in PARTS]
        *_, before, end = scores
        gain = "" if before is None or end is None else f"{end - before:+.2f}".replace("-", "−")
        crop = f" of {self.crops[label]}" if self.crops[label] else ""
        took = UNKNOWN if curve.seconds is None else duration(curve.seconds[-1])
        seen = Figure(text=f"{count(curve.samples[-1])}{crop}")
        return [seen, Figure(text=took), *map(Figure, scores), Figure(text=gain)]


def learning(board: Board) -> list[Learning]:
    """The curves of a board's rows that may be compared with one another, most curves first."""
    found: dict[Together, dict[str, LearningCurve]] = defaultdict(dict)
    for label, row in board.rows.items():
        if curve := curve_of(row):
            found[_together(row, curve)][label] = curve
    crops = {label: _crop(row) for label, row in board.rows.items()}
    groups = [Learning(together, curves, crops) for together, curves in found.items()]
    return sorted(groups, key=lambda one: (-len(one.curves), one.title))


def learning_tables(board: Board) -> list[Table]:
    """A table of each group of curves; the last one names the rows without a curve."""
    tables = [
        replace(table, title=f"{board.name}: while training, {table.title}")
        for table in (group.table() for group in learning(board))
    ]
    if tables and (missing := without_curve(board)):
        tables[-1].notes.append(missing)
    return tables


def without_curve(board: Board) -> str:
    """The note that names the rows with weights whose records state no curve; empty without any."""
    labels = [
        label
        for label, row in board.rows.items()
        if row.record.weights.digest is not None and curve_of(row) is None
    ]
    return f"Their records state no curve: {named(labels)}." if labels else ""


def curve_of(row: Row) -> LearningCurve | None:
    """The curve that a row's newest records state; None where none makes sense."""
    try:
        return _LAYOUT.validate_python(row.aspect("training").get("curve"))
    except ValidationError:
        return None


def _together(row: Row, curve: LearningCurve) -> Together:
    about = row.aspect("training")
    budget = about.get("budget")
    budget = budget if isinstance(budget, dict) else {}
    return Together(
        seconds=number_in(budget.get("seconds")),
        clock=curve.clock,
        machine=names_in(budget.get("machine") or about.get("machine")),
        validation=curve.validation.digest,
    )


def _crop(row: Row) -> str:
    crop = row.aspect("training").get("crop")
    sides = crop if isinstance(crop, list) else []
    known = len(sides) == 2 and all(number_in(side) is not None for side in sides)
    return "×".join(f"{side:g}" for side in sides) if known else ""


def _is_by_rate(curve: LearningCurve) -> bool:
    return curve.seconds is not None and not curve.is_measured


def _at(curve: LearningCurve, part: float) -> float | None:
    """The score at a part of the training, interpolated; None before the first validation."""
    across: Sequence[float] = curve.samples if curve.seconds is None else curve.seconds
    place = part * across[-1]
    return None if place < across[0] else float(np.interp(place, across, curve.psnr))
