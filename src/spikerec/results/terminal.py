"""Tables for a terminal, as wide as it is."""

from __future__ import annotations

from collections.abc import Sequence

import rich.box
import rich.table
from rich.console import Console, Group
from rich.measure import Measurement
from rich.padding import Padding
from rich.text import Text

from spikerec.results.boards import Board
from spikerec.results.references import Reference, reference_for
from spikerec.results.tables import (
    TRAINED,
    Column,
    Figure,
    Standings,
    Table,
    board_table,
    counted,
    number,
)
from spikerec.results.trained import training_of


def terminal(board: Board, stands: Standings, console: Console) -> Group:
    """One board for a terminal, below its title; as reported on the second line of a row.

    Columns that do not fit are left out from the end, and the caption says so.
    """
    table = board_table(board, stands)
    columns = [column for column in table.columns if column.key != TRAINED]
    unbounded = console.options.update(max_width=10_000)
    for count in range(len(columns), 0, -1):
        view = _terminal_view(table, columns[:count], len(columns) - count, reference_for(board))
        if Measurement.get(console, unbounded, view).maximum <= console.width:
            break
    return Group(_title(table), view)


def _terminal_view(
    table: Table, columns: Sequence[Column], left_out: int, reference: Reference | None
) -> rich.table.Table:
    captions = ["second line of a row: as reported"] if reference else []
    captions += [f"{counted(left_out, 'more column')} in the files"] if left_out else []
    view = _plain_table()
    view.caption = "; ".join(captions) or None
    view.add_column("Method", overflow="fold", max_width=24)
    for column in columns:
        name, _, unit = column.title.partition(" ")
        heading = " ".join(part for part in (unit, column.arrow) if part)
        view.add_column(Text(f"{name}\n{heading}"), justify="right", no_wrap=True)
    for label, row in table.rows.items():
        view.add_row(Text(label), *(_terminal_cell(row[c.key], c.digits) for c in columns))
    return view


def terminal_breakdowns(table: Table) -> Group:
    """The table of breakdowns, below its title: each level above its cause."""
    view = _plain_table()
    view.padding = (0, 0)  # a column of space between columns, and more room for their words
    view.add_column("Method", overflow="fold", max_width=24)
    for column in table.columns:
        view.add_column(Text(column.title), overflow="fold")
    for label, row in table.rows.items():
        cells = (row[column.key].plain(column.digits) for column in table.columns)
        lines = (cell.replace("), ", ")\n").replace(" (", "\n(") for cell in cells)
        view.add_row(Text(label), *map(Text, lines))
    return Group(_title(table), view)


def terminal_notes(table: Table) -> Group:
    """Notes for the reader of a table, indented: on the whole, then on single figures."""
    notes = [*table.notes, *table.footnotes()]
    return Group(*(Padding(Text(note, style="dim"), (0, 0, 0, 2)) for note in notes))


def terminal_training(board: Board) -> rich.table.Table:
    """The training data of each row, for a terminal."""
    view = _plain_table()
    view.add_column("Method", overflow="fold", max_width=24)
    view.add_column("Trained on: data · samples seen · time · weights from", overflow="fold")
    for label, row in board.rows.items():
        view.add_row(Text(label), Text(training_of(row).text))
    return view


def _title(table: Table) -> Text:
    """A title as wide as the terminal, however narrow its table is."""
    return Text(table.title, style="table.title", overflow="fold")


def _plain_table() -> rich.table.Table:
    return rich.table.Table(
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
