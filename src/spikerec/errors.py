"""Errors that users meet, each one line that names the file or config key at fault.

Every class also derives from the built-in exception that fits, so that `except ValueError` in a
notebook catches what a reader would expect. The command line prints the message alone and exits
with status 2 for what was asked for (`is_about_arguments`), else 1.
"""

from __future__ import annotations

import errno
import inspect
import os
import re
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar


class SpikerecError(Exception):
    """Base of every error that spikerec raises on wrong input.

    The message states what was wrong and where (file or argument), what was expected, what was
    found, and what to do.

    Attributes:
        key: path of the object at fault in a composed configuration, which the text then has before
            it; None where the object was made otherwise, as in a notebook.
    """

    key: str | None = None

    def __str__(self) -> str:
        """The message; one that begins with an argument's name begins with that argument's key."""
        text = super().__str__()
        return f"{self.key}.{text}" if self.key else text


class ConfigError(SpikerecError, ValueError):
    """A config value, or a combination of values, that cannot work."""


class ArgumentError(ConfigError, TypeError):
    """An argument of the wrong kind, one that there is not, or one that is missing.

    Args:
        message: begins with the argument, if it is about the value of one.
        owner: the class or function whose argument it is; empty if the message names it.
    """

    def __init__(self, message: str, owner: str = "") -> None:
        super().__init__(message)
        self.owner = owner

    def __str__(self) -> str:
        """The message, with the key of the object before it, or else the class or function."""
        text = str(self.args[0])
        if self.key:
            return f"{self.key}.{text}" if self.owner else f"{self.key}: {text}"
        return f"{self.owner}: {text}" if self.owner else text


class GeometryError(SpikerecError, ValueError):
    """The size, layout or content of a spike file does not fit its stated geometry."""


class WindowError(SpikerecError, ValueError):
    """A window of readouts that does not fit the stream or the network."""


class InputError(SpikerecError, ValueError):
    """A tensor handed to a network or function has the wrong shape, type or values."""


class DataError(SpikerecError, ValueError):
    """A data set on disk is missing parts or contradicts itself."""


class DataNotFoundError(DataError, FileNotFoundError):
    """A data set or file that is not there."""


class SplitNotFoundError(DataNotFoundError):
    """A split that a data set does not have at all: no part of it is there."""


class WeightsError(SpikerecError, ValueError):
    """Weights that do not fit the network, or a checkpoint that cannot be read safely."""


class WeightsNotFoundError(WeightsError, FileNotFoundError):
    """Weights that are not there; the message names the command that would get them."""


class ResultsError(SpikerecError, ValueError):
    """A results record that is truncated, too new, or contradicts itself."""


class MissingPackageError(SpikerecError, ImportError):
    """An optional package is not installed; the message names the extra that installs it."""


class ProcessError(SpikerecError, RuntimeError):
    """One of several processes that share some work died, or failed for no reason of the user's."""


class LockError(SpikerecError, RuntimeError):
    """A folder that another process is using, or whose file system cannot say so."""


class RunError(SpikerecError, RuntimeError):
    """A training that ended before its end; the message says what is safe, and what to do."""


class NonFiniteError(SpikerecError, ArithmeticError):
    """A training whose loss, gradient, weights or score became infinite or NaN."""


class StalledError(SpikerecError, RuntimeError):
    """A training whose gradient stays 0, so that it learns nothing more."""


class SweepError(SpikerecError, RuntimeError):
    """Jobs of a sweep that failed; the message names the table that says why."""


class RecordingWarning(UserWarning):
    """A problem of a recording that degrades the pictures made of it."""


E = TypeVar("E", bound=SpikerecError)

#: The keys of objects in a composed configuration, by their identity.
_keys: dict[int, str] = {}


def stands_at(made: object, key: str) -> None:
    """Store the key of an object in a composed configuration, for errors about its arguments."""
    with suppress(TypeError):  # an object that takes no weak reference is not followed
        weakref.finalize(made, _keys.pop, id(made), None)
        _keys[id(made)] = key


def about(owner: object, error: E) -> E:
    """The error, as one about an argument of an object, if its message begins with its name.

    Example:
        >>> str(about([], ConfigError("crop must be even, found 3.")))
        'crop must be even, found 3.'
    """
    key = _keys.get(id(owner))
    if error.key is None and key is not None and begins_with_argument(error, owner):
        error.key = key
    return error


def begins_with_argument(error: SpikerecError, owner: object) -> bool:
    """True if a message begins with the name of an argument of an object, or of a class."""
    first = re.match(r"\w+", str(error.args[0]) if error.args else "")
    made_by = getattr(owner, "func", owner)  # of a partial
    made_by = made_by if isinstance(made_by, type) else type(made_by)
    return first is not None and first.group() in inspect.signature(made_by).parameters


@contextmanager
def errors_about(owner: object) -> Iterator[None]:
    """Take errors raised meanwhile for errors about an argument of an object (see `about`)."""
    try:
        yield
    except SpikerecError as error:
        about(owner, error)
        raise


#: Set to 1 for a stack trace instead of one line.
TRACE_VARIABLE = "SPIKEREC_TRACE"

