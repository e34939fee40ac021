"""The leaderboard of some records, for a notebook or a script."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path
from types import EllipsisType
from typing import Any

import pandas as pd

from spikerec.errors import ResultsError
from spikerec.kinds import checked
from spikerec.results.boards import Choice, gather
from spikerec.results.formats import (
    board_tables,
    comma_separated,
    csv_rows,
    markdown,
    reasons_of,
)
from spikerec.results.page import render
from spikerec.results.record import Record
from spikerec.results.references import references
from spikerec.results.store import Problem, scan
from spikerec.results.tables import standings
from spikerec.spikes.files import atomic_path

#: Pictures that a page embeds, as conf/leaderboard.yaml states them.
IMAGES_PER_BOARD, IMAGE_SIDE, IMAGE_MEGABYTES = 8, 800, 24.0


class Leaderboard:
    """Boards of records, one a data set, with the significance of each lead.

    A notebook shows it as a table; `save` writes the page that `spikerec leaderboard` writes.

    Args:
        records: records, or folders of them.
        choice: the part to show.

    Attributes:
        boards: by data set and split.
        problems: the files and records that were left out, with the reason.

    Raises:
        ResultsError: no record can be shown, or a folder is not there.
    """

    def __init__(self, records: Iterable[Record | str | Path], choice: Choice) -> None:
        given = list(records)
        places = [Path(one) for one in given if not isinstance(one, Record)]
        files = [one.path.parent for one in given if isinstance(one, Record) and one.path]
        self.folders = list(dict.fromkeys([*places, *files]))
        self.boards, self.problems = gather(_items(given), choice)
        if not self.boards:
            reason = f": {self.problems[0].reason}" if self.problems else "."
            raise ResultsError(f"records holds no record that can be shown{reason}")
        self._stands = standings(self.boards)

    def to_frame(self) -> pd.DataFrame:
        """One row a row of a board and metric, as `leaderboard.csv` has them."""
        return pd.DataFrame(csv_rows(self.boards, self._stands))

    @checked
    def save(self, path: str | Path) -> Path:
        """Write the leaderboard, atomically: a page (`.html`), a table (`.md`) or rows (`.csv`).

        Raises:
            ResultsError: another suffix.
        """
        path = Path(path)
        writers = {".html": self._page, ".md": self._markdown, ".csv": self._csv}
        if path.suffix not in writers:
            raise ResultsError(
                f"{path}: expected the suffix {', '.join(writers)}, found {path.suffix!r}."
            )
        text = writers[path.suffix]()
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
        return path

    def _page(self) -> str:
        return render(
            self.boards,
            self._stands,
            references(),
            self.problems,
            self.folders,
            images_per_board=IMAGES_PER_BOARD,
            image_side=IMAGE_SIDE,
            image_megabytes=IMAGE_MEGABYTES,
        )

    def _markdown(self) -> str:
        return markdown(board_tables(self.boards, self._stands), self.problems)

    def _csv(self) -> str:
        return comma_separated(csv_rows(self.boards, self._stands))

    def __repr__(self) -> str:
        """The tables as text."""
        return self._markdown()

    def _repr_html_(self) -> str:
        """The rows, and what was left out, as a notebook shows them."""
        rows = self.to_frame().to_html(index=False, escape=True)
        if not self.problems:
            return rows
        reasons = "".join(f"<li>{escape(reason)}</li>" for reason in reasons_of(self.problems))
        return f"{rows}<p>Records left out: {len(self.problems)}</p><ul>{reasons}</ul>"


@checked
def leaderboard(
    records: str | Path | Record | Iterable[Record | str | Path | EllipsisType],
    choice: Choice | None = None,
) -> Leaderboard:
    """Compare records: `spikerec.leaderboard("outputs/results")`, or a list of records.

    Args:
        records: one record or folder of records, or several; an Ellipsis among them, which
            is a placeholder for records that do not exist yet, adds nothing.
        choice: the part to show; None shows everything.

    Raises:
        ResultsError: no record can be shown, something else among them, or a folder is not there.
    """
    several = [records] if isinstance(records, str | Path | Record) else records
    if not isinstance(several, Iterable):
        raise _wrong_kind(several)
    given: list[Any] = [one for one in several if one is not ...]
    for one in given:
        if not isinstance(one, str | Path | Record):
            raise _wrong_kind(one)
    return Leaderboard(given, choice or Choice())


def _items(given: Iterable[Record | str | Path]) -> Iterator[Record | Problem]:
    for one in given:
        if isinstance(one, Record):
            yield one
        else:
            yield from scan([one])


def _wrong_kind(found: object) -> ResultsError:
    return ResultsError(
        "records must be records (spikerec.evaluate returns one) or folders of records, found "
        f"{type(found).__name__}."
    )
