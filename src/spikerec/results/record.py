"""The record of one evaluation: everything behind a figure, as one immutable JSON file.

A record's id is its time and a hash of its content, so that a file edited by hand no longer fits
its id and is refused, and two processes never write different contents under one name.
"""

from __future__ import annotations

import hashlib
import json
import math
import numbers
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from importlib import metadata
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikerec.errors import ResultsError
from spikerec.spikes.files import atomic_path

#: Version of the JSON layout; a reader refuses newer ones.
SCHEMA = 1

#: Packages whose version can move a reported figure.
FIGURE_PACKAGES = ("torch", "torchvision", "torchmetrics", "lightning", "lpips", "pyiqa", "numpy")


@dataclass(frozen=True)
class WeightsInfo:
    """Which weights were evaluated.

    Attributes:
        digest: SHA-256 of the weights, hexadecimal; None for a method without parameters.
        source: where they came from (a run's folder, `published`, …); empty without parameters.
        name: short name for people, such as the checkpoint's file name.
    """

    digest: str | None = None
    source: str = ""
    name: str = ""


@dataclass(frozen=True)
class DatasetInfo:
    """Which data were evaluated on.

    Attributes:
        name: key of the data set (`sreds`).
        split: `test`, `val`, …
        digest: hash of the samples' content; figures of different digests are never compared.
        num_samples: how many samples the split holds.
        has_target: whether there is ground truth.
        light_scale: firing rate of a pixel of intensity 1; None where samples differ in it.
    """

    name: str
    split: str
    digest: str
    num_samples: int
    has_target: bool
    light_scale: float | None = None


@dataclass(frozen=True)
class ProtocolInfo:
    """How the figures were computed.

    Attributes:
        name: key of the protocol (`stir`, `corrected`, …).
        digest: hash of its definition; figures of different digests are never compared.
        description: data range, crop, border, frames, rounding, …, as plain values.
    """

    name: str
    digest: str
    description: Mapping[str, Any] = field(default_factory=dict)


class Samples:
    """Every metric of every sample.

    Args:
        keys: one per sample, unique.
        values: metric → one value per key; what is not finite, or None, has no value.
        higher_is_better: metric → direction, for exactly the metrics of `values`.

    Attributes:
        values: metric → read-only float64 array, NaN where there is no value.

    Raises:
        ResultsError: lengths or names that contradict each other.
    """

    def __init__(
        self,
        keys: Sequence[str],
        values: Mapping[str, Sequence[float | None] | NDArray[np.float64]],
        higher_is_better: Mapping[str, bool],
    ) -> None:
        self.keys = tuple(keys)
        self.higher_is_better = dict(higher_is_better)
        self.values = {metric: _column(column) for metric, column in values.items()}
        if len(set(self.keys)) != len(self.keys):
            twice = next(key for key in self.keys if self.keys.count(key) > 1)
            raise ResultsError(f"samples.keys must be unique, found {twice!r} more than once.")
        for metric, column in self.values.items():
            if column.shape != (len(self.keys),):
                raise ResultsError(
                    f"samples.values.{metric} must hold one value for each of {len(self.keys)} "
                    f"keys, found {len(column)}."
                )
        if set(self.values) != set(self.higher_is_better):
            raise ResultsError(
                "samples.higher_is_better must name the metrics of samples.values: "
                f"expected {sorted(self.values)}, found {sorted(self.higher_is_better)}."
            )

    def plain(self) -> dict[str, Any]:
        """As JSON values: None where there is no value."""
        columns = {name: column.tolist() for name, column in self.values.items()}
        return {
            "keys": list(self.keys),
            "values": {
                name: [v if math.isfinite(v) else None for v in column]
                for name, column in columns.items()
            },
            "higher_is_better": self.higher_is_better,
        }


