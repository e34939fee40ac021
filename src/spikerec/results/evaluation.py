"""Evaluation of a network: scores of every sample, cost and pictures, as one record a data set."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lightning as L

from spikerec.data import SpikeDataModule, Windows
from spikerec.errors import ConfigError
from spikerec.inference.rearrangement import optimised
from spikerec.kernels.memory import keep_freed_memory
from spikerec.metrics import Protocol
from spikerec.metrics.efficiency import measure
from spikerec.models.base import Network
from spikerec.results.provenance import code_revision, environment
from spikerec.results.record import (
    DatasetInfo,
    ProtocolInfo,
    Record,
    Samples,
    WeightsInfo,
)
from spikerec.results.store import Store, scan
from spikerec.spikes.files import atomic_path
from spikerec.training import ReconstructionModule, Run
from spikerec.training.distributed import is_first
from spikerec.training.evaluation import SampleImages, SampleScores, Split, score
from spikerec.weights.checkpoint import digest, read_entry
from spikerec.weights.shipped import shipped_weights

Report = Callable[[Record, Path, SampleImages], None]


def evaluate(
    network: Network,
    data: SpikeDataModule,
    protocol: Protocol,
    results: str | Path,
    *,
    method: str | None = None,
    label: str | None = None,
    checkpoint: str | Path | None = None,
    split: str = "test",
    trainer: L.Trainer | None = None,
    optimise: bool = False,
    efficiency: Mapping[str, Any] | None = None,
    save_images: int = 0,
    tfp_window: int = 21,
    config: Mapping[str, Any] | None = None,
    report: Report | None = None,
) -> list[Record]:
    """Score a network on each set of the data, and write one record for each.

    Args:
        network: with its weights, in eval mode (`spikerec.load`).
        data: the sets; their windows must be the network's.
        protocol: the metrics.
        results: folder that the records are written to; pictures go to its folder `images`.
        method: key of the method; None takes the name of the network's module.
        label: its name in tables, any text; None takes the class's name.
        checkpoint: the file that the weights come from; None for a method without weights, or for
            the weights that come with the package.
        split: `train`, `val` or `test`.
        trainer: runs the network, on one process or several; None makes one for this process.
        optimise: rearrange the network to run sooner; its images differ by 1e-5 at most.
        efficiency: arguments of `spikerec.metrics.efficiency.measure`; None measures no cost.
        save_images: how many samples of each set to save as pictures; all for a negative count.
        tfp_window: readouts of the TFP picture beside them.
        config: the resolved configuration, as plain values, for the record.
        report: called with each record as it is written, its path and its pictures.

    Returns:
        The records, in the order of the sets; in a process other than the first, none.

    Raises:
        ConfigError: the label is not text.
        InputError: the network gave values that are not finite for a sample.
    """
    if label is not None and not isinstance(label, str):
        raise ConfigError(f"label must be text, found {label!r}: put it in quotes.")
    method = method or type(network).__module__.rpartition(".")[2]
    facts = {
        "method": method,
        "label": label or default_label(network, method),
        **_provenance(network, Path(checkpoint) if checkpoint else None),
        **_definitions(protocol),
        "config": dict(config or {}),
    }
    if efficiency is not None and is_first():  # the others do not run yet, or wait
        facts["efficiency"] = measure(network, optimise=optimise, **efficiency)
    trainer = trainer or L.Trainer(
        devices=1, logger=False, enable_progress_bar=False, enable_model_summary=False
    )
    pictures = SampleImages(Path(), save_images, tfp_window)
    trainer.callbacks.append(pictures)  # type: ignore[attr-defined]  # Trainer's own list
    module = ReconstructionModule(network, protocol=protocol)
    if optimise:
        keep_freed_memory()
        module.network = optimised(network, trainer.strategy.root_device)
    store, records = Store(results), []
    for name in data.sets:
        part = Split(data, name, split)
        folder = store.folder / "images" / f"{method}-{name}-{_stamp()}"
        # The pictures appear together, just before the record that names them.
        with atomic_path(folder) if is_first() else nullcontext(folder) as pictures.folder:
            if is_first():
                pictures.folder.mkdir()
            scores = score(trainer, module, part)
        pictures.folder = folder
        if is_first():
            if not pictures.keys:
                folder.rmdir()
            record = _record(part, scores, protocol, pictures, store, facts)
            path = store.write(record)
            records.append(record)
            if report is not None:
                report(record, path, pictures)
    return records


def evaluated_sets(
    results: str | Path, network: Network, protocol: Protocol, split: str
) -> set[str]:
    """Names of the sets that these very weights were evaluated on under the protocol.

    Args:
        results: folder of records; may be absent.
        network: with its weights.
        protocol: the metrics.
        split: of the sets.
    """
    folder, own = Path(results), digest(network.state_dict())
    records = scan([folder]) if folder.is_dir() else ()
    return {
        record.dataset.name
        for record in records
        if isinstance(record, Record)
        and (record.weights.digest, record.protocol.digest) == (own, protocol.digest)
        and record.dataset.split == split
    }


def default_label(network: Network, method: str) -> str:
    """A row's name: the class as the papers write it, and what tells this one from its kind.

    A variant is a YAML of its own (`hypere2vid_static`), or what the network itself states.
    """
    name, module = type(network).__name__, type(network).__module__.rpartition(".")[2]
    variant = network.variant or method.removeprefix(module).strip("_").replace("_", " ")
    return f"{name} ({variant})" if variant else name


def _provenance(network: Network, checkpoint: Path | None) -> dict[str, Any]:
    """Where the weights, the code and the machine come from."""
    shipped = None if checkpoint else shipped_weights(network)
    file, state = checkpoint or shipped, network.state_dict()
    weights = WeightsInfo()
    if state:
        in_run = file is not None and file.suffix == ".ckpt"
        weights = WeightsInfo(
            digest=digest(state),
            source=_folder(file) if file else "",
            name=file.name if file else "",
            origin="shipped" if shipped else "run" if in_run else "file",
        )
    return {
        "weights": weights,
        "training": _training(file),
        "code": code_revision(),
        "environment": environment(),
    }


def _folder(checkpoint: Path) -> str:
    """The name of the run's folder for a run's checkpoint, else of the file's."""
    folder = checkpoint.resolve().parent
    return (folder.parent if folder.name == "checkpoints" else folder).name


