"""The record of one evaluation: everything behind a figure, as one immutable JSON file.

A record's id is its time and a hash of its content, so that a file edited by hand no longer fits
its id and is refused, and two processes never write different contents under one name.
"""

from __future__ import annotations

import hashlib
import json
import math
import numbers
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikerec.errors import ResultsError
from spikerec.spikes.files import atomic_path

if TYPE_CHECKING:
    import pandas as pd

#: Version of the JSON layout; a reader refuses newer ones. 2 added `weights.origin`, `undefined`;
#: 3 added `dataset.margin`, `samples.mirrored`.
SCHEMA = 3

#: Bounds of what a record may hold, so that no file can make the board slow or large.
MOST_SAMPLES = 100_000
MOST_METRICS = 100
MOST_LATENCIES = 100
MOST_NAME = 100  # characters of a name: method, data set, split, protocol, metric
MOST_LABEL = 200  # characters of a label, a digest, a device
MOST_KEY = 500  # characters of a sample's key
MOST_PATH = 1000  # characters of a picture's path
MOST_VALUE = 1e18  # of a figure or a cost, whichever its sign
MOST_PART = 1_000_000  # characters of each part that is shown as it is (config, training, …)
YEARS = range(1970, 9000)

#: Parts of a record that are kept as the writer gave them.
FREE_PARTS = ("unavailable", "undefined", "efficiency", "training", "config", "code", "environment")


@dataclass(frozen=True)
class WeightsInfo:
    """Which weights were evaluated.

    Attributes:
        digest: SHA-256 of the weights, hexadecimal; None for a method without parameters.
        source: the name of the folder they were in (a run's, …); empty without parameters.
        name: short name for people, such as the checkpoint's file name.
        origin: `shipped` with spikerec, of a training `run`, another `file`, or `memory`, where
            none is known; empty without parameters.
    """

    digest: str | None = None
    source: str = ""
    name: str = ""
    origin: str = ""


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
        margin: readouts that each key readout has on both sides; None where it is not known.
    """

    name: str
    split: str
    digest: str
    num_samples: int
    has_target: bool
    light_scale: float | None = None
    margin: int | None = None


@dataclass(frozen=True)
class ProtocolInfo:
    """How the figures were computed.

    Attributes:
        name: key of the protocol (`stir`, `corrected`, …).
        digest: hash of its whole definition.
        description: what `spikerec.metrics.Protocol.describe` gives: clip, border, rounding, and
            the class and arguments of each metric. Figures are compared by these: see
            `Record.definition`.
    """

    name: str
    digest: str
    description: Mapping[str, Any] = field(default_factory=dict)


class Definition(NamedTuple):
    """How a metric's figures are computed: those of one definition may be compared.

    Attributes:
        metric: its key.
        digest: hash of the image's preparation and the metric's class, arguments and direction.
        higher_is_better: the direction.
        text: preparation and arguments, for people.
    """

    metric: str
    digest: str
    higher_is_better: bool
    text: str


class Samples:
    """Every metric of every sample.

    Args:
        keys: one per sample, unique; at least one.
        values: metric → one value per key; what is not finite, or None, has no value.
        higher_is_better: metric → direction, for exactly the metrics of `values`.
        mirrored: one per key: how many readouts of the sample's window lie outside its stream and
            were mirrored; None where it is not known.

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
        mirrored: Sequence[int] | None = None,
    ) -> None:
        if not 1 <= len(keys) <= MOST_SAMPLES:
            raise ResultsError(
                f"samples.keys must name 1 to {MOST_SAMPLES:,} samples, found {len(keys):,}."
            )
        if len(values) > MOST_METRICS:
            raise ResultsError(
                f"samples.values must have at most {MOST_METRICS} metrics, found {len(values):,}."
            )
        if len(longest := max(keys, key=len)) > MOST_KEY:
            raise ResultsError(
                f"samples.keys must have at most {MOST_KEY} characters each, found {longest!r:.60}."
            )
        self.keys = tuple(keys)
        self.mirrored = None if mirrored is None else tuple(mirrored)
        if self.mirrored is not None:
            for count in self.mirrored:
                _check_number(count, "a number in samples.mirrored")
            if len(self.mirrored) != len(self.keys):
                raise ResultsError(
                    f"samples.mirrored must hold one number for each of {len(self.keys)} keys, "
                    f"found {len(self.mirrored)}."
                )
        self.higher_is_better = dict(higher_is_better)
        self.values = {metric: _column(metric, column) for metric, column in values.items()}
        if len(set(self.keys)) != len(self.keys):
            ((twice, _),) = Counter(self.keys).most_common(1)
            raise ResultsError(f"samples.keys must be unique, found {twice!r:.80} more than once.")
        for metric, column in self.values.items():
            _check_name(metric, "a metric in samples.values")
            if column.shape != (len(self.keys),):
                raise ResultsError(
                    f"samples.values.{metric} must hold one value for each of {len(self.keys)} "
                    f"keys, found {len(column)}."
                )
        if set(self.values) != set(self.higher_is_better):
            raise ResultsError(
                "samples.higher_is_better must name the metrics of samples.values: "
                f"expected {sorted(self.values)}, found {sorted(self.higher_is_better)!r:.200}."
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
            "mirrored": None if self.mirrored is None else list(self.mirrored),
        }


