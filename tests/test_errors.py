"""Every exception becomes one line: what failed, what is safe, what to do."""

from __future__ import annotations

import errno

import numpy as np
import pytest
import torch

from spikerec.errors import FAULTS, ConfigError, DataError, one_line


def test_what_fails_after_memory_is_used_up_is_put_down_to_it() -> None:
    error = RuntimeError("cannot join thread before it is started")
    error.__context__ = RuntimeError("can't start new thread")
    assert one_line(error).startswith("not enough memory. Files that were finished are whole")
    error.__context__ = FileNotFoundError(2, "No such file or directory")
    assert one_line(error).startswith("unexpected RuntimeError: cannot join thread")


def raised(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize("number", FAULTS)
def test_fault_of_the_machine(number: int) -> None:
    line = one_line(OSError(number, "text of the system", "runs/a.ckpt"))
    fault, way = FAULTS[number]
    memory = number == errno.ENOMEM
    assert line.startswith(f"runs/a.ckpt: {fault}. Files that were finished are whole") or memory
    assert way in line
    assert "run the same command again" in line


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (MemoryError(), "not enough memory"),
        (np._core._exceptions._ArrayMemoryError((9**9,), np.dtype("u1")), "not enough memory"),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB"),
            "not enough memory",
        ),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "not enough memory"),
        (RuntimeError("can't start new thread"), "not enough memory"),
        (OSError("Unable to synchronously create file (errno = 28, error)"), "no space is left"),
        (OSError("Unable to open file (errno = 13, error message = 'x')"), "permission denied"),
        (RuntimeError('IoError(Os { code: 28, kind: StorageFull, message: "No" })'), "no space"),
    ],
)
def test_fault_that_a_library_words(error: BaseException, told: str) -> None:
    assert told in one_line(error)


def test_our_error_is_the_cause() -> None:
    assert one_line(raised(RuntimeError("wrapped"), ConfigError("a\nb"))) == "ConfigError: a b"


def test_unexpected_error_names_the_way_to_its_trace() -> None:
    line = one_line(ZeroDivisionError("division by zero"))
    assert line == (
        "unexpected ZeroDivisionError: division by zero (SPIKEREC_TRACE=1 shows where it came "
        "from.)"
    )


def test_line_does_not_hold_a_file() -> None:
    assert len(one_line(DataError("x" * 10**6))) <= 1000
