"""The time that a training has taken, as a budget counts it, beside each of its validations."""

from __future__ import annotations

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from spikerec.kernels.devices import wait_for
from spikerec.training.clocks import CLOCKS, Clock
from spikerec.training.learning import SECONDS


class TrainingClock(Callback):
    """Logs with each validation the seconds of training until then, as `time/training`.

    They are the seconds that a budget counts: of optimizer steps and the reading of their data, of
    all the processes in which the run was continued. Validation, and the checkpoint after it, do
    not count; one that is written within an epoch does. A run whose checkpoint does not state its
    seconds, because an earlier version wrote it, goes on without them.

    Args:
        clock: by which seconds are counted.
    """

    def __init__(self, clock: Clock) -> None:
        self._read = CLOCKS[clock]
        self._seconds: float | None = 0.0
        self._since: float | None = None  # None while nothing is trained
        self._is_restored = False

    @property
    def seconds(self) -> float | None:
        """Seconds of training so far; None where they are not known."""
        return self._seconds

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start to count: a run that goes on within an epoch does not begin that epoch again.

        The seconds of a run that goes on from a checkpoint without them are forgotten.
        """
        del pl_module
        if trainer.global_step and not self._is_restored:
            self._seconds = None
        self._since = self._read()

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start to count anew, without what came between two epochs."""
        del trainer, pl_module
        self._since = self._read()

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,  # noqa: ANN401 (Lightning's signature)
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        """Count the step, so that a checkpoint after it states its seconds."""
        del trainer, pl_module, outputs, batch, batch_idx
        self._count()

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Count what the device still has to do, then stop to count."""
        del trainer
        wait_for(pl_module.device)
        self._count()
        self._since = None

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the seconds; those of several processes as their mean."""
        if self._seconds is not None and not trainer.sanity_checking:
            pl_module.log(SECONDS, self._seconds, sync_dist=True)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Go on counting after a validation within an epoch."""
        del pl_module
        if not trainer.sanity_checking:
            self._since = self._read()

    def _count(self) -> None:
        if self._since is None:
            return
        now = self._read()
        if self._seconds is not None:
            self._seconds += now - self._since
        self._since = now

    def state_dict(self) -> dict[str, Any]:
        """The seconds so far; None where they are not known."""
        return {"seconds": self._seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the seconds of a checkpoint."""
        self._seconds = state_dict["seconds"]
        self._is_restored = True
