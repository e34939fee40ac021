"""Score a method on data sets: spikerec evaluate model=wgse data=reds checkpoint=best.ckpt."""

from __future__ import annotations

import logging

import lightning as L
from omegaconf import DictConfig

from spikerec.apps import _composed as composed
from spikerec.apps._networks import choice, trained_network
from spikerec.configs import plain
from spikerec.results.evaluation import evaluate
from spikerec.results.printing import print_record
from spikerec.training.distributed import job_processes

_log = logging.getLogger(__name__)


def run(config: DictConfig) -> None:
    """Score the method on each data set, and write one record for each."""
    with job_processes(composed.own_command()):
        L.seed_everything(config.seed, workers=True, verbose=False)
        network = trained_network(config, config.checkpoint)
        protocol = composed.protocol_of(config)
        for metric, reason in protocol.unavailable.items():
            _log.warning("%s is unavailable: %s", metric, reason)
        evaluate(
            network,
            composed.data_of(config, network),
            protocol,
            config.paths.results,
            method=choice("model"),
            label=config.label,
            split=config.split,
            trainer=composed.trainer_of(config, logger=False),
            optimise=config.optimise,
            engine=config.engine,
            precision=config.precision,
            efficiency=plain(config.efficiency) if config.efficiency else None,
            save_images=config.save_images,
            tfp_window=config.tfp_window,
            config=composed.settings_for_records(config),
            report=print_record,
        )
