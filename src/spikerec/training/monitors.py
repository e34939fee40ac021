"""Callbacks that report a run's network cost, the time of its steps, and its progress."""

from __future__ import annotations

import logging
import sys
import time
from collections import defaultdict
from itertools import pairwise
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, RichProgressBar
from lightning.pytorch.callbacks.progress.rich_progress import (
    BatchesProcessedColumn,
    CustomBarColumn,
)
from rich.progress import TextColumn, TimeRemainingColumn
from torch import Tensor

from spikerec.kernels.devices import runs_ahead
from spikerec.kinds import checked
from spikerec.metrics import efficiency
from spikerec.training.module import ReconstructionModule
from spikerec.training.pace import Lines, Pace, clock

_log = logging.getLogger(__name__)

#: Validation scores in the line printed for an epoch, with their units.
SCORES = (("val/psnr", " dB"), ("val/loss", ""))

#: A moment: on the host's clock, or in the device's queue, which is not waited for.
Moment = float | torch.cuda.Event


@checked
class RunFacts(Callback):
    """Log the facts of a run that tables show, once.

    `model/parameters` and `model/gmacs` at the first step; at the end the best validation score,
    under its name, as `best/val/psnr`.

    Args:
        size: H, W of the image whose MACs are counted.
    """

    def __init__(self, size: tuple[int, int] = (250, 400)) -> None:
        self.size = (size[0], size[1])

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Count, say and log."""
        if trainer.global_step or not trainer.is_global_zero:
            return
        assert isinstance(pl_module, ReconstructionModule)
        network = pl_module.network
        count = efficiency.countable(
            lambda: {"model/gmacs": efficiency.macs(network, self.size) / 1e9}
        )
        facts = {"model/parameters": float(efficiency.parameters(network)), **count}
        height, width = self.size
        _log.info(
            "%s: %s parameters%s",
            type(network).__name__,
            f"{facts['model/parameters']:,.0f}",
            f", {count['model/gmacs']:.4g} GMACs an image of {height} × {width}" if count else "",
        )
        for logger in trainer.loggers:
            logger.log_metrics(facts, step=0)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the best score of each checkpoint that watches one, also where nothing was left."""
        del pl_module
        best = {
            f"best/{callback.monitor}": float(callback.best_model_score)
            for callback in trainer.checkpoint_callbacks
            if isinstance(callback, ModelCheckpoint) and callback.best_model_score is not None
        }
        for logger in trainer.loggers if best else ():
            logger.log_metrics(best, step=trainer.global_step)


