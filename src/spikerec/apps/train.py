"""Train a network: spikerec train model=stir data=sreds loss=stir."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Mapping
from typing import Any

import lightning as L
import torch
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch.loggers import Logger
from lightning.pytorch.tuner.tuning import Tuner
from omegaconf import DictConfig, OmegaConf, read_write
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from spikerec.configs import instantiate, plain
from spikerec.data import SpikeDataModule
from spikerec.errors import ConfigError
from spikerec.kernels.memory import keep_freed_memory
from spikerec.losses import Loss
from spikerec.metrics import Protocol
from spikerec.models.base import Network
from spikerec.training import ReconstructionModule, Run
from spikerec.training.checkpoints import AtomicCheckpointIO, LastCheckpoint
from spikerec.training.continuation import check_conditions, conditions
from spikerec.training.distributed import (
    describe_batch,
    is_first,
    job_processes,
    scaled_rate,
)

_log = logging.getLogger(__name__)


def run(config: DictConfig) -> float | None:
    """Train, or continue, what the configuration describes; skip it if it is finished.

    Returns:
        The best validation score, for sweepers.
    """
    training = Run(config.run)
    if (report := training.finished()) is not None:
        _log.info("finished before, skipped: %s (name=… starts another)", training.folder)
        return _score(report)
    with job_processes(own_command()):
        return _train(config, training)


def own_command() -> list[str]:
    """What runs this job alone, in its folder, with its log left to this process.

    The job's own overrides stand for the command line, which may be a sweep's.
    """
    hydra = HydraConfig.get()
    with read_write(hydra):  # Lightning sends the other processes of a node to this folder
        hydra.run.dir = hydra.runtime.output_dir
    program, verb, *words = sys.argv
    return [
        program,
        verb,
        *_config_flags(words),
        *hydra.overrides.task,
        "hydra/job_logging=none",
        "hydra/hydra_logging=none",
    ]


def _config_flags(words: list[str]) -> list[str]:
    """The flags among a command's words that say which configuration is meant."""
    names = ("--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp")
    kept: list[str] = []
    for index, word in enumerate(words):
        if word in names:
            kept += words[index : index + 2]
        elif word.startswith(tuple(f"{name}=" for name in names)):
            kept.append(word)
    return kept


def _train(config: DictConfig, training: Run) -> float | None:
    L.seed_everything(config.seed, workers=True, verbose=False)
    network: Network = instantiate(config.model, Network, "model")
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ConfigError(
            f"model={type(network).__name__} has no parameters: there is nothing to train. "
            "Run `spikerec evaluate` or `spikerec reconstruct` with it."
        )
    data: SpikeDataModule = instantiate(config.data, SpikeDataModule, "data", window=network.window)
    loss: Loss = instantiate(config.loss, Loss, "loss")
    loss.check(network, has_target=data.has_targets)
    _check_crop(data, network)
    loss.rehearse(network, (data.crop.height, data.crop.width))
    protocol = _validation_protocol(config)
    _choose_monitor(config, data, protocol)
    resolved = plain(config)
    if is_first():
        training.begin(resolved)
    trainer: L.Trainer = instantiate(
        config.trainer,
        L.Trainer,
        "trainer",
        default_root_dir=str(training.folder),
        callbacks=_parts(config.callbacks, L.Callback, "callbacks"),
        logger=_parts(config.get("logger"), Logger, "logger") or False,
        plugins=AtomicCheckpointIO(),
    )
    if trainer.strategy.root_device.type == "cpu":  # a fifth of a step of STIR, with both
        keep_freed_memory()
        network.to(memory_format=torch.channels_last)
    rate = scaled_rate(config.optimizer.lr, trainer.world_size, config.lr_scaling)
    module = ReconstructionModule(
        network,
        loss=loss,
        optimizer=instantiate(config.optimizer, Optimizer, "optimizer"),
        scheduler=instantiate(config.scheduler, LRScheduler, "scheduler"),
        protocol=protocol,
        description=resolved["model"],
        val_sets=data.validated,
        learning_rate=rate,
    )
    _log_batch(trainer, data, config, rate)
    for logger in trainer.loggers:
        logger.log_hyperparams(resolved)
    continued = training.last if training.last.exists() else None
    if continued:
        if is_first():  # the others do not run yet, or would say the same
            data.prepare_data()
            data.setup("fit")
            check_conditions(continued, conditions(trainer, data))
        _log.info("continuing %s", training.folder)
    elif config.find_lr:
        _find_rate(trainer, module, data)
    with warnings.catch_warnings():
        # The folder is this run's own, and not empty when the run is continued.
        warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not")
        trainer.fit(module, data, ckpt_path=continued, weights_only=True)
    if trainer.interrupted:
        raise KeyboardInterrupt
    if config.trainer.get("fast_dev_run"):  # a trial, not a run
        return None
    if is_first():
        report = _report(trainer, config, training)
        training.finish(report)
        if report["best"] is None:
            _log.info("nothing was validated: the last weights are in %s", training.last)
        else:
            _log.info("best %s %.4g: %s", config.monitor.name, report["best"], training.best)
    return _score(_scores(trainer, config))


