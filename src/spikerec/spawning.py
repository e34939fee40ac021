"""Processes of our own that do not run the user's program again.

A spawned process imports the program that started it, so that a script without
`if __name__ == "__main__":` would begin anew in each. What is sent to the processes started here
brings the classes of the program along instead, those of a notebook too.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pickle import PicklingError  # noqa: TID251 (the error alone)
from types import ModuleType

import cloudpickle

#: Errors of `packed`.
UNSENDABLE = (PicklingError, AttributeError, TypeError, RecursionError)


def packed(content: object) -> bytes:
    """Pickle an object for a process of our own; classes and functions of the program by value.

    Raises:
        PicklingError: or another of `UNSENDABLE`: the object holds what cannot be sent.
    """
    data: bytes = cloudpickle.dumps(content)
    return data


@contextmanager
def program_left_out() -> Iterator[None]:
    """Start processes, by the method `spawn`, that do not import the program."""
    program = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")  # without a file that could be imported
    try:
        yield
    finally:
        sys.modules["__main__"] = program
