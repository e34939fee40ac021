"""Score a method on data sets: spikerec evaluate model=wgse data=reds checkpoint=best.ckpt."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

import lightning as L
import numpy as np
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from rich.text import Text

from spikerec.apps.train import own_command
from spikerec.configs import instantiate, plain
from spikerec.data import SpikeDataModule
from spikerec.errors import printable
from spikerec.metrics import Protocol
from spikerec.models.base import Network
from spikerec.results import Record
from spikerec.results.evaluation import evaluate
from spikerec.training.distributed import job_processes
from spikerec.training.evaluation import SampleImages
from spikerec.weights.trained import load_trained

_log = logging.getLogger(__name__)


def run(config: DictConfig) -> None:
    """Score the method on each data set, and write one record for each."""
    with job_processes(own_command()):
        _run(config)


def _run(config: DictConfig) -> None:
    L.seed_everything(config.seed, workers=True, verbose=False)
    network = load_trained(partial(instantiate, config.model, Network, "model"), config.checkpoint)
    data: SpikeDataModule = instantiate(config.data, SpikeDataModule, "data", window=network.window)
    protocol: Protocol = instantiate(config.protocol, Protocol, "protocol")
    for metric, reason in protocol.unavailable.items():
        _log.warning("%s is unavailable: %s", metric, reason)
    evaluate(
        network,
        data,
        protocol,
        config.paths.results,
        method=HydraConfig.get().runtime.choices["model"],
        label=config.label,
        checkpoint=config.checkpoint,
        split=config.split,
        trainer=instantiate(config.trainer, L.Trainer, "trainer", logger=False),
        optimise=config.optimise,
        efficiency=plain(config.efficiency) if config.efficiency else None,
        save_images=config.save_images,
        tfp_window=config.tfp_window,
        config={key: value for key, value in plain(config).items() if key != "run"},
        report=print_record,
    )


def print_record(record: Record, path: Path, pictures: SampleImages) -> None:
    """Print a record's means, what has no value, and where it is."""
    console = Console()
    title = (
        f"{printable(record.label)} on {record.dataset.name} ({record.dataset.num_samples} samples)"
    )
    table = Table(title=Text(title), title_justify="left", box=None, header_style="bold")
    for metric in record.samples.values:
        table.add_column(Text(metric.upper()), justify="right")
    means = (record.mean(metric) for metric in record.samples.values)
    table.add_row(*("n/a" if mean is None else f"{mean:.4g}" for mean in means))
    console.print(table)
    lines = []
    for metric, reason in record.undefined.items():
        present = int(np.isfinite(record.column(metric)).sum())
        total = len(record.samples.keys)
        lines.append(f"{metric.upper()}: {present} of {total} samples have a value. {reason}")
    if count := np.count_nonzero(record.samples.mirrored or ()):
        lines.append(
            f"{count} of {len(record.samples.keys)} samples lie so near an end of their stream "
            "that a part of their window was mirrored (data.margin leaves such out)."
        )
    lines.append(f"record: {path}")
    if pictures.keys:
        lines.append(f"images: {pictures.folder}")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
