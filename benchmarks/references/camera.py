"""Simulating spikes as the field's public code does: one readout after the other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def integrate_and_fire(
    intensity: NDArray[np.float64], charge: NDArray[np.float64], light_scale: float
) -> NDArray[np.uint8]:
    """Spikes (T, H, W) of a scene (T, H, W) in [0, 1].

    Args:
        intensity: of every readout.
        charge: in the pixels before the first, in thresholds, in [0, 1).
        light_scale: charge that a pixel of intensity 1 gathers in a readout, in thresholds.
    """
    charge = charge.copy()
    spikes = np.zeros(intensity.shape, np.uint8)
    for t in range(len(intensity)):
        charge += light_scale * intensity[t]
        fired = charge >= 1
        spikes[t][fired] = 1
        charge[fired] -= 1
    return spikes
