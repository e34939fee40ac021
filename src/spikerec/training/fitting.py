"""Fitting: from objects to a run that is finished, continued, or ended in one line."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from lightning.pytorch.tuner.tuning import Tuner
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from spikerec.configs import build
from spikerec.data import SpikeDataModule
from spikerec.describing import Named, describe
from spikerec.errors import ConfigError, RunError, SpikerecError, about, errors_about
from spikerec.kernels.devices import device_name, prefers_channels_last, takes_processor_time
from spikerec.kinds import checked
from spikerec.losses import Loss
from spikerec.memory import keep_freed_memory
from spikerec.metrics import Protocol
from spikerec.metrics.efficiency import countable, macs, parameters
from spikerec.metrics.sizes import PAPER_SIZE
from spikerec.models.base import Network
from spikerec.models.modes import modes_kept
from spikerec.training.budgets import Budget, check_budget, measure_budget
from spikerec.training.checkpoints import BestIsThere, LastCheckpoint, Preempted
from spikerec.training.clocks import Clock
from spikerec.training.continuation import check_conditions, conditions
from spikerec.training.distributed import Scaling, describe_batch, is_first, scaled_rate
from spikerec.training.faults import explain
from spikerec.training.finite import FiniteSteps
from spikerec.training.held_out import check_held_out
from spikerec.training.identity import (
    LENGTHS,
    START,
    Identity,
    data_facts,
    fingerprints,
    settings_of,
    step_facts,
)
from spikerec.training.module import ReconstructionModule
from spikerec.training.noise import without_noise
from spikerec.training.own_code import code_facts
from spikerec.training.rehearsal import check_carried, check_trainable, rehearse
from spikerec.training.runs import Run
from spikerec.training.scores import Monitor, choose_monitor
from spikerec.training.standard import (
    TrainerMaker,
    check_metrics,
    named_protocol,
    standard_callbacks,
    standard_loggers,
)
from spikerec.training.training_clock import TrainingClock
from spikerec.weights import digest
from spikerec.weights.trained import restore, weights_file

MakeOptimizer = Callable[[Iterable[Tensor]], Optimizer]
MakeScheduler = Callable[[Optimizer], LRScheduler]

_log = logging.getLogger(__name__)


@checked
def fit(
    network: Network,
    data: SpikeDataModule,
    *,
    folder: str | Path,
    loss: str | Loss = "l1",
    optimizer: str | MakeOptimizer = "adam",
    scheduler: str | MakeScheduler | None = "multistep",
    protocol: str | Protocol = "corrected",
    validation: Sequence[str] = ("psnr", "ssim"),
    monitor: tuple[str, str] = ("val/psnr", "max"),
    trainer: L.Trainer | Callable[..., L.Trainer] | None = None,
    max_epochs: int | None = None,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Logger] = (),
    standard: Callable[[Path, Monitor], Sequence[Callback]] = standard_callbacks,
    curves: Callable[[Path], Sequence[Logger]] = standard_loggers,
    seed: int = 0,
    lr_scaling: Scaling = "none",
    find_rate: bool = False,
    budget_seconds: float | None = None,
    budget_clock: Clock = "wall",
    detach_every: int | None = None,
    overwrite: bool = False,
    settings: Mapping[str, Any] | None = None,
    growing: Iterable[str] = (),
) -> Run:
    """Train a network in a folder of its own: begin, continue what was interrupted, or skip.

    The folder states what the run computes. The same call again continues it from its newest
    checkpoint, or does nothing if it is finished; a call that would compute something else is
    refused. In the end the network holds the run's best weights, those of the checkpoint; so also
    where there was nothing left to train.

    Args:
        network: what is trained, in place, in training mode; after it each part is again in the
            mode in which it was.
        data: what it is trained and validated on; its window is the network's.
        folder: of the run: checkpoints, curves, pictures, log. Made where absent.
        loss: what training lowers, or the name of a choice of `conf/loss`.
        optimizer: makes the optimizer from parameters (`functools.partial(torch.optim.AdamW,
            lr=1e-4)`, a class or a function), or the name of a choice of `conf/optimizer`.
        scheduler: makes the schedule from the optimizer, or the name of a choice of
            `conf/scheduler`; None keeps the rate. One that takes `total_steps` is stepped every
            optimizer step, any other every epoch.
        protocol: the protocol whose metrics validate, or its name in `conf/protocol`.
        validation: those of its metrics that are used.
        monitor: the validation score that chooses the best weights, and `max` or `min`.
        trainer: a `lightning.Trainer`, or what makes one; None takes `conf/trainer/default.yaml`.
        max_epochs: epochs to train; replaces those of what makes the trainer.
        callbacks: more callbacks than the standard ones.
        loggers: more loggers than the curves.
        standard: makes the callbacks of every run from the folder and the monitor.
        curves: makes the loggers of every run from the folder.
        seed: of all random generators while training; the network is made before, and has its own.
        lr_scaling: of the learning rate with the number of processes; see `scaled_rate`.
        find_rate: look for the learning rate before a run begins.
        budget_seconds: seconds of optimizer steps; then the samples of an epoch are measured.
        budget_clock: what those seconds are counted by: `wall`, or `processor`, the time of this
            process on all cores, which other work on the machine hardly changes.
        detach_every: for data in sequences: windows after which gradients through the
            carried state end; None lets them run back through the whole sequence.
        overwrite: replace the run in this folder, whatever it is.
        settings: plain values that describe the run, by key (`model`, `data`, `loss`, …), in the
            place of the descriptions of these objects; for objects that cannot be described.
        growing: dotted keys of settings that follow from the run's length, beside the length.

    Returns:
        The run: its checkpoint, best score, monitor and history.

    Raises:
        ConfigError: an argument that cannot work, or a folder that holds another run.
        WeightsError: the run is finished, and its checkpoint is gone or was changed.
        InputError: the loss does not fit what the network returns.
        RunError: a fault of the machine ended the training; the message says what is safe.
        NonFiniteError: a loss, a gradient, a weight or a score became infinite or NaN.
        KeyboardInterrupt: the user ended it at once.
    """
    if max_epochs is not None and max_epochs < -1:
        raise ConfigError(f"max_epochs must be at least 0, or -1 for no end, found {max_epochs}.")
    if budget_seconds is not None and budget_seconds <= 0:
        raise ConfigError(f"budget_seconds must be above 0, found {budget_seconds:g}.")
    run = Run(folder)
    with run.claimed(), without_noise(), modes_kept(network):
        plan = _Plan(
            network,
            data,
            loss=build("loss", loss) if isinstance(loss, str) else loss,
            optimizer=build("optimizer", optimizer) if isinstance(optimizer, str) else optimizer,
            scheduler=build("scheduler", scheduler) if isinstance(scheduler, str) else scheduler,
            protocol=_validation_protocol(protocol, validation),
            monitor=Monitor(*monitor),
            trainers=TrainerMaker(trainer, max_epochs),
            seed=seed,
            lr_scaling=lr_scaling,
            find_rate=find_rate,
            budget_seconds=budget_seconds,
            budget_clock=budget_clock,
            detach_every=detach_every,
            callbacks=callbacks,
        )
        plan.settle(will_train=overwrite or run.finished() is None)
        identity, described = plan.identity(run, settings or {}, growing)
        if not overwrite and run.check(identity, described) is not None:
            _log.info("finished before, skipped: %s (another folder starts another)", run.folder)
        else:
            if is_first() and not plan.is_trial:
                if overwrite:
                    run.clear()
                run.begin(identity, described)
            _train(plan, run, described, standard=standard, curves=curves, loggers=loggers)
        if not plan.is_trial and run.checkpoint.exists():
            restore(network, run.checkpoint)
    return run


@dataclass
class _Plan:
    """The parts of a training, each as an object."""

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
        """Check the parts against one another, and make or check the data."""
        _check_factory(self.optimizer, Optimizer, "optimizer")
        if self.scheduler is not None:
            _check_factory(self.scheduler, LRScheduler, "scheduler")
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
        """True for a trial of one batch, which leaves nothing behind."""
        return bool(getattr(self.trainers.probe, "fast_dev_run", False))

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
        if self.budget_seconds is not None:
            with errors_about(self.data), errors_about(trainer):
                check_budget(
                    processes=trainer.world_size,
                    samples_per_epoch=self.data.samples_per_epoch,
                    epochs=trainer.max_epochs,
                    clock=self.budget_clock,
                    accelerated=not takes_processor_time(trainer.strategy.root_device),
                    workers=self.data.num_workers,
                )
        # A longer training under the same budget would be more than the budget.
        lengths = () if self.budget_seconds is not None else (*LENGTHS, *growing)
        facts |= data_facts(self.data.sets) | code_facts(settings, named)
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


def _train(
    plan: _Plan,
    run: Run,
    described: Mapping[str, Any],
    *,
    standard: Callable[[Path, Monitor], Sequence[Callback]],
    curves: Callable[[Path], Sequence[Logger]],
    loggers: Sequence[Logger],
) -> None:
    """Train, and finish the run; a trial finishes none."""
    L.seed_everything(plan.seed, workers=True, verbose=False)
    budget = _budget(plan, run)
    guard = FiniteSteps(run.folder, plan.monitor.name)
    own = (guard, BestIsThere(), TrainingClock(plan.budget_clock))
    callbacks = [*standard(run.folder, plan.monitor), *plan.callbacks, *own]
    trainer = plan.trainers.join(run.folder, callbacks, [*curves(run.folder), *loggers])
    if prefers_channels_last(trainer.strategy.root_device):  # a fifth of a step of STIR, with both
        keep_freed_memory()
        plan.network.to(memory_format=torch.channels_last)
    module = ReconstructionModule(
        plan.network,
        loss=plan.loss,
        optimizer=plan.optimizer,
        scheduler=plan.scheduler,
        protocol=plan.protocol,
        description=described["model"],
        learning_rate=plan.rate,
        detach_every=plan.detach_every,
    )
    _log_batch(trainer, plan)
    for logger in trainer.loggers:
        logger.log_hyperparams(dict(described))
    _run_trainer(trainer, module, plan.data, run, finds_rate=plan.find_rate)
    if plan.is_trial or not is_first():
        return
    best, monitor = best_score(trainer), plan.monitor
    cost = {} if budget is None else {"budget": budget.describe()}
    scores = {"best": best, "monitor": monitor.name, "mode": monitor.mode}
    run.finish(scores | training_report(trainer, module, plan.data, run) | cost)
    if best is None:
        _log.info("nothing was validated: the last weights are in %s", run.last)
    else:
        _log.info("best %s %.4g: %s", monitor.name, best, run.best)


def _check_factory(made_by: object, kind: type, argument: str) -> None:
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


def _validation_protocol(protocol: str | Protocol, metrics: Sequence[str]) -> Protocol:
    if isinstance(protocol, str):
        return named_protocol(protocol, metrics)
    check_metrics(metrics, protocol.names, protocol.name)
    return protocol if set(metrics) == set(protocol.names) else protocol.only(metrics)


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


def _budget(plan: _Plan, run: Run) -> Budget | None:
    """Give the data module the samples of an epoch that the budget holds, measured once."""
    if plan.budget_seconds is None:
        return None
    path = run.folder / "budget.json"
    budget = Budget.read(path)
    if budget is None:
        if plan.trainers.is_given:
            raise ConfigError(
                "budget_seconds needs a trainer for measuring beside that for training: give what "
                "makes one, functools.partial(lightning.Trainer, …)."
            )
        budget = measure_budget(
            plan.trainers.make,
            plan.network,
            plan.loss,
            plan.optimizer,
            plan.data,
            seconds=plan.budget_seconds,
            clock=plan.budget_clock,
            detach_every=plan.detach_every,
        )
        budget.write(path)
        L.seed_everything(plan.seed, workers=True, verbose=False)
    plan.data.samples_per_epoch = budget.samples_per_epoch
    _log.info(
        "budget of %g s (%s): %d steps of %d samples, at %.3g s a step (%s)",
        *(budget.seconds, budget.clock, budget.epochs * budget.steps_per_epoch, budget.batch),
        *(budget.seconds_per_step, budget.machine),
    )
    return budget


def _log_batch(trainer: L.Trainer, plan: _Plan) -> None:
    _log.info(
        "effective batch %(effective)d = %(processes)d processes × %(batch)d samples "
        "× %(accumulated)d accumulated",
        describe_batch(trainer, plan.data.batch_size),
    )
    if plan.rate is not None:
        _log.info(
            "learning rate %g = %g, scaled by lr_scaling=%s for %d processes",
            *(plan.rate, base_rate(plan.optimizer), plan.lr_scaling, trainer.world_size),
        )


def _find_rate(trainer: L.Trainer, module: ReconstructionModule, data: SpikeDataModule) -> None:
    """Set the learning rate at the steepest descent of the loss over growing rates.

    Raises:
        ConfigError: the loss falls at no rate.
    """
    finder = Tuner(trainer).lr_find(module, data, attr_name="learning_rate")
    found = finder.suggestion() if finder else None
    if found is None:
        raise ConfigError(
            "no learning rate was found at which the loss falls: state the optimizer's `lr`, or "
            "give more training samples."
        )
    module.learning_rate = found
    _log.info("learning rate %g, found where the loss falls fastest", found)


def _run_trainer(
    trainer: L.Trainer,
    module: ReconstructionModule,
    data: SpikeDataModule,
    run: Run,
    *,
    finds_rate: bool,
) -> None:
    """Train, from the run's newest readable checkpoint where there is one.

    Args:
        trainer: with the callbacks and loggers of the run.
        module: what to train.
        data: what to train on.
        run: whose folder holds the checkpoints.
        finds_rate: look for the learning rate first, in a run that is not continued.

    Raises:
        ConfigError: the checkpoint was written under other conditions, or none can be read.
        RunError: a fault of the machine ended the training; the message says what is safe.
        KeyboardInterrupt: the user ended it at once.
    """
    try:
        continued = run.continuation()
        if continued:
            if is_first():  # the others do not run yet, or would say the same
                data.prepare_data()
                data.setup("fit")
                check_conditions(continued, conditions(trainer, data))
            _log.info("continuing %s", run.folder)
        elif finds_rate:
            _find_rate(trainer, module, data)
        trainer.fit(module, data, ckpt_path=continued, weights_only=True)
    except (SpikerecError, Preempted):
        raise
    except SystemExit:  # what Lightning makes of Ctrl-C
        if not trainer.interrupted:
            raise
        raise KeyboardInterrupt(
            f"interrupted at step {trainer.global_step}. {saved(trainer)}."
        ) from None
    except Exception as error:
        told = explain(error)
        if told is None:
            raise
        raise RunError(
            f"training ended at step {trainer.global_step}: {told}. {saved(trainer)}."
        ) from error


def saved(trainer: L.Trainer) -> str:
    """Say what of a training is safe on the disk, and how to go on."""
    last = last_checkpoint(trainer)
    return last.saved if last else "Nothing was saved: the callback `last` is switched off"


def last_checkpoint(trainer: L.Trainer) -> LastCheckpoint | None:
    """The callback that writes last.ckpt; None where it is switched off."""
    callbacks = trainer.callbacks  # type: ignore[attr-defined]  # Trainer's own list
    return next((one for one in callbacks if isinstance(one, LastCheckpoint)), None)


def best_score(trainer: L.Trainer) -> float | None:
    """The best validation score; None where nothing was validated."""
    for callback in trainer.checkpoint_callbacks:
        score = getattr(callback, "best_model_score", None)
        if getattr(callback, "monitor", None) is not None and score is not None:
            return float(score)
    return None


def training_report(
    trainer: L.Trainer, module: ReconstructionModule, data: SpikeDataModule, run: Run
) -> dict[str, Any]:
    """Facts of a finished run: its training data, its duration, and its network's cost.

    Plain values without a path, the checkpoint's apart; `spikerec evaluate` copies them into
    records, so that a board can say what each row's training was.
    """
    last = last_checkpoint(trainer)
    batch = describe_batch(trainer, data.batch_size)
    return {
        "checkpoint": str(run.checkpoint),
        "steps": trainer.global_step,
        "epochs": trainer.current_epoch,
        "samples": trainer.global_step * batch["effective"],
        "batch": batch["effective"],
        "crop": [data.crop.height, data.crop.width],
        **({} if data.sequences is None else {"sequence": data.sequences.length}),
        "data": fingerprints(data.sets),
        "seconds": round(last.seconds, 1) if last else None,
        "device": str(trainer.strategy.root_device),
        "machine": device_name(trainer.strategy.root_device),
        "processes": trainer.world_size,
        "precision": str(trainer.precision),
        "parameters": parameters(module.network),
        **countable(lambda: {"macs": macs(module.network, PAPER_SIZE)}),
    }
