"""The table of a board, not yet rendered: see `formats` and `terminal`.

Quality first, a column for each definition of a metric; then what one image costs, as the papers
state it; then what the weights were trained on. All renderers write the same figures, and all say
where evaluations of the same weights disagree.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from spikerec.errors import printable
from spikerec.results.boards import DIGITS, Board, BoardName
from spikerec.results.parts import PLAIN
from spikerec.results.record import Record
from spikerec.results.references import (
    Reference,
    reference_for,
    reported_figure,
    reported_label,
)
from spikerec.results.rows import Metric, Row
from spikerec.results.statistics import SIGNIFICANCE, Standing, p_floor, scenes, standing
from spikerec.results.trained import training_of
from spikerec.spelling import metric_title

Mark = Literal["", "best", "second"]

#: Efficiency: key in a record, key in a reference, title, divisor, decimals.
EFFICIENCY = (
    ("params", "params", "Params (M)", 1e6, 2),
    ("memory_bytes", "memory", "Memory (GB)", 2**30, 2),
    ("macs", "macs", "FLOPs (T)", 1e12, 2),
)

#: The image that the papers state memory and FLOPs for, (H, W).
EFFICIENCY_SIZE = (720, 1280)

#: Key of the column that says what weights were trained on.
TRAINED = "trained"

#: Beside a figure: the best's lead over it is not significant; evaluations of it disagree.
LEVEL, DISAGREES = "≈", "≠"

#: Rows that a note names before it counts the rest.
MOST_NAMED = 5

#: Characters of a note, whose reasons may be as long as a library's message.
MOST_NOTE = 600


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        key: unique in the table.
        title: heading.
        digits: decimals.
        group: the data set, in a table of several.
        higher_is_better: None where no direction is marked.
        is_quality: a metric's, as opposed to cost and training.
    """

    key: str
    title: str
    digits: int = 0
    group: str = ""
    higher_is_better: bool | None = None
    is_quality: bool = False

    @property
    def arrow(self) -> str:
        """Arrow in the direction of better values."""
        return {True: "↑", False: "↓", None: ""}[self.higher_is_better]


@dataclass(frozen=True)
class Figure:
    """One cell.

    Attributes:
        value: what was measured; None where there is nothing, then `note` may say why.
        reported: what the reference reports for it.
        mark: best or second best mean of the column.
        is_level: the best's lead over it is not significant.
        disagrees: evaluations of the same weights differ in it; `note` says how.
        note: footnote.
        text: of a cell that holds no number.
    """

    value: float | None = None
    reported: float | None = None
    mark: Mark = ""
    is_level: bool = False
    disagrees: bool = False
    note: str = ""
    text: str = ""

    def plain(self, digits: int) -> str:
        """The value as the papers print it, or the sign for a missing one."""
        if self.text:
            return self.text
        if self.value is None:
            return "n/a" if self.note else "–"
        return number(self.value, digits)

    @property
    def signs(self) -> str:
        """Signs printed after the value."""
        return LEVEL * self.is_level + DISAGREES * self.disagrees


@dataclass(frozen=True)
class Table:
    """A table, not yet rendered.

    Attributes:
        title: heading.
        columns: in order.
        rows: label → column key → figure; a missing key is a method that was not evaluated there.
        notes: what a reader must know of the whole table.
        is_board: of our own figures; False for a source's.
    """

    title: str
    columns: list[Column]
    rows: dict[str, dict[str, Figure]]
    notes: list[str] = field(default_factory=list)
    is_board: bool = True

    def footnotes(self) -> dict[str, int]:
        """Notes of cells, numbered in reading order."""
        cells = (row[c.key] for row in self.rows.values() for c in self.columns if c.key in row)
        return {note: i for i, note in enumerate(dict.fromkeys(c.note for c in cells if c.note), 1)}


Standings = Mapping[BoardName, Mapping[str, Standing]]


def standings(boards: Iterable[Board]) -> dict[BoardName, dict[str, Standing]]:
    """Board → key of a metric → ranking of its rows, for each metric that any row has."""
    found: dict[BoardName, dict[str, Standing]] = {}
    for board in boards:
        found[board.name] = {}
        for key, metric in board.metrics.items():
            stand = standing(_values(board, metric), board.keys, metric.higher_is_better)
            if stand.order:
                found[board.name][key] = stand
    return found


def _values(board: Board, metric: Metric) -> dict[str, Any]:
    """A metric's columns, all in the order of the board's keys."""
    columns = {label: row_values(row, metric, board.keys) for label, row in board.rows.items()}
    return {label: column for label, column in columns.items() if column is not None}


def row_values(row: Row, metric: Metric, keys: Sequence[str]) -> Any:  # noqa: ANN401
    """A row's values of a metric in the order of the keys given; None where it has none."""
    record = row.figures.get(metric.definition.digest)
    if record is None or metric.name not in record.samples.values:
        return None
    if record.samples.keys == tuple(keys):
        return record.column(metric.name)
    place = {key: i for i, key in enumerate(record.samples.keys)}
    return record.column(metric.name)[[place[key] for key in keys]]


