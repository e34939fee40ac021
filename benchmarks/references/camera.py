"""Simulating spikes as the field's public code does: one readout after the other."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


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


def integrate_and_fire_torch(intensity: Tensor, charge: Tensor, light_scale: float) -> Tensor:
    """The same with PyTorch, on any device, and without waiting for it.

    Args:
        intensity: (T, H, W) in [0, 1].
        charge: (H, W) float64 in [0, 1), in thresholds.
        light_scale: charge that a pixel of intensity 1 gathers in a readout, in thresholds.

    Returns:
        (T, H, W) uint8 of 0 and 1.
    """
    charge = charge.clone()
    spikes = torch.empty(intensity.shape, dtype=torch.uint8, device=intensity.device)
    for t in range(len(intensity)):
        charge.add_(intensity[t], alpha=light_scale)
        spikes[t] = charge >= 1
        charge -= spikes[t]
    return spikes
