"""The paper's table, from boards: Params, Memory, FLOPs, then quality, one column per board.

A table is of one board with ground truth and the boards without that share its protocol (the
paper: SREDS beside real recordings); each board keeps columns of its own. The renderers write
Markdown, LaTeX, CSV and a terminal table from the same figures.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import rich.box
import rich.table
from rich.text import Text

from spikerec.results.boards import Board, BoardName
from spikerec.results.record import Record
from spikerec.results.references import Reference, reference_for, reported_label
from spikerec.results.statistics import SIGNIFICANCE, Standing, p_floor, scenes, standing

Mark = Literal["", "best", "second"]

#: Decimals as the paper prints them; other metrics get 4.
DIGITS = {"psnr": 2, "ssim": 3, "lpips": 4, "niqe": 3, "brisque": 3}

#: Efficiency: key in a record, key in a reference, title, divisor, decimals.
EFFICIENCY = (
    ("params", "params", "Params (M)", 1e6, 2),
    ("memory_bytes", "memory", "Memory (GB)", 2**30, 2),
    ("macs", "macs", "FLOPs (T)", 1e12, 2),
)

#: The image that the papers state memory and FLOPs for, (H, W).
EFFICIENCY_SIZE = (720, 1280)


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        key: unique in the table.
        title: heading.
        group: the board it belongs to; None for efficiency.
        metric: key of the metric, or of the efficiency figure.
        digits: decimals.
        higher_is_better: None where no direction is marked.
    """

    key: str
    title: str
    group: BoardName | None
    metric: str
    digits: int
    higher_is_better: bool | None = None

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
        note: footnote.
    """

    value: float | None = None
    reported: float | None = None
    mark: Mark = ""
    is_level: bool = False
    note: str = ""


@dataclass(frozen=True)
class Table:
    """A table, not yet rendered.

    Attributes:
        title: heading.
        columns: in order.
        rows: label → column key → figure; a missing key is a method that was not evaluated there.
        notes: what a reader must know of the whole table.
    """

    title: str
    columns: list[Column]
    rows: dict[str, dict[str, Figure]]
    notes: list[str] = field(default_factory=list)

    def footnotes(self) -> dict[str, int]:
        """Notes of cells, numbered in reading order."""
        cells = (row[c.key] for row in self.rows.values() for c in self.columns if c.key in row)
        return {note: i for i, note in enumerate(dict.fromkeys(c.note for c in cells if c.note), 1)}


Standings = Mapping[BoardName, Mapping[str, Standing]]


def standings(boards: Iterable[Board]) -> dict[BoardName, dict[str, Standing]]:
    """Board → metric → how its methods stand, for each metric that any method has."""
    return {
        board.name: {
            metric: standing(*_values(board, metric), higher)
            for metric, higher in board.metrics.items()
            if any(record.mean(metric) is not None for record in board.records.values())
        }
        for board in boards
    }


def _values(board: Board, metric: str) -> tuple[dict[str, Any], Sequence[str]]:
    """A metric's columns, all in the order of one record's keys, and these keys."""
    records = {
        label: record for label, record in board.records.items() if metric in record.samples.values
    }
    keys = next(iter(records.values())).samples.keys
    return {label: aligned(record, metric, keys) for label, record in records.items()}, keys


def aligned(record: Record, metric: str, keys: Sequence[str]) -> Any:  # noqa: ANN401
    """A record's values of a metric in the order of the keys given."""
    if record.samples.keys == keys:
        return record.column(metric)
    place = {key: i for i, key in enumerate(record.samples.keys)}
    return record.column(metric)[[place[key] for key in keys]]


def paper_tables(boards: Sequence[Board], stands: Standings) -> list[Table]:
    """One table per board with ground truth, joined by the boards without of the same protocol."""
    blind = [board for board in boards if not _has_target(board)]
    leading = [board for board in boards if _has_target(board)]
    tables, joined = [], set()
    for board in leading:
        group = [board] + [other for other in blind if _protocol(other) == _protocol(board)]
        joined |= {other.name for other in group}
        tables.append(_table(group, stands))
    return tables + [_table([board], stands) for board in blind if board.name not in joined]


def _has_target(board: Board) -> bool:
    return any(record.dataset.has_target for record in board.records.values())


def _protocol(board: Board) -> tuple[str, str]:
    protocol = next(iter(board.records.values())).protocol
    return protocol.name, protocol.digest


