"""A machine in need makes a command end in one line: it neither hangs nor prints a trace."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest


def outcome(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in which the interpreter is mended."""
    head = "import _thread, threading, time\nfrom spikerec import interpreter\n"
    head += "interpreter.LONGEST_START = 0.2\ninterpreter.install()\n"
    return subprocess.run(
        [sys.executable, "-c", head + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_thread_that_dies_before_it_begins_is_not_waited_for() -> None:
    done = outcome(
        """
        threading._start_new_thread = lambda *arguments: 1  # as where memory is used up
        try:
            threading.Thread(target=print).start()
        except RuntimeError as error:
            print(error)
        """
    )
    assert done.stdout == "can't start new thread: it ended before it began\n"


def test_thread_that_is_reported_dead_is_not_waited_for() -> None:
    done = outcome(
        """
        class Stillborn(threading.Thread):
            def _bootstrap_inner(self):  # as where its first allocation fails
                raise MemoryError
        interpreter.LONGEST_START = 50
        began = time.monotonic()
        try:
            Stillborn().start()
        except RuntimeError as error:
            print(error, time.monotonic() - began < 40)
        """
    )
    assert done.stdout == "can't start new thread: it ended before it began True\n"
    assert done.stderr == ""


def test_thread_that_dies_without_a_report_is_not_waited_for() -> None:
    done = outcome(
        """
        class Stillborn(threading.Thread):
            def _bootstrap(self):  # as where nothing can be reported either
                pass
        interpreter.LONGEST_START, interpreter.BETWEEN_LOOKS = 50, 0.2
        other = threading.Thread(target=time.sleep, args=(50,), daemon=True)
        other.start()
        began = time.monotonic()
        try:
            Stillborn().start()
        except RuntimeError as error:
            print(error, time.monotonic() - began < 40)
        """
    )
    assert done.stdout == "can't start new thread: it ended before it began True\n"
    assert done.stderr == ""


def test_threads_start_as_ever() -> None:
    done = outcome(
        """
        thread = threading.Thread(target=print, args=("ran",))
        thread.start()
        thread.join()
        assert thread._started.wait(1)
        """
    )
    assert (done.stdout, done.stderr) == ("ran\n", "")


def test_thread_that_fails_says_so_in_one_line() -> None:
    done = outcome("threading.Thread(target=lambda: 1 / 0).start()")
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert line.startswith("a helper thread ended: unexpected ZeroDivisionError")


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_interruption_within_a_destructor_is_not_lost() -> None:
    done = outcome(
        """
        interpreter.LONGEST_START = 30  # a thread raises it again, however busy the machine is
        class Part:
            def __del__(self):
                raise KeyboardInterrupt
        try:
            Part()
            time.sleep(30)
        except KeyboardInterrupt:
            print("interrupted")
        """
    )
    assert (done.stdout, done.stderr) == ("interrupted\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_under_a_limit_of_memory_threads_share_one_store() -> None:
    program = """
        import resource
        from spikerec import interpreter
        shared = []
        interpreter.share_freed_memory = lambda: shared.append(True)
        interpreter.install()
        print(shared)
        resource.setrlimit(resource.RLIMIT_AS, (1 << 40, resource.getrlimit(resource.RLIMIT_AS)[1]))
        interpreter.install()
        print(shared)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n[True]\n"
