"""Train a network: spikerec train model=stir data=sreds loss=stir."""

from __future__ import annotations

import copy
import logging
import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from spikerec.configs import instantiate, plain, referring
from spikerec.data import SpikeDataModule
from spikerec.errors import ConfigError, SpikerecError
from spikerec.kernels.devices import prefers_channels_last
from spikerec.kernels.memory import keep_freed_memory
from spikerec.losses import Loss
from spikerec.metrics import Protocol
from spikerec.models.base import Network
from spikerec.results.evaluation import evaluate, evaluated_sets
from spikerec.training import ReconstructionModule, Run
from spikerec.training.budgets import TIMED_PART, Budget, StepClock, check_budget, find
from spikerec.training.checkpoints import AtomicCheckpointIO
from spikerec.training.distributed import describe_batch, is_first, job_processes, scaled_rate
from spikerec.training.finite import FiniteSteps, replay
from spikerec.training.fitting import (
    best_score,
    check_trainable,
    choose_monitor,
    fit,
    sweep_score,
    training_report,
)
from spikerec.training.identity import (
    LENGTHS,
    Identity,
    code_facts,
    data_facts,
    settings_of,
    step_facts,
)
from spikerec.weights import digest
from spikerec.weights.trained import load_trained

_log = logging.getLogger(__name__)


def run(config: DictConfig) -> float | None:
    """Train, or continue, what the configuration describes; skip it if it is finished.

    Returns:
        The best validation score, for sweepers.
    """
    with open_dict(config):  # about this call, and no part of what a run computes
        overwrites, replays = config.pop("overwrite"), config.pop("replay")
        tests = config.pop("test")
    training = Run(config.run)
    own = training.claimed() if is_first() else nullcontext()
    with job_processes(own_command()), own:
        if replays:
            _replay(config, training)
            return None
        try:
            best = _train(config, training, overwrites=overwrites)
        except SpikerecError:
            if is_first() and training.is_empty:  # it was wrong from the start
                training.clear(with_log=True)
            raise
        if tests and not config.trainer.get("fast_dev_run"):
            _test(config, training)
        return best


def _test(config: DictConfig, training: Run) -> None:
    """Score the run's weights on the test split: a record for each set, where there is none yet."""
    checkpoint = training.best if training.best.exists() else training.last
    network = load_trained(partial(instantiate, config.model, Network, "model"), checkpoint)
    data: SpikeDataModule = instantiate(config.data, SpikeDataModule, "data", window=network.window)
    protocol: Protocol = instantiate(config.protocol, Protocol, "protocol")
    known = evaluated_sets(config.paths.results, network, protocol, "test")
    if not set(data.sets) - known:
        _log.info("tested before: the records are in %s", config.paths.results)
        return
    records = evaluate(
        network,
        data,
        protocol,
        config.paths.results,
        method=HydraConfig.get().runtime.choices["model"],
        checkpoint=checkpoint,
        trainer=instantiate(config.trainer, L.Trainer, "trainer", logger=False),
        config={key: value for key, value in plain(config).items() if key != "run"},
    )
    for record in records:
        means = ((name, record.mean(name)) for name in record.samples.values)
        told = ", ".join(f"{name} {mean:.4g}" for name, mean in means if mean is not None)
        _log.info("test on %s: %s (%s)", record.dataset.name, told, record.file_name)


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


