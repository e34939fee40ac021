"""A budget of training: so many seconds of steps, on whatever trains.

The number of steps follows from a measurement. A few steps of the very training are timed, on a
copy of the network; the budget's seconds, divided by the time of a step, are its steps. They are
found once for a run and written to RUN/budget.json, so that a run which is continued, on another
machine too, keeps them, and so does its learning-rate schedule.

Seconds are those of the clock on the wall, or those that processors spent on this process
(`spikerec.training.clocks`). Other work on the machine lengthens the first by all that it takes,
the second only by what it costs in caches and shared cores.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import lightning as L
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.optim import Optimizer

from spikerec.data import SpikeDataModule
from spikerec.describing import arguments
from spikerec.errors import ConfigError, DataError
from spikerec.kernels.devices import device_name, wait_for
from spikerec.kinds import checked
from spikerec.losses import Loss
from spikerec.models.base import Network
from spikerec.parsing import RUN_DOCUMENT, read_json, with_article
from spikerec.spikes.files import atomic_path
from spikerec.training.clocks import CLOCKS, Clock
from spikerec.training.module import ReconstructionModule

#: Steps that run before time is taken: memory is allocated, kernels are chosen.
WARMUP_STEPS = 3

#: Steps after which an epoch of the measurement ends, which takes time that is no step's.
MEASURED_STEPS = 10_000

#: Fewest steps that are timed, and the part of the budget that timing takes.
LEAST_STEPS, TIMED_PART = 2, 1 / 30


@checked
@dataclass(frozen=True)
class Budget:
    """Steps that were found for a budget.

    Attributes:
        seconds: of the budget.
        seconds_per_step: as measured, reading the data included and validation not.
        epochs: into which the steps are cut; validation follows each.
        steps_per_epoch: optimizer steps in each of them.
        batch: samples that one step sees.
        machine: what was measured.
        clock: by which the seconds are counted.

    Raises:
        ConfigError: a number that is not above 0.
    """

    seconds: float
    seconds_per_step: float
    epochs: int
    steps_per_epoch: int
    batch: int
    machine: str
    clock: Clock = "wall"

    def __post_init__(self) -> None:
        for name in ("seconds", "seconds_per_step", "epochs", "steps_per_epoch", "batch"):
            if not getattr(self, name) > 0:  # NaN as well
                raise ConfigError(f"{name} must be above 0, found {getattr(self, name)}.")

    @property
    def samples_per_epoch(self) -> int:
        """Samples drawn in an epoch."""
        return self.steps_per_epoch * self.batch

    @property
    def steps(self) -> int:
        """Optimizer steps in all."""
        return self.epochs * self.steps_per_epoch

    @property
    def expected_seconds(self) -> float:
        """Seconds that the steps take as measured: at least one step falls to each epoch."""
        return self.steps * self.seconds_per_step

    def describe(self) -> dict[str, Any]:
        """Plain values for a report: what was asked, what was measured, what was found."""
        return {
            **asdict(self),
            "steps": self.steps,
            "samples": self.epochs * self.samples_per_epoch,
            "samples_per_second": round(self.batch / self.seconds_per_step, 3),
        }

    def write(self, path: Path) -> None:
        """Keep it for when the run is continued."""
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(self.describe(), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """The budget that a run was begun with; None if it has none.

        Raises:
            ConfigError: the file is damaged. Steps that were measured anew would be other ones.
        """
        if not path.exists():
            return None
        try:
            stored = read_json(path, RUN_DOCUMENT)
            if not isinstance(stored, dict):
                raise DataError(f"expected an object, found {with_article(type(stored).__name__)}")
            known = cls.__dataclass_fields__
            return cls(**{key: value for key, value in stored.items() if key in known})
        except (DataError, ConfigError) as error:
            raise ConfigError(
                f"{path} is damaged ({error}), so that the steps of this run's budget are not "
                "known. Bring the file back, or train anew (`overwrite`)."
            ) from error


def budget_path(folder: Path) -> Path:
    """The file of the budget that a run was begun with."""
    return folder / "budget.json"


class StepClock(Callback):
    """Times optimizer steps, then ends the training.

    Args:
        seconds: time to go on for, after the warm-up.
        clock: by which the seconds are counted.
    """

    def __init__(self, seconds: float, clock: Clock) -> None:
        self.seconds = seconds
        self._read = CLOCKS[clock]
        self._began = 0.0
        self._steps = 0
        self.seconds_per_step = 0.0

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,  # noqa: ANN401 (Lightning's signature)
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        """Look at the clock after each optimizer step."""
        del outputs, batch, batch_idx
        if trainer.global_step == self._steps:  # gradients are being accumulated
            return
        self._steps = trainer.global_step
        wait_for(pl_module.device)
        now, timed = self._read(), self._steps - WARMUP_STEPS
        if timed <= 0:
            self._began = now
            return
        self.seconds_per_step = (now - self._began) / timed
        if timed >= LEAST_STEPS and now - self._began >= self.seconds:
            trainer.should_stop = True


def measure_budget(
    make_trainer: Callable[..., L.Trainer],
    network: Network,
    loss: Loss,
    optimizer: Callable[[Iterable[Tensor]], Optimizer],
    data: SpikeDataModule,
    *,
    seconds: float,
    clock: Clock = "wall",
    detach_every: int | None = None,
) -> Budget:
    """Measure a step on copies, and find how many of them the budget holds.

    Args:
        make_trainer: makes a trainer of one process, with further options as keywords.
        network: what will be trained; left as it is.
        loss: of the training.
        optimizer: makes the optimizer.
        data: what it will be trained on; left as it is.
        seconds: of the budget.
        clock: by which the seconds are counted.
        detach_every: see `fit`.
    """
    timed, own = StepClock(seconds * TIMED_PART, clock), SpikeDataModule(**arguments(data))
    epochs = make_trainer(logger=False, enable_checkpointing=False).max_epochs
    assert epochs is not None  # see `check_budget`
    trainer = make_trainer(
        max_epochs=-1,
        limit_val_batches=0,
        enable_progress_bar=False,
        callbacks=[timed],
        logger=False,
        enable_checkpointing=False,
    )
    batch = data.batch_size * trainer.accumulate_grad_batches
    own.samples_per_epoch = MEASURED_STEPS * batch  # no epoch ends meanwhile, however few samples
    module = ReconstructionModule(
        copy.deepcopy(network),
        loss=copy.deepcopy(loss),
        optimizer=optimizer,
        detach_every=detach_every,
    )
    trainer.fit(module, own)
    steps = seconds / timed.seconds_per_step
    return Budget(
        seconds=seconds,
        seconds_per_step=round(timed.seconds_per_step, 6),
        epochs=epochs,
        steps_per_epoch=max(1, round(steps / epochs)),
        batch=batch,
        machine=device_name(trainer.strategy.root_device),
        clock=clock,
    )


def check_budget(
    *,
    processes: int,
    samples_per_epoch: int | None,
    epochs: int | None,
    steps: int,
    batches: float,
    clock: Clock,
    accelerated: bool,
    workers: int,
) -> None:
    """Make sure that the number of steps is left to the budget, and that its clock sees all work.

    Args:
        processes: that train.
        samples_per_epoch: of the data; None where it is not stated.
        epochs: at most; None where it is not stated.
        steps: at most; -1 for no limit.
        batches: of an epoch at most, as a number or a part; 1.0 for no limit.
        clock: by which the seconds are counted.
        accelerated: True if the network is trained on an accelerator.
        workers: processes that read the data.

    Raises:
        ConfigError: the steps are stated or limited as well, several processes would have to be
            measured, or a part of the work is not this process's on the CPU and its time is to be
            counted.
    """
    if clock == "processor" and (accelerated or workers):
        told = f"num_workers={workers}" if workers else "an accelerator"
        raise ConfigError(
            f"a budget of processor time counts the work of this process on the CPU, found {told}: "
            "take accelerator=cpu and num_workers=0, or a budget by the clock on the wall."
        )
    if processes > 1:
        raise ConfigError(
            f"a budget is measured on one process, found {processes}: train on one device, or "
            "without a budget, by samples_per_epoch and max_epochs."
        )
    if samples_per_epoch is not None:
        raise ConfigError(
            f"samples_per_epoch={samples_per_epoch} is found by measuring under a budget: "
            "leave it out, or train without a budget."
        )
    for name, limit, is_limited in (
        ("max_steps", steps, steps != -1),
        ("limit_train_batches", batches, not isinstance(batches, float) or batches != 1),
    ):
        if is_limited:
            raise ConfigError(
                f"{name}={limit} would end a training before its budget does: leave it out, or "
                "train without a budget."
            )
    if epochs is None or epochs < 1:
        raise ConfigError(
            f"max_epochs must be at least 1 under a budget, whose steps it cuts into "
            f"epochs, found {epochs}."
        )
