"""Boards: one per data set and split, whose rows are sets of weights; videos have their own.

**What may be compared.** Records share a board only if the digest of the data, the light scale and
the samples evaluated agree. Where records of one data set and split disagree, the board is of the
variant with most rows, the most recent of equals; the rest is reported by name and left out.
Figures share a column only if their metric's own definition agrees (`Record.definition`): another
metric in a protocol, or another protocol's name, parts nothing. The plain name of a metric is that
of the definition which prepares images plainly (`spikerec.results.parts.PLAIN`), by the protocol
for new comparisons where several do; all others are named with their protocol, also where they are
alone. A metric that was unavailable has no definition of its own beside one that was measured.

**What a row is.** One set of weights, by digest, in one network: of two networks of one's own with
equal weights, and of one whose code was edited, each is a row (`spikerec.own_code`). Of a method
without weights, one configuration.
Evaluations in which a state was carried from window to window, or that another engine or precision
computed, are rows of their own.
Evaluations of one row are shown as one (`spikerec.results.rows`), and those of the folds of a
cross-validation are merged before (`spikerec.results.folds`).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from spikerec.configs import RENAMED
from spikerec.errors import ResultsError, printable
from spikerec.kinds import checked
from spikerec.results.facts import Column, facts_of
from spikerec.results.folds import merge_folds
from spikerec.results.labels import LabelFacts, unique_labels
from spikerec.results.parts import Definition
from spikerec.results.record import OWN_CODE, Record
from spikerec.results.rows import Metric, Row
from spikerec.results.store import Problem
from spikerec.spelling import metric_title

#: Order of the metrics that the field reports; others follow by name.
METRIC_ORDER = (
    *("psnr", "ssim", "lpips", "niqe", "brisque"),
    *("flicker", "warping_error", "tlpips"),
)

#: Decimals as the papers print them; other metrics get 4.
DIGITS = {"psnr": 2, "ssim": 3, "lpips": 4, "niqe": 3, "brisque": 3} | dict.fromkeys(
    ("flicker", "warping_error", "flicker_estimated", "warping_error_estimated"), 2
)

#: The protocol for new comparisons: of plain definitions, its own has the plain name of a metric.
DEFAULT_PROTOCOL = "corrected"

#: The method whose best window is what others must not fall below, and the metric of that.
BASELINE, BASELINE_METRIC = "tfp", "psnr"

MOST_BASELINES = 100  # windows of it that are compared, the best
MOST_COLUMNS = 20  # metrics of a board, those that most rows have


class BoardName(NamedTuple):
    """The data that a board is of, and `videos` where its samples are clips instead of images."""

    dataset: str
    split: str
    kind: str = ""

    @classmethod
    def of(cls, record: Record) -> BoardName:
        """The board that a record belongs to."""
        kind = "" if record.curves is None else "videos"
        return cls(record.dataset.name, record.dataset.split, kind)

    def __str__(self) -> str:
        return f"{self.dataset} ({self.split})" + (f", {self.kind}" if self.kind else "")


@dataclass
class Board:
    """Rows that may be compared.

    Attributes:
        name: data set and split.
        rows: label → row; best first by the first metric.
        metrics: key → column, in the field's order; the plain definition of a metric first.
        columns: keys of the columns that tables show, in order; empty for all.
        more_metrics: how many columns are left out.
        more_rows: labels of the rows that are not among the best of the choice, best first.
        baselines: label → row of TFP with a value of plain PSNR, whether or not it is among `rows`;
            empty where samples vary no factors.
        facts: covariate or condition → a value per sample (`spikerec.results.facts`).
    """

    name: BoardName
    rows: dict[str, Row] = field(default_factory=dict)
    metrics: dict[str, Metric] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    more_metrics: int = 0
    more_rows: Sequence[str] = ()
    baselines: dict[str, Row] = field(default_factory=dict)
    facts: dict[str, Column] = field(default_factory=dict)

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


@checked
def gather(
    items: Iterable[Record | Problem], choice: Choice = EVERYTHING
) -> tuple[list[Board], list[Problem]]:
    """Sort records into boards.

    Args:
        items: records and problems of `Store.scan`, in any order; read once.
        choice: what to show.

    Returns:
        The boards by name, and the problems: those among the items, and the records left out
        because their board is of other data or samples.

    Raises:
        ResultsError: the choice names what no record has.
    """
    problems: list[Problem] = []
    variants: dict[BoardName, dict[Hashable, _Variant]] = defaultdict(dict)
    names: dict[Hashable, LabelFacts] = {}
    for item in merge_folds(items):
        if isinstance(item, Problem):
            problems.append(item)
            continue
        name = BoardName.of(item)
        comparable = _comparable(item)
        variant = variants[name].setdefault(comparable, _Variant(item))
        key = row_key(item)
        variant.rows.setdefault(key, Row(key)).add(item)
        names[key] = max(names.get(key, LabelFacts.of(item)), LabelFacts.of(item))
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
    """The weights' digest; for a method without weights, its name and its arguments.

    A network's own code belongs to it, how a state was carried, and what computed the images in
    which numbers.
    """
    code = record.code.get(OWN_CODE)
    code = code if isinstance(code, str) else None  # whatever a record of others holds there
    if record.weights.digest is not None:
        carried = record.carry, record.engine, record.precision
        return "weights", record.weights.digest, code, *carried
    model = record.config.get("model", record.label)
    if isinstance(model, Mapping):  # of the class, only its arguments can move the result
        model = {
            RENAMED.get(f"model.{k}", f"model.{k}"): v for k, v in model.items() if k != "_target_"
        }
    return "method", record.method, code, json.dumps(model, sort_keys=True, default=str)


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
            f"left out of {name}: {what}. Evaluate again on the board's data; a changed set needs "
            "another name (an argument of the set), or its records a folder of their own."
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
    """The board of a variant with its best rows, and the problems of its records."""
    board = Board(BoardName(printable(name.dataset), printable(name.split), name.kind))
    for row in variant.rows.values():
        row.label = labels[row.key]
        row.sort()
    rows = [row for row in variant.rows.values() if row.is_called(choice.methods)]
    joined = _choose_metrics(board, rows)
    if choice.columns is not None:
        board.columns = _chosen_columns(board.metrics, choice.columns)
        board.metrics = {k: m for k, m in board.metrics.items() if k.lower() in board.columns}
        board.more_metrics = 0
    first = next(iter(board.metrics.values()), None)

    def place(row: Row) -> tuple[float, str]:
        mean = row.means.get(first.definition.digest) if first else None
        if first is None or mean is None:
            return float("inf"), row.label
        return (-mean if first.higher_is_better else mean), row.label

    ordered = sorted(rows, key=place)
    board.rows, problems = _loaded(board.name, ordered[: choice.rows], joined, known)
    if board.rows:
        windows = _windows_of_baseline(board, variant)
        board.baselines, failures = _loaded(board.name, windows, joined, known)
        problems += [failure for failure in failures if failure not in problems]
        both = (board.rows | board.baselines).values()
        board.facts, disagreements = facts_of(both, board.keys)
        problems += disagreements
    board.more_rows = [row.label for row in ordered[choice.rows :]]
    return board, problems


def _loaded(
    name: BoardName, rows: Iterable[Row], joined: Mapping[str, str], known: dict[Path, Record]
) -> tuple[dict[str, Row], list[Problem]]:
    """Label → row, for those that can be read, and a problem for each other."""
    found: dict[str, Row] = {}
    problems = []
    for row in rows:
        try:
            row.load(known)
        except ResultsError as error:
            problems.append(Problem(row.history[-1].file, f"left out of {name}: {error}"))
            continue
        for lacking, column in joined.items():
            if lacking in row.figures:
                row.figures.setdefault(column, row.figures[lacking])
        found[row.label] = row
    return found, problems


def _windows_of_baseline(board: Board, variant: _Variant) -> list[Row]:
    """The rows of TFP that breakdowns are judged by, whatever part of the board is shown."""
    rows = variant.rows.values()
    metric = board.metrics.get(BASELINE_METRIC)
    if metric is None or not any(row.has_factors for row in rows):
        return []
    digest = metric.definition.digest
    windows = [row for row in rows if row.method == BASELINE and digest in row.means]
    return sorted(windows, key=lambda row: (-row.means[digest], row.label))[:MOST_BASELINES]


def _chosen_columns(metrics: Mapping[str, Metric], asked: Iterable[str]) -> tuple[str, ...]:
    """The keys asked for, in lower case; in the place of a metric without a plain column, all its.

    Example: `psnr` is `psnr (best_gain)` and `psnr (matched)` on a board of these alone.
    """
    found: list[str] = []
    for key in map(str.lower, asked):
        own = [column for column, metric in metrics.items() if metric.name.lower() == key]
        has_plain = any(column.lower() == key for column in own)
        found += [key] if has_plain or not own else [column.lower() for column in own]
    return tuple(found)


def _choose_metrics(board: Board, rows: Iterable[Row]) -> dict[str, str]:
    """Set the board's columns: for each metric, the definitions that its records have.

    Returns:
        Digest of a definition of which no row has a value → that of the column of the same metric
        and protocol, where the reasons belong.
    """
    definitions: dict[str, Definition] = {}
    measured: set[str] = set()
    counts: Counter[str] = Counter()
    protocols: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        definitions |= row.definitions
        measured |= row.means.keys()
        counts.update(row.definitions.keys())
        for digest, names in row.protocols.items():
            protocols[digest] |= names
    by_metric: dict[str, list[str]] = defaultdict(list)
    for digest, definition in definitions.items():
        by_metric[definition.metric].append(digest)
    joined = {
        lacking: column
        for digests in by_metric.values()
        for lacking in digests
        for column in digests
        if lacking not in measured and column in measured and protocols[lacking] & protocols[column]
    }
    columns: list[tuple[int, Metric]] = []
    for metric in sorted(by_metric, key=_rank):
        ordered = sorted(
            (digest for digest in by_metric[metric] if digest not in joined),
            key=lambda d: (
                not definitions[d].is_plain,
                definitions[d].is_foreign,
                DEFAULT_PROTOCOL not in protocols[d],
                -counts[d],
                d,
            ),
        )
        taken: set[str] = set()
        for digest in ordered:
            key = metric
            if taken or not definitions[digest].is_plain:
                key = f"{metric} ({'/'.join(sorted(protocols[digest]))})"
                key += f" {digest[:6]}" if key in taken else ""
            taken.add(key)
            column = Metric(
                key,
                key.replace(metric, metric_title(metric), 1),
                definitions[digest],
                tuple(sorted(protocols[digest])),
                DIGITS.get(metric, 4),
            )
            columns.append((counts[digest], column))
    kept = {column.key for _, column in sorted(columns, key=lambda c: -c[0])[:MOST_COLUMNS]}
    board.metrics = {column.key: column for _, column in columns if column.key in kept}
    board.more_metrics = len(columns) - len(board.metrics)
    return joined


def _comparable(record: Record) -> Hashable:
    """The facts that must be equal for records to share a board."""
    keys = json.dumps(sorted(record.samples.keys))
    samples = hashlib.sha256(keys.encode()).digest()
    return record.dataset.digest, record.dataset.light_scale, samples


def _rank(metric: str) -> tuple[int, str]:
    known = METRIC_ORDER.index(metric) if metric in METRIC_ORDER else len(METRIC_ORDER)
    return known, metric
