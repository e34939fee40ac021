"""Identity of a run: everything that can move its result, as plain values.

A run's name is a label for people. Two commands are the same run if they agree in all that decides
the result: the settings of the configuration, the training and validation data, the code of classes
that are not ours (`spikerec.own_code`), the samples that one optimizer step sees and its
learning rate. Paths, loggers,
workers, progress bars and the number of processes are no part of it: where two processes with
half the batch take the place of one, the result is the same up to rounding.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from spikerec.data.clips import Clip, LiveSet, SpikeSet, SplitName
from spikerec.errors import DataError, errors_about
from spikerec.spikes import Geometry
from spikerec.training.facts import DATA
from spikerec.weights.checkpoint import digest

if TYPE_CHECKING:
    from spikerec.models.base import Network

#: Settings that do not move a result: places, labels, reports, speed.
NEUTRAL = (
    *("name", "run", "overwrite", "replay", "paths", "logger"),
    *("data.num_workers", "data.sets.*.root"),
    *("trainer.accelerator", "trainer.strategy", "trainer.default_root_dir", "trainer.profiler"),
    *("trainer.enable_progress_bar", "trainer.enable_model_summary", "trainer.log_every_n_steps"),
    *("trainer.num_sanity_val_steps", "trainer.use_distributed_sampler", "trainer.fast_dev_run"),
    *("callbacks.last", "callbacks.learning_rate", "callbacks.images", "callbacks.video"),
    *("callbacks.facts", "callbacks.times", "callbacks.progress"),
)

#: Settings that were added to our configurations later, with the value that they had before: left
#: out, so that the runs of earlier versions stay the runs that they are.
ADDED = {"budget.clock": "wall"}

#: Settings that an identity replaces by facts that follow from them (`step_facts`).
DERIVED = (
    *("data.batch_size", "trainer.accumulate_grad_batches", "lr_scaling"),
    *("trainer.devices", "trainer.num_nodes"),
)

#: Settings by which a run may grow: it is then continued.
LENGTHS = ("trainer.max_epochs", "trainer.max_steps")

#: Places that other settings refer to: a path inside one of them is the same wherever the folder
#: is.
PLACES = ("run", "paths.data", "paths.results", "paths.outputs")

#: Bytes at a file's start and end whose digest represents the content in a fingerprint.
SAMPLED_BYTES = 1 << 14

#: Fields of a geometry that every fingerprint states.
FIRST_LAYOUT = ("height", "width", "readout_width", "bottom_up", "bit_order")

#: Classes that took over from another: they differ from it in defaults alone, and a configuration
#: states every argument, so that runs of either are the same run.
SAME_CLASS = {
    "spikerec.data.still.Still": "spikerec.data.photos.Photos",
    "spikerec.data.synthetic.Synthetic": "spikerec.data.photos.Photos",
}

Value = Any  # a plain value of a configuration


@dataclass(frozen=True)
class Identity:
    """Identity of a run: everything that its result depends on.

    Attributes:
        settings: dotted key → value, for every setting that can move the result.
        facts: name → value, for what no setting states: data, code, samples of a step.
        growing: the settings that follow from the run's length, so that they may grow with it.
    """

    settings: Mapping[str, Value]
    facts: Mapping[str, Value] = field(default_factory=dict)
    growing: frozenset[str] = frozenset(LENGTHS)

    @property
    def digest(self) -> str:
        """SHA-256 of settings and facts, 16 digits of it."""
        text = json.dumps([dict(self.settings), dict(self.facts)], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def recipe(self) -> str:
        """Digest of how it trains, alike in all folds of a deal: of all but scenes and seeds."""
        own = {key: value for key, value in self.settings.items() if key not in OF_A_FOLD}
        facts = {
            key: value
            for key, value in self.facts.items()
            if key != START and not key.startswith(DATA)
        }
        own["is started from weights"] = START in self.facts
        return Identity(own, facts).digest

    def differences(self, now: Identity) -> dict[str, tuple[Value, Value]]:
        """Key → (value of this one, value of the other), where they differ.

        Data that one of them could not look at are not compared.
        """
        old = {**self.settings, **self.facts}
        new = {**now.settings, **now.facts}
        keys = dict.fromkeys([*old, *new])
        return {
            key: (old.get(key), new.get(key))
            for key in keys
            if _plain(old.get(key)) != _plain(new.get(key))
            and not (key.startswith(DATA) and (key not in old or key not in new))
        }

    def is_longer(self, now: Identity) -> bool:
        """True if the other differs in nothing but its length, which is greater."""
        changed = self.differences(now)
        lengths = [changed[key] for key in LENGTHS if key in changed]
        return (
            bool(lengths)
            and changed.keys() <= now.growing
            and all(_length(new) > _length(old) for old, new in lengths)
        )


#: Name of the fact that states the weights which a run started from.
START = "weights at the start"

#: Settings in which the trainings of a recipe on several folds may differ.
OF_A_FOLD = ("data.folds", "data.fold", "seed", "data.seed", "start_from")


def _length(value: Value) -> float:
    """A length as a number: None and -1 are without end."""
    return float("inf") if value is None or value < 0 else float(value)


def _plain(value: Value) -> Value:
    """The value as JSON reads it back, so that what was stored compares with what is here."""
    return json.loads(json.dumps(value, default=str))


def settings_of(
    config: Mapping[str, Value], *, neutral: Sequence[str] = (*NEUTRAL, *DERIVED)
) -> dict[str, Value]:
    """The settings of a resolved configuration that can move the result, by dotted key.

    Args:
        config: plain values, as RUN/config.yaml holds them.
        neutral: patterns of keys that are left out, with all below them.
    """
    flat = _flat(config)
    places = [(str(flat[key]).rstrip("/"), key) for key in PLACES if flat.get(key)]
    return {
        key: _placed(value, places)
        for key, value in flat.items()
        if not _is_part(key, neutral) and not (key in ADDED and ADDED[key] == value)
    }


def _placed(value: Value, places: Iterable[tuple[str, str]]) -> Value:
    """A path inside one of the places, with the place's key for the place; else the value."""
    if isinstance(value, list):
        return [_placed(item, places) for item in value]
    if isinstance(value, str) and value in SAME_CLASS:
        return SAME_CLASS[value]
    for place, key in places if isinstance(value, str) else ():
        if value == place or value.startswith(f"{place}/"):
            return f"${{{key}}}{value.removeprefix(place)}"
    return value