#: Letters of a message that are printed: a library's may quote a whole file.
LONGEST_LINE = 1000

#: Faults of the machine by `errno`: the fault, and the way out.
FAULTS = {
    errno.ENOSPC: ("no space is left on the disk", "make room"),
    errno.EDQUOT: ("the disk quota is used up", "make room"),
    errno.EFBIG: ("no space is left: a file reached the system's limit", "raise it (ulimit -f)"),
    errno.EACCES: ("permission denied", "change its permissions or name another path"),
    errno.EPERM: ("the system does not permit it", "name another path"),
    errno.EROFS: ("the disk is read-only", "name a path on another disk"),
    errno.EIO: ("the disk failed to read or write", "check the disk"),
    errno.EMFILE: ("too many files are open", "raise the limit (ulimit -n 4096)"),
    errno.ENFILE: ("too many files are open on this machine", "close other programs"),
    errno.ENOENT: ("no such file or folder", "check the path"),
    errno.EEXIST: ("a file of this name is there already", "move it away or name another path"),
    errno.ENOTDIR: ("a part of the path is no folder", "check the path"),
    errno.EISDIR: ("this is a folder, and a file was expected", "check the path"),
    errno.ENAMETOOLONG: ("the name is too long for the disk", "choose a shorter one (name=…)"),
    errno.ENOMEM: ("not enough memory", "lower data.batch_size, tile or the number of workers"),
}

#: Faults after which anything may fail, so that an error raised while one is handled is due to it.
EXHAUSTED = (errno.ENOMEM, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE)

#: Words by which libraries report a full memory without an exception of its own.
MEMORY_WORDS = (
    *("out of memory", "can't allocate memory", "cannot allocate memory", "bad_alloc"),
    *("can't start new thread", "failed to map segment", "codec configuration error"),
    "could not create a primitive",  # of oneDNN, which has asked for a buffer
)

#: Words by which PyTorch reports that an archive could not be written to its end.
DISK_WORDS = ("unexpected pos", "PytorchStreamWriter failed", "basic_ios::clear")

#: Libraries whose own exceptions explain a wrong configuration to the user.
CONFIGURATION = ("hydra", "omegaconf", "lightning")


def root_cause(error: BaseException) -> BaseException:
    """The first of our errors behind an exception; the exception itself where there is none."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, SpikerecError):
        cause = cause.__cause__
    return cause or error


def one_line(error: BaseException) -> str:
    """One line about an exception, as the command line prints it.

    One of our errors, or a library's about the configuration: kind and message of the cause. A
    fault of the machine: the fault, what is safe, and what to do. Anything else is unexpected: the
    line says so, and how to see where it came from.
    """
    cause = root_cause(error)
    while not str(cause) and (inner := cause.__cause__ or cause.__context__) is not None:
        cause = inner  # some of Hydra's have nothing to say of their own
    message = printable(" ".join(f"{type(cause).__name__}: {cause}".split())[:LONGEST_LINE])
    if isinstance(cause, SpikerecError):
        return message
    number = fault_number(cause)
    if number not in FAULTS:
        number = next(
            (one for one in map(fault_number, handled_before(cause)) if one in EXHAUSTED), None
        )
    if number in FAULTS:
        fault, way = FAULTS[number]
        name = getattr(cause, "filename", None)
        where = f"{printable(os.fsdecode(name))}: " if isinstance(name, str | bytes) else ""
        return (
            f"{where}{fault}. Files that were finished are whole, and none is left half-written; "
            f"{way}, then run the same command again."
        )
    if type(cause).__module__.split(".")[0] in CONFIGURATION:
        return message
    return f"unexpected {message} ({TRACE_VARIABLE}=1 shows where it came from.)"


def handled_before(error: BaseException) -> Iterator[BaseException]:
    """The errors that were being handled when one was raised, the nearest first."""
    seen = {id(error)}
    while (before := error.__cause__ or error.__context__) is not None and id(before) not in seen:
        seen.add(id(before))
        yield before
        error = before


def printable(text: str) -> str:
    """The text on one line, with what a terminal or a page would obey (ESC, …) written out."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c in "\n\r\t" else ascii(c)[1:-1] for c in text)


def is_about_arguments(error: BaseException) -> bool:
    """True if an exception is about what was asked for, rather than about the work itself."""
    cause = root_cause(error)
    library = type(cause).__module__.split(".")[0]
    kinds = (ConfigError, GeometryError, DataNotFoundError)
    return isinstance(cause, kinds) or library in ("hydra", "omegaconf")


def fault_number(error: BaseException) -> int | None:
    """The `errno` of a fault of the machine, also where a library wraps it in words."""
    text = str(error)
    if isinstance(error, MemoryError) or any(words in text.lower() for words in MEMORY_WORDS):
        return errno.ENOMEM
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    if isinstance(error, RuntimeError) and any(words in text for words in DISK_WORDS):
        return errno.ENOSPC
    stated = re.search(r"(?:errno = |Errno |code: |os error )(\d+)", text)  # HDF5, Python, Rust
    return int(stated.group(1)) if stated else None
