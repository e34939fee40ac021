"""Errors that users meet, each one line that names the file or config key at fault.

Every class also derives from the built-in exception that fits, so that `except ValueError` in a
notebook catches what a reader would expect. The command line prints the message alone and exits
with status 1.
"""

from __future__ import annotations


class SpikerecError(Exception):
    """Base of every error that spikerec raises on wrong input.

    The message states what was wrong and where (file or config key), what was expected, what was
    found, and what to do.
    """


class ConfigError(SpikerecError, ValueError):
    """A config value, or a combination of values, that cannot work."""


class GeometryError(SpikerecError, ValueError):
    """The size, layout or content of a spike file does not fit its stated geometry."""


class WindowError(SpikerecError, ValueError):
    """A window of readouts that the stream or the network cannot serve."""


class InputError(SpikerecError, ValueError):
    """A tensor handed to a network or function has the wrong shape, type or values."""


class DataError(SpikerecError, ValueError):
    """A data set on disk is missing parts or contradicts itself."""


class DataNotFoundError(DataError, FileNotFoundError):
    """A data set or file that is not there."""


class WeightsError(SpikerecError, ValueError):
    """Weights that do not fit the network, or a checkpoint that cannot be read safely."""


class WeightsNotFoundError(WeightsError, FileNotFoundError):
    """Weights that are not there; the message names the command that would get them."""


class ResultsError(SpikerecError, ValueError):
    """A results record that is truncated, too new, or contradicts itself."""


class ProcessError(SpikerecError, RuntimeError):
    """One of several processes that share some work died, or failed for no reason of the user's."""


class LockError(SpikerecError, RuntimeError):
    """A folder that another process is using, or whose file system cannot say so."""


class SweepError(SpikerecError, RuntimeError):
    """Jobs of a sweep that failed; the message names the table that says why."""


def root_cause(error: BaseException) -> BaseException:
    """The first of our errors behind an exception; the exception itself where there is none."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, SpikerecError):
        cause = cause.__cause__
    return cause or error


def one_line(error: BaseException) -> str:
    """Kind and message of the cause, as the command line tells it."""
    cause = root_cause(error)
    return " ".join(f"{type(cause).__name__}: {cause}".split())
