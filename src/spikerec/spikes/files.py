"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spikerec.errors import DataError


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Refuse to replace a file unless told to.

    Raises:
        DataError: the file exists and `overwrite` is False.
    """
    if path.exists() and not overwrite:
        raise DataError(f"{path} exists already: pass overwrite=True to replace it.")


def temporary_name(path: Path) -> Path:
    """A name beside `path`, with its suffix, for the file while it is being written."""
    return path.with_name(f".{path.stem}.{os.getpid()}-{os.urandom(4).hex()}{path.suffix}")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Write to the path that this yields; on success it takes the name `path`, else it goes.

    Folders on the way are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
