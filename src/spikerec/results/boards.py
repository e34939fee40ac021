"""Boards: one per data set and split, whose rows are sets of weights.

**What may be compared.** Records share a board only if the digest of the data, the light scale and
the samples evaluated agree. Where records of one data set and split disagree, the board is of the
variant with most rows, the most recent of equals; the rest is reported by name and left out.
Figures share a column only if their metric's own definition agrees (`Record.definition`): another
metric in a protocol, or another protocol's name, parts nothing.

**What a row is.** One set of weights, by digest; of a method without weights, one configuration.
Evaluations of one row are shown as one: each figure is the newest record's that has it, and where
two of them differ by more than rounding the board says so (`Row.disagreements`). Newest is told by
the records' times, which a store keeps in order even where a clock was set back (`Store.write`).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from spikerec.configs import RENAMED
from spikerec.errors import ResultsError, printable
from spikerec.results.reading import read_record
from spikerec.results.record import Definition, Record
from spikerec.results.store import Problem

#: Order of the metrics that the field reports; others follow by name.
METRIC_ORDER = ("psnr", "ssim", "lpips", "niqe", "brisque")

#: Decimals as the papers print them; other metrics get 4.
DIGITS = {"psnr": 2, "ssim": 3, "lpips": 4, "niqe": 3, "brisque": 3}

#: The protocol for new comparisons: its figures have the plain name of a metric.
DEFAULT_PROTOCOL = "corrected"

#: Part of a mean by which processors round differently: 1e-4 measured, of BRISQUE, between an Intel
#: Xeon and an AMD EPYC.
ROUNDING = 3e-4

MOST_RUNS = 20  # of a row's history that are kept, the newest
MOST_COLUMNS = 20  # metrics of a board, those that most rows have
MOST_NAMED = 5  # rows that a problem names before it counts the rest


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


class BoardName(NamedTuple):
    """The data that a board is of."""

    dataset: str
    split: str

    def __str__(self) -> str:
        return f"{self.dataset} ({self.split})"


class Metric(NamedTuple):
    """A column of a board: one definition of one metric.

    Attributes:
        key: unique on the board; the metric's own for the main definition.
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
        names: keys and labels that its records have, in lower case.
        count: how many records there are.
        history: the newest of them in brief.
        definitions: digest → definition of each metric that any of them has or lacks.
        means: digest → the mean that is shown; absent where there is none.
        spreads: digest → the lowest and the highest mean.
        protocols: digest → names of the protocols that it was evaluated under.
        record: the newest record.
        aspects: `efficiency`, `training`, `images` → the newest record that has it.
        figures: digest → the newest record that has its values; the newest that lacks them where
            none has.
    """

    record: Record
    aspects: dict[str, Record]
    figures: dict[str, Record]

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.label = ""
        self.names: set[str] = set()
        self.count = 0
        self.history: list[Summary] = []
        self.definitions: dict[str, Definition] = {}
        self.means: dict[str, float] = {}
        self.spreads: dict[str, Spread] = {}
        self.protocols: dict[str, set[str]] = defaultdict(set)
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
        self.names |= {record.method.lower(), printable(record.label).lower()}
        means = {metric: record.mean(metric) for metric in record.samples.values}
        self.history.append(Summary(record.created, record.id, held.file, means))
        if len(self.history) >= 2 * MOST_RUNS:
            self.sort()
        for name in ("record", "efficiency", "training", "images"):
            if name == "record" or getattr(record, name):
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


@dataclass
class Board:
    """Rows that may be compared.

    Attributes:
        name: data set and split.
        rows: label → row; best first by the first metric.
        metrics: key → column, in the field's order; the main definition of a metric first.
        columns: keys of the columns that tables show, in order; empty for all.
        more_metrics: how many columns are left out.
    """

    name: BoardName
    rows: dict[str, Row] = field(default_factory=dict)
    metrics: dict[str, Metric] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    more_metrics: int = 0

    @property
    def record(self) -> Record:
        """Any of its records, for what all of them share: the data."""
        return next(iter(self.rows.values())).record

    @property
    def keys(self) -> tuple[str, ...]:
        """The samples that every row was evaluated on."""
        return self.record.samples.keys

    @property
    def protocols(self) -> set[str]:
        """Names of the protocols that its figures were evaluated under."""
        return {name for metric in self.metrics.values() for name in metric.protocols}


@dataclass(frozen=True)
class Choice:
    """The part of all evaluations to show; None shows everything.

    Attributes:
        rows: most rows of a board, the best ones.
        methods: keys or labels of methods, in any case of letters.
        datasets: names of data sets.
        columns: keys of columns: metrics, and `params`, `memory_bytes`, `macs`, `trained`.
    """

    rows: int = 100
    methods: Sequence[str] | None = None
    datasets: Sequence[str] | None = None
    columns: Sequence[str] | None = None


EVERYTHING = Choice()


def gather(
    items: Iterable[Record | Problem], choice: Choice = EVERYTHING
) -> tuple[list[Board], list[Problem]]:
    """Sort records into boards.

    Args:
        items: what `Store.scan` gives, in any order; read once.
        choice: what to show.

    Returns:
        The boards by name, and the problems: those among the items, the records left out because
        their board is of other data or samples, and the rows that are not among the best.

    Raises:
        ResultsError: the choice names what no record has.
    """
    problems: list[Problem] = []
    variants: dict[BoardName, dict[Hashable, _Variant]] = defaultdict(dict)
    names: dict[Hashable, _Name] = {}
    for item in items:
        if isinstance(item, Problem):
            problems.append(item)
            continue
        name = BoardName(item.dataset.name, item.dataset.split)
        comparable = _comparable(item)
        variant = variants[name].setdefault(comparable, _Variant(item))
        key = row_key(item)
        variant.rows.setdefault(key, Row(key)).add(item)
        names[key] = max(names.get(key, _Name.of(item)), _Name.of(item))
    labels = unique_labels(names)
    _check_choice(choice, variants, labels)
    boards = []
    known: dict[Path, Record] = {}
    for name in sorted(variants):
        if choice.datasets is not None and name.dataset not in choice.datasets:
            continue
        chosen, *others = sorted(
            variants[name].values(), key=lambda v: (len(v.rows), v.latest), reverse=True
        )
        board, trimmed = _board(name, chosen, labels, choice, known)
        problems += trimmed
        if board.rows:
            boards.append(board)
        problems += [problem for other in others for problem in other.left_out(name, chosen)]
    return boards, sorted(problems)


def row_key(record: Record) -> Hashable:
    """The weights' digest; for a method without weights, its name and its arguments."""
    if record.weights.digest is not None:
        return "weights", record.weights.digest
    model = record.config.get("model", record.label)
    if isinstance(model, Mapping):  # of the class, only its arguments can move the result
        model = {
            RENAMED.get(f"model.{k}", f"model.{k}"): v for k, v in model.items() if k != "_target_"
        }
    return "method", record.method, json.dumps(model, sort_keys=True, default=str)