def _train(config: DictConfig, training: Run, *, overwrites: bool) -> float | None:
    L.seed_everything(config.seed, workers=True, verbose=False)
    network = _network(config)
    data: SpikeDataModule = instantiate(config.data, SpikeDataModule, "data", window=network.window)
    check_trainable(network, data)
    protocol = _validation_protocol(config)
    monitor = config.monitor
    monitor.name, monitor.mode = choose_monitor(monitor.name, monitor.mode, data, protocol)
    loss = _loss(config, network, data)
    if is_first() and (overwrites or training.finished() is None):
        data.prepare_data()  # its content is part of what the run is
    identity, resolved = _identity(config, network, data), plain(config)
    if not overwrites and (report := training.check(identity, resolved)) is not None:
        _log.info("finished before, skipped: %s (name=… starts another)", training.folder)
        return sweep_score(report)
    is_trial = bool(config.trainer.get("fast_dev_run"))  # it leaves nothing behind
    if is_first() and not is_trial:
        if overwrites:
            training.clear()
        training.begin(identity, plain(config))
    budget = _budget(config, training, network, data, loss)
    trainer: L.Trainer = instantiate(
        config.trainer,
        L.Trainer,
        "trainer",
        default_root_dir=str(training.folder),
        callbacks=[
            *_parts(config.callbacks, L.Callback, "callbacks"),
            FiniteSteps(training.folder, monitor.name),
        ],
        logger=_parts(config.get("logger"), Logger, "logger") or False,
        plugins=AtomicCheckpointIO(),
    )
    if prefers_channels_last(trainer.strategy.root_device):  # a fifth of a step of STIR, with both
        keep_freed_memory()
        network.to(memory_format=torch.channels_last)
    module = _module(config, network, data, loss, protocol, trainer.world_size)
    _log_batch(trainer, data, config, module.learning_rate)
    for logger in trainer.loggers:
        logger.log_hyperparams(plain(config))
    fit(trainer, module, data, training, finds_rate=config.find_lr)
    if is_trial:
        return None
    scores = {"best": best_score(trainer), "monitor": monitor.name, "mode": monitor.mode}
    if is_first():
        cost = {} if budget is None else {"budget": budget.describe()}
        training.finish(scores | training_report(trainer, module, data, training) | cost)
        if scores["best"] is None:
            _log.info("nothing was validated: the last weights are in %s", training.last)
        else:
            _log.info("best %s %.4g: %s", monitor.name, scores["best"], training.best)
    return sweep_score(scores)


def _network(config: DictConfig) -> Network:
    """The network, with the weights that training starts from."""
    make = partial(instantiate, config.model, Network, "model")
    if config.start_from is None:
        network: Network = make()
        return network
    checkpoint = None if config.start_from == "shipped" else Path(config.start_from)
    network = load_trained(make, checkpoint)
    config.model.output_scale = network.output_scale  # what the run's checkpoints say of it
    return network.train()


def _identity(config: DictConfig, network: Network, data: SpikeDataModule) -> Identity:
    """The run that the configuration describes, whatever it is called."""
    settings = settings_of(plain(config))
    options = {"logger": False, "enable_checkpointing": False}
    trainer: L.Trainer = instantiate(config.trainer, L.Trainer, "trainer", **options)
    rate = scaled_rate(config.optimizer.lr, trainer.world_size, config.lr_scaling)
    step = step_facts(
        network,
        batch_size=data.batch_size,
        processes=trainer.world_size,
        accumulated=trainer.accumulate_grad_batches,
        learning_rate=rate,
        sync_batchnorm=bool(config.trainer.get("sync_batchnorm")),
    )
    if config.budget:
        check_budget(
            processes=trainer.world_size,
            samples_per_epoch=data.samples_per_epoch,
            epochs=config.trainer.max_epochs,
        )
    # A longer training under the same budget would be more than the budget.
    growing = () if config.budget else (*LENGTHS, *referring(config, LENGTHS))
    facts = step | data_facts(data) | code_facts(settings)
    if config.start_from is not None:
        facts["weights at the start"] = digest(network.state_dict())
    return Identity(settings, facts, growing=frozenset(growing))


def _loss(config: DictConfig, network: Network, data: SpikeDataModule) -> Loss:
    loss: Loss = instantiate(config.loss, Loss, "loss")
    loss.check(network, has_target=data.has_targets)
    loss.rehearse(network, (data.crop.height, data.crop.width))
    return loss


