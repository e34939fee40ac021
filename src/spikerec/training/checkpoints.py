"""Checkpoints from which a killed run goes on as if it had never been killed.

`last.ckpt` is written between two optimizer steps and at the end of every epoch, whole or not at
all. Beside what Lightning keeps (weights, optimizer, schedule, gradient scaler, callbacks with the
best score and the averaged weights, loop counters, how far the loader has read) it holds the
states of all random generators, so that on a CPU the continued run ends with the same bits.
"""

from __future__ import annotations

import logging
import random
import shutil
import signal
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback, Checkpoint, ModelCheckpoint

from spikerec.data import SpikeDataModule
from spikerec.kinds import checked
from spikerec.spikes.files import atomic_path
from spikerec.training.continuation import CONDITIONS, conditions
from spikerec.training.distributed import gather_objects
from spikerec.training.finite import check_weights
from spikerec.training.runs import unreadable

#: Signals of a scheduler that is about to end the job: SIGTERM, and SLURM's --signal=USR1@90.
PREEMPTION_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)

#: Signals after which a run ends at its current step: those, and Ctrl-C.
SIGNALS = (*PREEMPTION_SIGNALS, signal.SIGINT)

_log = logging.getLogger(__name__)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place, then renames it.

    Lightning's own writes to the system's temporary folder, and copies from there where that is
    another file system: a kill during the copy leaves half a checkpoint.
    """

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | Path,
        storage_options: Any = None,  # noqa: ANN401 (Lightning's signature)
    ) -> None:
        """Write the checkpoint, on the disk when this returns."""
        del storage_options
        with atomic_path(Path(path)) as temporary, temporary.open("wb") as file:
            torch.save(checkpoint, file)


def is_trial(trainer: L.Trainer) -> bool:
    """True for a trial of one batch (`fast_dev_run`), which leaves nothing behind."""
    return bool(getattr(trainer, "fast_dev_run", False))  # Lightning sets it without declaring it


class Preempted(SystemExit):
    """The process received a signal to end, and has written its checkpoint. Status 128 + signal."""

    def __init__(self, signum: int, *, first: bool) -> None:
        # Lightning kills the first process as soon as another ends with a status other than 0.
        super().__init__(128 + signum if first else 0)


@checked
class LastCheckpoint(Checkpoint):
    """Writes `last.ckpt` every so many steps, after every epoch, and after a signal to end.

    The checkpoint before it is kept as `previous.ckpt`, in case the disk damages the last one.
    A signal is answered after the optimizer step that it interrupts; a second Ctrl-C at once.
    During validation nothing is written, as the scores so far would be lost: the run goes on from
    the last step written.

    Args:
        path: the checkpoint.
        every_n_steps: optimizer steps between two writings inside an epoch.
    """

    def __init__(self, path: str | Path, every_n_steps: int = 100) -> None:
        self.path = Path(path)
        self.every_n_steps = every_n_steps
        self._step = 0
        self._signal = 0
        self._ending = False
        self._unlogged = False
        self._stopping = False
        self._generators: list[dict[str, Any]] = []
        self._seconds_before = 0.0
        self._began = time.monotonic()
        self._handlers: dict[int, Any] = {}
        self._saved: int | None = None

    @property
    def saved(self) -> str:
        """A sentence on what is safe, and on how to go on."""
        if self._saved is None:
            return "No checkpoint was written yet: the same command starts anew"
        return f"Step {self._saved} is saved in {self.path}: the same command goes on from there"

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Restore the random generators, and listen for signals."""
        del pl_module
        self._step = trainer.global_step
        self._saved = self._step if self.path.is_file() else None
        self._began = time.monotonic()
        trainer.should_stop = self._stopping
        if len(self._generators) == trainer.world_size:
            restore_generators(self._generators[trainer.global_rank])
        if threading.current_thread() is threading.main_thread():
            self._handlers = {one: signal.signal(one, self._hear) for one in SIGNALS}

    @property
    def seconds(self) -> float:
        """Time that training has taken, that of the runs which this one continues included."""
        return self._seconds_before + time.monotonic() - self._began

    def _hear(self, signum: int, frame: FrameType | None) -> None:
        del frame
        if signum == signal.SIGINT == self._signal:
            raise KeyboardInterrupt
        self._signal = signum
        if signum == signal.SIGINT:
            _log.info("interrupted: ending after this step (Ctrl-C again ends at once)")

    def _write(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Write the checkpoint, unless the weights are spoiled, and keep the one before it.

        A trial (`fast_dev_run`) writes none, as it writes none of Lightning's own.
        """
        check_weights(trainer, module)
        if is_trial(trainer):
            return
        if trainer.is_global_zero and self.path.is_file():
            with tempfile.TemporaryDirectory(dir=self.path.parent, prefix=".") as folder:
                link = Path(folder) / "previous.ckpt"
                try:
                    link.hardlink_to(self.path)
                except OSError:  # the file system has no links
                    shutil.copyfile(self.path, link)
                link.replace(self.path.with_name("previous.ckpt"))
        trainer.save_checkpoint(self.path, weights_only=False)
        self._saved = trainer.global_step

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,  # noqa: ANN401 (Lightning's signature)
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        """Write when due, between two optimizer steps of one epoch."""
        del outputs, batch, batch_idx
        if trainer.global_step == self._step:  # gradients are being accumulated
            return
        self._step = trainer.global_step
        if trainer.is_last_batch:  # Lightning would go on without this epoch's validation
            return
        self._ending = self._told_to_end(trainer)
        if self._ending or self._step % self.every_n_steps == 0:
            self._write(trainer, pl_module)
            self._unlogged = True

    def on_train_batch_start(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        batch: Any,  # noqa: ANN401 (Lightning's signature)
        batch_idx: int,
    ) -> None:
        """Write the curves up to the checkpoint, whose own step is logged by now."""
        del pl_module, batch, batch_idx
        if self._unlogged:
            _save_logs(trainer)
            self._unlogged = False
        if self._ending:
            self._end(trainer)

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,  # noqa: ANN401 (Lightning's signature)
        batch: Any,  # noqa: ANN401
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """End during validation; the last checkpoint is kept."""
        del pl_module, outputs, batch, batch_idx, dataloader_idx
        if self._told_to_end(trainer):
            self._end(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write after validation, with the best score so far."""
        self._stopping = trainer.should_stop
        _save_logs(trainer)
        self._write(trainer, pl_module)
        if self._told_to_end(trainer):
            self._end(trainer)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the checkpoint of a run that had nothing left to do but to write it.

        Such a run ended between its best weights and this checkpoint, and went on from the former.
        """
        if not trainer.strategy.broadcast(self.path.is_file()):
            self._write(trainer, pl_module)

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """State under what conditions the run may be continued."""
        del pl_module
        data = getattr(trainer, "datamodule", None)
        if isinstance(data, SpikeDataModule):
            checkpoint[CONDITIONS] = conditions(trainer, data)

    def _told_to_end(self, trainer: L.Trainer) -> bool:
        """True if any process received a signal: all must end at the same step."""
        told = self._signal != 0
        return told if trainer.world_size == 1 else _any_process(trainer, told)

    def _end(self, trainer: L.Trainer) -> None:
        name = signal.Signals(self._signal or signal.SIGTERM).name
        _log.warning("ended by %s at step %d. %s", name, trainer.global_step, self.saved)
        raise Preempted(self._signal or signal.SIGTERM, first=trainer.is_global_zero)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Give the signals back."""
        del trainer, pl_module, stage
        self._restore_handlers()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Give the signals back."""
        del trainer, pl_module, exception
        self._restore_handlers()

    def _restore_handlers(self) -> None:
        for signum, handler in self._handlers.items():
            signal.signal(signum, handler)
        self._handlers = {}

    def state_dict(self) -> dict[str, Any]:
        """The random generators of all processes, the time taken, whether training was to stop."""
        generators = gather_objects(generator_states())
        return {"generators": generators, "seconds": self.seconds, "stopping": self._stopping}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the states until training starts: until then, others may draw."""
        self._generators = state_dict["generators"]
        self._seconds_before = state_dict["seconds"]
        self._stopping = state_dict["stopping"]


def last_checkpoint(trainer: L.Trainer) -> LastCheckpoint | None:
    """The callback that writes last.ckpt; None where it is switched off."""
    callbacks = trainer.callbacks  # type: ignore[attr-defined]  # Trainer's own list
    return next((one for one in callbacks if isinstance(one, LastCheckpoint)), None)


def saved(trainer: L.Trainer) -> str:
    """Say what of a training is safe on the disk, and how to go on."""
    last = last_checkpoint(trainer)
    return last.saved if last else "Nothing was saved: the callback `last` is switched off"


def _save_logs(trainer: L.Trainer) -> None:
    for logger in trainer.loggers:
        logger.save()


def _any_process(trainer: L.Trainer, value: bool) -> bool:
    decision: bool = trainer.strategy.reduce_boolean_decision(value, all=False)
    return decision


def generator_states() -> dict[str, Any]:
    """The global random generators of Python, NumPy and PyTorch, as plain values and tensors."""
    kind, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002 (the global one)
    return {
        "python": random.getstate(),
        "numpy": (kind, np.asarray(keys).tolist(), position, has_gauss, gauss),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_generators(states: dict[str, Any]) -> None:
    """Set the generators to what `generator_states` returned."""
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    if torch.cuda.is_available() and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])


class BestIsThere(Callback):
    """Forget the best score of a continued run whose best weights are gone or damaged.

    Otherwise the report would state the score of weights that no longer exist. A damaged file is
    kept as `best.ckpt.damaged`.
    """

    def on_fit_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Compare each callback's state, which has just been restored, with the disk."""
        del module
        for callback in trainer.checkpoint_callbacks:
            if not isinstance(callback, ModelCheckpoint) or not callback.best_model_path:
                continue
            path = Path(callback.best_model_path)
            reason = unreadable(path) if path.is_file() else "it is gone"
            if reason is None:
                continue
            if trainer.is_global_zero:
                _log.warning(
                    "%s cannot be used (%s): its score %.4g is forgotten, and the best weights are "
                    "chosen from the validations to come",
                    *(path, reason, float(callback.best_model_score or 0.0)),
                )
                with suppress(OSError):  # it is gone, or cannot be moved: then it stays damaged
                    path.rename(path.with_name(f"{path.name}.damaged"))
            callback.best_model_score, callback.best_model_path = None, ""
            callback.best_k_models, callback.kth_best_model_path = {}, ""