def _table(boards: Sequence[Board], stands: Standings) -> Table:
    main = boards[0]
    records: dict[str, Record] = {}
    for board in reversed(boards):
        records |= board.records
    labels = dict.fromkeys(label for board in boards for label in board.records)
    columns = _efficiency_columns() + [column for board in boards for column in _columns(board)]
    rows = {
        label: efficiency_figures(records[label], main.name)
        | {
            f"{board.name}/{metric}": _figure(board, metric, label, stands)
            for board in boards
            if label in board.records
            for metric in board.metrics
        }
        for label in labels
    }
    shown = [
        c for c in columns if any(row.get(c.key, Figure()) != Figure() for row in rows.values())
    ]
    title = " + ".join(str(board.name) for board in boards)
    notes = dict.fromkeys(note for board in boards for note in _notes(board, stands))
    return Table(title, shown, rows, list(notes))


def _efficiency_columns() -> list[Column]:
    return [Column(key, title, None, key, digits) for key, _, title, _, digits in EFFICIENCY]


def _columns(board: Board) -> list[Column]:
    return [
        Column(f"{board.name}/{m}", m.upper(), board.name, m, DIGITS.get(m, 4), higher)
        for m, higher in board.metrics.items()
    ]


def efficiency_figures(record: Record, board: BoardName) -> dict[str, Figure]:
    """Params, memory and FLOPs of a record, in the paper's units."""
    reference = reference_for(board)
    label = reported_label(reference, record) if reference else None
    reported = reference.efficiency.get(label, {}) if reference and label else {}
    size = tuple(record.efficiency.get("size", EFFICIENCY_SIZE))
    figures = {}
    for key, name, title, unit, _ in EFFICIENCY:
        value = record.efficiency.get(key)
        if key == "macs":  # as the papers' counter has it, where known
            value = record.efficiency.get("macs_published", value)
        beside = reported.get(name)
        note = ""
        if key != "params" and reference and reference.size != EFFICIENCY_SIZE:
            beside = None
        if key != "params" and value is not None and size != EFFICIENCY_SIZE:
            value = None
            note = f"{record.label}, {title}: measured for {size[0]} × {size[1]}, not 720 × 1280."
        figures[key] = Figure(None if value is None else value / unit, beside, note=note)
    return figures


def _figure(board: Board, metric: str, label: str, stands: Standings) -> Figure:
    record = board.records[label]
    reported = reported_figures(board.name, record).get(metric)
    mean = record.mean(metric)
    if mean is None:
        reason = record.unavailable.get(metric, "no sample has a finite value.")
        return Figure(None, reported, note=f"{label}, {metric.upper()}: {reason}")
    stand = stands[board.name][metric]
    total = len(record.samples.keys)
    present = total - sum(map(math.isnan, record.column(metric)))
    note = f"{label}, {metric.upper()}: {present} of {total} samples have a value."
    return Figure(
        mean,
        reported,
        mark_of(stand, label),
        stand.is_level_with_best(label),
        note if present < total else "",
    )


def mark_of(stand: Standing, label: str) -> Mark:
    """Best mean, second best mean, or neither; equal means share a mark.

    Nothing is marked where there is nothing to compare with.
    """
    means = list(dict.fromkeys(stand.intervals[name].mean for name in stand.order))
    place = means.index(stand.intervals[label].mean)
    if len(stand.order) < 2 or place > 1:
        return ""
    return "second" if place else "best"


def reported_figures(board: BoardName, record: Record) -> Mapping[str, float]:
    """Metric → what the board's reference reports for a record's method."""
    reference = reference_for(board)
    label = reported_label(reference, record) if reference else None
    if reference is None or label is None:
        return {}
    return reference.figures[board.dataset.lower()][label]


def _notes(board: Board, stands: Standings) -> list[str]:
    record = next(iter(board.records.values()))
    units = len(set(scenes(record.samples.keys)))
    notes = [
        f"{board.name}: {len(record.samples.keys)} samples of {units} scenes; data "
        f"{record.dataset.digest[:12]}, protocol {record.protocol.digest[:12]}."
    ]
    pairs = max((len(stand.comparisons) for stand in stands[board.name].values()), default=0)
    if pairs and p_floor(units) * pairs >= SIGNIFICANCE:
        notes.append(
            f"{board.name}: with {units} scenes no lead of any of {pairs} pairs of methods can be "
            f"significant (smallest possible p {p_floor(units):.2g}, corrected "
            f"{min(1.0, p_floor(units) * pairs):.2g})."
        )
    if reference := reference_for(board.name):
        notes.append(f"In brackets: as reported. {reference.source}")
    return notes


