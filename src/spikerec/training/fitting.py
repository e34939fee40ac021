"""Fitting: from objects to a run that is finished, continued, or ended in one line."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from lightning.pytorch.tuner.tuning import Tuner

from spikerec.configs import build
from spikerec.data import SpikeDataModule
from spikerec.errors import ConfigError, RunError, SpikerecError
from spikerec.kernels.devices import prefers_channels_last
from spikerec.kinds import checked
from spikerec.losses import Loss
from spikerec.memory import keep_freed_memory
from spikerec.metrics import Protocol
from spikerec.models.base import Network
from spikerec.models.modes import layout_kept, modes_kept
from spikerec.training.budgets import Budget, budget_path, measure_budget
from spikerec.training.checkpoints import BestIsThere, Preempted, is_trial, saved
from spikerec.training.clocks import Clock
from spikerec.training.continuation import check_conditions, conditions
from spikerec.training.distributed import Scaling, describe_batch, is_first
from spikerec.training.faults import explain
from spikerec.training.finite import FiniteSteps
from spikerec.training.module import ReconstructionModule
from spikerec.training.noise import without_noise
from spikerec.training.plan import MakeOptimizer, MakeScheduler, Plan, base_rate
from spikerec.training.report import best_score, training_report
from spikerec.training.runs import Run
from spikerec.training.scores import Monitor
from spikerec.training.standard import (
    TrainerMaker,
    check_metrics,
    named_protocol,
    standard_callbacks,
    standard_loggers,
)
from spikerec.training.training_clock import TrainingClock
from spikerec.weights.trained import restore

_log = logging.getLogger(__name__)

#: Seconds of a training over those of its budget, above which a run says so.
LATE = 1.1
#: Largest seed that NumPy's generator takes.
MOST_SEED = 2**32 - 1


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
            mode in which it was, and its weights lie in memory as they lay before.
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
        StalledError: the gradient stayed 0.
        KeyboardInterrupt: the user ended it at once.
    """
    if not 0 <= seed <= MOST_SEED:
        raise ConfigError(f"seed must be from 0 to {MOST_SEED}, found {seed}.")
    if max_epochs is not None and max_epochs < -1:
        raise ConfigError(f"max_epochs must be at least 0, or -1 for no end, found {max_epochs}.")
    if budget_seconds is not None and budget_seconds <= 0:
        raise ConfigError(f"budget_seconds must be above 0, found {budget_seconds:g}.")
    run = Run(folder)
    with run.claimed(), without_noise(), modes_kept(network), layout_kept(network):
        plan = Plan(
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


def _train(
    plan: Plan,
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
    clock = TrainingClock(plan.budget_clock)
    own = (guard, BestIsThere(), clock)
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
    if budget is not None and (clock.seconds or 0) > LATE * budget.expected_seconds:
        _log.warning(
            "training took %.3g s, its budget is %g s (%s): its steps were slower than when they "
            "were measured. Compare it with runs of as many seconds.",
            *(clock.seconds, budget.seconds, budget.clock),
        )
    if best is None:
        _log.info("nothing was validated: the last weights are in %s", run.last)
    else:
        _log.info("best %s %.4g: %s", monitor.name, best, run.best)


def _validation_protocol(protocol: str | Protocol, metrics: Sequence[str]) -> Protocol:
    if isinstance(protocol, str):
        return named_protocol(protocol, metrics)
    check_metrics(metrics, protocol.names, protocol.name)
    return protocol if set(metrics) == set(protocol.names) else protocol.only(metrics)


def _budget(plan: Plan, run: Run) -> Budget | None:
    """Give the data module the samples of an epoch that the budget holds, measured once.

    A trial trains one batch, whatever the budget.
    """
    if plan.budget_seconds is None:
        return None
    if plan.is_trial:
        plan.data.samples_per_epoch = plan.data.batch_size * plan.trainers.probe.world_size
        return None
    path = budget_path(run.folder)
    budget = Budget.read(path)
    if budget is None:
        if run.last.is_file():
            raise ConfigError(
                f"{path} is gone, so that the steps of this run's budget are not known. Bring the "
                "file back, or train anew (`overwrite`)."
            )
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
        *(budget.seconds, budget.clock, budget.steps, budget.batch),
        *(budget.seconds_per_step, budget.machine),
    )
    if budget.expected_seconds > LATE * budget.seconds:
        _log.warning(
            "the budget is too short to be cut into %d epochs: %d steps will take %.3g s of its "
            "%g. Give more seconds, or take fewer epochs (max_epochs)",
            *(budget.epochs, budget.steps, budget.expected_seconds, budget.seconds),
        )
    return budget


def _log_batch(trainer: L.Trainer, plan: Plan) -> None:
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
        continued = None if is_trial(trainer) else run.continuation()
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
