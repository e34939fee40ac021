"""Repairs of the interpreter where it hangs, or swallows or prints too much, on a machine in need.

Four things of CPython are mended for a command, and not for a program that imports spikerec:

* `Thread.start` waits without end for a thread that died before its first line, as it does where
  memory is used up (progress bars start threads);
* a thread that ends by an exception prints its trace, after which the command may well succeed;
* an exception within a destructor is printed with its trace and dropped, a Ctrl-C among them;
* under a limit of memory (`ulimit -v`) a new thread has no store to take memory from, and CPython
  3.11 goes round for ever where it cannot make the number of a line (`exception_unwind`).
"""

from __future__ import annotations

import _thread
import functools
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

from spikerec.errors import one_line
from spikerec.memory import share_freed_memory

#: Seconds that a thread may take to begin. It is a matter of microseconds on an idle machine.
LONGEST_START = 60.0

#: Seconds between looks for a thread that has not begun; a living one is seen once it has run.
BETWEEN_LOOKS = 5.0

#: Threads that died before their first line, as the interpreter reported.
_stillborn: weakref.WeakSet[threading.Thread] = weakref.WeakSet()

#: Seconds after which an interruption that a destructor has swallowed is tried again.
AGAIN = 0.05


def install() -> None:
    """Repair this process; hooks of a test or a notebook are kept."""
    if _memory_is_limited():
        share_freed_memory()
    if not hasattr(threading.Thread.start, "__wrapped__"):
        setattr(threading.Thread, "start", _bounded(threading.Thread.start))  # noqa: B010 (mypy)
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _tell_thread
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _tell_destructor


def _memory_is_limited() -> bool:
    if sys.platform == "win32":
        return False
    import resource

    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


def _bounded(start: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
    """`Thread.start` that raises where the thread does not begin."""

    @functools.wraps(start)
    def bounded(thread: threading.Thread) -> None:
        began: threading.Event = thread._started  # type: ignore[attr-defined]  # CPython's own
        wait = began.wait

        def wait_for_a_while(timeout: float | None = None) -> bool:
            until = time.monotonic() + (LONGEST_START if timeout is None else timeout)
            while not wait(BETWEEN_LOOKS) and _one_may_begin() and time.monotonic() < until:
                pass
            if not began.is_set() or thread in _stillborn:
                raise RuntimeError("can't start new thread: it ended before it began")
            return True

        began.wait = wait_for_a_while  # type: ignore[method-assign]
        try:
            start(thread)
        finally:
            del began.wait

    return bounded


def _one_may_begin() -> bool:
    """False where every thread that the interpreter runs has begun: there is none to be waited for.

    Without memory, a thread may end before its first line and nothing be reported. One that runs is
    counted before it is entered among the active ones, and until it has been taken out.
    """
    cpython: Any = threading
    with cpython._active_limbo_lock:
        begun = [
            one
            for one in cpython._active.values()
            if one is not threading.main_thread() and not isinstance(one, cpython._DummyThread)
        ]
        running: int = _thread._count()
    return running > len(begun)


def _tell_thread(arguments: threading.ExceptHookArgs) -> None:
    """Say in one line why a thread ended."""
    if arguments.exc_value is not None and not isinstance(arguments.exc_value, SystemExit):
        sys.stderr.write(f"a helper thread ended: {one_line(arguments.exc_value)}\n")


def _tell_destructor(arguments: sys.UnraisableHookArgs) -> None:
    """Let an interruption pass on; anything else concerns an object that is gone.

    The interpreter reports a thread that dies before its first line in this way too: whoever waits
    for that line is woken.
    """
    thread = getattr(arguments.object, "__self__", None)
    if isinstance(thread, threading.Thread):
        _stillborn.add(thread)
        thread._started.set()  # type: ignore[attr-defined]  # CPython's own
        return
    if isinstance(arguments.exc_value, KeyboardInterrupt):
        threading.Thread(target=_interrupt_again, daemon=True).start()


def _interrupt_again() -> None:
    time.sleep(AGAIN)
    main = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and main is not None:
        signal.pthread_kill(main, signal.SIGINT)  # ends a wait of the main thread, too
    else:
        _thread.interrupt_main()
