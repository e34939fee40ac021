"""The learning curve of a run: its validation PSNR against the samples and the time of training.

It is made of what a run's folder holds, and kept with the weights: in the records of their
evaluations, and in the files they are packed into.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from spikerec.training.clocks import Clock
from spikerec.training.facts import DATA

#: Validations of a curve; of longer trainings they are chosen evenly, the first and the last among
#: them.
MOST_POINTS = 100

#: Largest score in dB, with either sign: that of the least error in float32 is 449. Beyond it a
#: chart of several curves would show none of them.
LARGEST_SCORE = 1000.0

#: Columns of RUN/metrics.csv: the score, and the time beside it (`TrainingClock`).
SCORE, SECONDS = "val/psnr", "time/training"

#: Settings that decide on which samples, and how, PSNR is computed in validation.
VALIDATED = (
    *("data.val_samples", "data.margin", "data.carry", "data.warm_up", "data.folds", "data.fold"),
    *("protocol.alignment", "protocol.border", "protocol.clip", "protocol.rounding"),
)
PSNR = "protocol.metrics.psnr."

#: Steps, score and seconds of a validation.
Point = tuple[int, float, float | None]


@dataclass(frozen=True)
class Validation:
    """The validation that a curve's scores are of.

    Attributes:
        sets: names of the data sets.
        samples: most samples of each set; None for all.
        digest: of the data and of the settings of PSNR. Only scores of one digest are comparable.
    """

    sets: tuple[str, ...]
    samples: int | None
    digest: str


@dataclass(frozen=True)
class LearningCurve:
    """Validation scores in the course of a training.

    Attributes:
        clock: by which seconds are counted: `wall`, or `processor`.
        is_measured: True if seconds were counted while training; False if they are steps times the
            seconds per step that the budget measured before.
        samples: seen in training until each validation, rising.
        seconds: of training until then, validations excluded; None if unknown.
        psnr: mean over the validation samples, in dB.
        validation: on what.

    Raises:
        ValueError: columns of different lengths, none or too many values, ones that are not finite
            or do not rise, or a score beyond `LARGEST_SCORE`.
    """

    clock: Clock
    is_measured: bool
    samples: tuple[int, ...]
    seconds: tuple[float, ...] | None
    psnr: tuple[float, ...]
    validation: Validation

    def __post_init__(self) -> None:
        columns: list[Sequence[float]] = [self.samples, self.psnr]
        columns += [] if self.seconds is None else [self.seconds]
        if {len(column) for column in columns} - {len(self.psnr)}:
            raise ValueError("must have as many samples and seconds as scores")
        if not 1 <= len(self.psnr) <= MOST_POINTS:
            raise ValueError(f"must have 1 to {MOST_POINTS} scores")
        if not all(math.isfinite(value) for column in columns for value in column):
            raise ValueError("must be finite")
        if max(map(abs, self.psnr)) > LARGEST_SCORE:
            raise ValueError(f"must have scores of {LARGEST_SCORE:g} dB at most")
        for rising in (self.samples, self.seconds or ()):
            if any(second < first for first, second in pairwise((0, *rising))):
                raise ValueError("must have samples and seconds that rise from 0")


def learning_curve(
    rows: Mapping[int, Mapping[str, str]],
    report: Mapping[str, Any],
    settings: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> dict[str, Any] | None:
    """The learning curve of a finished run as plain values; None where there is none.

    Seconds are those that were logged with each validation. Where they are not (of runs of earlier
    versions), they are the steps times the seconds of a step that the budget measured; without a
    budget they are unknown.

    Args:
        rows: of RUN/metrics.csv, by step.
        report: content of RUN/finished.json.
        settings: of the run's identity.
        facts: of the run's identity.
    """
    batch, budget = report.get("batch"), report.get("budget")
    points = [
        (step + 1, score, _number(row, SECONDS))  # a row's step is the last one before it
        for step, row in sorted(rows.items())
        if (score := _number(row, SCORE)) is not None
    ]
    if not isinstance(batch, int) or not points:
        return None
    budget = budget if isinstance(budget, Mapping) else {}
    steps, psnr, logged = zip(*_evenly(points), strict=True)
    is_measured = None not in logged
    seconds: Sequence[float] | None = logged if is_measured else None
    if not is_measured and isinstance(rate := budget.get("seconds_per_step"), int | float):
        seconds = [round(step * rate, 3) for step in steps]
    try:
        curve = LearningCurve(
            clock=budget.get("clock", "wall"),
            is_measured=is_measured,
            samples=tuple(step * batch for step in steps),
            seconds=None if seconds is None else tuple(seconds),
            psnr=psnr,
            validation=_validation(settings, facts),
        )
    except ValueError:  # the files of the run were changed, or damaged
        return None
    return asdict(curve)


def _validation(settings: Mapping[str, Any], facts: Mapping[str, Any]) -> Validation:
    data = {name: value for name, value in facts.items() if name.startswith(DATA)}
    chosen = {
        key: value
        for key, value in settings.items()
        if key in VALIDATED or key.startswith((PSNR, *(f"{one}." for one in VALIDATED)))
    }
    text = json.dumps([data, chosen], sort_keys=True, default=str)
    samples = settings.get("data.val_samples")
    return Validation(
        sets=tuple(name.removeprefix(DATA) for name in data),
        samples=samples if isinstance(samples, int) else None,
        digest=hashlib.sha256(text.encode()).hexdigest()[:16],
    )


def _number(row: Mapping[str, str], name: str) -> float | None:
    """A finite number of a row, to six digits; None where there is none."""
    try:
        value = float(f"{float(row[name]):.6g}")
    except (KeyError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _evenly(points: Sequence[Point]) -> Sequence[Point]:
    if len(points) <= MOST_POINTS:
        return points
    return [points[round(k * (len(points) - 1) / (MOST_POINTS - 1))] for k in range(MOST_POINTS)]
