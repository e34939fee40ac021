"""Standard output and standard error that never end a command.

A reader that has gone (`spikerec … | head -1`), a full disk behind `> log`, or a terminal that
knows ASCII alone must not stop a training of days, nor fail a command whose work is done.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class Output(io.TextIOWrapper):
    """A text stream that drops what cannot be written.

    Attributes:
        lost: the first error of writing; from then on, everything is dropped.
    """

    lost: OSError | None = None

    def write(self, text: str) -> int:
        """Write the text, or drop it."""
        with self._dropping():
            super().write(text)
        return len(text)

    def flush(self) -> None:
        """Pass on what was written, or drop it."""
        with self._dropping():
            super().flush()

    @contextmanager
    def _dropping(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.lost = self.lost or error
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)


def install() -> None:
    """Put `Output` in place of the interpreter's own streams; not of those of a test or notebook.

    A letter that the terminal does not know is printed as a question mark or an escape. A line of
    the log that cannot be written, as one that a signal's handler logs within another, is dropped.
    """
    logging.raiseExceptions = False
    for name, errors in (("stdout", "replace"), ("stderr", "backslashreplace")):
        stream = getattr(sys, name)
        if stream is None:  # the command was started with this stream closed
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        elif stream is getattr(sys, f"__{name}__") and type(stream) is io.TextIOWrapper:
            encoding, by_line = stream.encoding, stream.line_buffering
            output = Output(stream.detach(), encoding, errors, line_buffering=by_line)
            setattr(sys, name, output)
            setattr(sys, f"__{name}__", output)


def lost_output() -> OSError | None:
    """The error by which standard output was lost; None if all was written or its reader left."""
    if isinstance(sys.stdout, Output):
        sys.stdout.flush()
        if sys.stdout.lost is not None and sys.stdout.lost.errno != errno.EPIPE:
            return sys.stdout.lost
    return None
