"""Train a network: spikerec train model=stir data=sreds loss=stir."""

from __future__ import annotations

import logging
from functools import partial

import lightning as L
from omegaconf import DictConfig, open_dict
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from spikerec.apps import _composed as composed
from spikerec.apps._networks import choice
from spikerec.configs import instantiate, maker, plain, referring
from spikerec.losses import Loss
from spikerec.results.evaluation import evaluate
from spikerec.training import Run, fit, replay, sweep_score
from spikerec.training.distributed import is_first, job_processes
from spikerec.training.identity import LENGTHS

_log = logging.getLogger(__name__)


def run(config: DictConfig) -> float | None:
    """Train, or continue, what the configuration describes; skip it if it is finished.

    Returns:
        The best validation score, for sweepers.
    """
    with open_dict(config):  # about this call, and no part of what a run computes
        overwrites, replays, tests = map(config.pop, ("overwrite", "replay", "test"))
    training = Run(config.run)
    with job_processes(composed.own_command()), training.claimed():
        L.seed_everything(config.seed, workers=True, verbose=False)
        network = composed.starting_network(config)
        data = composed.data_of(config, network)
        loss: Loss = instantiate(config.loss, Loss, "loss")
        if replays:
            for batch in replay(network, loss, data, training.folder, composed.probe_of(config)):
                _log.info("%s", batch)
            return None
        protocol = composed.protocol_of(config, list(config.validation))
        monitor = composed.settle_monitor(config, data, protocol)
        fit(
            network,
            data,
            folder=training.folder,
            loss=loss,
            optimizer=maker(config.optimizer, Optimizer, "optimizer"),
            scheduler=maker(config.scheduler, LRScheduler, "scheduler"),
            protocol=protocol,
            validation=protocol.names,
            monitor=monitor,
            trainer=partial(composed.trainer_of, config),
            standard=lambda *_: composed.callbacks_of(config),
            curves=lambda _: composed.loggers_of(config),
            seed=config.seed,
            lr_scaling=config.lr_scaling,
            find_rate=config.find_lr,
            **{f"budget_{key}": value for key, value in (config.budget or {}).items()},
            detach_every=config.detach_every,
            overwrite=overwrites,
            settings=plain(config),
            growing=referring(config, LENGTHS),
        )
        if config.trainer.get("fast_dev_run"):
            return None
        composed.log_next_commands(config, training, data.carry)
        if tests:
            _test(config, training)
    return sweep_score(training.finished() or {})


def _test(config: DictConfig, training: Run) -> None:
    """Score the run's weights on the test split: a record for each set where there is none yet."""
    network = composed.own_network(config, training.checkpoint)
    records = evaluate(
        network,
        composed.data_of(config, network),
        composed.protocol_of(config),
        config.paths.results,
        method=choice("model"),
        trainer=composed.trainer_of(config, logger=False),
        efficiency=None,
        again=False,
        config=composed.settings_for_records(config),
    )
    for record in records:
        _log.info("test on %s: %s (%s)", record.dataset.name, record.summary, record.file_name)
    if records:
        training.note_tests(
            {
                record.dataset.name: {name: record.mean(name) for name in record.samples.values}
                for record in records
            }
        )
    elif is_first():
        _log.info("tested before: the records are in %s", config.paths.results)
