"""The choice, call by call, between a compiled kernel and the PyTorch function that it replaces.

A function of the science is the reference. One line above it names the kernel that may run in its
place::

    @served_by(plasticity.SETTLE)
    def _settle(...): ...

`SPIKEREC_KERNELS=0` in the environment, or `with switched(False):` in a program, lets the
references run everywhere, which serves to compare and to measure. They also run where Numba is not
installed or has no folder to keep compiled code in.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import wraps
from typing import Any, Generic, NamedTuple, ParamSpec, TypeVar

import torch
from torch import Tensor

from spikerec.errors import ConfigError
from spikerec.kernels.compiled import numba_works
from spikerec.kernels.devices import has_kernels

P = ParamSpec("P")
R = TypeVar("R")

#: The environment variable that lets the references run when it is 0.
SWITCH = "SPIKEREC_KERNELS"
#: The types of tensors that kernels take.
SERVED_TYPES = (torch.float32, torch.bool)


@dataclass(frozen=True)
class Kernel(Generic[P, R]):
    """A compiled function, and what a test needs to compare it with its reference.

    Attributes:
        run: takes and returns what the reference does: tensors on the CPU and numbers.
        example: returns arguments for a picture of so many rows and columns.
        tolerance: the largest absolute difference from the reference.
        suits: returns True for the arguments that `run` computes faster, and to the same values;
            None if that holds for all.
    """

    run: Callable[P, R]
    example: Callable[[int, int], tuple[Any, ...]]
    tolerance: float = 0.0
    suits: Callable[P, bool] | None = None


class Pair(NamedTuple):
    """A kernel and the function that it replaces."""

    kernel: Kernel[..., Any]
    reference: Callable[..., Any]


#: Every use of `served_by` in the modules imported so far, by the reference's name.
PAIRS: dict[str, Pair] = {}


class _Switch:
    is_on = True


def served_by(kernel: Kernel[P, R]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a kernel run in place of the decorated function wherever it may (see `may_serve`)."""

    def decorate(reference: Callable[P, R]) -> Callable[P, R]:
        PAIRS[f"{reference.__module__}.{reference.__qualname__}"] = Pair(kernel, reference)

        @wraps(reference)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            if may_serve(*args, *kwargs.values()) and (
                kernel.suits is None or kernel.suits(*args, **kwargs)
            ):
                # A full disk keeps nothing that Numba compiles, which it says at the first call.
                with suppress(OSError), torch.no_grad():
                    return kernel.run(*args, **kwargs)
            return reference(*args, **kwargs)

        return run

    return decorate


def may_serve(*arguments: object) -> bool:
    """True if a kernel may take these arguments.

    That is: no graph is being exported or compiled, kernels are switched on and can be
    compiled, and every tensor is an ordinary one on the CPU, of a served type, without gradients to
    record and without autocast.
    """
    if torch.compiler.is_compiling() or not _is_on():
        return False
    tensors = [argument for argument in arguments if isinstance(argument, Tensor)]
    return all(map(_is_plain, tensors)) and not torch.is_autocast_enabled("cpu") and numba_works()


def _is_plain(tensor: Tensor) -> bool:
    is_recorded = tensor.requires_grad and torch.is_grad_enabled()
    is_ordinary = type(tensor) in (Tensor, torch.nn.Parameter)
    return (
        has_kernels(tensor.device)
        and tensor.dtype in SERVED_TYPES
        and is_ordinary
        and not is_recorded
    )


def _is_on() -> bool:
    wanted = os.environ.get(SWITCH, "1")
    if wanted not in ("0", "1"):
        raise ConfigError(
            f"{SWITCH} must be 0 (PyTorch alone) or 1 (compiled kernels), found {wanted!r}: "
            "set it to either, or unset it."
        )
    return _Switch.is_on and wanted == "1"


@contextmanager
def switched(on: bool) -> Generator[None]:
    """Switch the kernels on or off, in all threads of this process, inside a `with` block.

    Args:
        on: False for the references alone. True has no effect where `SPIKEREC_KERNELS=0`.
    """
    before, _Switch.is_on = _Switch.is_on, on
    try:
        yield
    finally:
        _Switch.is_on = before
