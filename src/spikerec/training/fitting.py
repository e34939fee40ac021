"""Fitting: from parts that are built to a run that is finished, continued, or ended in one line."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Mapping
from typing import Any, Literal

import lightning as L
from lightning.pytorch.tuner.tuning import Tuner

from spikerec.data import SpikeDataModule
from spikerec.errors import ConfigError, RunError, SpikerecError
from spikerec.kernels.devices import device_name
from spikerec.metrics import Protocol
from spikerec.metrics.efficiency import PAPER_SIZE, macs, parameters
from spikerec.models.base import Network
from spikerec.training.checkpoints import LastCheckpoint, Preempted
from spikerec.training.continuation import check_conditions, conditions
from spikerec.training.distributed import describe_batch, is_first
from spikerec.training.faults import explain
from spikerec.training.identity import data_facts
from spikerec.training.module import ReconstructionModule
from spikerec.training.runs import Run

Mode = Literal["max", "min"]

_log = logging.getLogger(__name__)


def check_trainable(network: Network, data: SpikeDataModule) -> None:
    """Make sure that there is something to learn, and that crops fit the network.

    Training takes crops as they are: padding would change what the network learns.

    Raises:
        ConfigError: the network has no parameters, or a crop is no multiple of what it needs.
    """
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ConfigError(
            f"model={type(network).__name__} has no parameters: there is nothing to train. "
            "Run `spikerec evaluate` or `spikerec reconstruct` with it."
        )
    for side in (data.crop.height, data.crop.width):
        if side % network.multiple:
            raise ConfigError(
                f"data.crop must be multiples of {network.multiple} for "
                f"{type(network).__name__}, found {data.crop.height} × {data.crop.width}."
            )


def choose_monitor(
    name: str, mode: str, data: SpikeDataModule, protocol: Protocol
) -> tuple[str, str]:
    """The validation score that chooses the best weights: the loss where there are no true images.

    Args:
        name: of the score that is asked for.
        mode: `max` or `min`: which way it is better.
        data: what is validated on.
        protocol: the metrics of validation.

    Raises:
        ConfigError: validation does not give that score, or it is better the other way.
    """
    modes = validation_modes(data, protocol)
    if name not in modes and "val/loss" in modes:
        _log.info("validation has no true images for %s: judged by val/loss", name)
        name, mode = "val/loss", "min"
    if name not in modes:
        raise ConfigError(
            f"monitor.name={name} is nothing that validation gives: expected one of "
            f"{', '.join(modes)}."
        )
    if mode != modes[name]:
        raise ConfigError(
            f"monitor.mode must be {modes[name]} for monitor.name={name}, found {mode}."
        )
    return name, mode


def validation_modes(data: SpikeDataModule, protocol: Protocol) -> dict[str, Mode]:
    """Validation score → whether more (`max`) or less (`min`) of it is better."""
    has_images = any(data.sets[name].has_images() for name in data.validated)
    modes: dict[str, Mode] = {
        name: "max" if higher else "min"
        for name, higher in protocol.higher_is_better.items()
        if has_images or not protocol.needs_target[name]
    }
    if not has_images:
        modes["loss"] = "min"
    groups = ["", *(f"{name}/" for name in data.validated if len(data.validated) > 1)]
    return {f"val/{group}{name}": mode for group in groups for name, mode in modes.items()}


def find_rate(trainer: L.Trainer, module: ReconstructionModule, data: SpikeDataModule) -> None:
    """Set the learning rate at the steepest descent of the loss over growing rates.

    Raises:
        ConfigError: the loss falls at no rate.
    """
    finder = Tuner(trainer).lr_find(module, data, attr_name="learning_rate")
    found = finder.suggestion() if finder else None
    if found is None:
        raise ConfigError(
            "find_lr=true found no rate at which the loss falls: set optimizer.lr, or give more "
            "training samples."
        )
    module.learning_rate = found
    _log.info("learning rate %g, found where the loss falls fastest", found)


def fit(
    trainer: L.Trainer,
    module: ReconstructionModule,
    data: SpikeDataModule,
    run: Run,
    *,
    finds_rate: bool = False,
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
            find_rate(trainer, module, data)
        with warnings.catch_warnings():
            # The folder is this run's own, and not empty when the run is continued.
            warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not")
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
    return last.saved if last else "Nothing was saved: callbacks.last is switched off"


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


def sweep_score(report: Mapping[str, Any]) -> float | None:
    """What searches see of a report: better when higher; None where there is no finite score."""
    best = report["best"]
    if best is None or not math.isfinite(best):
        return None
    return float(best) * (-1 if report["mode"] == "min" else 1)


def training_report(
    trainer: L.Trainer, module: ReconstructionModule, data: SpikeDataModule, run: Run
) -> dict[str, Any]:
    """What a finished run was trained on, what it took, and what its network costs.

    Plain values without a path, the checkpoint's apart; `spikerec evaluate` copies them into
    records, so that a board can say what each row's training was.
    """
    last = last_checkpoint(trainer)
    batch = describe_batch(trainer, data.batch_size)
    return {
        "checkpoint": str(run.best if run.best.exists() else run.last),
        "steps": trainer.global_step,
        "epochs": trainer.current_epoch,
        "samples": trainer.global_step * batch["effective"],
        "batch": batch["effective"],
        "crop": [data.crop.height, data.crop.width],
        "data": {name.removeprefix("data of "): of for name, of in data_facts(data).items()},
        "seconds": round(last.seconds, 1) if last else None,
        "device": str(trainer.strategy.root_device),
        "machine": device_name(trainer.strategy.root_device),
        "processes": trainer.world_size,
        "precision": str(trainer.precision),
        "parameters": parameters(module.network),
        "macs": macs(module.network, PAPER_SIZE),
    }
