"""Numba-compiled loops, for work that array operations could only do in several passes over memory.

Numba compiles a function at its first call and keeps the result on disk, beside the module or,
where that cannot be written, in the user's cache.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")

_log = logging.getLogger(__name__)


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
        def kernel() -> Callable[P, R]:
            import numba

            options: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}
            fastmath = {"contract"} if contract else False
            return cast("Callable[P, R]", numba.njit(fastmath=fastmath, **options)(function))

        @wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            return kernel()(*args, **kwargs)

        return run

    return decorate


@cache
def numba_works() -> bool:
    """True if Numba is installed and can keep what it compiles; else one line is logged."""
    try:
        _probe(1)
    except ImportError:
        _log.warning(
            "Numba is not installed: PyTorch computes in place of the compiled kernels, more "
            "slowly. Install it with pip install 'spikerec[fast]'."
        )
    except (OSError, RuntimeError) as error:
        _log.warning(
            "Numba cannot keep compiled code: PyTorch computes in place of the compiled kernels, "
            "more slowly. Set NUMBA_CACHE_DIR to a folder that can be written (%s).",
            " ".join(str(error).split()),
        )
    else:
        return True
    return False


@compiled()
def _probe(number: int) -> int:
    """Return its argument: the least that can be compiled and kept."""
    return number
