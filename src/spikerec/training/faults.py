"""Faults of the machine during training, as one line each: what failed, and what to do.

PyTorch and Lightning report them as `RuntimeError`s of many kinds, with a trace of a hundred lines.
"""

from __future__ import annotations

import re

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException

from spikerec.errors import FAULTS

#: The way out of a full memory, on the CPU or the GPU.
MEMORY = (
    "memory is used up: a smaller crop needs less, or a smaller batch_size, with which a "
    "higher accumulate_grad_batches keeps the step as it is"
)

#: A dead worker of a loader, which reports itself in several ways.
READER = (
    "a process that reads data died, mostly for want of memory: fewer workers need less, or "
    "none (num_workers=0)"
)

#: Words of an error → what failed, and what to do.
WORDS = {
    r"DefaultCPUAllocator: .*memory|out of memory|CUBLAS_STATUS_ALLOC_FAILED": MEMORY,
    r"DataLoader worker .*(killed|exited unexpectedly)": READER,
    r"shared memory|/dev/shm|bus error": (
        "shared memory (/dev/shm) is used up: num_workers=0 does without it"
    ),
    r"(?i)connection (closed|reset) by peer|nccl|gloo|processgroup|socket (closed|timeout)": (
        "another process of this training died, or its machine cannot be reached: its own output "
        "says why"
    ),
    r"PytorchStreamWriter failed|unexpected pos|basic_ios::clear|file write failed": (
        "a checkpoint could not be written, mostly because the disk is full: free some space"
    ),
    r"cannot be converted to type \S+ without overflow": (
        "a number is too large for the precision of the weights: look at the optimizer's settings"
    ),
    r"CUDA error|device-side assert": (
        "the GPU failed: try again, with CUDA_LAUNCH_BLOCKING=1 to see where"
    ),
}

#: Letters of a library's own message that are quoted.
QUOTED = 160


def explain(error: BaseException) -> str | None:
    """Say in one sentence what failed and what to do; None for what is no fault of the machine.

    Args:
        error: as training raised it.
    """
    for cause in _causes(error):
        told = _explain(cause)
        if told is not None:
            return told
    return None


def _causes(error: BaseException | None) -> list[BaseException]:
    causes: list[BaseException] = []
    while error is not None and error not in causes:
        causes.append(error)
        error = error.__cause__ or error.__context__
    return causes


def _explain(error: BaseException) -> str | None:
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.errno in FAULTS:
        fault, way = FAULTS[error.errno]
        return f"{error.filename}: {fault} ({way})" if error.filename else f"{fault} ({way})"
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return MEMORY
    if isinstance(error, ConnectionError | EOFError):  # Python's: the queue of a loader's worker
        return READER
    if isinstance(error, MisconfigurationException):
        return f"{text[:QUOTED]}"
    if not isinstance(error, RuntimeError | OSError):
        return None
    for words, told in WORDS.items():
        if re.search(words, text):
            return f"{told} ({text[:QUOTED].rstrip('. ')})"
    return None