def _module(
    config: DictConfig,
    network: Network,
    data: SpikeDataModule,
    loss: Loss,
    protocol: Protocol,
    processes: int,
) -> ReconstructionModule:
    """The network with all that trains it."""
    return ReconstructionModule(
        network,
        loss=loss,
        optimizer=instantiate(config.optimizer, Optimizer, "optimizer"),
        scheduler=instantiate(config.scheduler, LRScheduler, "scheduler"),
        protocol=protocol,
        description=plain(config)["model"],
        val_sets=data.validated,
        learning_rate=scaled_rate(config.optimizer.lr, processes, config.lr_scaling),
    )


def _budget(
    config: DictConfig, training: Run, network: Network, data: SpikeDataModule, loss: Loss
) -> Budget | None:
    """Give the data module the samples of an epoch that the budget holds, measured once."""
    if not config.budget:
        return None
    path = training.folder / "budget.json"
    budget = Budget.read(path)
    if budget is None:
        clock = StepClock(config.budget.seconds * TIMED_PART)
        trainer: L.Trainer = instantiate(
            config.trainer,
            L.Trainer,
            "trainer",
            **{"max_epochs": -1, "limit_val_batches": 0, "enable_progress_bar": False},
            **{"callbacks": [clock], "logger": False, "enable_checkpointing": False},
        )
        measured = ReconstructionModule(
            copy.deepcopy(network),
            loss=copy.deepcopy(loss),
            optimizer=instantiate(config.optimizer, Optimizer, "optimizer"),
        )
        budget = find(
            trainer,
            clock,
            measured,
            instantiate(config.data, SpikeDataModule, "data", window=network.window),
            seconds=config.budget.seconds,
            epochs=config.trainer.max_epochs,
            batch=data.batch_size * trainer.accumulate_grad_batches,
        )
        budget.write(path)
        L.seed_everything(config.seed, workers=True, verbose=False)
    data.samples_per_epoch = budget.samples_per_epoch
    _log.info(
        "budget of %g s: %d steps of %d samples, at %.3g s a step (%s)",
        *(budget.seconds, budget.epochs * budget.steps_per_epoch, budget.batch),
        *(budget.seconds_per_step, budget.machine),
    )
    return budget


def _replay(config: DictConfig, training: Run) -> None:
    """Run the batches again at which the run ended, and say what they gave."""
    network: Network = instantiate(config.model, Network, "model")
    data: SpikeDataModule = instantiate(config.data, SpikeDataModule, "data", window=network.window)
    data.setup("fit")
    module = ReconstructionModule(network, loss=_loss(config, network, data))
    options = {"logger": False, "enable_checkpointing": False}
    trainer: L.Trainer = instantiate(config.trainer, L.Trainer, "trainer", **options)
    precision = trainer.precision_plugin.forward_context
    for batch in replay(module, data, training.folder, precision=precision):
        terms = ", ".join(f"{name} {value:.6g}" for name, value in batch.terms.items())
        where = f"; first not finite: the output of {batch.layer}" if batch.layer else ""
        _log.info(
            "loss %.6g (%s), gradient %.6g%s: %s",
            *(batch.loss, terms, batch.gradient_norm, where, ", ".join(batch.keys)),
        )


def _log_batch(
    trainer: L.Trainer, data: SpikeDataModule, config: DictConfig, rate: float | None
) -> None:
    facts = describe_batch(trainer, data.batch_size)
    _log.info(
        "effective batch %(effective)d = %(processes)d processes × %(batch)d samples "
        "× %(accumulated)d accumulated",
        facts,
    )
    _log.info(
        "learning rate %g = %g, scaled by lr_scaling=%s for %d processes",
        *(rate, config.optimizer.lr, config.lr_scaling, trainer.world_size),
    )


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


def _parts(group: DictConfig | None, kind: type, key: str) -> list[Any]:
    """The objects of a group whose entries are each a choice; null entries are switched off."""
    nodes = (group or {}).items()
    return [instantiate(node, kind, f"{key}.{name!s}") for name, node in nodes if node is not None]