def _training(weights: Path | None) -> dict[str, Any]:
    """The budget of the run that weights are from, where it is one of ours."""
    if weights is None:
        return {}
    if weights.suffix == ".safetensors":
        return read_entry(weights, "training")
    return Run(weights.parent.parent).budget()


def _definitions(protocol: Protocol) -> dict[str, Any]:
    return {
        "protocol": ProtocolInfo(protocol.name, protocol.digest, protocol.describe()),
        "unavailable": protocol.unavailable,
    }


def _record(
    part: Split,
    scores: SampleScores,
    protocol: Protocol,
    pictures: SampleImages,
    store: Store,
    facts: Mapping[str, Any],
) -> Record:
    samples = _samples(scores, protocol, part)
    environment = facts["environment"] | {"metrics": protocol.provenance()}
    return Record(
        **{**facts, "environment": environment},
        dataset=DatasetInfo(
            name=part.set_name,
            split=part.split,
            digest=part.data.digest(part.set_name, part.split),
            num_samples=len(part.windows),
            has_target=part.data.sets[part.set_name].has_images(),
            light_scale=_light_scale(part.windows),
            margin=part.data.margin,
        ),
        samples=samples,
        undefined=_undefined(samples, protocol),
        images={
            key: {role: path.relative_to(store.folder).as_posix() for role, path in roles.items()}
            for key, roles in pictures.saved().items()
        },
        created=store.now(facts["method"], part.set_name),
    )


def _samples(scores: SampleScores, protocol: Protocol, part: Split) -> Samples:
    """Scores by sample as columns by metric; a sample without a target has none for some."""
    names = dict.fromkeys(name for values in scores.values() for name in values)
    better = protocol.higher_is_better
    return Samples(
        keys=list(scores),
        values={name: [values.get(name) for values in scores.values()] for name in names},
        higher_is_better={name: better[name] for name in names},
        mirrored=[part.windows.mirrored(item) for item in range(len(part.windows))],
    )


def _undefined(samples: Samples, protocol: Protocol) -> dict[str, str]:
    """Metric → why some of its samples have no value."""
    reasons = protocol.why_missing()
    return {
        name: reasons[name]
        for name, column in samples.values.items()
        if any(math.isnan(value) for value in column)
    }


def _light_scale(windows: Windows) -> float | None:
    scales = {clip.light_scale for clip in windows.clips}
    return scales.pop() if len(scales) == 1 else None


def _stamp() -> str:
    """The time, so that no evaluation writes over another's pictures."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