@dataclass(frozen=True, eq=False)
class Record:
    """One evaluation of one method on one data set under one protocol.

    Attributes:
        method: key of the method (`stir`).
        label: its name in tables; variants differ in it (`TFP (31)`).
        weights: which weights.
        dataset: which data.
        protocol: how the figures were computed.
        samples: per-sample values.
        unavailable: metric that could not be computed → why, and what would make it available.
        efficiency: `params`, `macs` and `memory_bytes` (for one image of `size` [H, W]), and
            `latency`: a list of {`size` [H, W], `median_ms`, `device`, …}. All optional.
        training: budget of the training run (steps, samples, wall time, machine); empty if unknown.
        config: the resolved config, as plain values.
        code: see `code_revision`.
        environment: see `environment`.
        images: sample key → role (`prediction`, `target`, `tfp`) → path of a PNG, relative to the
            record's folder.
        created: UTC time, ISO 8601.

    Raises:
        ResultsError: a part contradicts another.
    """

    method: str
    label: str
    weights: WeightsInfo
    dataset: DatasetInfo
    protocol: ProtocolInfo
    samples: Samples
    unavailable: Mapping[str, str] = field(default_factory=dict)
    efficiency: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    code: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    images: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat())

    def __post_init__(self) -> None:
        object.__setattr__(self, "created", _utc(self.created))
        if both := sorted(set(self.unavailable) & set(self.samples.values)):
            raise ResultsError(f"unavailable names metrics that have values: {', '.join(both)}.")
        if unknown := sorted(set(self.images) - set(self.samples.keys)):
            raise ResultsError(f"images names samples that were not evaluated: {unknown[0]!r}.")
        _check_efficiency(self.efficiency)
        for path in (path for roles in self.images.values() for path in roles.values()):
            if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
                raise ResultsError(
                    f"images must be paths inside the results folder, found {path!r}."
                )

    @property
    def content(self) -> dict[str, Any]:
        """The record as plain JSON values, without its id."""
        values = {name: _plain(getattr(self, name), name) for name in self.__dataclass_fields__}
        return {"schema": SCHEMA} | values

    @cached_property
    def id(self) -> str:
        """Time and content hash; ids sort by time."""
        return _identify(self.created, _body(self.content))

    @property
    def file_name(self) -> str:
        """`METHOD-DATASET-PROTOCOL-ID.json`."""
        names = (self.method, self.dataset.name, self.protocol.name)
        return "-".join([re.sub(r"[^A-Za-z0-9_.]+", "_", name) for name in names] + [self.id]) + (
            ".json"
        )

    def to_json(self) -> str:
        """The file's text: the id, and on the lines after it what the id is the hash of."""
        return f'{{"id": "{self.id}",\n{_body(self.content)}'

    def column(self, metric: str) -> NDArray[np.float64]:
        """Values of a metric, one per key, NaN where there is none."""
        return self.samples.values[metric]

    def mean(self, metric: str) -> float | None:
        """Mean over the samples that have a value; None if none has, or the metric is absent."""
        column = self.samples.values.get(metric)
        if column is None:
            return None
        present = column[~np.isnan(column)]
        return float(present.mean()) if present.size else None

    def write(self, folder: Path) -> Path:
        """Write the record into a folder, atomically, and return its path.

        Any number of processes may write at once. A file of this name already holds this content,
        so nothing is ever overwritten.
        """
        path = folder / self.file_name
        if not path.exists():
            with atomic_path(path) as temporary:
                temporary.write_text(self.to_json(), encoding="utf-8")
        return path


def read_record(path: Path) -> Record:
    """Read and check a record.

    Raises:
        ResultsError: the file is truncated, of a newer schema, changed since it was written, or
            contradicts itself; the message names the file.
    """
    try:
        return _parse(path.read_bytes().replace(b"\r\n", b"\n"))
    except ResultsError as error:
        raise ResultsError(f"{path}: {error}") from error
    except OSError as error:
        raise ResultsError(f"{path}: cannot be read ({error.strerror}).") from error


def _parse(text: bytes) -> Record:
    try:
        content = json.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise ResultsError(
            f"is not complete JSON ({error}). It was cut off or damaged: copy it again from "
            "where it was written, or evaluate again."
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get("schema"), int):
        raise ResultsError("is not a record: expected a JSON object with a whole number `schema`.")
    if content["schema"] > SCHEMA:
        raise ResultsError(
            f"has schema {content['schema']}, and this spikerec reads up to {SCHEMA}. "
            "Update spikerec."
        )
    stored = content.get("id")
    record = _record(_Part(content, ""))
    body = text.partition(b"\n")[2].decode()
    if stored != _identify(record.created, body):
        raise ResultsError(
            f"does not fit its id {stored}: it was changed after it was written. "
            "Restore it, or evaluate again."
        )
    record.__dict__["id"] = stored  # fills the cached property: hashed once, just above
    return record