@checked
class StepTimes(Callback):
    """Log the time of each part of a step as means over batches; print it once per epoch.

    `time/data` waits for the loader and moves the batch, `time/forward`, `time/backward` and
    `time/update` (clipping, optimizer, callbacks) are in milliseconds a batch;
    `time/samples_per_second` counts all processes. A GPU's queue is timed by its own events.

    Args:
        every_n_batches: over how many batches a mean goes.
    """

    def __init__(self, every_n_batches: int = 10) -> None:
        self.every_n_batches = every_n_batches
        self._last_end: float | None = None
        self._wait_s = 0.0
        self._moments: dict[str, Moment] = {}
        self._batches: list[tuple[float, dict[str, Moment]]] = []
        self._samples = 0
        self._epoch: dict[str, float] = defaultdict(float)
        self._means: dict[str, float] = {}
        self._pace = Pace()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the run's clock."""
        del pl_module
        self._pace.begin(trainer)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the epoch's sums."""
        del trainer, pl_module
        self._epoch.clear()
        self._batches.clear()
        self._samples = 0
        self._last_end = time.perf_counter()

    def on_train_batch_start(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        batch: Any,  # noqa: ANN401 (Lightning's signature)
        batch_idx: int,
    ) -> None:
        """The data are there."""
        del trainer, batch_idx
        now = time.perf_counter()
        self._wait_s = 0.0 if self._last_end is None else now - self._last_end
        self._samples += len(batch["spikes"])
        self._moments = {"start": _moment(pl_module.device)}

    def on_before_backward(
        self, trainer: L.Trainer, pl_module: L.LightningModule, loss: Tensor
    ) -> None:
        """The forward pass is over."""
        del trainer, loss
        self._moments["forward"] = _moment(pl_module.device)

    def on_after_backward(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The backward pass is over."""
        del trainer
        self._moments["backward"] = _moment(pl_module.device)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,  # noqa: ANN401 (Lightning's signature)
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        """Close the batch, and log the means so far."""
        del outputs, batch, batch_idx
        self._moments["update"] = _moment(pl_module.device)
        self._batches.append((self._wait_s, self._moments))
        if len(self._batches) >= self.every_n_batches:
            self._close(trainer.world_size)
        if self._means:
            pl_module.log_dict(self._means, batch_size=1)
        self._last_end = time.perf_counter()

    def _close(self, processes: int) -> None:
        """Turn the moments of the batches since the last mean into seconds."""
        seconds: dict[str, float] = defaultdict(float)
        for wait_s, moments in self._batches:
            seconds["data"] += wait_s
            names = list(moments)
            for earlier, later in pairwise(names):
                seconds[later] += _between(moments[earlier], moments[later])
        count, total = len(self._batches), sum(seconds.values())
        self._means = {f"time/{name}": 1000 * value / count for name, value in seconds.items()}
        self._means["time/samples_per_second"] = processes * self._samples / total
        for name, value in seconds.items():
            self._epoch[name] += value
        self._epoch["samples"] += processes * self._samples
        self._batches.clear()
        self._samples = 0

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print the epoch's breakdown in one line."""
        del pl_module
        if self._batches:
            self._close(trainer.world_size)
        samples = self._epoch.pop("samples", 0.0)
        total = sum(self._epoch.values())
        if not total:
            return
        parts = ", ".join(f"{name} {100 * v / total:.0f} %" for name, v in self._epoch.items())
        told = {**trainer.callback_metrics}
        scores = [f", {name} {told[name]:.4g}{unit}" for name, unit in SCORES if name in told]
        left = self._pace.seconds_left(trainer)
        _log.info(
            "epoch %d: %.1f s (%s), %.4g samples/s%s%s",
            trainer.current_epoch,
            total,
            parts,
            samples / total,
            "".join(scores),
            f"; the run has {clock(left)} left" if left else "",
        )


def _moment(device: torch.device) -> Moment:
    if not runs_ahead(device):
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    event.record()
    return event


def _between(earlier: Moment, later: Moment) -> float:
    if isinstance(earlier, float) or isinstance(later, float):
        assert isinstance(earlier, float)
        assert isinstance(later, float)
        return later - earlier
    later.synchronize()
    return float(earlier.elapsed_time(later)) / 1000


class Progress(RichProgressBar):
    """The epoch's batches and time left, the time that the whole run has left, loss and PSNR.

    Where there is no terminal to draw on, a line is logged every minute instead.
    """

    def __init__(self) -> None:
        super().__init__(leave=False)
        self._pace = Pace()
        self._lines = Lines()
        if not sys.stdout.isatty():
            self.disable()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the bar and the clock."""
        self._pace.begin(trainer)
        super().on_train_start(trainer, pl_module)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,  # noqa: ANN401 (Lightning's signature)
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        """Advance the bar, or log where training is."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        self._tell(trainer, "batch", batch_idx, trainer.num_training_batches)

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,  # noqa: ANN401 (Lightning's signature)
        batch: Any,  # noqa: ANN401
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Advance the bar, or log where validation is."""
        super().on_validation_batch_end(
            trainer, pl_module, outputs, batch, batch_idx, dataloader_idx
        )
        count = trainer.num_val_batches[dataloader_idx]
        self._tell(trainer, "validation batch", batch_idx, count)

    def _tell(self, trainer: L.Trainer, what: str, index: int, count: float) -> None:
        if not self._lines.is_due(trainer):
            return
        left = self._pace.seconds_left(trainer)
        _log.info(
            "epoch %d: %s %d of %s%s",
            *(trainer.current_epoch, what, index + 1, count),
            f"; the run has {clock(left)} left" if left else "",
        )

    def configure_columns(self, trainer: L.Trainer) -> list[Any]:
        """Narrow columns, so that a line of 80 signs has room for the figures."""
        del trainer
        return [
            TextColumn("{task.description}"),
            CustomBarColumn(bar_width=8),
            BatchesProcessedColumn(style=self.theme.batch_progress),
            TimeRemainingColumn(compact=True),
        ]

    def get_metrics(
        self, trainer: L.Trainer, pl_module: L.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """`run left`, `loss` and `psnr`, without the version that Lightning adds."""
        metrics = super().get_metrics(trainer, pl_module)
        shown = {"train/loss": "loss", "val/psnr": "psnr", "val/loss": "val loss"}
        left = self._pace.seconds_left(trainer)
        figures: dict[str, Any] = {"run left": "?" if left is None else clock(left)}
        for name, short in shown.items():
            if name in metrics:
                figures[short] = f"{metrics[name]:.4g}"
        return figures
