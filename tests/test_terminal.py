"""Text that cannot be printed never ends a command."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PRINT = """
import sys
from spikerec import terminal
terminal.install()
for index in range(20000):
    print("32 × 48", index)
sys.stderr.write(f"done {terminal.lost_output()}")
"""


def run(redirection: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    line = f'"$0" -c "$1" {redirection}'
    return subprocess.run(
        ["/bin/bash", "-c", line, sys.executable, PRINT],
        env=os.environ | environment,
        capture_output=True,
        check=False,
    )


def test_reader_that_has_gone() -> None:
    told = run("| head -1; exit ${PIPESTATUS[0]}")
    assert (told.returncode, told.stderr) == (0, b"done None")
    assert told.stdout == "32 × 48 0\n".encode()


def test_full_disk_behind_the_output() -> None:
    told = run("> /dev/full")
    assert (told.returncode, told.stderr) == (0, b"done [Errno 28] No space left on device")


@pytest.mark.parametrize("redirection", [">&-", "> /dev/null"])
def test_output_that_nobody_reads(redirection: str) -> None:
    told = run(redirection)
    assert (told.returncode, told.stderr) == (0, b"done None")


def test_terminal_of_ascii() -> None:
    told = run("", PYTHONIOENCODING="ascii", LC_ALL="C")
    assert (told.returncode, told.stderr) == (0, b"done None")
    assert told.stdout.startswith(b"32 ? 48 0\n")


SIGNALLED = """
import logging, os, signal, sys
from spikerec import terminal
terminal.install()
logging.basicConfig(stream=sys.stdout)
class Slow(logging.StreamHandler):
    def emit(self, record):
        if record.msg == "outer":
            os.kill(os.getpid(), signal.SIGTERM)
        elif sys.stdout:
            try:
                raise RuntimeError("reentrant call inside <_io.BufferedWriter>")
            except RuntimeError:
                self.handleError(record)
log = logging.getLogger("a")
log.addHandler(Slow())
signal.signal(signal.SIGTERM, lambda *_: log.warning("inner"))
log.warning("outer")
"""


def test_line_of_the_log_within_another_one_leaves_no_trace() -> None:
    told = subprocess.run(
        [sys.executable, "-c", SIGNALLED], capture_output=True, text=True, check=False
    )
    assert (told.returncode, told.stderr) == (0, "")
