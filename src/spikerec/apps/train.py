"""Train a network: spikerec train model=stir data=sreds loss=stir."""

from __future__ import annotations

import logging
import time
from typing import Any

import lightning as L
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from spikerec.configs import plain
from spikerec.data import SpikeDataModule
from spikerec.errors import ConfigError
from spikerec.losses import Loss
from spikerec.metrics import Protocol
from spikerec.models.base import Network
from spikerec.training import ReconstructionModule, Run

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
    resolved = plain(config)
    L.seed_everything(config.seed, workers=True, verbose=False)
    network: Network = instantiate(config.model, _convert_="all")
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ConfigError(
            f"model={type(network).__name__} has no parameters: there is nothing to train. "
            "Run `spikerec evaluate` or `spikerec reconstruct` with it."
        )
    data: SpikeDataModule = instantiate(config.data, _convert_="all")
    loss: Loss = instantiate(config.loss, _convert_="all")
    loss.check(network, has_target=data.has_targets)
    _check_crop(data, network)
    training.begin(resolved)
    module = ReconstructionModule(
        network,
        loss=loss,
        optimizer=instantiate(config.optimizer, _convert_="all"),
        scheduler=instantiate(config.scheduler, _convert_="all"),
        protocol=_validation_protocol(config),
        description=resolved["model"],
        val_sets=[name for name, one in data.sets.items() if one.has_images()],
    )
    trainer: L.Trainer = instantiate(
        config.trainer,
        default_root_dir=str(training.folder),
        callbacks=_parts(config.callbacks),
        logger=_parts(config.logger) or False,
        _convert_="all",
    )
    continued = training.last if training.last.exists() else None
    if continued:
        _log.info("continuing %s", training.folder)
    began = time.monotonic()
    trainer.fit(module, data, ckpt_path=continued, weights_only=True)
    if trainer.interrupted:
        raise KeyboardInterrupt
    if trainer.is_global_zero:
        report = _report(trainer, training, time.monotonic() - began)
        training.finish(report)
        _log.info("best val/psnr %.2f dB: %s", report["best"] or float("nan"), training.best)
    return _score({"best": _best(trainer)})


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
    protocol: Protocol = instantiate(node, _convert_="all")
    return protocol


def _check_crop(data: SpikeDataModule, network: Network) -> None:
    """Training takes crops as they are: padding would change what the network learns."""
    for side in (data.crop.height, data.crop.width):
        if side % network.multiple:
            raise ConfigError(
                f"data.crop must be multiples of {network.multiple} for "
                f"{type(network).__name__}, found {data.crop.height} × {data.crop.width}."
            )


def _parts(group: DictConfig | None) -> list[Any]:
    """The objects of a group whose entries are each a choice; null entries are switched off."""
    nodes = (group or {}).values()
    return [instantiate(node, _convert_="all") for node in nodes if node is not None]


def _best(trainer: L.Trainer) -> float | None:
    for callback in trainer.checkpoint_callbacks:
        score = getattr(callback, "best_model_score", None)
        if getattr(callback, "monitor", None) is not None and score is not None:
            return float(score)
    return None


def _score(report: dict[str, Any]) -> float | None:
    score = report["best"]
    return None if score is None else float(score)


def _report(trainer: L.Trainer, training: Run, seconds: float) -> dict[str, Any]:
    return {
        "best": _best(trainer),
        "checkpoint": str(training.best if training.best.exists() else training.last),
        "steps": trainer.global_step,
        "epochs": trainer.current_epoch,
        "seconds": round(seconds, 1),
        "device": str(trainer.strategy.root_device),
        "processes": trainer.world_size,
    }
