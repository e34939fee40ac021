"""The ends of a stream: a window that leaves the stream is completed by mirroring it in time.

One rule for training, evaluation and reconstruction. The first and the last readout are the mirrors
and are not repeated, so that a readout d before the stream is replaced by the one d after its
first: the same distance from what the window shows. A window longer than the stream goes to and fro
in it.

Mirrored readouts keep motion and noise as they are in the scene. Repeating the last readout instead
shows a network spikes that fire for ever: on REDS streams of 41 readouts, four hundred pixels wide,
`fast_wide` reaches 31 to 36 dB with mirrored windows and 21 to 30 dB with the last readout
repeated.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeGuard, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikerec.errors import ConfigError, WindowError
from spikerec.kinds import checked

#: Rules for a window that leaves the stream: it is completed, or there is none.
Ends = Literal["reflect", "drop"]

#: Fewest readouts of a stream whose windows are completed: a readout, and one on either side of it.
MIN_READOUTS = 3


def check_ends(ends: object) -> TypeGuard[Ends]:
    """Refuse a rule for the ends that there is not.

    Raises:
        ConfigError: neither `reflect` nor `drop`.
    """
    if ends not in get_args(Ends):
        raise ConfigError(f"ends must be {' or '.join(get_args(Ends))}, found {ends!r}.")
    return True


def check_mirrors(path: Path, num_readouts: int) -> None:
    """Refuse a stream that is too short for its windows to be completed.

    Raises:
        WindowError: fewer than `MIN_READOUTS` readouts.
    """
    if num_readouts < MIN_READOUTS:
        raise WindowError(
            f"{path} holds {num_readouts} readout{'s' * (num_readouts != 1)}: a window is "
            f"completed by mirroring in a stream of at least {MIN_READOUTS}. Give a longer "
            "recording."
        )


@checked
def reflect(readouts: ArrayLike, num_readouts: int) -> NDArray[np.int64]:
    """Return the readout of the stream that replaces each of some readouts.

    Args:
        readouts: integers of any shape; below 0 before the stream, `num_readouts` and above after.
        num_readouts: readouts of the stream, at least 1.

    Returns:
        Indices in [0, num_readouts), of the same shape; those inside the stream are unchanged.

    Raises:
        WindowError: the stream has no readout.

    Example:
        >>> reflect([-2, -1, 0, 1, 2, 3, 4], num_readouts=3)
        array([2, 1, 0, 1, 2, 1, 0])
    """
    if num_readouts < 1:
        raise WindowError("a window cannot be mirrored into a stream without readouts.")
    period = max(2 * (num_readouts - 1), 1)
    place = np.asarray(readouts, np.int64) % period
    return np.minimum(place, period - place) if num_readouts > 1 else np.zeros_like(place)


@checked
def mirrored(start: int, stop: int, num_readouts: int) -> NDArray[np.int64]:
    """Return the readouts that replace start … stop − 1, each within the stream (see `reflect`).

    Args:
        start: first readout of the window; below 0 before the stream.
        stop: readout after the last of the window; may lie after the stream.
        num_readouts: readouts of the stream, at least 1.

    Returns:
        (stop − start,) indices in [0, num_readouts).

    Raises:
        WindowError: the stream has no readout.

    Example:
        >>> mirrored(-2, 4, num_readouts=3)
        array([2, 1, 0, 1, 2, 1])
    """
    return reflect(np.arange(start, stop), num_readouts)


def count_mirrored(start: int, stop: int, num_readouts: int) -> int:
    """Count the readouts of a window that lie outside the stream.

    Example:
        >>> count_mirrored(-2, 4, num_readouts=3)
        3
    """
    inside = min(stop, num_readouts) - max(start, 0)
    return stop - start - max(inside, 0)
