"""Training and scoring on several processes: their environment, their log, their scores."""

from __future__ import annotations

import logging
import math
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal, TypeVar

import lightning as L
from lightning.pytorch.utilities import rank_zero_only
from torch import distributed

from spikerec.errors import ConfigError

#: Environment variables that Lightning sets for its processes and does not unset.
PROCESS_VARIABLES = ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")

#: Watches the other processes of a node, and kills this one where one of them died.
_observer = logging.getLogger("lightning.fabric.strategies.launchers.subprocess_script")

T = TypeVar("T")

Scaling = Literal["none", "linear", "sqrt"]

#: Name → sample → metric → value.
Scores = dict[str, dict[str, dict[str, float]]]


@contextmanager
def job_processes(command: Sequence[str]) -> Iterator[None]:
    """One job's processes, none of which outlives it.

    Lightning starts the other processes of a node with the command line of this one. In a sweep
    that would start the sweep again, and the next job would take itself for one of those
    processes: so the command is the job's own, and whatever Lightning left is put back.

    Args:
        command: the program and what it takes to run this job alone.
    """
    arguments, sys.argv = sys.argv, list(command)
    before = {name: os.environ.get(name) for name in PROCESS_VARIABLES}
    joined = _in_group()
    if not is_first():
        silence_log()
    _observer.addFilter(tell_dead_process)
    try:
        yield
    finally:
        _observer.removeFilter(tell_dead_process)
        sys.argv = arguments
        if _in_group() and not joined:
            distributed.destroy_process_group()
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def tell_dead_process(record: logging.LogRecord) -> bool:
    """Say what is safe where Lightning only says that it kills all processes."""
    found = re.search(r"rank: (\d+).* terminated with code (-?\d+)", record.getMessage())
    if found:
        record.msg, record.args = (
            (
                f"process {found[1]} of this training died (status {found[2]}), mostly for want of "
                "memory: the others are ended too. The last checkpoint is whole; the same command "
                "goes on from there."
            ),
            None,
        )
    return True


def silence_log() -> None:
    """Leave the log to the first process; what goes wrong here still reaches the terminal."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    root.addHandler(logging.NullHandler())


def is_first() -> bool:
    """True in the process that writes records and reports."""
    return int(getattr(rank_zero_only, "rank", 0)) == 0  # set on import, and by the trainer


def gather_objects(own: T) -> list[T]:
    """One object of every process, in the order of the processes; the same list in each."""
    everyone = [own]
    if _in_group():
        everyone = everyone * distributed.get_world_size()
        distributed.all_gather_object(everyone, own)
    return everyone


def gather(scores: dict[str, dict[str, T]]) -> dict[str, dict[str, T]]:
    """Merge the samples of all processes, each once; the same in every process.

    Args:
        scores: name → sample → whatever is known of it.
    """
    merged: dict[str, dict[str, T]] = {}
    for share in gather_objects(scores):
        for name, samples in share.items():
            merged.setdefault(name, {}).update(samples)
    return merged


def scaled_rate(rate: float, processes: int, scaling: Scaling) -> float:
    """The learning rate for so many processes, each with the batch of one.

    Args:
        rate: of one process.
        processes: how many there are.
        scaling: `none` keeps the rate; `linear` multiplies it by the number of processes (Goyal et
            al., 2017), `sqrt` by its root.

    Raises:
        ConfigError: another scaling.
    """
    factors = {"none": 1.0, "linear": float(processes), "sqrt": math.sqrt(processes)}
    if scaling not in factors:
        raise ConfigError(f"lr_scaling must be one of {', '.join(factors)}, found {scaling!r}.")
    return rate * factors[scaling]


def describe_batch(trainer: L.Trainer, batch_size: int) -> Mapping[str, int]:
    """The factors of the samples that one optimizer step sees."""
    return {
        "processes": trainer.world_size,
        "batch": batch_size,
        "accumulated": trainer.accumulate_grad_batches,
        "effective": trainer.world_size * batch_size * trainer.accumulate_grad_batches,
    }


def _in_group() -> bool:
    return distributed.is_available() and distributed.is_initialized()
