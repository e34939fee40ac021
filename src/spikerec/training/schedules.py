"""Learning-rate schedules that count optimizer steps."""

from __future__ import annotations

import math
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from spikerec.errors import ConfigError
from spikerec.kinds import checked


@checked
class WarmupCosine(LRScheduler):
    """Linear warm-up from 0, then half a cosine down to a floor.

    With s = step / total_steps, w = warmup and f = floor, the rate is multiplied by

        s / w                                          for s < w
        f + (1 − f) · (1 + cos(π (s − w) / (1 − w))) / 2   after

    where the first step already has 1 / total_steps of s.

    Args:
        optimizer: whose rate.
        total_steps: optimizer steps of the whole training; set by the trainer.
        warmup: its part of the steps, in [0, 1).
        floor: the last rate as a part of the highest, in [0, 1].

    Raises:
        ConfigError: a part out of its range.

    Source: Loshchilov and Hutter, ICLR 2017 (cosine); Goyal et al., 2017 (warm-up).
    """

    def __init__(
        self, optimizer: Optimizer, *, total_steps: int, warmup: float = 0.05, floor: float = 0.01
    ) -> None:
        if not 0 <= warmup < 1:
            raise ConfigError(f"warmup must be in [0, 1), found {warmup}.")
        if not 0 <= floor <= 1:
            raise ConfigError(f"floor must be in [0, 1], found {floor}.")
        self.total_steps = total_steps
        self.warmup = warmup
        self.floor = floor
        super().__init__(optimizer)

    def state_dict(self) -> dict[str, Any]:
        """State of the schedule without its end, because a continued run may be longer."""
        state: dict[str, Any] = super().state_dict()
        state.pop("total_steps")
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where `state_dict` was called, towards the end that this run has."""
        super().load_state_dict({**state_dict, "total_steps": self.total_steps})

    def get_lr(self) -> list[float]:  # type: ignore[override]  # floats, never tensors
        """The rate of each parameter group at the current step."""
        factor = self.factor(self.last_epoch)
        return [float(rate) * factor for rate in self.base_lrs]

    def factor(self, step: int) -> float:
        """Factor of the learning rate at a step, counted from 0."""
        part = min((step + 1) / self.total_steps, 1.0)
        if part < self.warmup:
            return part / self.warmup
        fallen = (part - self.warmup) / (1 - self.warmup)
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * fallen)) / 2