def _record(part: _Part) -> Record:
    weights, dataset, protocol, samples = map(
        part.part, ("weights", "dataset", "protocol", "samples")
    )
    return Record(
        method=part.text("method"),
        label=part.text("label"),
        weights=WeightsInfo(
            digest=weights.take("digest", (str, type(None)), "text or null"),
            source=weights.text("source"),
            name=weights.text("name"),
        ),
        dataset=DatasetInfo(
            name=dataset.text("name"),
            split=dataset.text("split"),
            digest=dataset.text("digest"),
            num_samples=dataset.take("num_samples", (int,), "a whole number"),
            has_target=dataset.take("has_target", (bool,), "true or false"),
            light_scale=dataset.take("light_scale", (int, float, type(None)), "a number or null"),
        ),
        protocol=ProtocolInfo(
            name=protocol.text("name"),
            digest=protocol.text("digest"),
            description=protocol.mapping("description"),
        ),
        samples=Samples(
            keys=samples.sequence("keys", (str,), "text"),
            values={
                name: samples.part("values").sequence(
                    name, (int, float, type(None)), "numbers or null"
                )
                for name in samples.mapping("values")
            },
            higher_is_better=samples.mapping("higher_is_better", (bool,), "true or false"),
        ),
        unavailable=part.mapping("unavailable", (str,), "text"),
        efficiency=part.mapping("efficiency"),
        training=part.mapping("training"),
        config=part.mapping("config"),
        code=part.mapping("code"),
        environment=part.mapping("environment"),
        images={
            key: part.part("images").mapping(key, (str,), "paths") for key in part.mapping("images")
        },
        created=part.text("created"),
    )


@dataclass(frozen=True)
class _Part:
    """A JSON object whose values are taken with their type checked."""

    content: Mapping[str, Any]
    place: str

    def take(self, key: str, kinds: tuple[type, ...], expected: str) -> Any:  # noqa: ANN401
        """The value of a key, of one of some types."""
        if key not in self.content:
            raise ResultsError(f"`{self.place}{key}` is missing: expected {expected}.")
        value = self.content[key]
        if type(value) not in kinds:
            raise ResultsError(f"`{self.place}{key}` must be {expected}, found {value!r:.60}.")
        return value

    def text(self, key: str) -> str:
        return str(self.take(key, (str,), "text"))

    def mapping(
        self, key: str, kinds: tuple[type, ...] = (), expected: str = "anything"
    ) -> dict[str, Any]:
        """An object, whose values are checked where types are given."""
        value: dict[str, Any] = self.take(key, (dict,), "an object")
        if kinds:
            inside = _Part(value, f"{self.place}{key}.")
            return {name: inside.take(name, kinds, expected) for name in value}
        return value

    def sequence(self, key: str, kinds: tuple[type, ...], expected: str) -> list[Any]:
        value: list[Any] = self.take(key, (list,), f"a list of {expected}")
        if not set(map(type, value)) <= set(kinds):
            raise ResultsError(f"`{self.place}{key}` must be a list of {expected}.")
        return value

    def part(self, key: str) -> _Part:
        return _Part(self.mapping(key), f"{self.place}{key}.")


def _body(content: Mapping[str, Any]) -> str:
    """A record's text after its first line: one line per part."""
    lines = (
        f'"{name}": {json.dumps(value, ensure_ascii=False, separators=(",", ":"))}'
        for name, value in content.items()
    )
    return ",\n".join(lines) + "}\n"


def _identify(created: str, body: str) -> str:
    """The id of a record of that time and text."""
    stamp = re.sub(r"[^0-9T]", "", created.removesuffix("+00:00"))
    return f"{stamp}-{hashlib.sha256(body.encode()).hexdigest()[:12]}"


