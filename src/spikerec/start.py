"""The console scripts: they import a command's modules where Ctrl-C ends in one line, too.

An interruption is an exception, which a library may swallow while it is imported, or turn into
another: the same Ctrl-C ended as a `SyntaxError` with status 1.
"""

from __future__ import annotations

import importlib
import os
import signal
from contextlib import suppress
from typing import NoReturn


def spikerec() -> None:
    """Run the command `spikerec`."""
    _start("spikerec.cli")


def spikerec_run() -> None:
    """Run the command `spikerec-run`."""
    _start("spikerec.runtime.main")


def _start(module: str) -> None:
    """Import a module, in which Ctrl-C ends the process, and call its `main`."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # not one that is ignored, as of a job of a shell's
        signal.signal(signal.SIGINT, _end)
    main = importlib.import_module(module).main
    signal.signal(signal.SIGINT, before)
    main()


def _end(*_signal: object) -> NoReturn:
    """End at once: nothing was begun."""
    with suppress(OSError):
        os.write(1, b"interrupted: nothing was begun.\n")
    os._exit(130)
