"""Threads that do not wait for one another at every operation.

PyTorch splits each operation over all threads and lets them meet at its end. Where operations are
short and cores are busy with other work, that wait is many times the operation: a loop of them
runs slower on two threads than on one. Here each thread takes a part of the picture through the
whole loop, and they meet once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from threading import Barrier
from typing import TypeVar

import torch

Part = TypeVar("Part")
Result = TypeVar("Result")


def each_alone(function: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
    """Return a function's result for each part, the parts shared out over PyTorch's threads.

    Each call runs its operations in one thread, but a single part has them all; gradients are
    recorded, and precision is chosen (autocast), as the caller would.

    Args:
        function: takes a part; long enough that handing it to a thread, some 50 µs, is nothing.
        parts: what to share out, at best a few for each of `torch.get_num_threads()`.

    Returns:
        The results in the order of the parts.
    """
    threads = torch.get_num_threads()
    if threads == 1 or len(parts) == 1:
        return [function(part) for part in parts]
    with_gradients, is_inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()

    is_mixed, dtype = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")

    def run(part: Part) -> Result:
        with (
            torch.inference_mode(is_inference),
            torch.set_grad_enabled(with_gradients),
            torch.autocast("cpu", dtype, enabled=is_mixed),
        ):
            return function(part)

    futures = [_workers(threads).submit(run, part) for part in parts]
    wait(futures)
    return [future.result() for future in futures]


@cache
def _workers(threads: int) -> ThreadPoolExecutor:
    """Threads that wait for parts: what PyTorch's library keeps for a thread, new ones would lack.

    They are started here and now, because PyTorch keeps the number of its threads for each thread,
    and the latest set for threads yet to come.
    """
    all_started = Barrier(threads)

    def start() -> None:
        torch.get_num_threads()  # takes over the caller's number, which it would do later otherwise
        torch.set_num_threads(1)
        all_started.wait()

    executor = ThreadPoolExecutor(threads)
    wait([executor.submit(start) for _ in range(threads)])
    torch.set_num_threads(threads)
    return executor


if hasattr(os, "register_at_fork"):  # a forked process has none of the threads
    os.register_at_fork(after_in_child=_workers.cache_clear)
