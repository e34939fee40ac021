"""TFSTP of a whole stream as the field's public code does: intervals pixel by pixel."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

U0, RECOVERY_TIME, FACILITATION_TIME, F = 0.15, 1.0, 10.0, 0.15


def tfstp_sequence(spikes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Rate at every readout, (T, H, W) from spikes (T, H, W)."""
    interval = _intervals(spikes)
    recovery = np.ones(spikes.shape[1:], np.float32)
    facilitation = np.full(spikes.shape[1:], U0, np.float32)
    images = np.zeros(spikes.shape, np.float32)
    for t in range(len(spikes)):
        updated = (spikes[t] == 1) & np.isfinite(interval[t])
        d = interval[t][updated]
        old_recovery, old = recovery[updated], facilitation[updated]
        recovery[updated] = 1 - (1 - old_recovery * (1 - old)) * np.exp(-d / RECOVERY_TIME)
        facilitation[updated] = U0 + (old + F * (1 - old) - U0) * np.exp(-d / FACILITATION_TIME)
        images[t] = _rate(recovery, facilitation)
    return images


def _intervals(spikes: NDArray[np.uint8]) -> NDArray[np.float64]:
    """At every readout the interval that ends at or after it; infinite where there is none."""
    interval = np.full(spikes.shape, np.inf)
    _, height, width = spikes.shape
    for y in range(height):
        for x in range(width):
            times = np.flatnonzero(spikes[:, y, x])
            for begin, end in pairwise(times):
                interval[begin + 1 : end + 1, y, x] = end - begin
    return interval


def _rate(recovery: NDArray[np.float32], facilitation: NDArray[np.float32]) -> NDArray[np.float32]:
    spent = (1 - recovery) / (1 - recovery * (1 - facilitation))
    raised = (facilitation - U0) / (FACILITATION_TIME - U0 + facilitation * (1 - F))
    with np.errstate(divide="ignore"):  # the logarithm of 0, whose inverse is 0
        return -1 / (RECOVERY_TIME * np.log(spent)) - 1 / (FACILITATION_TIME * np.log(raised))
