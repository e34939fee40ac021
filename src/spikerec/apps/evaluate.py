"""Score a method on data sets: spikerec evaluate model=wgse data=reds checkpoint=best.ckpt."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import lightning as L
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console

from spikerec.configs import plain
from spikerec.data import SpikeDataModule
from spikerec.metrics import Protocol
from spikerec.metrics.efficiency import measure
from spikerec.models.base import Network
from spikerec.models.trained import load_trained
from spikerec.results import (
    DatasetInfo,
    ProtocolInfo,
    Record,
    Samples,
    Store,
    WeightsInfo,
    code_revision,
    environment,
)
from spikerec.training import ReconstructionModule
from spikerec.training.evaluation import SampleImages, Scores, score

_log = logging.getLogger(__name__)


def run(config: DictConfig) -> None:
    """Score the method on each data set, and write one record for each."""
    L.seed_everything(config.seed, workers=True, verbose=False)
    network: Network = instantiate(config.model, _convert_="all")
    weights = _weights(config, load_trained(network, config.checkpoint))
    data: SpikeDataModule = instantiate(config.data, _convert_="all")
    protocol: Protocol = instantiate(config.protocol, _convert_="all")
    for metric, reason in protocol.unavailable.items():
        _log.warning("%s is unavailable: %s", metric, reason)
    data.prepare_data()
    module = ReconstructionModule(network, protocol=protocol)
    cost = measure(network) if config.efficiency else {}
    for name in data.sets:
        _evaluate(config, name, module, data, weights, cost)
"""
"""