@dataclass(frozen=True, eq=False, repr=False)
class Record:
    """One evaluation of one method on one data set under one protocol.

    Attributes:
        method: key of the method (`stir`).
        label: its name in tables, any text; the board makes it unique.
        weights: which weights.
        dataset: which data.
        protocol: how the figures were computed.
        samples: per-sample values.
        unavailable: metric that could not be computed → why, and what would make it available.
        undefined: metric that has no value for some samples → why.
        efficiency: `params`, `macs` and `memory_bytes` (for one image of `size` [H, W]), and
            `latency`: a list of {`size` [H, W], `median_ms`, `device`, …}. All optional.
        training: budget of the training run (data, samples seen, seconds, machine); empty if
            unknown.
        config: the resolved config, as plain values.
        code: see `code_revision`.
        environment: see `environment`.
        images: sample key → role (`prediction`, `target`, `tfp`) → path of a PNG, relative to the
            record's folder.
        created: UTC time, ISO 8601.
        schema: version of the layout.
        path: the file that it was read from; not a part of its content.

    Raises:
        ResultsError: a part contradicts another, or is larger than a record may be.
    """

    method: str
    label: str
    weights: WeightsInfo
    dataset: DatasetInfo
    protocol: ProtocolInfo
    samples: Samples
    unavailable: Mapping[str, str] = field(default_factory=dict)
    undefined: Mapping[str, str] = field(default_factory=dict)
    efficiency: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    code: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    images: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat())
    schema: int = SCHEMA
    path: Path | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "created", _utc(self.created))
        _check_identity(self)
        if both := sorted(set(self.unavailable) & set(self.samples.values)):
            raise ResultsError(f"unavailable names metrics that have values: {', '.join(both)}.")
        for metric in self.unavailable:
            _check_name(metric, "a metric in unavailable")
        if unknown := sorted(set(self.images) - set(self.samples.keys)):
            raise ResultsError(f"images names samples that were not evaluated: {unknown[0]!r:.80}.")
        _check_efficiency(self.efficiency)
        for path in (path for roles in self.images.values() for path in roles.values()):
            _check_picture(path)

    @property
    def content(self) -> dict[str, Any]:
        """The record as plain JSON values, without its id."""
        names = [name for name in self.__dataclass_fields__ if name not in ("schema", "path")]
        values = {name: _plain(getattr(self, name), name) for name in names}
        if self.schema == 1:
            del values["undefined"], values["weights"]["origin"]
        if self.schema < 3:
            del values["dataset"]["margin"], values["samples"]["mirrored"]
        return {"schema": self.schema} | values

    @cached_property
    def id(self) -> str:
        """Time and content hash; ids sort by time."""
        return identify(self.created, _body(self.content))

    @property
    def file_name(self) -> str:
        """`METHOD-DATASET-PROTOCOL-ID.json`."""
        names = (self.method, self.dataset.name, self.protocol.name)
        return "-".join([*map(file_word, names), self.id]) + ".json"

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

    def to_frame(self) -> pd.DataFrame:
        """One row a sample (the index), one column a metric, NaN where there is no value."""
        import pandas as pd

        return pd.DataFrame(
            dict(self.samples.values), index=pd.Index(self.samples.keys, name="sample")
        )

    def __repr__(self) -> str:
        """The label, the data, the protocol and the means."""
        data = f"{self.dataset.name} ({len(self.samples.keys)} samples, {self.protocol.name})"
        return f"Record({self.label!r} on {data}: {self.summary})"

    @property
    def summary(self) -> str:
        """The means, in one line: `psnr 34.52, ssim 0.9461`."""
        means = ((name, self.mean(name)) for name in self.samples.values)
        return ", ".join(f"{name} {mean:.4g}" for name, mean in means if mean is not None)

    @property
    def metrics(self) -> list[str]:
        """Keys of its metrics: those with values, and those that were unavailable."""
        return [*self.samples.values, *self.unavailable]

    def definition(self, metric: str) -> Definition:
        """How a metric's figures are computed, whatever else the protocol holds.

        A description that does not say so (of another version, or written by hand) defines its
        metrics as a whole.
        """
        about = self.protocol.description
        all_metrics = about.get("metrics")
        own = all_metrics.get(metric) if isinstance(all_metrics, Mapping) else None
        higher = self.samples.higher_is_better.get(metric)
        if not isinstance(own, Mapping):
            whole = {"protocol": self.protocol.digest, "metric": metric}
            higher = True if higher is None else higher
            return Definition(metric, _digest([whole, higher]), higher, self.protocol.name)
        if higher is None:
            higher = bool(own.get("higher_is_better", True))
        preparation = {key: about.get(key) for key in ("clip", "border", "rounding")}
        measure = {key: own.get(key) for key in ("metric", "arguments", "implementation")}
        arguments = own.get("arguments")
        stated = preparation | (dict(arguments) if isinstance(arguments, Mapping) else {})
        text = ", ".join(f"{key} {value}" for key, value in stated.items())
        return Definition(metric, _digest([preparation, measure, higher]), higher, text)

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