def _log_batch(trainer: L.Trainer, data: SpikeDataModule, config: DictConfig, rate: float) -> None:
    facts = describe_batch(trainer, data.batch_size)
    _log.info(
        "effective batch %(effective)d = %(processes)d processes × %(batch)d samples "
        "× %(accumulated)d accumulated",
        facts,
    )
    _log.info(
        "learning rate %g = %g, scaled by lr_scaling=%s for %d processes",
        rate,
        config.optimizer.lr,
        config.lr_scaling,
        trainer.world_size,
    )


def _find_rate(trainer: L.Trainer, module: ReconstructionModule, data: SpikeDataModule) -> None:
    """Set the learning rate at the steepest descent of the loss over growing rates."""
    finder = Tuner(trainer).lr_find(module, data, attr_name="learning_rate")
    found = finder.suggestion() if finder else None
    if found is None:
        raise ConfigError(
            "find_lr=true found no rate at which the loss falls: set optimizer.lr, or give more "
            "training samples."
        )
    module.learning_rate = found
    _log.info("learning rate %g, found where the loss falls fastest", found)


def _validation_protocol(config: DictConfig) -> Protocol:
    """The protocol with the metrics of validation alone; the others need weights and time."""
    names, known = list(config.validation), config.protocol.metrics
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(
            f"validation names {unknown[0]}, which protocol={config.protocol.name} does not have: "
            f"expected some of {', '.join(known)}."
        )
    chosen = OmegaConf.masked_copy(known, names)
    node = OmegaConf.create({**config.protocol, "metrics": chosen})
    protocol: Protocol = instantiate(node, Protocol, "protocol")
    return protocol


def _check_crop(data: SpikeDataModule, network: Network) -> None:
    """Training takes crops as they are: padding would change what the network learns."""
    for side in (data.crop.height, data.crop.width):
        if side % network.multiple:
            raise ConfigError(
                f"data.crop must be multiples of {network.multiple} for "
                f"{type(network).__name__}, found {data.crop.height} × {data.crop.width}."
            )


def _choose_monitor(config: DictConfig, data: SpikeDataModule, protocol: Protocol) -> None:
    """Let the loss tell which weights are best where validation has no true images.

    Raises:
        ConfigError: monitor names what validation does not give, or the wrong way of it.
    """
    modes = _validation_modes(data, protocol)
    monitor = config.monitor
    if monitor.name not in modes and "val/loss" in modes:
        _log.info("validation has no true images for %s: judged by val/loss", monitor.name)
        monitor.name, monitor.mode = "val/loss", "min"
    if monitor.name not in modes:
        raise ConfigError(
            f"monitor.name={monitor.name} is nothing that validation gives: expected one of "
            f"{', '.join(modes)}."
        )
    if monitor.mode != modes[monitor.name]:
        raise ConfigError(
            f"monitor.mode must be {modes[monitor.name]} for monitor.name={monitor.name}, found "
            f"{monitor.mode}."
        )


def _validation_modes(data: SpikeDataModule, protocol: Protocol) -> dict[str, str]:
    """What validation gives, and whether more (`max`) or less (`min`) of it is better."""
    has_images = any(data.sets[name].has_images() for name in data.validated)
    modes = {
        name: "max" if higher else "min"
        for name, higher in protocol.higher_is_better.items()
        if has_images or not protocol.needs_target[name]
    }
    if not has_images:
        modes["loss"] = "min"
    groups = ["", *(f"{name}/" for name in data.validated if len(data.validated) > 1)]
    return {f"val/{group}{name}": mode for group in groups for name, mode in modes.items()}


def _parts(group: DictConfig | None, kind: type, key: str) -> list[Any]:
    """The objects of a group whose entries are each a choice; null entries are switched off."""
    nodes = (group or {}).items()
    return [instantiate(node, kind, f"{key}.{name!s}") for name, node in nodes if node is not None]


def _best(trainer: L.Trainer) -> float | None:
    for callback in trainer.checkpoint_callbacks:
        score = getattr(callback, "best_model_score", None)
        if getattr(callback, "monitor", None) is not None and score is not None:
            return float(score)
    return None


def _score(report: Mapping[str, Any]) -> float | None:
    """What searches see: better when higher."""
    best = report["best"]
    return None if best is None else float(best) * (-1 if report["mode"] == "min" else 1)


def _scores(trainer: L.Trainer, config: DictConfig) -> dict[str, Any]:
    return {"best": _best(trainer), "monitor": config.monitor.name, "mode": config.monitor.mode}


def _seconds(trainer: L.Trainer) -> float | None:
    """What training took; None where `callbacks.last`, which counts it, is switched off."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]  # Trainer's own list
        if isinstance(callback, LastCheckpoint):
            return round(callback.seconds, 1)
    return None


def _report(trainer: L.Trainer, config: DictConfig, training: Run) -> dict[str, Any]:
    return {
        **_scores(trainer, config),
        "checkpoint": str(training.best if training.best.exists() else training.last),
        "steps": trainer.global_step,
        "epochs": trainer.current_epoch,
        "seconds": _seconds(trainer),
        "device": str(trainer.strategy.root_device),
        "processes": trainer.world_size,
    }
