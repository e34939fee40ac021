"""Tables in Markdown, and the places in documents that they are written to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from spikerec.errors import DataError
from spikerec.spikes.files import atomic_path

#: End of every place.
END = "<!-- end of figures -->"


def start_of(name: str) -> str:
    """The mark at which the place of a table begins."""
    return f"<!-- figures: {name} -->"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """A table in Markdown, the first columns aligned left, the others right."""
    marks = [":--" if index < left else "--:" for index in range(len(headings))]
    lines = [headings, marks, *rows]
    for line in lines:
        assert len(line) == len(headings)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def decibels(value: float, digits: int = 2) -> str:
    """A figure in dB, with a minus sign where it is negative and no sign where it rounds to 0."""
    text = f"{value:.{digits}f}"
    return text.replace("-", "−" if float(text) else "")


def filled(text: str, name: str, content: str, page: Path) -> str:
    """The text of a document with another content in one of its places.

    Raises:
        DataError: the place is missing, or is there more than once.
    """
    pattern = re.compile(f"{re.escape(start_of(name))}.*?{re.escape(END)}", re.DOTALL)
    places = [found for found in pattern.findall(text) if found.count("<!-- figures:") == 1]
    if len(places) != 1:
        raise DataError(
            f"{page} must have one place for the figures {name}, from {start_of(name)} to {END}; "
            f"found {len(places)}. Put these two lines around the table."
        )
    return text.replace(places[0], f"{start_of(name)}\n\n{content}\n\n{END}")


def write(page: Path, name: str, content: str) -> bool:
    """Write the content of a place into its document; False if it was there already.

    Raises:
        DataError: see `filled`.
    """
    before = page.read_text(encoding="utf-8")
    after = filled(before, name, content, page)
    if after == before:
        return False
    with atomic_path(page) as temporary:
        temporary.write_text(after, encoding="utf-8")
    return True
