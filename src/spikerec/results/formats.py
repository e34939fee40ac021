"""Tables as text: Markdown, LaTeX and CSV. All write the same figures."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence

from spikerec.errors import printable
from spikerec.results.boards import Board
from spikerec.results.breakdown import breakdown_table, breakdowns, shown
from spikerec.results.folds import weights_digests
from spikerec.results.learning import learning_tables
from spikerec.results.store import Problem
from spikerec.results.tables import (
    EFFICIENCY,
    TRAINED,
    Figure,
    Standings,
    Table,
    board_table,
    latencies,
    number,
    with_columns,
)
from spikerec.results.trained import training_of

#: Characters with which a spreadsheet begins a formula; those of full width in East Asia.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")

#: Records left out whose reasons are listed; the page lists more.
MOST_LISTED = 20

SIGNS = (
    "≈: the best's lead over it is not significant (paired permutation test over scenes, "
    "Holm-corrected, 5 %). ≠: evaluations of the same weights disagree. –: not evaluated, or not "
    "known."
)
LEGEND = (
    f"**Best** and <u>second best</u> mean of a column. {SIGNS} (…): as reported. FLOPs are "
    "multiply-accumulates, as the papers count them. Trained on: data · samples seen · time · "
    "where the weights come from."
)


def board_tables(boards: Sequence[Board], stands: Standings) -> list[Table]:
    """The table of each board, and after it those of its breakdowns and learning curves."""
    found: list[Table] = []
    for board in boards:
        breaks = breakdown_table(board)
        found += [board_table(board, stands), *([] if breaks is None else [breaks])]
        found += learning_tables(board)
    return found


def markdown(tables: Sequence[Table], problems: Sequence[Problem] = ()) -> str:
    """The tables as GitHub Markdown, and below them what was left out, with the reasons."""
    blocks = ["# Leaderboard", LEGEND, *map(_markdown_table, tables)]
    if problems:
        reasons = [f"- {_escape_markdown(one)}" for one in reasons_of(problems)]
        blocks += [f"Records left out: {len(problems)}", "\n".join(reasons)]
    return "\n\n".join(blocks) + "\n"


def reasons_of(problems: Sequence[Problem]) -> list[str]:
    """The reasons why records were left out, a line each; of very many the first."""
    lines = [problem.reason for problem in problems[:MOST_LISTED]]
    if len(problems) > MOST_LISTED:
        lines.append(f"… and {len(problems) - MOST_LISTED} more")
    return lines


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
    what contradicts it or why it is missing. Of a board with factors, `breaks down at FACTOR`.
    Of a board with more rows than it shows, `rows left out`, the same number in each of its rows.
    """
    rows: dict[str, dict[str, object]] = {}
    for board in boards:
        table, found = board_table(board, stands), breakdowns(board)
        for label, row in board.rows.items():
            record, training = row.record, training_of(row)
            line = rows.setdefault(label, {"label": label, "method": record.method})
            line |= {
                "trained on": training.data,
                "samples seen": training.samples,
                "training seconds": training.seconds,
                "training machine": training.machine,
                "weights from": training.source,
                "weights digest": weights_digests(record),
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
            for factor, places in found.items():
                if label in places:
                    line[f"{board.name}: breaks down at {factor}"] = shown(places[label])
            line[f"{board.name}: record"] = record.id
            if board.more_rows:
                line[f"{board.name}: rows left out"] = len(board.more_rows)
    return list(rows.values())


def comma_separated(rows: Sequence[Mapping[str, object]]) -> str:
    """Return rows as CSV, a column for each name in any of them, and no text that is a formula.

    A cell is empty where a row has no such name, and for None and NaN. Text that a spreadsheet
    would take for a formula begins with an apostrophe.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([_cell(name) for name in names])
    writer.writerows([_cell(row.get(name)) for name in names] for row in rows)
    return text.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return None if isinstance(value, float) and math.isnan(value) else value
