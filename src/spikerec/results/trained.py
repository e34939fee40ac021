"""Statement of what a row's weights were trained on, as far as its record says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from spikerec.errors import printable
from spikerec.results.folds import CrossValidated
from spikerec.results.rows import Row

UNKNOWN = "–"
MOST_TEXT = 60  # characters of a data set's or a machine's name that are shown


class Training(NamedTuple):
    """The training of a row's weights; what its record does not say is unknown.

    Attributes:
        data: names of the data sets.
        samples: windows seen, repetitions counted; None if unknown.
        seconds: how long it took by the clock on the wall, validation included; None if unknown.
        machine: what on.
        source: where the weights come from: `shipped`, `run NAME`, `file NAME`, `runs NAMES`.
        runs: trainings that samples and seconds are of, one a fold of a cross-validation.
        budget: `budget of 60 min of the processor`; empty for none, and for several runs.
    """

    data: str
    samples: int | None
    seconds: float | None
    machine: str
    source: str
    runs: int = 1
    budget: str = ""

    @property
    def short(self) -> str:
        """`photos_medium · 77 k samples · 16 min`, the time with the budget where there was one."""
        if not self.source:
            return "no training"
        seen, took = f"{count(self.samples)} samples", duration(self.seconds)
        if self.runs > 1:
            return f"{self.data} · {self.runs} runs, in all {seen} · {took}"
        took = f"{took}, {self.budget}" if self.budget else took
        return f"{self.data} · {seen} · {took}"

    @property
    def text(self) -> str:
        """The short form and the source, of which a row of several runs has too many."""
        return f"{self.short} · {self.source}" if self.source and self.runs == 1 else self.short


def training_of(row: Row) -> Training:
    """Training of a row's weights, as its newest records state it."""
    record = row.record
    if record.weights.digest is None:
        return Training(UNKNOWN, None, None, UNKNOWN, "")
    about = row.aspect("training")
    origin, name = record.weights.origin, record.weights.name
    known = {"run": f"run {record.weights.source}", "shipped": "shipped", "memory": "in memory"}
    sources = [known.get(origin, f"file {name}")]
    if isinstance(record, CrossValidated) and len(record.trainings) > 1:
        sources = record.trainings
    source = ", ".join(printable(one)[:MOST_TEXT] for one in sources)
    samples = number_in(about.get("samples"))
    return Training(
        data=names_in(about.get("data")),
        samples=None if samples is None else int(samples),
        seconds=number_in(about.get("seconds")),
        machine=names_in(about.get("machine") or about.get("device")),
        source=source if len(sources) == 1 else f"runs {source}",
        runs=len(sources),
        budget=budget_in(about.get("budget")) if len(sources) == 1 else "",
    )


def budget_in(value: object) -> str:
    """The budget that a record states of a training, in words; empty for none."""
    stated = value if isinstance(value, Mapping) else {}
    seconds = number_in(stated.get("seconds"))
    if seconds is None:
        return ""
    counted = " of the processor" if stated.get("clock") == "processor" else ""
    return f"budget of {duration(seconds)}{counted}"


def names_in(value: object) -> str:
    """Text, or the names in a list or a mapping; unknown for anything else."""
    if isinstance(value, list | tuple | Mapping):
        value = ", ".join(str(name) for name in value)
    return printable(value)[:MOST_TEXT] if isinstance(value, str) and value else UNKNOWN


def number_in(value: object) -> float | None:
    """A number of a record that may be a count or a time; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < 1e18 and math.isfinite(value) else None


def count(samples: int | None) -> str:
    """`840`, `77 k`, `1.2 M`."""
    if samples is None:
        return UNKNOWN
    if samples < 1000:
        return str(samples)
    return f"{samples / 1e3:.0f} k" if samples < 999_500 else f"{samples / 1e6:.1f} M"


def duration(seconds: float | None) -> str:
    """`95 s`, `16 min`, `5.2 h`, `3.1 days`."""
    if seconds is None:
        return UNKNOWN
    units = ((120, 1, "s", 0), (7200, 60, "min", 0), (172_800, 3600, "h", 1))
    for limit, unit, name, digits in units:
        if seconds < limit:
            return f"{seconds / unit:.{digits}f} {name}"
    return f"{seconds / 86_400:.1f} days"
