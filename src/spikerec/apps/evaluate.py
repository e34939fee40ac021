"""Score a method on data sets: spikerec evaluate model=wgse data=reds checkpoint=best.ckpt."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from spikerec.apps.train import own_command
from spikerec.configs import instantiate, plain
from spikerec.data import SpikeDataModule, Windows
from spikerec.inference.rearrangement import optimised
from spikerec.kernels.memory import keep_freed_memory
from spikerec.metrics import Protocol
from spikerec.metrics.efficiency import measure
from spikerec.models.base import Network
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
from spikerec.training import ReconstructionModule, Run
from spikerec.training.distributed import is_first, job_processes
from spikerec.training.evaluation import SampleImages, SampleScores, Split, score
from spikerec.weights.checkpoint import digest, read_metadata
from spikerec.weights.shipped import shipped_weights
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
    module = ReconstructionModule(network, protocol=protocol)
    facts = _facts(config, module)
    if config.efficiency and is_first():  # the others do not run yet, or wait
        facts["efficiency"] = measure(network, optimise=config.optimise, **plain(config.efficiency))
    pictures = SampleImages(Path(), config.save_images, config.tfp_window)
    trainer: L.Trainer = instantiate(
        config.trainer, L.Trainer, "trainer", callbacks=[pictures], logger=False
    )
    if config.optimise:
        keep_freed_memory()
        module.network = optimised(network, trainer.strategy.root_device)
    results = Path(config.paths.results)
    for name in data.sets:
        pictures.folder = results / "images" / f"{facts['method']}-{name}-{_stamp()}"
        split = Split(data, name, config.split)
        scores = score(trainer, module, split)
        if is_first():
            _write(results, split, _samples(scores, module), pictures, facts)


def _facts(config: DictConfig, module: ReconstructionModule) -> dict[str, Any]:
    """What the records of all data sets share."""
    protocol = module.protocol
    assert protocol is not None
    method = HydraConfig.get().runtime.choices["model"]
    checkpoint = Path(config.checkpoint) if config.checkpoint else None
    weights = checkpoint or shipped_weights(module.network)
    return {
        "method": method,
        "label": config.label or _label(module.network, method),
        "weights": WeightsInfo(
            digest=digest(state) if (state := module.network.state_dict()) else None,
            source=_source(weights) if weights else "",
            name=weights.name if weights else "",
        ),
        "protocol": ProtocolInfo(protocol.name, protocol.digest, protocol.describe()),
        "unavailable": protocol.unavailable,
        "training": _training(weights),
        "config": {key: value for key, value in plain(config).items() if key != "run"},
        "code": code_revision(),
        "environment": environment() | {"metrics": protocol.provenance()},
    }


def _label(network: Network, method: str) -> str:
    """A row's name: the class as the papers write it, and what tells this one from its kind.

    A variant is a YAML of its own (`hypere2vid_static`), or what the network itself states.
    """
    name, module = type(network).__name__, type(network).__module__.rpartition(".")[2]
    variant = network.variant or method.removeprefix(module).strip("_").replace("_", " ")
    return f"{name} ({variant})" if variant else name


def _source(checkpoint: Path) -> str:
    """The run's folder for a run's checkpoint, else the file's."""
    folder = checkpoint.parent
    return (folder.parent if folder.name == "checkpoints" else folder).name


def _training(weights: Path | None) -> dict[str, Any]:
    """The budget of the run that weights are from, where it is one of ours."""
    if weights is None:
        return {}
    if weights.suffix == ".safetensors":
        return dict(json.loads(read_metadata(weights).get("training", "{}")))
    return Run(weights.parent.parent).budget()


def _write(
    results: Path,
    split: Split,
    samples: Samples,
    pictures: SampleImages,
    facts: Mapping[str, Any],
) -> None:
    data, name = split.data, split.set_name
    record = Record(
        dataset=DatasetInfo(
            name=name,
            split=split.split,
            digest=data.digest(name, split.split),
            num_samples=len(split.windows),
            has_target=data.sets[name].has_images(),
            light_scale=_light_scale(split.windows),
        ),
        samples=samples,
        images=_relative(pictures, results),
        **facts,
    )
    _print(record, Store(results).write(record), pictures)


def _samples(scores: SampleScores, module: ReconstructionModule) -> Samples:
    assert module.protocol is not None
    names = list(next(iter(scores.values())))
    better = module.protocol.higher_is_better
    return Samples(
        keys=list(scores),
        values={name: [values[name] for values in scores.values()] for name in names},
        higher_is_better={name: better[name] for name in names},
    )


def _stamp() -> str:
    """The time, so that no evaluation writes over another's pictures."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")


def _light_scale(windows: Windows) -> float | None:
    scales = {clip.light_scale for clip in windows.clips}
    return scales.pop() if len(scales) == 1 else None


def _relative(pictures: SampleImages, results: Path) -> dict[str, dict[str, str]]:
    return {
        key: {role: path.relative_to(results).as_posix() for role, path in roles.items()}
        for key, roles in pictures.saved().items()
    }


def _print(record: Record, path: Path, pictures: SampleImages) -> None:
    console = Console()
    title = f"{record.label} on {record.dataset.name} ({record.dataset.num_samples} samples)"
    table = Table(title=title, title_justify="left", box=None, header_style="bold")
    for metric in record.samples.values:
        table.add_column(metric.upper(), justify="right")
    means = (record.mean(metric) for metric in record.samples.values)
    table.add_row(*("n/a" if mean is None else f"{mean:.4g}" for mean in means))
    console.print(table)
    console.print(f"record: {path}")
    if pictures.keys:
        console.print(f"images: {pictures.folder}")