def step_facts(
    network: Network,
    *,
    batch_size: int,
    processes: int,
    accumulated: int,
    learning_rate: float | None,
    sync_batchnorm: bool,
) -> dict[str, Value]:
    """The facts of one optimizer step that decide its result.

    Processes, batch and accumulated batches count as their product, unless the network normalises
    over a batch: then the samples that are normalised together count as well.
    """
    facts: dict[str, Value] = {
        "data.batch_size × processes × trainer.accumulate_grad_batches": (
            batch_size * processes * accumulated
        ),
        "learning rate of all processes": learning_rate,
    }
    if any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in network.modules()):
        together = batch_size * (processes if sync_batchnorm else 1)
        facts["samples normalised together"] = together
    return facts


def frozen_facts(network: Network) -> dict[str, str]:
    """The parameters that are not trained, as a fact: their names and values decide the result."""
    frozen = {
        name: parameter.data
        for name, parameter in network.named_parameters()
        if not parameter.requires_grad
    }
    return {"parameters that are not trained": digest(frozen)[:16]} if frozen else {}


def data_facts(sets: Mapping[str, SpikeSet]) -> dict[str, str]:
    """The fingerprints of sets as facts of an identity."""
    return {f"{DATA}{name}": of for name, of in fingerprints(sets).items()}


def fingerprints(sets: Mapping[str, SpikeSet]) -> dict[str, str]:
    """Set → fingerprint of its training and validation clips; sets that are not here are left out.

    Sets that simulate their training windows have their recipe among the settings.
    """
    found: dict[str, str] = {}
    for name, one in sets.items():
        splits: list[SplitName] = ["val"] if isinstance(one, LiveSet) else ["train", "val"]
        try:
            with errors_about(one):
                clips = [clip for split in splits for clip in one.clips(split)]
            found[name] = fingerprint(clips)
        except (DataError, OSError):  # it is missing, or was damaged since
            continue
    return found


def fingerprint(clips: Iterable[Clip]) -> str:
    """Digest of names, light scales, key readouts, and of each file's size, start and end.

    Reading whole files would take minutes for large sets; bits that were simulated or recorded
    anew differ in their first bytes.

    Raises:
        OSError: a file is missing.
    """
    total = hashlib.sha256()
    for clip in clips:
        keys = [*clip.key_readouts, *clip.images]
        layout = None if clip.geometry is None else layout_text(clip.geometry)
        text = f"({clip.name!r}, {clip.light_scale!r}, {layout}, {keys!r})"
        total.update(text.encode())
        for path in (*clip.files, *clip.images.values()):
            total.update(_sampled(path))
    return total.hexdigest()[:16]


def layout_text(geometry: Geometry) -> str:
    """A geometry as fingerprints have it: what was added to it later only where it is in use.

    So the runs of earlier versions stay the runs that they are.
    """
    stated = {
        one.name: getattr(geometry, one.name)
        for one in fields(geometry)
        if one.name in FIRST_LAYOUT or getattr(geometry, one.name) != one.default
    }
    return f"Geometry({', '.join(f'{name}={value!r}' for name, value in stated.items())})"


def _sampled(path: Path) -> bytes:
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(SAMPLED_BYTES)
        file.seek(max(size - SAMPLED_BYTES, 0))
        end = file.read(SAMPLED_BYTES)
    return hashlib.sha256(b"%d|%b%b" % (size, start, end)).digest()


def _is_part(key: str, parts: Iterable[str]) -> bool:
    return any(fnmatch(key, part) or fnmatch(key, f"{part}.*") for part in parts)


def _flat(value: Value, prefix: str = "") -> dict[str, Value]:
    """Nested mappings as dotted keys."""
    if not isinstance(value, Mapping) or (prefix and not value):
        return {prefix: value}
    flat: dict[str, Value] = {}
    for key, item in value.items():
        flat |= _flat(item, f"{prefix}.{key}" if prefix else str(key))
    return flat
