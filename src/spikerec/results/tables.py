"""The table of a board, and its renderers: Markdown, LaTeX, CSV and a terminal.

Quality first, a column for each definition of a metric; then what one image costs, as the papers
state it; then what the weights were trained on. All renderers write the same figures, and all say
where evaluations of the same weights disagree.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import rich.box
import rich.table
from rich.console import Console
from rich.measure import Measurement
from rich.text import Text

from spikerec.errors import printable
from spikerec.results.boards import DIGITS, Board, BoardName, Metric, Row
from spikerec.results.record import Record
from spikerec.results.references import (
    Reference,
    reference_for,
    reported_figure,
    reported_label,
)
from spikerec.results.statistics import SIGNIFICANCE, Standing, p_floor, scenes, standing
from spikerec.results.trained import training_of

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

#: Characters with which a spreadsheet begins a formula; those of full width in East Asia.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")

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
        """Which way is better."""
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
        """The value as the papers print it, or what stands for it."""
        if self.text:
            return self.text
        if self.value is None:
            return "n/a" if self.note else "–"
        return number(self.value, digits)

    @property
    def signs(self) -> str:
        """What follows the value."""
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
    """Board → key of a metric → how its rows stand, for each metric that any row has."""
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
    """What must be known of a figure: why it is missing, what it lacks, what contradicts it."""
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
    """What a reader must know of a whole board, a sentence each."""
    units = len(set(scenes(board.keys)))
    digest = printable(board.record.dataset.digest)[:12]
    counted = f"{_counted(len(board.keys), 'sample')} of {_counted(units, 'scene')}"
    found = [f"{counted}; data {digest}."]
    pairs = max((len(stand.comparisons) for stand in stands[board.name].values()), default=0)
    if too_few := too_few_scenes(units, pairs):
        found.append(too_few)
    found += definition_notes(board)
    if board.more_metrics:
        found.append(f"{board.more_metrics} more metrics, which fewer rows have, are left out.")
    if reference := reference_for(board):
        found.append(f"In brackets: as reported. {reference.source}")
    return found


def too_few_scenes(units: int, pairs: int) -> str:
    """The statement that no lead on so few scenes could be significant; empty where one could."""
    if not pairs or p_floor(units) * pairs < SIGNIFICANCE:
        return ""
    return (
        f"{_counted(units, 'scene')} {'is' if units == 1 else 'are'} too few to tell "
        f"{_counted(pairs, 'pair')} of methods apart: the smallest possible p is "
        f"{p_floor(units):.2g}, corrected {min(1.0, p_floor(units) * pairs):.2g}. Methods rank by "
        "their mean."
    )


def definition_notes(board: Board) -> list[str]:
    """How columns of one metric differ, and the quirks that their protocols state."""
    found = []
    main = {m.name: m for m in board.metrics.values() if m.key == m.name}
    for metric in board.metrics.values():
        other = main.get(metric.name, metric)
        if metric is not other:
            own, usual = _apart(metric.definition.text, other.definition.text)
            found.append(
                f"{metric.title} is computed with {own}, {other.title} with {usual}: never compare "
                "the two."
            )
    quirks = {}
    for row in board.rows.values():
        for record in row.figures.values():
            statement = record.protocol.description.get("statement")
            quirk = statement.get("quirks") if isinstance(statement, Mapping) else None
            if isinstance(quirk, str):
                quirks[printable(record.protocol.name)] = printable(quirk)[:300]
    return found + [f"Protocol {name}: {quirk}." for name, quirk in sorted(quirks.items())]


def _apart(one: str, two: str) -> tuple[str, str]:
    """The settings in which two definitions differ; whole texts where they are not comparable."""
    first, second = (dict.fromkeys(text.split(", ")) for text in (one, two))
    own = ", ".join(part for part in first if part not in second)
    usual = ", ".join(part for part in second if part not in first)
    return printable(own or one)[:200], printable(usual or two)[:200]


def _counted(number: int, noun: str) -> str:
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
                Column(key, metric.upper(), DIGITS[metric], dataset, higher, is_quality=True)
            )
            order = sorted({figures[metric] for figures in methods.values()}, reverse=higher)
            for label, figures in methods.items():
                value = figures[metric]
                mark: Mark = {0: "best", 1: "second"}.get(order.index(value), "")  # type: ignore[assignment]
                rows[label][key] = Figure(value, mark=mark)
    title = f"As reported: {reference.title}"
    return Table(title, columns, rows, [f"Source: {reference.source}"], is_board=False)


LEGEND = (
    "**Best** and <u>second best</u> mean of a column. ≈: the best's lead over it is not "
    "significant (paired permutation test over scenes, Holm-corrected, 5 %). ≠: evaluations of the "
    "same weights disagree. (…): as reported. –: not evaluated, or not known. FLOPs are "
    "multiply-accumulates, as the papers count them. Trained on: data · samples seen · time · "
    "where the weights come from."
)


def number(value: float, digits: int) -> str:
    """A figure as the paper prints it."""
    return f"{value:.{digits}f}" if abs(value) < 1e6 else f"{value:.4g}"


def markdown(tables: Sequence[Table]) -> str:
    """The tables as GitHub Markdown."""
    return "\n\n".join(["# Leaderboard", LEGEND, *map(_markdown_table, tables)]) + "\n"


def _markdown_table(table: Table) -> str:
    numbers = table.footnotes()
    groups = len({column.group for column in table.columns if column.group})
    titles = [
        _escape_markdown(f"{c.title} {c.arrow}" + (f" {c.group}" if groups > 1 else "")).strip()
        for c in table.columns
    ]
    lines = [
        f"## {_escape_markdown(table.title)}\n",
        "| Method | " + " | ".join(titles) + " |",
        "| :-- |" + "".join(" :-- |" if c.key == TRAINED else " --: |" for c in table.columns),
    ]
    for label, row in table.rows.items():
        cells = [_markdown_cell(row.get(c.key, Figure()), c.digits, numbers) for c in table.columns]
        lines.append(f"| {_escape_markdown(label)} | " + " | ".join(cells) + " |")
    footnotes = [f"{i}. {_escape_markdown(note)}" for note, i in numbers.items()]
    general = [f"- {_escape_markdown(note)}" for note in table.notes]
    return "\n".join(lines) + "".join(
        "\n\n" + "\n".join(block) for block in (general, footnotes) if block
    )


def _markdown_cell(figure: Figure, digits: int, numbers: Mapping[str, int]) -> str:
    text = _escape_markdown(figure.plain(digits))
    text = {"": text, "best": f"**{text}**", "second": f"<u>{text}</u>"}[figure.mark]
    text += f" {figure.signs}" if figure.signs else ""
    text += f" ({number(figure.reported, digits)})" if figure.reported is not None else ""
    return text + (f" [{numbers[figure.note]}]" if figure.note else "")


def _escape_markdown(text: str) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace("\n", " ")
    return "".join("\\" + c if c in "\\|*_`[]" else c for c in text)


def latex(board: Board, stands: Standings) -> str:
    r"""A board's table for one column of a paper (packages: booktabs, graphicx).

    It is made smaller where it is wider than `\columnwidth`. Where no columns were chosen it has
    quality, parameters and training. The digest of the data is in a comment.
    """
    table = board_table(board, stands, brief=True)
    identity, *general = table.notes
    if not board.columns:
        table = with_columns(table, [*board.metrics, "params", TRAINED])
    numbers = table.footnotes()
    arrows = {"↑": r" $\uparrow$", "↓": r" $\downarrow$", "": ""}
    titles = [_escape_latex(c.title) + arrows[c.arrow] for c in table.columns]
    samples, _, digest = identity.partition("; ")
    caption = _escape_latex(f"{table.title}: {samples}.")
    places = "".join("l" if c.key == TRAINED else "r" for c in table.columns)
    lines = [
        "% needs \\usepackage{booktabs} and \\usepackage{graphicx}",
        f"% {printable(digest)}",
        r"\begin{table}[t]\centering\footnotesize\setlength{\tabcolsep}{3pt}",
        rf"\caption{{{caption}}}",
        rf"\label{{tab:{slug(table.title)}}}",
        r"\resizebox{\ifdim\width>\columnwidth\columnwidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{@{{}}l{places}@{{}}}}",
        r"\toprule",
        " & ".join(["Method", *titles]) + r" \\",
        r"\midrule",
    ]
    for label, row in table.rows.items():
        cells = [_latex_cell(row.get(c.key, Figure()), c.digits, numbers) for c in table.columns]
        lines.append(" & ".join([_escape_latex(label), *cells]) + r" \\")
    footnotes = [rf"\textsuperscript{{{i}}} {_escape_latex(note)}" for note, i in numbers.items()]
    lines += [r"\bottomrule", r"\end{tabular}}"]
    lines += [rf"\par\raggedright\scriptsize {note}" for note in map(_escape_latex, general)]
    lines += [rf"\par\raggedright\scriptsize {note}" for note in footnotes]
    return "\n".join([*lines, r"\end{table}", ""])


def slug(text: str) -> str:
    """The text as a word of a file's name or a label: `reds-test`."""
    return re.sub(r"[^a-z0-9_.]+", "-", text.lower()).strip("-") or "board"


