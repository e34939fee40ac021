"""Epochs of training: which windows are drawn, by which process, and where a killed run goes on.

Every draw is a function of (seed, epoch, position in the epoch) alone, so that the same seed gives
the same batches for any number of workers or processes, and after a resume.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from spikerec.data.windows import Draw, LiveWindows, Windows


class EpochSampler(Sampler[Draw]):
    """Shuffled items of an epoch, cut among processes.

    Process r of N takes positions r, r + N, …, so that N processes with batch b see in each step
    the samples that one process with batch N·b sees.

    Args:
        num_items: items of the data set.
        samples_per_epoch: draws in an epoch, of all processes; items repeat, or are left out,
            evenly. None: each item once.
        seed: of the shuffle.
        rank: this process.
        world_size: number of processes.
        repeat: every epoch draws what the first one drew.
    """

    def __init__(
        self,
        num_items: int,
        *,
        samples_per_epoch: int | None,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        repeat: bool = False,
    ) -> None:
        self.num_items = num_items
        self.num_samples = samples_per_epoch or num_items
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.repeat = repeat
        self.epoch = 0
        self.skipped = (0, 0)

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self.epoch = epoch

    def skip(self, epoch: int, positions: int) -> None:
        """Leave out the first positions of an epoch, which a killed run has trained on."""
        self.skipped = (epoch, positions)

    def __len__(self) -> int:
        # The same number in every process, or the others would wait for ever.
        return self.num_samples // self.world_size

    def __iter__(self) -> Iterator[Draw]:
        drawn = 0 if self.repeat else self.epoch
        random = np.random.default_rng((self.seed, drawn))
        rounds = -(-self.num_samples // self.num_items)
        order = np.concatenate([random.permutation(self.num_items) for _ in range(rounds)])
        epoch, positions = self.skipped
        start = self.rank + (positions if epoch == self.epoch else 0)
        for position in range(start, len(self) * self.world_size, self.world_size):
            yield Draw(int(order[position]), drawn, position)


class EpochLoader(DataLoader[dict[str, Any]]):
    """Batches of an epoch, which knows how many of them were taken and can go on after those.

    Nothing is read before the first batch is asked for, and PyTorch's global generator is left
    alone, so that a continued run draws as one that was never stopped.

    Args:
        windows: what to read.
        sampler: what to draw.
        **loading: further arguments of `DataLoader`.
    """

    def __init__(
        self,
        windows: Windows | LiveWindows,
        sampler: EpochSampler,
        **loading: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(
            windows, sampler=sampler, drop_last=True, generator=torch.Generator(), **loading
        )
        self.draws = sampler
        self._taken = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:  # type: ignore[override]  # lazily begun
        epoch, positions = self.draws.skipped
        self._taken = positions if epoch == self.draws.epoch else 0
        assert self.batch_size is not None
        for batch in super().__iter__():
            self._taken += self.batch_size * self.draws.world_size
            yield batch

    def state_dict(self) -> dict[str, int]:
        """The epoch, and the positions of it that all processes have taken."""
        return {"epoch": self.draws.epoch, "positions": self._taken}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on where `state_dict` was called."""
        self.draws.skip(state["epoch"], state["positions"])