def _check_choice(
    choice: Choice,
    variants: Mapping[BoardName, Mapping[Hashable, _Variant]],
    labels: Mapping[Hashable, str],
) -> None:
    """Refuse names that nothing has: a typing error must not pass for an empty board."""
    rows = [
        row for kinds in variants.values() for kind in kinds.values() for row in kind.rows.values()
    ]
    metrics = {d.metric.lower() for row in rows for d in row.definitions.values()}
    known = {
        "methods": {name for row in rows for name in row.names}
        | {label.lower() for label in labels.values()},
        "datasets": {name.dataset for name in variants},
        "metrics": metrics | {"params", "memory_bytes", "macs", "trained"},
    }
    asked = {"methods": choice.methods, "datasets": choice.datasets, "metrics": choice.columns}
    for kind, words in asked.items():
        for word in words or ():
            plain = word if kind == "datasets" else word.lower()
            if kind == "metrics":  # `lpips (stir)` is a second definition of LPIPS
                plain = plain.partition(" (")[0]
            if plain not in known[kind]:
                listed = ", ".join(sorted(known[kind])[:20])
                raise ResultsError(
                    f"{kind} names {word!r}, which no record has: expected {listed}."
                )


class _Variant:
    """Records of one data set and split that are of the same data and samples."""

    def __init__(self, record: Record) -> None:
        self.dataset = record.dataset
        self.samples = len(record.samples.keys)
        self.rows: dict[Hashable, Row] = {}

    @property
    def latest(self) -> tuple[str, str]:
        return max(row.latest for row in self.rows.values())

    def left_out(self, name: BoardName, chosen: _Variant) -> list[Problem]:
        """A problem for each record, saying why it cannot join the chosen variant."""
        own, other = self.dataset, chosen.dataset
        if own.digest != other.digest:
            what = f"data digest is {own.digest[:12]}, the board's {other.digest[:12]}"
        elif own.light_scale != other.light_scale:
            what = f"light scale is {own.light_scale}, the board's {other.light_scale}"
        else:
            what = f"it was evaluated on other samples ({self.samples}, the board has "
            what += f"{chosen.samples})"
        reason = (
            f"left out of {name}: {what}. Evaluate again on the board's data, or keep these "
            "records in a folder of their own."
        )
        return [
            Problem(run.file, f"{run.file}: {reason}")
            for row in self.rows.values()
            for run in row.history
        ]