def board_table(board: Board, stands: Standings, *, brief: bool = False) -> Table:
    """The table of a board, without the columns in which no row has anything.

    Args:
        board: what to show.
        stands: its statistics.
        brief: leave out of the training where the weights come from.
    """
    columns = [
        *(
            Column(key, m.title, m.digits, "", m.higher_is_better, is_quality=True)
            for key, m in board.metrics.items()
        ),
        *(Column(key, title, digits) for key, _, title, _, digits in EFFICIENCY),
        Column(TRAINED, "Trained on"),
    ]
    rows = {
        label: {key: _figure(board, metric, row, stands) for key, metric in board.metrics.items()}
        | efficiency_figures(board, row)
        | {TRAINED: Figure(text=training_of(row).short if brief else training_of(row).text)}
        for label, row in board.rows.items()
    }
    shown = [c for c in columns if any(row[c.key] != Figure() for row in rows.values())]
    table = Table(str(board.name), shown, rows, notes(board, stands))
    return with_columns(table, board.columns) if board.columns else table


def with_columns(table: Table, chosen: Sequence[str]) -> Table:
    """The table with those of the columns that it has, in the order asked for."""
    known = {column.key.lower(): column for column in table.columns}
    columns = [known[key.lower()] for key in chosen if key.lower() in known]
    return replace(table, columns=columns)


def efficiency_figures(board: Board, row: Row) -> dict[str, Figure]:
    """Params, memory and FLOPs of a row, in the paper's units."""
    reference = reference_for(board)
    label = reported_label(reference, row) if reference else None
    reported = reference.efficiency.get(label, {}) if reference and label else {}
    efficiency = row.aspect("efficiency")
    size = tuple(efficiency.get("size", EFFICIENCY_SIZE))
    figures = {}
    for key, name, title, unit, _ in EFFICIENCY:
        value = efficiency.get(key)
        if key == "macs":  # as the papers' counter has it, where known
            value = efficiency.get("macs_published", value)
        beside = reported.get(name)
        note = ""
        if key != "params" and reference and reference.size != EFFICIENCY_SIZE:
            beside = None
        if key != "params" and value is not None and size != EFFICIENCY_SIZE:
            value = None
            note = f"{row.label}, {title}: measured for {size[0]} × {size[1]}, not 720 × 1280."
        figures[key] = Figure(None if value is None else value / unit, beside, note=note)
    return figures


def _figure(board: Board, metric: Metric, row: Row, stands: Standings) -> Figure:
    record = row.figures.get(metric.definition.digest)
    if record is None:
        return Figure()
    reported = reported_figure(board, row, metric)
    note = figure_note(row, metric, record)
    note = f"{row.label}, {metric.title}: {note}" if note else ""
    stand = stands[board.name].get(metric.key)
    if stand is None or row.label not in stand.intervals:
        return Figure(None, reported, note=note)
    return Figure(
        stand.intervals[row.label].mean,
        reported,
        mark_of(stand, row.label),
        stand.is_level_with_best(row.label),
        bool(row.disagreement(metric)),
        note,
    )


def figure_note(row: Row, metric: Metric, record: Record) -> str:
    """Footnote of a figure: the reason why it is missing, incomplete or contradicted."""
    parts = []
    total = len(record.samples.keys)
    column = record.samples.values.get(metric.name)
    present = 0 if column is None else total - sum(map(math.isnan, column))
    reason = record.undefined.get(metric.name, "")
    if column is None:
        parts.append(record.unavailable.get(metric.name, ""))
    elif present == 0:
        parts += ["no sample has a finite value.", reason]
    elif present < total:
        parts += [f"{present} of {total} samples have a value.", reason]
    parts.append(row.disagreement(metric))
    note = printable(" ".join(part for part in parts if part))
    return note if len(note) <= MOST_NOTE else f"{note[:MOST_NOTE]} …"


def mark_of(stand: Standing, label: str) -> Mark:
    """Best mean, second best mean, or neither; equal means share a mark.

    Nothing is marked where there is nothing to compare with.
    """
    means = list(dict.fromkeys(stand.intervals[name].mean for name in stand.order))
    place = means.index(stand.intervals[label].mean)
    if len(stand.order) < 2 or place > 1:
        return ""
    return "second" if place else "best"


def notes(board: Board, stands: Standings) -> list[str]:
    """Notes on a whole board, one sentence each."""
    units = len(set(scenes(board.keys)))
    digest = printable(board.record.dataset.digest)[:12]
    found = [f"{counted(len(board.keys), 'sample')} of {counted(units, 'scene')}; data {digest}."]
    pairs = max((len(stand.comparisons) for stand in stands[board.name].values()), default=0)
    if too_few := too_few_scenes(units, pairs):
        found.append(too_few)
    found += definition_notes(board)
    found += cut_notes(board)
    if reference := reference_for(board):
        found.append(f"In brackets: as reported. {reference.source}")
    return found