def reference_table(reference: Reference) -> Table:
    """A source's own table, for boards of its own."""
    columns = [
        Column(name, title, None, name, digits)
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
            name = BoardName(dataset, "test", "as reported")
            column = Column(
                f"{name}/{metric}", metric.upper(), name, metric, DIGITS[metric], higher
            )
            columns.append(column)
            order = sorted({figures[metric] for figures in methods.values()}, reverse=higher)
            for label, figures in methods.items():
                value = figures[metric]
                mark: Mark = {0: "best", 1: "second"}.get(order.index(value), "")  # type: ignore[assignment]
                rows[label][column.key] = Figure(value, mark=mark)
    return Table(f"As reported: {reference.title}", columns, rows, [f"Source: {reference.source}"])


LEGEND = (
    "**Best** and <u>second best</u> mean of a column. ≈: the best's lead over it is not "
    "significant (paired permutation test over scenes, Holm-corrected, 5 %). (…): as reported. "
    "–: not evaluated. FLOPs are multiply-accumulates, as the papers count them."
)


def number(value: float, digits: int) -> str:
    """A figure as the paper prints it."""
    return f"{value:.{digits}f}"


def markdown(tables: Sequence[Table]) -> str:
    """The tables as GitHub Markdown."""
    return "\n\n".join(["# Leaderboard", LEGEND, *map(_markdown_table, tables)]) + "\n"


def _markdown_table(table: Table) -> str:
    numbers = table.footnotes()
    groups = len({column.group for column in table.columns if column.group})
    titles = [
        _escape_markdown(
            f"{c.title} {c.arrow}" + (f" {c.group.dataset}" if c.group and groups > 1 else "")
        )
        for c in table.columns
    ]
    lines = [
        f"## {_escape_markdown(table.title)}\n",
        "| Method | " + " | ".join(title.strip() for title in titles) + " |",
        "| :-- |" + " --: |" * len(titles),
    ]
    for label, row in table.rows.items():
        cells = [_markdown_cell(row.get(c.key), c.digits, numbers) for c in table.columns]
        lines.append(f"| {_escape_markdown(label)} | " + " | ".join(cells) + " |")
    notes = [f"{i}. {_escape_markdown(note)}" for note, i in numbers.items()]
    general = [f"- {_escape_markdown(note)}" for note in table.notes]
    return "\n".join(lines) + "".join(
        "\n\n" + "\n".join(block) for block in (general, notes) if block
    )


def _markdown_cell(figure: Figure | None, digits: int, numbers: Mapping[str, int]) -> str:
    if figure is None:
        return "–"
    text = _missing(figure) if figure.value is None else number(figure.value, digits)
    text = {"": text, "best": f"**{text}**", "second": f"<u>{text}</u>"}[figure.mark]
    text += " ≈" if figure.is_level else ""
    text += f" ({number(figure.reported, digits)})" if figure.reported is not None else ""
    return text + (f" [{numbers[figure.note]}]" if figure.note else "")


def _missing(figure: Figure) -> str:
    return "n/a" if figure.note else "–"


def _escape_markdown(text: str) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace("\n", " ")
    return "".join("\\" + c if c in "\\|*_`[]" else c for c in text)


def latex(tables: Sequence[Table]) -> str:
    """The tables for a paper (packages: booktabs)."""
    return "% needs \\usepackage{booktabs}\n" + "\n".join(map(_latex_table, tables))


def _latex_table(table: Table) -> str:
    numbers = table.footnotes()
    arrows = {"↑": r" $\uparrow$", "↓": r" $\downarrow$", "": ""}
    titles = [_escape_latex(c.title) + arrows[c.arrow] for c in table.columns]
    lines = [
        r"\begin{table}\centering\small",
        rf"\caption{{{_escape_latex(table.title)}}}",
        rf"\begin{{tabular}}{{l{'r' * len(titles)}}}",
        r"\toprule",
        _latex_groups(table),
        " & ".join(["Method", *titles]) + r" \\",
        r"\midrule",
    ]
    for label, row in table.rows.items():
        cells = [_latex_cell(row.get(c.key), c.digits, numbers) for c in table.columns]
        lines.append(" & ".join([_escape_latex(label), *cells]) + r" \\")
    notes = [rf"\textsuperscript{{{i}}} {_escape_latex(note)}" for note, i in numbers.items()]
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\footnotesize {note}" for note in [*map(_escape_latex, table.notes), *notes]]
    return "\n".join([*(line for line in lines if line), r"\end{table}", ""])


def _latex_groups(table: Table) -> str:
    """The line over the headings that names each column's board."""
    cells = [""]
    position = 0
    while position < len(table.columns):
        group = table.columns[position].group
        run = sum(1 for column in table.columns if column.group == group)
        name = _escape_latex(str(group)) if group else ""
        cells.append(rf"\multicolumn{{{run}}}{{c}}{{{name}}}")
        position += run
    return " & ".join(cells) + r" \\"


def _latex_cell(figure: Figure | None, digits: int, numbers: Mapping[str, int]) -> str:
    if figure is None:
        return "--"
    text = "n/a" if figure.note else "--"
    if figure.value is not None:
        text = number(figure.value, digits)
    wrap = {"": "{}", "best": r"\textbf{{{}}}", "second": r"\underline{{{}}}"}[figure.mark]
    text = wrap.format(text) + (r"\,$\approx$" if figure.is_level else "")
    if figure.reported is not None:
        text += rf" {{\scriptsize({number(figure.reported, digits)})}}"
    return text + (rf"\textsuperscript{{{numbers[figure.note]}}}" if figure.note else "")


def _escape_latex(text: str) -> str:
    special = {
        "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
        "≈": r"$\approx$", "×": r"$\times$", "±": r"$\pm$", "·": r"$\cdot$",
    }  # fmt: skip
    return "".join(special.get(c, "\\" + c if c in "&%$#_{}" else c) for c in text)


def comma_separated(boards: Sequence[Board], stands: Standings) -> str:
    """One row per method; each board's figures have columns of their own, with full precision.

    Columns of a metric: the mean; `low` and `high`, its 95 % interval; `rank`; `reported`.
    """
    rows: dict[str, dict[str, object]] = {}
    for board in boards:
        for label, record in board.records.items():
            row = rows.setdefault(label, {"label": label, "method": record.method})
            row |= {key: record.efficiency.get(key) for key, *_ in EFFICIENCY}
            row |= {f"ms {place}": ms for place, ms in latencies(record).items()}
            for metric, stand in stands[board.name].items():
                if label in stand.intervals:
                    name = f"{board.name}: {metric}"
                    interval = stand.intervals[label]
                    row[name] = interval.mean
                    row[f"{name} low"], row[f"{name} high"] = interval.low, interval.high
                    row[f"{name} rank"] = stand.ranks[label]
                    row[f"{name} reported"] = reported_figures(board.name, record).get(metric)
            row[f"{board.name}: record"] = record.id
    text = io.StringIO(newline="")
    names = dict.fromkeys(name for row in rows.values() for name in row)
    writer = csv.DictWriter(text, list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows.values())
    return text.getvalue()


def latencies(record: Record) -> dict[str, float]:
    """`H×W on DEVICE` → median milliseconds."""
    return {
        f"{item['size'][0]}×{item['size'][1]} on {item['device']}": item["median_ms"]
        for item in record.efficiency.get("latency", [])
    }


def terminal(board: Board, stands: Standings) -> rich.table.Table:
    """One board for a terminal of 80 columns; as reported on the second line of a row."""
    table = _table([board], stands)
    view = rich.table.Table(
        title=Text(table.title, no_wrap=True),
        title_justify="left",
        box=rich.box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
        caption="second line of a row: as reported" if reference_for(board.name) else None,
        caption_justify="left",
    )
    view.add_column("Method", no_wrap=True)
    quality_first = sorted(table.columns, key=lambda column: column.group is None)
    for column in quality_first:
        name, _, unit = column.title.partition(" ")
        view.add_column(Text(f"{name}\n{unit or column.arrow}"), justify="right", no_wrap=True)
    for label, row in table.rows.items():
        cells = (_terminal_cell(row.get(c.key), c.digits) for c in quality_first)
        view.add_row(Text(label), *cells)
    return view


def _terminal_cell(figure: Figure | None, digits: int) -> Text:
    if figure is None:
        return Text("–", style="dim")
    text = Text()
    if figure.value is None:
        text.append(_missing(figure), style="dim")
    else:
        style = {"": "", "best": "bold green", "second": "underline"}[figure.mark]
        text.append(number(figure.value, digits), style=style)
    if figure.is_level:
        text.append(" ≈")
    if figure.reported is not None:
        text.append(f"\n{number(figure.reported, digits)}", style="dim italic")
    return text
