"""A stream's spikes without the fixed pattern of its sensor."""

from __future__ import annotations

import torch
from torch import Tensor

from spikerec.spikes.defects import Repair
from spikerec.streaming.light import FixedPattern


class Calibrated:
    """Spikes without a sensor's fixed pattern, for networks that start linear: (s − dark) · gain.

    A network that sees the pattern takes part of it for texture and smooths part of it away, and
    then it no longer comes off the picture. Each mean of corrected spikes is what an even sensor
    would give.

    Args:
        pattern: of the stream's sensor.
        repair: replaces broken pixels first; None for none.
    """

    def __init__(self, pattern: FixedPattern, repair: Repair | None) -> None:
        self._dark = torch.from_numpy(pattern.dark)
        self._gain = torch.from_numpy(pattern.gain)
        self._repair = repair

    def __call__(self, spikes: Tensor) -> Tensor:
        """Correct (..., H, W) of 0 and 1: float32, on the same device."""
        spikes = spikes if self._repair is None else self._repair(spikes)
        dark, gain = self._dark.to(spikes.device), self._gain.to(spikes.device)
        return spikes.float().sub_(dark).mul_(gain)