def _utc(text: str) -> str:
    """A time in the one form that sorts as text: UTC, to the microsecond."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise ResultsError(
            f"`created` must be an ISO 8601 time with its zone, found {text!r}: "
            "expected the form 2026-01-31T12:00:00+00:00."
        )
    return time.astimezone(UTC).isoformat(timespec="microseconds")


def _check_efficiency(efficiency: Mapping[str, Any]) -> None:
    """Refuse figures that the tables could not show."""
    for key in ("params", "macs", "memory_bytes"):
        _check_number(efficiency.get(key), f"efficiency.{key}")
    _check_size(efficiency.get("size", (1, 1)), "efficiency.size")
    for i, item in enumerate(efficiency.get("latency", ())):
        place = f"efficiency.latency[{i}]"
        if not isinstance(item, Mapping) or not {"size", "median_ms", "device"} <= set(item):
            raise ResultsError(f"{place} must hold size, median_ms and device, found {item!r:.80}.")
        _check_size(item["size"], f"{place}.size")
        _check_number(item["median_ms"], f"{place}.median_ms")


def _check_number(value: object, place: str) -> None:
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if value is not None and not (is_number and float(value) >= 0):  # type: ignore[arg-type]
        raise ResultsError(f"{place} must be a number of at least 0 or null, found {value!r:.60}.")


def _check_size(value: object, place: str) -> None:
    sides = list(value) if isinstance(value, Sequence) else []
    if len(sides) != 2 or not all(isinstance(side, numbers.Integral) for side in sides):
        raise ResultsError(f"{place} must be [height, width], found {value!r:.60}.")


def _column(values: Sequence[float | None] | NDArray[np.float64]) -> NDArray[np.float64]:
    """A read-only column, NaN where a value is None or not finite."""
    column = np.array(values, dtype=np.float64)
    column[~np.isfinite(column)] = np.nan
    column.setflags(write=False)
    return column


def _plain(value: object, place: str) -> Any:  # noqa: ANN401
    """A value as JSON holds it; numbers that are not finite become null."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{place}.{key}") for key, item in value.items()}
    if isinstance(value, Sequence):
        return [_plain(item, place) for item in value]
    if isinstance(value, Samples):
        return value.plain()
    if isinstance(value, PurePath):
        return value.as_posix()
    if hasattr(value, "__dataclass_fields__"):
        names = value.__dataclass_fields__
        return {name: _plain(getattr(value, name), f"{place}.{name}") for name in names}
    raise ResultsError(
        f"{place} must be a plain value, found {type(value).__name__}. Convert it to numbers, "
        "text, lists or mappings."
    )


def environment() -> dict[str, Any]:
    """What a figure may depend on besides the code: versions, processor, accelerators."""
    import torch

    versions: dict[str, str | None] = {}
    for name in FIGURE_PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "accelerators": devices,
        "threads": torch.get_num_threads(),
        "packages": versions,
    }


def _processor() -> str:
    """The processor's name, as the system gives it."""
    facts = Path("/proc/cpuinfo")
    if facts.exists():
        named = re.search(r"^model name\s*:\s*(.+)$", facts.read_text(), re.MULTILINE)
        if named:
            return named[1]
    return platform.processor() or platform.machine()


def code_revision() -> dict[str, Any]:
    """Version of spikerec, and in a checkout its revision and whether files were changed.

    `revision` and `dirty` are None for an installed package, also one installed inside somebody
    else's repository.
    """
    here = Path(__file__).resolve()
    tracked = _git(here.parent, "ls-files", "--error-unmatch", here.name) is not None
    changes = _git(here.parent, "status", "--porcelain") if tracked else None
    return {
        "version": metadata.version("spikerec"),
        "revision": _git(here.parent, "rev-parse", "HEAD") if tracked else None,
        "dirty": None if changes is None else bool(changes),
    }


def _git(folder: Path, *arguments: str) -> str | None:
    """What git answers, or None without git or where it refuses."""
    program = shutil.which("git")
    if program is None:
        return None
    done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
        [program, "-C", str(folder), *arguments], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else None