def file_word(name: str) -> str:
    """A name as a part of a file's: letters, digits, `_` and `.`."""
    return re.sub(r"[^A-Za-z0-9_.]+", "_", name)


def identify(created: str, body: str) -> str:
    """The id of a record of that time and text."""
    stamp = re.sub(r"[^0-9T]", "", created.removesuffix("+00:00"))
    return f"{stamp}-{hashlib.sha256(body.encode()).hexdigest()[:12]}"


def _body(content: Mapping[str, Any]) -> str:
    """A record's text after its first line: one line per part."""
    lines = (
        f'"{name}": {json.dumps(value, ensure_ascii=False, separators=(",", ":"))}'
        for name, value in content.items()
    )
    return ",\n".join(lines) + "}\n"


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _utc(text: str) -> str:
    """A time in the one form that sorts as text: UTC, to the microsecond."""
    time = None
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo and found.year in YEARS:
            time = found.astimezone(UTC)
    except (ValueError, OverflowError):
        pass  # no time, or one without end
    if time is None:
        raise ResultsError(
            f"`created` must be an ISO 8601 time with its zone, found {text!r:.60}: "
            "expected the form 2026-01-31T12:00:00+00:00."
        )
    return time.isoformat(timespec="microseconds")


def _check_identity(record: Record) -> None:
    """Refuse names that cannot be shown or written, and parts that are too large."""
    names = {
        "method": record.method,
        "dataset.name": record.dataset.name,
        "dataset.split": record.dataset.split,
        "protocol.name": record.protocol.name,
    }
    for place, name in names.items():
        _check_name(name, place)
    texts = {
        "label": record.label,
        "weights.digest": record.weights.digest or "",
        "weights.source": record.weights.source,
        "weights.name": record.weights.name,
        "weights.origin": record.weights.origin,
        "dataset.digest": record.dataset.digest,
        "protocol.digest": record.protocol.digest,
    }
    for place, text in texts.items():
        if len(text) > MOST_LABEL:
            raise ResultsError(
                f"{place} must have at most {MOST_LABEL} characters, found {len(text):,}."
            )
    _check_number(record.dataset.light_scale, "dataset.light_scale")
    _check_number(record.dataset.margin, "dataset.margin")