def _board(
    name: BoardName,
    variant: _Variant,
    labels: Mapping[Hashable, str],
    choice: Choice,
    known: dict[Path, Record],
) -> tuple[Board, list[Problem]]:
    """The board of a variant with its best rows, and what is wrong or left out."""
    board = Board(BoardName(printable(name.dataset), printable(name.split)))
    for row in variant.rows.values():
        row.label = labels[row.key]
        row.sort()
    rows = [row for row in variant.rows.values() if row.is_called(choice.methods)]
    _choose_metrics(board, rows)
    if choice.columns is not None:
        board.columns = tuple(key.lower() for key in choice.columns)
        board.metrics = {k: m for k, m in board.metrics.items() if k.lower() in board.columns}
        board.more_metrics = 0
    first = next(iter(board.metrics.values()), None)

    def place(row: Row) -> tuple[float, str]:
        mean = row.means.get(first.definition.digest) if first else None
        if first is None or mean is None:
            return float("inf"), row.label
        return (-mean if first.higher_is_better else mean), row.label

    ordered = sorted(rows, key=place)
    problems = []
    for row in ordered[: choice.rows]:
        try:
            row.load(known)
        except ResultsError as error:
            problems.append(Problem(row.history[-1].file, f"left out of {board.name}: {error}"))
        else:
            board.rows[row.label] = row
    if rest := [row.label for row in ordered[choice.rows :]]:
        named = ", ".join(rest[:MOST_NAMED])
        named += f" and {len(rest) - MOST_NAMED} more" if rest[MOST_NAMED:] else ""
        verb = "is" if len(rest) == 1 else "are"
        problems.append(
            Problem(
                str(board.name),
                f"{named} {verb} not among the {choice.rows} best of {board.name}. Raise rows to "
                f"show {'it' if len(rest) == 1 else 'them'}.",
            )
        )
    return board, problems


