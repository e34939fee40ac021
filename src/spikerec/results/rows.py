"""Rows of a board: all evaluations of one set of weights, shown as one.

Each figure is the newest record's that has it, and where two of them differ by more than rounding
the board says so (`Row.disagreement`). Records are ordered by their times, which a store keeps in
order even where a clock was set back (`Store.now`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from spikerec.errors import printable
from spikerec.results.parts import FACTOR, Definition
from spikerec.results.reading import read_record
from spikerec.results.record import Record

#: Part of a mean by which processors round differently: 1e-4 measured, of BRISQUE, between an Intel
#: Xeon and an AMD EPYC.
ROUNDING = 3e-4

MOST_RUNS = 20  # of a row's history that are kept, the newest


class Summary(NamedTuple):
    """A record in brief.

    Attributes:
        created: when; summaries sort by time.
        id: the record's.
        file: its name in the store.
        means: metric → mean over the samples.
    """

    created: str
    id: str
    file: str
    means: dict[str, float | None]


class Metric(NamedTuple):
    """A column of a board: one definition of one metric.

    Attributes:
        key: unique on the board; the metric's own for its plain definition, else with a protocol.
        title: heading.
        definition: how its figures are computed.
        protocols: names of the protocols that its records were evaluated under.
        digits: decimals.
    """

    key: str
    title: str
    definition: Definition
    protocols: tuple[str, ...]
    digits: int

    @property
    def name(self) -> str:
        """The metric's key in a record."""
        return self.definition.metric

    @property
    def higher_is_better(self) -> bool:
        """The direction."""
        return self.definition.higher_is_better


class Spread(NamedTuple):
    """The lowest and the highest mean among a row's records, and the files that have them."""

    low: float
    low_file: str
    high: float
    high_file: str

    def widened(self, mean: float, file: str) -> Spread:
        """The spread with one more mean."""
        low = (mean, file) if mean < self.low else (self.low, self.low_file)
        high = (mean, file) if mean > self.high else (self.high, self.high_file)
        return Spread(*low, *high)


class _Held(NamedTuple):
    """A record of a row: its place in time, and where to find it again.

    Many rows are never shown, so that a record which was read from a file is read again if it is.
    """

    created: str
    id: str
    file: str
    path: Path | None
    record: Record | None

    @classmethod
    def of(cls, record: Record) -> _Held:
        kept = record if record.path is None else None
        return cls(record.created, record.id, record.file_name, record.path, kept)

    @property
    def order(self) -> tuple[str, str]:
        return self.created, self.id

    def load(self, known: dict[Path, Record]) -> Record:
        if self.record is not None:
            return self.record
        assert self.path is not None
        if self.path not in known:
            known[self.path] = read_record(self.path)
        return known[self.path]


class Row:
    """All records of one set of weights on one board.

    Attributes:
        key: see `row_key`.
        label: unique over all boards; set by `gather`.
        method: key of the method, as the record read last states it.
        names: keys and labels that its records have, in lower case.
        count: how many records there are.
        history: the newest of them in brief.
        definitions: digest → definition of each metric that any of them has or lacks.
        means: digest → the mean that is shown; absent where there is none.
        spreads: digest → the lowest and the highest mean.
        protocols: digest → names of the protocols that it was evaluated under.
        has_factors: True if a record states which factor each sample varies.
        record: the newest record.
        aspects: `efficiency`, `training`, `images`; `facts`, covariates or conditions of its
            samples; `mirrored` → the newest record that has it.
        figures: digest → the newest record that has its values; the newest that lacks them where
            none has.
    """

    record: Record
    aspects: dict[str, Record]
    figures: dict[str, Record]

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.label = ""
        self.method = ""
        self.names: set[str] = set()
        self.count = 0
        self.history: list[Summary] = []
        self.definitions: dict[str, Definition] = {}
        self.means: dict[str, float] = {}
        self.spreads: dict[str, Spread] = {}
        self.protocols: dict[str, set[str]] = defaultdict(set)
        self.has_factors = False
        self._aspects: dict[str, _Held] = {}
        self._figures: dict[str, _Held] = {}

    @property
    def latest(self) -> tuple[str, str]:
        """Time and id of the newest record."""
        return self._aspects["record"].order

    def add(self, record: Record) -> None:
        """Take a record in."""
        held = _Held.of(record)
        self.count += 1
        self.method = record.method
        self.names |= {record.method.lower(), printable(record.label).lower()}
        means = {metric: record.mean(metric) for metric in record.samples.values}
        self.history.append(Summary(record.created, record.id, held.file, means))
        if len(self.history) >= 2 * MOST_RUNS:
            self.sort()
        samples = record.samples
        self.has_factors |= FACTOR in samples.conditions
        has = {
            "record": True,
            "efficiency": record.efficiency,
            "training": record.training,
            "images": record.images,
            "facts": samples.covariates or samples.conditions,
            "mirrored": samples.mirrored is not None,
        }
        for name in (name for name, is_there in has.items() if is_there):
            _keep_newest(self._aspects, name, held)
        for metric in record.metrics:
            definition = record.definition(metric)
            digest = definition.digest
            self.definitions[digest] = definition
            self.protocols[digest].add(printable(record.protocol.name))
            mean = means.get(metric)
            if mean is None:
                if digest not in self.means:
                    _keep_newest(self._figures, digest, held)
                continue
            known = self.spreads.get(digest, Spread(mean, held.file, mean, held.file))
            self.spreads[digest] = known.widened(mean, held.file)
            if digest not in self.means:
                self._figures.pop(digest, None)
            if _keep_newest(self._figures, digest, held):
                self.means[digest] = mean

    def is_called(self, names: Sequence[str] | None) -> bool:
        """True if the row has one of the names, or if none are given."""
        own = self.names | {self.label.lower()}
        return names is None or any(name.lower() in own for name in names)

    def sort(self) -> None:
        """Order the history by time, and forget all but the newest."""
        self.history = sorted(self.history, key=lambda run: run[:2])[-MOST_RUNS:]

    def load(self, known: dict[Path, Record]) -> None:
        """Read the records that are shown.

        Raises:
            ResultsError: one is no longer there, or was changed since.
        """
        self.aspects = {name: held.load(known) for name, held in self._aspects.items()}
        self.figures = {digest: held.load(known) for digest, held in self._figures.items()}
        self.record = self.aspects["record"]

    def aspect(self, name: str) -> Mapping[str, Any]:
        """`efficiency`, `training` or `images` of the newest record that has it; else empty."""
        return getattr(self.aspects[name], name) if name in self.aspects else {}

    def disagreement(self, metric: Metric) -> str:
        """Contradictions between the row's evaluations in a metric; empty if they agree.

        Means agree if they differ by one unit of the last digit that is printed, or by `ROUNDING`
        of themselves.
        """
        spread = self.spreads.get(metric.definition.digest)
        if spread is None:
            return ""
        unit = 1.000001 * 10**-metric.digits
        if spread.high - spread.low <= max(unit, ROUNDING * abs(spread.high)):
            return ""
        low, high = (f"{value:.{metric.digits}f}" for value in (spread.low, spread.high))
        return (
            f"evaluations of the same {'weights' if self.record.weights.digest else 'method'} "
            f"disagree: {low} ({spread.low_file}) and {high} ({spread.high_file}); the newest is "
            "shown."
        )


def _keep_newest(kept: dict[str, _Held], name: str, held: _Held) -> bool:
    """Keep a record under a name unless a newer one is there; True if it was kept."""
    if name in kept and kept[name].order > held.order:
        return False
    kept[name] = held
    return True
