"""Faults of the machine, each set up by a function in the process that is to meet it."""

from __future__ import annotations

import multiprocessing.popen_spawn_posix  # noqa: F401 (later, a user without rights cannot)
import os
import random
import resource
import signal
import sys
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Self

from tests.torture.cases import OUT, STATE

Fault = Callable[[], None]

#: A user who owns nothing.
NOBODY = 65534

#: Variables that name folders for what can be made again.
CACHES = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "NUMBA_CACHE_DIR", "MPLCONFIGDIR", "TORCH_HOME")

#: Interruptions of a command: a signal to it, or the death of one of its processes.
SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGINT": signal.SIGINT, "SIGTERM": signal.SIGTERM}
DEAD_CHILD, TWO_AT_ONCE = "dead child process", "two at once"


def full_disk() -> None:
    """No file grows beyond a few bytes, or beyond some hundred kilobytes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    most = random.choice([200, 3_000, 30_000, 300_000])  # noqa: S311 (trials, not secrets)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def no_memory() -> None:
    """One to five hundred megabytes more than there are in use."""
    limit_memory(2 ** random.uniform(0, 9))  # noqa: S311


def limit_memory(megabytes: float) -> None:
    """Let this process take so much memory more than it has."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    most = used + int(megabytes * (1 << 20))
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def no_permission() -> None:
    """Another user, who may read all and write nothing."""
    if os.geteuid() == 0:  # who may write everywhere
        _become_nobody()
    else:
        OUT.chmod(0o500)


def unreadable() -> None:
    """Another user, who may write the outputs but not read the inputs, or one of them."""
    OUT.chmod(0o777)
    for one in OUT.iterdir():
        one.chmod(0o777)
    inputs = [STATE, *(one for one in STATE.rglob("*") if one.is_file())]
    random.choice([STATE, random.choice(inputs)]).chmod(0)  # noqa: S311
    _become_nobody()


def readable_again() -> None:
    """Undo `unreadable`."""
    STATE.chmod(0o755)
    for one in STATE.rglob("*"):
        one.chmod(0o755 if one.is_dir() else 0o644)


def _become_nobody() -> None:
    if os.geteuid() == 0:
        os.setegid(NOBODY)
        os.seteuid(NOBODY)


def few_files() -> None:
    """A handful more open files than there are, or 64 or 256 in all."""
    used = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    most = random.choice([used + 4, 64, 256])  # noqa: S311
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def reader_gone() -> None:
    """Standard output is a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    os.dup2(writing, 1)


def output_full() -> None:
    """Standard output is a full disk."""
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)


def ascii_terminal() -> None:
    """Standard output knows ASCII alone."""


def clock_set_back() -> None:
    """The clock says that it is ten years ago."""

    class Earlier(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) - timedelta(days=3_650)

    for name, module in list(sys.modules.items()):
        if name.startswith("spikerec.") and getattr(module, "datetime", None) is datetime:
            module.__dict__["datetime"] = Earlier


def no_home() -> None:
    """No variable names a home, or a folder in it."""
    for name in [one for one in os.environ if one.startswith("XDG_") or one.endswith("HOME")]:
        del os.environ[name]


def read_only_home() -> None:
    """Home is a folder that nobody can write to, as are the folders for compiled code."""
    os.environ |= dict.fromkeys(CACHES, "/proc/nowhere") | {"HOME": "/proc"}


FAULTS: dict[str, Fault] = {
    "full disk": full_disk,
    "no memory": no_memory,
    "no permission": no_permission,
    "unreadable input": unreadable,
    "few open files": few_files,
    "reader gone": reader_gone,
    "output on a full disk": output_full,
    "ASCII terminal": ascii_terminal,
    "clock set back": clock_set_back,
    "no home": no_home,
    "read-only home": read_only_home,
}

#: Faults of the surroundings, which a command meets while it imports: it is started anew.
FROM_THE_START = {no_home, read_only_home}

#: Everything that is tried.
KINDS = (*SIGNALS, DEAD_CHILD, TWO_AT_ONCE, *FAULTS)