def _check_name(name: str, place: str) -> None:
    if not (1 <= len(name) <= MOST_NAME and name.isprintable()):
        raise ResultsError(
            f"{place} must be a name of 1 to {MOST_NAME} printable characters, found {name!r:.60}."
        )


def _check_picture(path: str) -> None:
    parts = PurePosixPath(path).parts
    outside = PurePosixPath(path).is_absolute() or ".." in parts or not parts
    if outside or not path.isprintable() or len(path) > MOST_PATH:
        raise ResultsError(f"images must be paths inside the results folder, found {path!r:.80}.")


def _check_efficiency(efficiency: Mapping[str, Any]) -> None:
    """Refuse figures that the tables could not show."""
    for key in ("params", "macs", "macs_published", "memory_bytes"):
        _check_number(efficiency.get(key), f"efficiency.{key}")
    _check_size(efficiency.get("size", (1, 1)), "efficiency.size")
    latency = efficiency.get("latency", [])
    if not isinstance(latency, Sequence) or isinstance(latency, str):
        raise ResultsError(f"efficiency.latency must be a list, found {latency!r:.60}.")
    if len(latency) > MOST_LATENCIES:
        raise ResultsError(
            f"efficiency.latency must have at most {MOST_LATENCIES} items, found {len(latency):,}."
        )
    for i, item in enumerate(latency):
        place = f"efficiency.latency[{i}]"
        if not isinstance(item, Mapping) or not {"size", "median_ms", "device"} <= set(item):
            raise ResultsError(f"{place} must hold size, median_ms and device, found {item!r:.80}.")
        _check_size(item["size"], f"{place}.size")
        _check_number(item["median_ms"], f"{place}.median_ms")
        if not isinstance(item["device"], str) or len(item["device"]) > MOST_LABEL:
            raise ResultsError(
                f"{place}.device must be text of at most {MOST_LABEL} characters, found "
                f"{item['device']!r:.60}."
            )


def _check_number(value: object, place: str) -> None:
    if value is None:
        return
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if is_number and 0 <= value <= MOST_VALUE:  # type: ignore[operator]  # narrowed just above
        return
    raise ResultsError(
        f"{place} must be a number from 0 to {MOST_VALUE:g} or null, found {value!r:.60}."
    )


def _check_size(value: object, place: str) -> None:
    sides = list(value) if isinstance(value, Sequence) else []
    whole = all(isinstance(side, int | np.integer) and 0 < side < 2**31 for side in sides)
    if len(sides) != 2 or not whole:
        raise ResultsError(f"{place} must be [height, width], found {value!r:.60}.")


def _column(
    metric: str, values: Sequence[float | None] | NDArray[np.float64]
) -> NDArray[np.float64]:
    """A read-only column, NaN where a value is None or not finite."""
    try:
        column = np.array(values, dtype=np.float64)
    except OverflowError:
        raise ResultsError(f"samples.values.{metric!r:.60} holds a number too large.") from None
    column[~np.isfinite(column)] = np.nan
    if np.nanmax(np.abs(column), initial=0) > MOST_VALUE:
        raise ResultsError(f"samples.values.{metric!r:.60} holds a number beyond {MOST_VALUE:g}.")
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
