"""The ends of a stream: a window that leaves the stream is completed by mirroring it in time.

One rule for training, evaluation and reconstruction. The first and the last readout are the mirrors
and are not repeated, so that a readout d before the stream is replaced by the one d after its
first: the same distance from what the window shows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spikerec.errors import WindowError


def mirrored(start: int, stop: int, num_readouts: int) -> NDArray[np.int64]:
    """Return the readouts that stand for start … stop − 1, each within the stream.

    Args:
        start: first readout of the window; below 0 before the stream.
        stop: readout after the last of the window; may lie after the stream.
        num_readouts: readouts of the stream, at least 1.

    Returns:
        (stop − start,) indices in [0, num_readouts). A window that is longer than the stream goes
        to and fro in it.

    Raises:
        WindowError: the stream has no readout.

    Example:
        >>> mirrored(-2, 4, num_readouts=3)
        array([2, 1, 0, 1, 2, 1])
    """
    if num_readouts < 1:
        raise WindowError("a window cannot be mirrored into a stream without readouts.")
    period = max(2 * (num_readouts - 1), 1)
    place = np.arange(start, stop) % period
    return np.minimum(place, period - place) if num_readouts > 1 else np.zeros_like(place)
