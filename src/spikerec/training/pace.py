"""Time left of a whole training, estimated from the time so far."""

from __future__ import annotations

import math
import sys
import time
from datetime import timedelta

import lightning as L
from lightning.pytorch.callbacks import Timer

#: Seconds from one line of progress to the next, where there is no terminal to draw a bar on.
LINE_SECONDS = 60.0


class Pace:
    """The time that a training has left, until the first of its limits.

    Steps take the mean of what they took in this process, with the validations and checkpoints
    between them; steps of a run that is continued count as done, but not as timed. A training that
    stops early (early stopping, a search that prunes) ends before the printed time.
    """

    def __init__(self) -> None:
        self._began = 0.0
        self._first = 0

    def begin(self, trainer: L.Trainer) -> None:
        """Start to count, at the step where this process begins or goes on."""
        self._began = time.monotonic()
        self._first = trainer.global_step

    def seconds_left(self, trainer: L.Trainer) -> float | None:
        """The seconds until the last step (`max_epochs`, `max_steps`) or the end of `max_time`.

        None while that is not known: before the first step, or for a training without an end.
        """
        ends = [self._until_last_step(trainer)]
        timers = [one for one in trainer.callbacks if isinstance(one, Timer)]  # type: ignore[attr-defined]
        ends += [one.time_remaining() for one in timers]
        known = [end for end in ends if end is not None]
        return max(0.0, min(known)) if known else None

    def _until_last_step(self, trainer: L.Trainer) -> float | None:
        total, done = trainer.estimated_stepping_batches, trainer.global_step
        if total < 0 or not math.isfinite(total) or done <= self._first:
            return None
        return (total - done) * (time.monotonic() - self._began) / (done - self._first)


class Lines:
    """Tells when the next line of progress is due in a log: every minute, by the first process."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def is_due(self, trainer: L.Trainer) -> bool:
        """True once a minute; never on a terminal, which has a bar, or where none is wanted."""
        bar = trainer.progress_bar_callback
        if sys.stdout.isatty() or bar is None or not trainer.is_global_zero:
            return False
        now = time.monotonic()
        if now - self._last < LINE_SECONDS:
            return False
        self._last = now
        return True


def clock(seconds: float) -> str:
    """Seconds as people read a clock.

    Example:
        >>> clock(3723.4)
        '1:02:03'
    """
    return str(timedelta(seconds=round(seconds)))