def _latex_cell(figure: Figure, digits: int, numbers: Mapping[str, int]) -> str:
    text = _escape_latex(figure.plain(digits))
    wrap = {"": "{}", "best": r"\textbf{{{}}}", "second": r"\underline{{{}}}"}[figure.mark]
    text = wrap.format(text) + (rf"\,{_escape_latex(figure.signs)}" if figure.signs else "")
    if figure.reported is not None:
        text += rf" {{\scriptsize({number(figure.reported, digits)})}}"
    return text + (rf"\textsuperscript{{{numbers[figure.note]}}}" if figure.note else "")


def _escape_latex(text: str) -> str:
    special = {
        "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
        "≈": r"$\approx$", "≠": r"$\neq$", "×": r"$\times$", "±": r"$\pm$", "·": r"$\cdot$",
        "–": "--",
    }  # fmt: skip
    return "".join(special.get(c, "\\" + c if c in "&%$#_{}" else c) for c in text)


def csv_rows(boards: Sequence[Board], stands: Standings) -> list[dict[str, object]]:
    """One row per method, with full precision; each board's figures have columns of their own.

    Columns of a metric: the mean; `low` and `high`, its 95 % interval; `rank`; `reported`; `note`,
    what contradicts it or why it is missing.
    """
    rows: dict[str, dict[str, object]] = {}
    for board in boards:
        table = board_table(board, stands)
        for label, row in board.rows.items():
            record, training = row.record, training_of(row)
            line = rows.setdefault(label, {"label": label, "method": record.method})
            line |= {
                "trained on": training.data,
                "samples seen": training.samples,
                "training seconds": training.seconds,
                "training machine": training.machine,
                "weights from": training.source,
                "weights digest": record.weights.digest,
            }
            line |= {key: row.aspect("efficiency").get(key) for key, *_ in EFFICIENCY}
            line |= {f"ms {place}": ms for place, ms in latencies(row).items()}
            for key, metric in board.metrics.items():
                figure = table.rows[label][key]
                if figure == Figure():
                    continue
                name = f"{board.name}: {metric.key}"
                line[name] = figure.value
                stand = stands[board.name].get(key)
                if stand and label in stand.intervals:
                    interval = stand.intervals[label]
                    line[f"{name} low"], line[f"{name} high"] = interval.low, interval.high
                    line[f"{name} rank"] = stand.ranks[label]
                line[f"{name} reported"] = figure.reported
                if figure.note:
                    line[f"{name} note"] = figure.note
            line[f"{board.name}: record"] = record.id
    names = dict.fromkeys(name for row in rows.values() for name in row)
    return [{name: row.get(name) for name in names} for row in rows.values()]