def _choose_metrics(board: Board, rows: Iterable[Row]) -> None:
    """Set the board's columns: for each metric, the definitions that its records have."""
    definitions: dict[str, Definition] = {}
    counts: Counter[str] = Counter()
    protocols: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        definitions |= row.definitions
        counts.update(row.definitions.keys())
        for digest, names in row.protocols.items():
            protocols[digest] |= names
    by_metric: dict[str, list[str]] = defaultdict(list)
    for digest, definition in definitions.items():
        by_metric[definition.metric].append(digest)
    columns: list[tuple[int, Metric]] = []
    for metric in sorted(by_metric, key=_rank):
        main, *others = sorted(
            by_metric[metric],
            key=lambda d: (DEFAULT_PROTOCOL not in protocols[d], -counts[d], d),
        )
        taken = {metric}
        for digest in (main, *others):
            key = metric
            if digest != main:
                key = f"{metric} ({'/'.join(sorted(protocols[digest]))})"
                key += f" {digest[:6]}" if key in taken else ""
                taken.add(key)
            column = Metric(
                key,
                key.replace(metric, metric.upper(), 1),
                definitions[digest],
                tuple(sorted(protocols[digest])),
                DIGITS.get(metric, 4),
            )
            columns.append((counts[digest], column))
    kept = {column.key for _, column in sorted(columns, key=lambda c: -c[0])[:MOST_COLUMNS]}
    board.metrics = {column.key: column for _, column in columns if column.key in kept}
    board.more_metrics = len(columns) - len(board.metrics)


class _Name(NamedTuple):
    """The label of a row: the newest record's counts."""

    created: str
    id: str
    label: str
    origin: str
    weights: str
    arguments: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, record: Record) -> _Name:
        model = record.config.get("model", {})
        told = record.weights.digest is None and isinstance(model, Mapping)
        arguments = model.items() if told else ()
        plain = (str, int, float, bool)
        return cls(
            record.created,
            record.id,
            printable(record.label).strip() or printable(record.method),
            printable(record.weights.origin),
            printable(record.weights.digest or ""),
            tuple(
                sorted((printable(k), printable(str(v))) for k, v in arguments if type(v) in plain)
            ),
        )

    def details(self, twins: Iterable[_Name]) -> list[str]:
        """Additions that tell it from others of its label, from the shortest to a unique one."""
        if not self.weights:
            alike = set.intersection(*(set(twin.arguments) for twin in twins))
            own = ", ".join(f"{k}={v}" for k, v in self.arguments if (k, v) not in alike)
            return [text for text in (own[:60], self.id[-12:]) if text]
        origin = self.origin or "weights"
        numbered = [f"{origin} {self.weights[:digits]}" for digits in (4, 8, 16, 64)]
        return ([origin] if origin == "shipped" else []) + numbered


def unique_labels(names: Mapping[Hashable, _Name]) -> dict[Hashable, str]:
    """Row → a label that no other row has: its own, with what tells it apart where it must.

    Example: two networks that are both called Fast are `Fast (shipped)` and `Fast (run 3f2a)`.
    """
    by_label: dict[str, list[Hashable]] = defaultdict(list)
    for key in sorted(names, key=lambda key: names[key]):
        by_label[names[key].label].append(key)
    labels = {keys[0]: label for label, keys in by_label.items() if len(keys) == 1}
    taken = set(by_label)
    for label, keys in by_label.items():
        if len(keys) == 1:
            continue
        twins = [names[key] for key in keys]
        choices = {key: names[key].details(twins) for key in keys}
        often = Counter(detail for details in choices.values() for detail in details)
        for key in keys:
            free = (f"{label} ({detail})" for detail in choices[key] if often[detail] == 1)
            spare = (f"{label} ({number})" for number in range(2, len(names) + 2))
            labels[key] = next(text for text in (*free, *spare) if text not in taken)
            taken.add(labels[key])
    return labels


def _comparable(record: Record) -> Hashable:
    """The facts that must be equal for records to share a board."""
    keys = json.dumps(sorted(record.samples.keys))
    samples = hashlib.sha256(keys.encode()).digest()
    return record.dataset.digest, record.dataset.light_scale, samples


def _rank(metric: str) -> tuple[int, str]:
    known = METRIC_ORDER.index(metric) if metric in METRIC_ORDER else len(METRIC_ORDER)
    return known, metric