def cut_notes(board: Board) -> list[str]:
    """The rows and metrics that a board has beyond those it shows."""
    found = []
    if more := board.more_rows:
        found.append(
            f"The {len(board.rows)} best of {len(board.rows) + len(more)} rows are shown, here and "
            f"in every file. Raise rows to show {named(more)}."
        )
    if board.more_metrics:
        found.append(f"{board.more_metrics} more metrics, which fewer rows have, are left out.")
    return found


def named(labels: Sequence[str]) -> str:
    """The labels of some rows in a note: at most `MOST_NAMED`, and the number of the rest."""
    more = len(labels) - MOST_NAMED
    return ", ".join(labels[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def too_few_scenes(units: int, pairs: int) -> str:
    """The statement that no lead on so few scenes could be significant; empty where one could."""
    if not pairs or p_floor(units) * pairs < SIGNIFICANCE:
        return ""
    return (
        f"{counted(units, 'scene')} {'is' if units == 1 else 'are'} too few to tell "
        f"{counted(pairs, 'pair')} of methods apart: the smallest possible p is "
        f"{p_floor(units):.2g}, corrected {min(1.0, p_floor(units) * pairs):.2g}. Methods rank by "
        "their mean."
    )


def definition_notes(board: Board) -> list[str]:
    """Differences between columns of one metric, and remarks of their protocols."""
    main = {m.name: m for m in board.metrics.values() if m.key == m.name}
    apart: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for metric in board.metrics.values():
        other = main.get(metric.name)
        usual, own = other.title if other else "plain figures", metric.definition.text
        is_stated = own.startswith("alignment ")
        if metric is not other and (other or (is_stated and not metric.definition.is_plain)):
            differing = _apart(own, other.definition.text if other else _as_plain(own))
            apart[differing].append((metric.title, usual))
    found = [
        f"{', '.join(own)} {'is' if len(own) == 1 else 'are'} computed with {setting}, "
        f"{', '.join(dict.fromkeys(usual))} with {usual_setting}: never compare "
        f"{'the two' if len(own) == 1 else 'them'}."
        for (setting, usual_setting), titles in apart.items()
        for own, usual in [zip(*titles, strict=True)]
    ]
    quirks = {}
    for row in board.rows.values():
        for record in row.figures.values():
            statement = record.protocol.description.get("statement")
            quirk = statement.get("quirks") if isinstance(statement, Mapping) else None
            if isinstance(quirk, str):
                quirks[printable(record.protocol.name)] = printable(quirk)[:300]
    return found + [f"Protocol {name}: {quirk}." for name, quirk in sorted(quirks.items())]


def _as_plain(text: str) -> str:
    """The text of a definition, with the plain preparation of images in the place of its own."""
    rest = [part for part in text.split(", ")[1:] if part.partition(" ")[0] not in PLAIN]
    return ", ".join([*(f"{key} {value}" for key, value in PLAIN.items()), *rest])


def _apart(one: str, two: str) -> tuple[str, str]:
    """The settings in which two definitions differ; whole texts where they are not comparable."""
    first, second = (dict.fromkeys(text.split(", ")) for text in (one, two))
    own = ", ".join(part for part in first if part not in second)
    usual = ", ".join(part for part in second if part not in first)
    if own.startswith("code ") and not usual:
        usual = "that of spikerec"
    return printable(own or one)[:200], printable(usual or two)[:200]


def counted(number: int, noun: str) -> str:
    """`1 scene`, `2 scenes`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def reference_table(reference: Reference) -> Table:
    """A source's own table."""
    columns = [
        Column(name, title, digits)
        for _, name, title, _, digits in EFFICIENCY
        if any(name in figures for figures in reference.efficiency.values())
    ]
    rows: dict[str, dict[str, Figure]] = {
        label: {key: Figure(value) for key, value in reference.efficiency.get(label, {}).items()}
        for label in reference.labels()
    }
    for dataset, methods in reference.figures.items():
        for metric in next(iter(methods.values())):
            higher = metric in ("psnr", "ssim")
            key = f"{dataset}/{metric}"
            columns.append(
                Column(key, metric_title(metric), DIGITS[metric], dataset, higher, is_quality=True)
            )
            order = sorted({figures[metric] for figures in methods.values()}, reverse=higher)
            for label, figures in methods.items():
                value = figures[metric]
                mark: Mark = {0: "best", 1: "second"}.get(order.index(value), "")  # type: ignore[assignment]
                rows[label][key] = Figure(value, mark=mark)
    title = f"As reported: {reference.title}"
    return Table(title, columns, rows, [f"Source: {reference.source}"], is_board=False)


def number(value: float, digits: int) -> str:
    """A figure as the paper prints it."""
    return f"{value:.{digits}f}" if abs(value) < 1e6 else f"{value:.4g}"


def latencies(row: Row) -> dict[str, float]:
    """`H×W on DEVICE` → median milliseconds."""
    return {
        f"{item['size'][0]}×{item['size'][1]} on {printable(item['device'])}": item["median_ms"]
        for item in row.aspect("efficiency").get("latency", [])
        if item["median_ms"] is not None
    }