def comma_separated(rows: Sequence[Mapping[str, object]]) -> str:
    """The rows of `csv_rows` as CSV; text that a spreadsheet would take for a formula is quoted."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([_no_formula(name) for name in rows[0]])
    writer.writerows([_no_formula(cell) for cell in row.values()] for row in rows)
    return text.getvalue()


def _no_formula(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell


def latencies(row: Row) -> dict[str, float]:
    """`H×W on DEVICE` → median milliseconds."""
    return {
        f"{item['size'][0]}×{item['size'][1]} on {printable(item['device'])}": item["median_ms"]
        for item in row.aspect("efficiency").get("latency", [])
        if item["median_ms"] is not None
    }


def terminal(board: Board, stands: Standings, console: Console) -> rich.table.Table:
    """One board for a terminal; as reported on the second line of a row.

    Columns that do not fit are left out from the end, and the caption says so.
    """
    table = board_table(board, stands)
    columns = [column for column in table.columns if column.key != TRAINED]
    unbounded = console.options.update(max_width=10_000)
    for count in range(len(columns), 0, -1):
        view = _terminal_view(table, columns[:count], len(columns) - count, reference_for(board))
        if Measurement.get(console, unbounded, view).maximum <= console.width:
            break
    return view


def _terminal_view(
    table: Table, columns: Sequence[Column], left_out: int, reference: Reference | None
) -> rich.table.Table:
    captions = ["second line of a row: as reported"] if reference else []
    captions += [f"{_counted(left_out, 'more column')} in the files"] if left_out else []
    view = _plain_table(Text(table.title, no_wrap=True))
    view.caption = "; ".join(captions) or None
    view.add_column("Method", overflow="fold", max_width=24)
    for column in columns:
        name, _, unit = column.title.partition(" ")
        heading = " ".join(part for part in (unit, column.arrow) if part)
        view.add_column(Text(f"{name}\n{heading}"), justify="right", no_wrap=True)
    for label, row in table.rows.items():
        view.add_row(Text(label), *(_terminal_cell(row[c.key], c.digits) for c in columns))
    return view


def terminal_notes(table: Table) -> list[str]:
    """What a reader must know of the table: of the whole, then of single figures."""
    return [*table.notes, *table.footnotes()]


def terminal_training(board: Board) -> rich.table.Table:
    """What each row was trained on, for a terminal."""
    view = _plain_table(None)
    view.add_column("Method", overflow="fold", max_width=24)
    view.add_column("Trained on: data · samples seen · time · weights from", overflow="fold")
    for label, row in board.rows.items():
        view.add_row(Text(label), Text(training_of(row).text))
    return view


def _plain_table(title: Text | None) -> rich.table.Table:
    return rich.table.Table(
        title=title,
        title_justify="left",
        box=rich.box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
        caption_justify="left",
    )


def _terminal_cell(figure: Figure, digits: int) -> Text:
    style = {"": "", "best": "bold green", "second": "underline"}[figure.mark]
    text = Text(figure.plain(digits), style="dim" if figure.value is None else style)
    if figure.signs:
        text = Text.assemble(text, f" {figure.signs}")
    if figure.reported is not None:
        text = Text.assemble(text, (f"\n{number(figure.reported, digits)}", "dim italic"))
    return text
