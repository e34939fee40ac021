"""The files of a folder: which count, and in which order."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path


def listed(folder: Path, suffixes: Collection[str], *, recursive: bool = False) -> list[Path]:
    """The files of a folder that have one of these suffixes, in order (see `in_order`).

    Names that begin with a dot do not count, nor files in folders named so: the `._x`
    companions that macOS writes, and what is still being written.

    Args:
        folder: where to look; one that is not there holds nothing.
        suffixes: in lower case; those of the files may be in any.
        recursive: look in subfolders too.
    """
    found = folder.rglob("*") if recursive else folder.glob("*")
    return in_order(
        path
        for path in found
        if path.suffix.lower() in suffixes
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, in order, without those whose names begin with a dot."""
    return in_order(path for path in folder.glob("[!.]*") if path.is_dir())


def in_order(paths: Iterable[Path]) -> list[Path]:
    """Paths by name, numbers in names by their value: `f_2` comes before `f_10`."""
    return sorted(paths, key=_by_number)


def _by_number(path: Path) -> list[list[tuple[int, str]]]:
    """Sort key: for each part of the path, its runs of digits as numbers."""
    return [
        [(int(run) if run.isdecimal() else -1, run) for run in re.split(r"(\d+)", part)]
        for part in (*path.parent.parts, path.stem, path.suffix)
    ]
