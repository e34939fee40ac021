"""Evaluation of a network: scores of every sample, cost and pictures, as one record a data set."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, overload

import lightning as L
import numpy as np
from numpy.typing import NDArray

from spikerec.data import SpikeDataModule, Windows
from spikerec.data.clips import SpikeSet, SplitName
from spikerec.data.folds import FoldedSet
from spikerec.describing import describe
from spikerec.errors import ConfigError
from spikerec.inference.ready import choose_precision, ready
from spikerec.kinds import checked
from spikerec.memory import keep_freed_memory
from spikerec.metrics import Protocol
from spikerec.metrics.alignment import needs_target
from spikerec.metrics.efficiency import measure
from spikerec.models.base import Network, default_label
from spikerec.models.carrying import Carry, hop_of
from spikerec.own_code import own_digest
from spikerec.results.folds import Fold, fold_of, with_fold
from spikerec.results.parts import DatasetInfo, ProtocolInfo, Samples, WeightsInfo
from spikerec.results.provenance import code_revision, environment
from spikerec.results.record import OWN_CODE, Record, file_word
from spikerec.results.store import Store, scan
from spikerec.results.videos import as_clips
from spikerec.simulation.known import UNKNOWN
from spikerec.spikes.files import atomic_path, remove_unnamed, unnamed
from spikerec.training import ReconstructionModule, Run
from spikerec.training.distributed import is_first
from spikerec.training.evaluation import SampleImages, SampleScores, SampleVideos, Split, score
from spikerec.training.held_out import check_held_out
from spikerec.training.noise import without_noise
from spikerec.training.standard import check_definitions, named_protocol
from spikerec.weights.checkpoint import digest, read_entry
from spikerec.weights.shipped import shipped_weights
from spikerec.weights.trained import weights_file

Report = Callable[[Record, Path, SampleImages], None]


#: The cost that a record states: arguments of `spikerec.metrics.efficiency.measure`.
COST: Mapping[str, Any] = {"latency_sizes": ((250, 400),), "repeats": 5, "warmup": 1}


@overload
def evaluate(
    network: Network,
    data: SpikeSet,
    protocol: str | Protocol = ...,
    folder: str | Path | None = ...,
    **options: Any,  # noqa: ANN401 (those of the implementation)
) -> Record: ...
@overload
def evaluate(
    network: Network,
    data: SpikeDataModule,
    protocol: str | Protocol = ...,
    folder: str | Path | None = ...,
    **options: Any,  # noqa: ANN401
) -> list[Record]: ...
@checked  # type: ignore[misc]  # the overloads leave the options to the implementation
def evaluate(
    network: Network,
    data: SpikeSet | SpikeDataModule,
    protocol: str | Protocol = "corrected",
    folder: str | Path | None = None,
    *,
    method: str | None = None,
    label: str | None = None,
    split: SplitName = "test",
    carry: Carry = None,
    trainer: L.Trainer | None = None,
    optimise: bool = False,
    engine: str = "torch",
    precision: str = "float32",
    efficiency: Mapping[str, Any] | None = COST,
    save_images: int = 0,
    tfp_window: int = 21,
    again: bool = True,
    config: Mapping[str, Any] | None = None,
    report: Report | None = None,
) -> Record | list[Record]:
    """Score a network on each set of the data: one record for each.

    Under a protocol that scores videos (`Protocol.scores_videos`, as `video`) the samples of a
    record are the clips of the set, and `Record.curves` holds the values image by image.

    Args:
        network: with its weights; a record says which file they came from.
        data: a set, or a data module of several, whose window is the network's.
        protocol: the metrics, or the name of a choice of `conf/protocol`.
        folder: where the records are written; pictures go to its folder `images`. None writes
            nothing.
        method: key of the method; None takes the name of the network's module.
        label: its name in tables, any text; None takes the class's name.
        split: `train`, `val` or `test`.
        carry: windows before each sample's own through which the network's state comes: a number,
            or `start` for all from the stream's start; None sees each window on its own. For a set;
            a data module states its own.
        trainer: runs the network, on one process or several; None makes one for this process.
        optimise: rearrange the network to run sooner; its images differ by 1e-5 at most.
        engine: the program that computes the images (see `spikerec.inference.ready`).
        precision: the numbers it computes in; `auto` takes 8 or 16 bits where they are fast
            and the weights are known to lose less than 0.05 dB by it.
        efficiency: arguments of `spikerec.metrics.efficiency.measure`; None measures no cost.
        save_images: how many samples of each set to save as pictures, or under a protocol of videos
            as animations; all for a negative count.
        tfp_window: readouts of the TFP picture beside them.
        again: score sets again of which the folder has a record of these weights and protocol.
        config: plain values for the record, in the place of the descriptions of these objects.
        report: called with each record as it is written, its path and its pictures.

    Returns:
        The record of a set; of a data module a list, in the order of its sets. In a process other
        than the first, an empty list.

    Raises:
        ConfigError: no network, another split, a label that is no text, pictures without a folder,
            an unknown protocol, one that is not what its name says, one that aligns images with
            true ones that a set does not have, a covariate of a metric's name, weights that were
            trained on scenes of the fold that they are to be judged on, or a state to carry by a
            network that has none.
        InputError: the network returned values that are not finite for a sample.
    """
    if folder is None and save_images:
        raise ConfigError(f"save_images={save_images} needs a folder to write pictures to.")
    if isinstance(protocol, str):
        protocol = named_protocol(protocol)
    check_definitions(protocol)
    one_set = isinstance(data, SpikeSet)
    module: SpikeDataModule = _as_module(data, network, carry)
    _check_targets(protocol, module)
    check_held_out(module.sets, weights_file(network), module)
    if module.carry is not None and hop_of(network) != module.hop:
        raise ConfigError(
            f"hop must be {type(network).__name__}'s, {network.hop}, found {module.hop}: make the "
            "data with hop=network.hop."
        )
    trainer = trainer or _own_trainer()
    precision = choose_precision(
        network, trainer.strategy.root_device, engine, precision, module.carry
    )
    names = list(module.sets)
    if folder is not None and not again:
        known = evaluated_sets(folder, network, protocol, module, split, engine, precision)
        names = [name for name in names if module.sets[name].name not in known]
    method = method or _method(network)
    facts = {
        "method": method,
        "label": label or default_label(network, method),
        **(_provenance(network) if names else {}),
        **_definitions(protocol),
        "carry": module.carry,
        "engine": engine,
        "precision": precision,
        "config": dict(_described(network, module, split) if config is None else config),
    }
    if efficiency is not None and names and is_first():  # the others do not run yet, or wait
        facts["efficiency"] = measure(
            network, optimise=optimise, engine=engine, precision=precision, **efficiency
        )
    scoring = ReconstructionModule(network, protocol=protocol)
    if optimise:
        keep_freed_memory()
    if (optimise, engine, precision) != (False, "torch", "float32"):
        device = trainer.strategy.root_device
        scoring.network = ready(
            network,
            device,
            optimise=optimise,
            engine=engine,
            precision=precision,
            carry=module.carry,
        )
    records = []
    for name in names:
        part = Split(module, name, split, as_videos=protocol.scores_videos, metrics=protocol.names)
        place = None
        if folder is not None:
            words = f"{file_word(method)}-{module.sets[name].name}-{_stamp()}"
            place = Path(folder) / "images" / words
        with _scored(trainer, scoring, part, place, save_images, tfp_window) as (pictures, scores):
            if not is_first():
                continue
            store = Store(folder or "")
            record = _record(part, scores, protocol, pictures, store, facts)
            records.append(record)
            path = store.write(record) if folder is not None else Path(record.file_name)
        if report is not None:
            report(record, path, pictures)
    return records[0] if one_set and records else records


def _check_targets(protocol: Protocol, data: SpikeDataModule) -> None:
    """Refuse a set without true images where they are needed, before anything is computed."""
    without = [name for name, one in data.sets.items() if not one.has_images()]
    if not without:
        return
    if needs_target(protocol.alignment):
        raise ConfigError(
            f"protocol {protocol.name} aligns each image with its true one "
            f"(alignment={protocol.alignment}), but {without[0]} has no true images: choose a "
            "protocol without alignment, such as real."
        )
    if all(protocol.needs_target.values()):
        raise ConfigError(
            f"protocol {protocol.name} has no metric for images without a true one, and "
            f"{without[0]} has no true images: choose a protocol such as real."
        )


def _own_trainer() -> L.Trainer:
    with without_noise():
        return L.Trainer(
            devices=1, logger=False, enable_progress_bar=False, enable_model_summary=False
        )


def _as_module(data: SpikeSet | SpikeDataModule, network: Network, carry: Carry) -> SpikeDataModule:
    """The sets to evaluate on; a single one as a module of one."""
    if carry is not None:
        hop_of(network)
    if isinstance(data, SpikeDataModule):
        if carry is not None:
            raise ConfigError(
                f"carry={carry} is for a set: a data module states its own, "
                f"SpikeDataModule(…, hop=network.hop, carry={carry!r})."
            )
        return data
    return SpikeDataModule(data, window=network.window, hop=network.hop, carry=carry)


@contextmanager
def _scored(
    trainer: L.Trainer,
    module: ReconstructionModule,
    part: Split,
    folder: Path | None,
    count: int,
    tfp_window: int,
) -> Iterator[tuple[SampleImages, SampleScores]]:
    """Score a split, and save some samples as pictures in a folder of their own.

    The pictures appear together, just before the record that names them, which the block writes:
    where it is not written, they go again.
    """
    if folder is None:
        yield _pictures(part, Path(), 0, tfp_window), score(trainer, module, part)
        return
    if is_first():
        remove_unnamed(folder.parent, partial(_is_named, folder.parents[1]))
    with ExitStack() as naming:
        yield _with_pictures(trainer, module, part, folder, count, tfp_window, naming)


def _is_named(results: Path, pictures: str) -> bool:
    """True if a record in a folder names pictures of that name."""
    word = pictures.encode()
    return any(word in path.read_bytes() for path in results.glob("[!.]*.json"))


def _with_pictures(
    trainer: L.Trainer,
    module: ReconstructionModule,
    part: Split,
    folder: Path,
    count: int,
    tfp_window: int,
    naming: ExitStack,
) -> tuple[SampleImages, SampleScores]:
    pictures = _pictures(part, folder, count, tfp_window)
    trainer.callbacks.append(pictures)  # type: ignore[attr-defined]  # Trainer's own list
    try:
        with atomic_path(folder) if is_first() else nullcontext(folder) as pictures.folder:
            if is_first():
                pictures.folder.mkdir()
            scores = score(trainer, module, part)
            if is_first() and pictures.keys:
                naming.enter_context(unnamed(pictures.folder, folder))
    finally:
        trainer.callbacks.remove(pictures)  # type: ignore[attr-defined]
    pictures.folder = folder
    if is_first() and not pictures.keys:
        folder.rmdir()
    return pictures, scores


def _pictures(part: Split, folder: Path, count: int, tfp_window: int) -> SampleImages:
    make = SampleVideos if part.as_videos else SampleImages
    return make(folder, count, tfp_window)


def _method(network: Network) -> str:
    """The key of a network's method: the name of its module, or of a class of a notebook's."""
    module = type(network).__module__.rpartition(".")[2]
    return type(network).__name__.lower() if module == "__main__" else module


def _described(network: Network, data: SpikeDataModule, split: str) -> dict[str, Any]:
    """Describe the network, the data and the protocol as plain values."""
    described: dict[str, Any] = {"split": split}
    for key, value in {"model": network, "data": data}.items():
        try:
            described[key] = describe(value, key)
        except ConfigError:  # a class that does not say what it was made with
            described[key] = type(value).__name__
    return described


def evaluated_sets(
    results: str | Path,
    network: Network,
    protocol: Protocol,
    data: SpikeDataModule,
    split: SplitName,
    engine: str = "torch",
    precision: str = "float32",
) -> set[str]:
    """Names of the sets that these very weights were evaluated on, as they are, under the protocol.

    Args:
        results: folder of records; may be absent.
        network: with its weights.
        protocol: the metrics.
        data: the sets, the fold of each that is held out, and how a state is carried.
        split: of the sets.
        engine: see `evaluate`.
        precision: see `evaluate`.
    """
    folder, own, code = Path(results), digest(network.state_dict()), own_digest(network)
    records = scan([folder]) if folder.is_dir() else ()
    folds = {one.name: _fold(one) for one in data.sets.values()}
    keys = {one.name: key for key, one in data.sets.items()}
    known: dict[str, set[str]] = {}  # name → digests of the content that was evaluated
    for record in records:
        if (
            isinstance(record, Record)
            and (record.weights.digest, record.protocol.digest) == (own, protocol.digest)
            and (record.dataset.split, record.carry) == (split, data.carry)
            and record.dataset.name in keys
            and fold_of(record) == folds[record.dataset.name]
            and (record.engine, record.precision) == (engine, precision)
            and record.code.get(OWN_CODE) == code
        ):
            known.setdefault(record.dataset.name, set()).add(record.dataset.digest)
    return {name for name, of in known.items() if data.digest(keys[name], split) in of}


def _provenance(network: Network) -> dict[str, Any]:
    """Provenance of the weights, the code and the machine."""
    file, state = weights_file(network), network.state_dict()
    weights = WeightsInfo()
    if state:
        weights = WeightsInfo(
            digest=digest(state),
            source=_folder(file) if file else "",
            name=file.name if file else "",
            origin=_origin(network, file),
        )
    return {
        "weights": weights,
        "training": _training(file),
        "code": code_revision() | ({OWN_CODE: code} if (code := own_digest(network)) else {}),
        "environment": environment(),
    }


def _origin(network: Network, file: Path | None) -> str:
    """See `WeightsInfo.origin`."""
    if file is None:
        return "memory"
    if file == shipped_weights(network):
        return "shipped"
    return "run" if file.suffix == ".ckpt" else "file"


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
    samples, curves = _samples(scores, protocol, part), None
    if part.as_videos:
        samples, curves = as_clips(samples)
    environment = facts["environment"] | {"metrics": protocol.provenance()}
    config = _with_fold(facts["config"], part.data.sets[part.set_name])
    return Record(
        **{**facts, "environment": environment, "config": config},
        dataset=DatasetInfo(
            name=part.data.sets[part.set_name].name,
            split=part.split,
            digest=part.data.digest(part.set_name, part.split),
            num_samples=len(samples.keys),
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
        curves=curves,
        created=store.now(facts["method"], part.data.sets[part.set_name].name),
    )


def _with_fold(config: Mapping[str, Any], data: SpikeSet) -> dict[str, Any]:
    """A configuration that states which fold of the set is held out, if one is."""
    fold = _fold(data)
    return dict(config) if fold is None else with_fold(config, fold)


def _fold(data: SpikeSet) -> Fold | None:
    """The fold of a set that is held out; None for the set's own splits."""
    if not isinstance(data, FoldedSet):
        return None
    return Fold(data.fold, len(data.folds.scenes), data.folds.digest)


def _samples(samples: SampleScores, protocol: Protocol, part: Split) -> Samples:
    """Samples as columns; one without a target, or of another clip, has no value in some."""
    scores, covariates, conditions = zip(*samples.values(), strict=True)
    values = _columns(scores)
    better = protocol.higher_is_better
    return Samples(
        keys=tuple(samples),
        values=values,
        higher_is_better={name: better[name] for name in values},
        mirrored=tuple(part.windows.mirrored(item) for item in range(len(part.windows))),
        covariates=_columns(covariates),
        conditions={
            name: tuple(one.get(name, UNKNOWN) for one in conditions) for name in _names(conditions)
        },
    )


def _columns(rows: Sequence[Mapping[str, float]]) -> dict[str, NDArray[np.float64]]:
    """Name → its number in each row, NaN where there is none."""
    return {
        name: np.array([row.get(name) for row in rows], dtype=np.float64) for name in _names(rows)
    }


def _names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


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
