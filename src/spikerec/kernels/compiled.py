"""Loops compiled to machine code, for what whole-array operations would pass over memory for.

Numba compiles a function at its first call and keeps the result on disk, beside the module or,
where that cannot be written, in the user's cache.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar, cast

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")


def compiled(*, contract: bool = False) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Compile a function of arrays and numbers, which then runs without Python's lock.

    Division by zero gives inf or NaN, as in NumPy. Numba is imported at the first call, since most
    commands never need it.

    Args:
        contract: let a product and a sum be rounded once, which is faster and no longer gives the
            same bits as PyTorch.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @cache
        def kernel(*, keep: bool) -> Callable[P, R]:
            import numba

            options: dict[str, Any] = {"nogil": True, "cache": keep, "error_model": "numpy"}
            fastmath = {"contract"} if contract else False
            return cast("Callable[P, R]", numba.njit(fastmath=fastmath, **options)(function))

        @wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return kernel(keep=True)(*args, **kwargs)
            except (OSError, RuntimeError):
                # The result cannot be kept: no folder can be written, or the disk is full. Both
                # come before the first loop runs, so that it may be compiled for this process.
                return kernel(keep=False)(*args, **kwargs)

        return run

    return decorate


def suits_compiled(tensor: Tensor) -> bool:
    """Whether compiled functions may work on a tensor: on a CPU, and not while being exported."""
    return tensor.device.type == "cpu" and not torch.compiler.is_compiling()
