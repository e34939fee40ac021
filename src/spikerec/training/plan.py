"""The plan of a training: its parts checked against one another, and the run that they are.

Everything here happens before a run's folder is begun, so that what cannot work leaves nothing
behind.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from spikerec.data import SpikeDataModule
from spikerec.describing import Named, describe
from spikerec.errors import ConfigError, about, errors_about
from spikerec.kernels.devices import takes_processor_time
from spikerec.losses import Loss
from spikerec.metrics import Protocol
from spikerec.models.base import Network
from spikerec.own_code import code_facts, own_facts
from spikerec.training.budgets import check_budget
from spikerec.training.checkpoints import is_trial
from spikerec.training.clocks import Clock
from spikerec.training.distributed import Scaling, is_first, scaled_rate
from spikerec.training.held_out import check_held_out
from spikerec.training.identity import (
    LENGTHS,
    START,
    Identity,
    data_facts,
    frozen_facts,
    settings_of,
    step_facts,
)
from spikerec.training.rehearsal import check_carried, check_trainable, rehearse
from spikerec.training.runs import Run
from spikerec.training.scores import Monitor, choose_monitor
from spikerec.training.standard import TrainerMaker
from spikerec.weights import digest
from spikerec.weights.trained import weights_file

MakeOptimizer = Callable[[Iterable[Tensor]], Optimizer]
MakeScheduler = Callable[[Optimizer], LRScheduler]


@dataclass
class Plan:
    """The parts of a training, each as an object; see `fit`."""

    network: Network
    data: SpikeDataModule
    loss: Loss
    optimizer: MakeOptimizer
    scheduler: MakeScheduler | None
    protocol: Protocol
    monitor: Monitor
    trainers: TrainerMaker
    seed: int
    lr_scaling: Scaling
    find_rate: bool
    budget_seconds: float | None
    budget_clock: Clock
    detach_every: int | None
    callbacks: Sequence[Callback]

    def settle(self, *, will_train: bool) -> None:
        """Check the parts against one another, and make or check the data.

        Args:
            will_train: False for a run that is finished, whose data need not be there.

        Raises:
            ConfigError: parts that cannot work together.
            InputError: the loss does not fit what the network returns.
        """
        _check_maker(self.optimizer, Optimizer, "optimizer")
        if self.scheduler is not None:
            _check_maker(self.scheduler, LRScheduler, "scheduler")
        _ = self.rate  # a wrong one is refused before data are made
        trainer: Any = self.trainers.probe  # Lightning takes null, and fails later
        if trainer.accumulate_grad_batches is None:
            told = "accumulate_grad_batches must be a whole number from 1 up, found null."
            raise about(trainer, ConfigError(told))
        if not self.network.training:  # evaluated before; parts frozen in training mode stay so
            self.network.train()
        check_trainable(self.network, self.data)
        check_carried(self.network, self.data, self.loss, self.detach_every)
        self.monitor = choose_monitor(self.monitor, self.data, self.protocol)
        if not will_train:
            return
        rehearse(
            self.network,
            self.loss,
            (self.data.crop.height, self.data.crop.width),
            samples=self.data.batch_size,
            has_target=self.data.has_targets,
            carries=self.data.sequences is not None,
        )
        if is_first():
            self.data.prepare_data()  # its content is part of what the run is
        check_held_out(self.data.sets, weights_file(self.network), self.data)

    @property
    def rate(self) -> float | None:
        """The learning rate for all processes; None where the optimizer does not state one."""
        rate = base_rate(self.optimizer)
        processes = self.trainers.probe.world_size
        if rate is None and self.lr_scaling != "none":
            raise ConfigError(
                f"lr_scaling={self.lr_scaling} needs the optimizer's learning rate: give "
                "functools.partial(Optimizer, lr=…)."
            )
        return None if rate is None else scaled_rate(rate, processes, self.lr_scaling)

    @property
    def is_trial(self) -> bool:
        """True for a trial of one batch."""
        return is_trial(self.trainers.probe)

    def identity(
        self, run: Run, given: Mapping[str, Any], growing: Iterable[str]
    ) -> tuple[Identity, dict[str, Any]]:
        """The run that these parts are, and its settings as plain values."""
        named: Named = {}
        described = self._described(given, named)
        settings, trainer = settings_of(described), self.trainers.probe
        facts = step_facts(
            self.network,
            batch_size=self.data.batch_size,
            processes=trainer.world_size,
            accumulated=trainer.accumulate_grad_batches,
            learning_rate=self.rate,
            sync_batchnorm=bool(described["trainer"].get("sync_batchnorm")),
        )
        if self.budget_seconds is not None and not self.is_trial:
            with errors_about(self.data), errors_about(trainer):
                check_budget(
                    processes=trainer.world_size,
                    samples_per_epoch=self.data.samples_per_epoch,
                    epochs=trainer.max_epochs,
                    steps=trainer.max_steps,
                    batches=trainer.limit_train_batches,
                    clock=self.budget_clock,
                    accelerated=not takes_processor_time(trainer.strategy.root_device),
                    workers=self.data.num_workers,
                )
        # A longer training under the same budget would be more than the budget.
        lengths = () if self.budget_seconds is not None else (*LENGTHS, *growing)
        facts |= data_facts(self.data.sets) | code_facts(settings, named)
        facts |= own_facts(self.network) | frozen_facts(self.network)
        if (start := self._start(run)) is not None:
            facts[START] = start
        return Identity(settings, facts, growing=frozenset(lengths)), described

    def _described(self, given: Mapping[str, Any], named: Named) -> dict[str, Any]:
        sets = self.data.sets.items()
        parts: dict[str, Callable[[], Any]] = {
            "seed": lambda: self.seed,
            "model": lambda: describe(self.network, "network", named),
            "data": lambda: (
                describe(self.data, "data", named)
                | {"sets": {name: describe(one, f"data.{name}", named) for name, one in sets}}
            ),
            "loss": lambda: describe(self.loss, "loss", named),
            "optimizer": lambda: describe(self.optimizer, "optimizer", named),
            "scheduler": lambda: describe(self.scheduler, "scheduler", named),
            "protocol": self.protocol.describe,
            "trainer": self.trainers.settings,
            "callbacks": lambda: {
                f"{type(one).__name__}.{index}": describe(one, f"callbacks.{index}", named)
                for index, one in enumerate(self.callbacks)
            },
            "lr_scaling": lambda: self.lr_scaling,
            "find_lr": lambda: self.find_rate,
            "budget": self._described_budget,
            "detach_every": lambda: self.detach_every,
        }
        described = {key: make() for key, make in parts.items() if key not in given}
        return {**described, **given, "monitor": self.monitor._asdict()}

    def _described_budget(self) -> dict[str, Any] | None:
        if self.budget_seconds is None:
            return None
        clock = {} if self.budget_clock == "wall" else {"clock": self.budget_clock}
        return {"seconds": self.budget_seconds} | clock

    def _start(self, run: Run) -> str | None:
        """Digest of the weights that were loaded before training; None for weights drawn anew.

        The weights that this very run ended with, which a network has after the call, are its
        result: the call again is the same run.
        """
        if not self.network.is_loaded:
            return None
        own, file = digest(self.network.state_dict()), weights_file(self.network)
        if file is not None and file.resolve() in (run.best.resolve(), run.last.resolve()):
            before: str | None = run.stored_fact(START)
            return before
        return own


def _check_maker(made_by: object, kind: type, argument: str) -> None:
    """Refuse an optimizer or a schedule that is made already.

    Raises:
        ConfigError: naming the argument.
    """
    if isinstance(made_by, kind) or not callable(made_by):
        raise ConfigError(
            f"{argument} must be what makes one, found a {type(made_by).__name__}: give "
            f"functools.partial({type(made_by).__name__}, …), so that it is made for the network "
            "where that is trained."
        )


def base_rate(optimizer: MakeOptimizer) -> float | None:
    """The learning rate that what makes an optimizer states, or its class by default; else None.

    Raises:
        ConfigError: it is no number.
    """
    if isinstance(optimizer, partial) and "lr" in optimizer.keywords:
        stated_rate = optimizer.keywords["lr"]
        try:
            return float(stated_rate)
        except (TypeError, ValueError, OverflowError):
            raise about(
                optimizer, ConfigError(f"lr must be a number, found {str(stated_rate)[:40]!r}.")
            ) from None
    stated = inspect.signature(optimizer).parameters.get("lr")
    rate = None if stated is None else stated.default
    return float(rate) if isinstance(rate, int | float) else None
