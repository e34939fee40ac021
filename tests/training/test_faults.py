"""Faults of the machine are told in one line; errors of a programmer keep their trace."""

from __future__ import annotations

import errno
import logging

import pytest
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException

from spikerec.training.distributed import job_processes
from spikerec.training.faults import explain

CPU_MEMORY = (
    "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you "
    "tried to allocate 4398046511104 bytes. Error code 12 (Cannot allocate memory)"
)
GLOO = (
    "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer "
    "[127.0.0.1]:19325"
)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
            "memory is used",
        ),
        (RuntimeError(CPU_MEMORY), "memory is used up: a smaller crop"),
        (MemoryError(), "memory is used up"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."), "reads data died"),
        (RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly"), "num_workers=0"),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), "reads data died"),
        (RuntimeError(GLOO), "another process of this training died"),
        (OSError(errno.ENOSPC, "No space left on device", "last.ckpt"), "last.ckpt: "),
        (RuntimeError("PytorchStreamWriter failed writing file data/3"), "could not be written"),
        (MisconfigurationException("No supported gpu backend found!"), "No supported gpu backend"),
    ],
)
def test_a_fault_is_told_with_what_to_do(error: BaseException, told: str) -> None:
    explained = explain(error)
    assert explained is not None
    assert told in explained
    assert "\n" not in explained
    wrapped = RuntimeError("while fitting")
    wrapped.__cause__ = error
    assert explain(wrapped) == explained


@pytest.mark.parametrize(
    "error", [TypeError("x"), RuntimeError("shape mismatch"), KeyError("spikes")]
)
def test_an_error_of_a_programmer_is_no_fault(error: BaseException) -> None:
    assert explain(error) is None


def test_a_dead_process_is_told_with_what_is_safe(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("lightning.fabric.strategies.launchers.subprocess_script")
    log.addHandler(caplog.handler)  # Lightning's logs do not reach the root
    message = "[rank: 1] Child process with PID 7 terminated with code -9. Forcefully terminating"
    try:
        with job_processes(["spikerec", "train"]):
            log.warning(message)
    finally:
        log.removeHandler(caplog.handler)
    assert "process 1 of this training died (status -9)" in caplog.text
    assert "the same command goes on from there" in caplog.text
