"""The two lines inside an output: the settings it was made by as digests, and in plain words.

By the mark a repeated command recognises its own output. The words (`Video.about`) are for
people, and for making the same again. A format without a place for text has both behind its end,
where readers of the format do not look.
"""

from __future__ import annotations

from pathlib import Path

#: The beginning of the line inside an output that identifies its settings.
MARK = "spikerec:"
LONGEST_MARK = 1 << 14
#: Name of the text within a file that says how it was made; some formats keep it in lower case.
ABOUT_TAG = "Description"
#: Its beginning behind the end of a file whose format has no place for it.
ABOUT_MARK = "about spikerec:"


def append_marks(path: Path, about: str, mark: str) -> None:
    """Put marks behind the end of a file, where readers of its format do not look."""
    with path.open("ab") as file:
        file.write(f"\n{ABOUT_MARK}{about}\n{mark}".encode())


def last_mark(path: Path) -> str:
    """The mark behind the end of a file; empty if there is none."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LONGEST_MARK))
        _, found, mark = file.read().rpartition(f"\n{MARK}".encode())
    return MARK + mark.decode() if found else ""
