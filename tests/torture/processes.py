"""Commands in processes of their own, which faults are set up in and which signals end."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from spikerec import cli
from tests.http_server import serve_files
from tests.torture.cases import hosted
from tests.torture.faults import FROM_THE_START, Fault, ascii_terminal

#: Seconds after which a command that has not ended counts as hung, and its status then.
LONGEST_SECONDS, HUNG = 180, 255

PROGRAM = Path(sys.executable).with_name("spikerec")


class End(NamedTuple):
    """End of a command: its status (minus the signal that killed it) and its output."""

    status: int
    out: str
    err: str


class Command:
    """A command in a process of its own.

    Args:
        words: of the command.
        fault: sets up its process.
        repeats: True to run it again and again.
        name: of the files of what it says.
    """

    def __init__(
        self,
        words: tuple[str, ...],
        fault: Fault | None = None,
        *,
        repeats: bool = False,
        name: str = "std",
    ) -> None:
        self._files = tuple(Path(f"{name}{stream}") for stream in ("out", "err"))
        for file in self._files:
            file.write_text("")
        self.process = os.fork()
        if self.process == 0:
            try:
                _be_the_command(words, fault, self._files, repeats=repeats)
            finally:  # a signal may come at any moment: this process never becomes the trials' own
                os._exit(1)

    def signal_at(self, signum: int, seconds: float) -> None:
        """Send it a signal after a while."""
        time.sleep(seconds)
        with suppress(ProcessLookupError):
            os.kill(self.process, signum)

    def kill_a_child(self, seconds: float) -> bool:
        """Kill a process that it has started, after a while, and tell if there was one."""
        time.sleep(seconds)
        with suppress(OSError, ValueError):
            tasks = Path(f"/proc/{self.process}/task").iterdir()
            children = " ".join((one / "children").read_text() for one in tasks).split()
            workers = [one for one in children if b"resource_tracker" not in _command_line(one)]
            if workers:
                os.kill(int(workers[-1]), signal.SIGKILL)
                return True
        return False

    def end(self) -> End:
        """Wait for its end; one that has hung for `LONGEST_SECONDS` is killed."""
        status = self._ended()
        return End(status, *(file.read_text(errors="replace") for file in self._files))

    def _ended(self) -> int:
        until = time.monotonic() + LONGEST_SECONDS
        while (ended := os.waitpid(self.process, os.WNOHANG)) == (0, 0):
            if time.monotonic() > until:
                os.kill(self.process, signal.SIGUSR2)
                time.sleep(1)
                os.kill(self.process, signal.SIGKILL)
                os.waitpid(self.process, 0)
                return HUNG
            time.sleep(0.02)
        return os.waitstatus_to_exitcode(ended[1])


def _command_line(process: str) -> bytes:
    return Path(f"/proc/{process}/cmdline").read_bytes()


def run(words: tuple[str, ...], fault: Fault | None = None) -> End:
    """Run a command to its end."""
    return Command(words, fault).end()


def _be_the_command(
    words: tuple[str, ...], fault: Fault | None, files: tuple[Path, ...], *, repeats: bool
) -> None:
    os.setsid()
    faulthandler.register(signal.SIGUSR2, all_threads=True)  # where it hangs
    for stream, file in zip((sys.stdout, sys.stderr), files, strict=True):
        os.dup2(os.open(file, os.O_WRONLY | os.O_APPEND), stream.fileno())
    status = 0
    # Processes that the command starts begin as those of the program do, not as the trials.
    main: Any = sys.modules["__main__"]
    main.__spec__, main.__file__ = None, str(PROGRAM)
    try:
        encoding = "ascii" if fault is ascii_terminal else "utf-8"
        if fault is not None:
            fault()
        if fault in FROM_THE_START:
            os.execve(sys.executable, [sys.executable, "-m", "spikerec", *words], os.environ)  # noqa: S606
        sys.stdout = open(1, "w", encoding=encoding, closefd=False)  # noqa: SIM115
        vars(sys)["__stdout__"] = sys.stdout
        sys.argv = [str(PROGRAM), *words]
        cli.main()
        while repeats:
            cli.main()
    except SystemExit as stop:
        status = int(stop.code or 0)
    except BaseException as error:  # noqa: BLE001 (the trial fails by it)
        os.write(2, f"Traceback: {error!r}".encode())
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


@contextmanager
def host() -> Iterator[str]:
    """The address of a host, in a process of its own, that serves the files of the cases."""
    reading, writing = os.pipe()
    content = hosted()
    process = os.fork()
    if process == 0:
        with serve_files() as served:
            served.files.update(content)
            os.write(writing, served.url.encode())
            signal.pause()
        os._exit(0)
    try:
        yield os.read(reading, 200).decode()
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
