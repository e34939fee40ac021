"""The record of one evaluation: everything behind a figure, as one immutable JSON file.

A record's id is its time and a hash of its content, so that a file edited by hand no longer fits
its id and is refused, and two processes never write different contents under one name.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import field
from datetime import UTC, datetime
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    Field,
    TypeAdapter,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
)
from pydantic.json_schema import SkipJsonSchema

from spikerec.kinds import checked
from spikerec.parsing import shown
from spikerec.results.fields import (
    Carried,
    Free,
    Label,
    Name,
    Pictures,
    Reasons,
    Stated,
    Time,
    free,
    part,
)
from spikerec.results.parts import (
    PLAIN,
    Curves,
    DatasetInfo,
    Definition,
    Efficiency,
    ProtocolInfo,
    Samples,
    WeightsInfo,
)
from spikerec.spikes.files import atomic_path

if TYPE_CHECKING:
    import pandas as pd

#: Version of the JSON layout; a reader refuses newer ones. 2 added `weights.origin`, `undefined`;
#: 3 added `dataset.margin`, `samples.mirrored`; 4 added `carry`, `engine` and `precision`;
#: 5 added `samples.covariates` and `samples.conditions`; 6 added `curves`.
SCHEMA = 6


def _as_given(
    value: object, check: ValidatorFunctionWrapHandler, info: ValidationInfo
) -> dict[str, Any]:
    """Check a part and keep it, in its own order: a record that was read is written the same."""
    given: dict[str, Any] = free(value, info)
    check(given)
    return given


@part(is_large=True)
class Record(Stated):
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
        training: budget of the training run (data, samples seen, seconds, machine) and its
            `curve` (see `spikerec.training.learning.LearningCurve`); empty if unknown.
        config: the resolved config, as plain values.
        code: see `code_revision`; `network` is the digest of a network's code that is the user's
            own (`spikerec.own_code`).
        environment: see `environment`.
        carry: windows before each sample's own through which a state was carried: a number, or
            `start` for all from the stream's start; None where each window was seen on its own.
        engine: the program that computed the images (see `spikerec.inference.ready`).
        precision: the numbers that it computed in.
        images: sample key → role (`prediction`, `target`, `tfp`) → path of a PNG, relative to the
            record's folder; where the samples are clips, of an animated WebP.
        curves: of an evaluation of videos, whose samples are clips, the values image by image; None
            where the samples are images.
        created: UTC time, ISO 8601.
        schema: version of the layout; an older one must have room for what the record states.
        path: the file that it was read from; not a part of its content.

    Raises:
        ResultsError: a part contradicts another, or is larger than a record may be.
    """

    method: Name
    label: Label
    weights: WeightsInfo
    dataset: DatasetInfo
    protocol: ProtocolInfo
    samples: Samples
    unavailable: Reasons = field(default_factory=dict)
    undefined: Reasons = field(default_factory=dict)
    efficiency: Annotated[Efficiency, WrapValidator(_as_given)] = field(
        default_factory=lambda: Efficiency()
    )
    training: Free = field(default_factory=dict)
    config: Free = field(default_factory=dict)
    code: Free = field(default_factory=dict)
    environment: Free = field(default_factory=dict)
    carry: Carried | None = None
    engine: Name = "torch"
    precision: Name = "float32"
    images: Pictures = field(default_factory=dict)
    curves: Curves | None = None
    created: Time = field(default_factory=lambda: datetime.now(UTC).isoformat())
    schema: Annotated[int, Field(strict=True, ge=1, le=SCHEMA)] = SCHEMA
    path: SkipJsonSchema[Path | None] = None

    @field_validator("unavailable")
    @classmethod
    def _without_values(cls, given: Reasons, info: ValidationInfo) -> Reasons:
        if "samples" in info.data and (both := given.keys() & info.data["samples"].values.keys()):
            raise ValueError(f"must not name metrics that have values: {', '.join(sorted(both))}")
        return given

    @field_validator("images")
    @classmethod
    def _of_samples(cls, given: Pictures, info: ValidationInfo) -> Pictures:
        if "samples" in info.data and (extra := given.keys() - set(info.data["samples"].keys)):
            raise ValueError(f"must be of samples, but {shown(min(extra))} was not evaluated")
        return given

    @field_validator("curves")
    @classmethod
    def _of_clips(cls, given: Curves | None, info: ValidationInfo) -> Curves | None:
        if given is not None and "samples" in info.data:
            samples = info.data["samples"]
            if given.readouts.keys() != set(samples.keys):
                raise ValueError("must be of the samples")
            if extra := given.values.keys() - samples.values.keys():
                raise ValueError(f"must be of metrics of the samples, not of {shown(min(extra))}")
        return given

    @field_validator("schema")
    @classmethod
    def _has_room(cls, given: int, info: ValidationInfo) -> int:
        known, samples = info.data, info.data.get("samples")
        later = {
            "curves": (6, known.get("curves") is not None),
            "covariates": (5, samples is not None and bool(samples.covariates)),
            "conditions": (5, samples is not None and bool(samples.conditions)),
            "mirrored": (3, samples is not None and samples.mirrored is not None),
            "carry": (4, known.get("carry") is not None),
            "engine": (4, known.get("engine", "torch") != "torch"),
            "precision": (4, known.get("precision", "float32") != "float32"),
        }
        for name, (first, is_stated) in later.items():
            if is_stated and given < first:
                raise ValueError(f"must be at least {first} with {name}, found {given}")
        return given

    @property
    def content(self) -> dict[str, Any]:
        """The record as plain JSON values, without its id."""
        values: dict[str, Any] = LAYOUT.dump_python(self, mode="python", exclude={"schema", "path"})
        if self.schema == 1:
            del values["undefined"], values["weights"]["origin"]
        if self.schema < 3:
            del values["dataset"]["margin"], values["samples"]["mirrored"]
        if self.schema < 4:
            del values["carry"], values["engine"], values["precision"]
        if self.schema < 5:
            del values["samples"]["covariates"], values["samples"]["conditions"]
        if self.schema < 6:
            del values["curves"]
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
        body = _body(self.content)
        return f'{{"id": "{identify(self.created, body)}",\n{body}'

    @checked
    def column(self, metric: str) -> NDArray[np.float64]:
        """Values of a metric, one per key, NaN where there is none."""
        return self.samples.values[metric]

    @checked
    def mean(self, metric: str) -> float | None:
        """Mean over the samples that have a value; None if none has, or the metric is absent."""
        column = self.samples.values.get(metric)
        if column is None:
            return None
        present = column[~np.isnan(column)]
        return float(present.mean()) if present.size else None

    def to_frame(self) -> pd.DataFrame:
        """One row a sample (the index); columns of metrics, covariates and conditions.

        NaN where there is no value.
        """
        import pandas as pd

        samples = self.samples
        columns = samples.values | samples.all_covariates | samples.conditions
        return pd.DataFrame(columns, index=pd.Index(samples.keys, name="sample"))

    def __repr__(self) -> str:
        """The label, the data, the protocol and the means."""
        data = f"{self.dataset.name} ({len(self.samples.keys)} samples, {self.protocol.name})"
        return f"Record({self.title!r} on {data}: {self.summary})"

    def _repr_html_(self) -> str:
        """A table of the metrics, as a notebook shows it: mean, direction, samples with a value."""
        rows = []
        for name, column in self.samples.values.items():
            mean = self.mean(name)
            arrow = "↑" if self.samples.higher_is_better[name] else "↓"
            value = "n/a" if mean is None else f"{mean:#.4g}"
            rows.append((f"{name} {arrow}", value, str(np.count_nonzero(~np.isnan(column)))))
        rows += [(name, "n/a", reason) for name, reason in self.unavailable.items()]
        data = f"{self.dataset.name} ({self.dataset.split}), protocol {self.protocol.name}"
        lines = "".join(
            f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows
        )
        return (
            f"<table><caption>{escape(self.title)} on {escape(data)}</caption>"
            "<thead><tr><th>metric</th><th>mean</th><th>samples</th></tr></thead>"
            f"<tbody>{lines}</tbody></table>"
        )

    @property
    def title(self) -> str:
        """The label, and what sets the evaluation apart: a state carried, 16 bits, an engine."""
        parts = [self.label]
        if self.carry is not None:
            windows = "window" if self.carry == 1 else "windows"
            told = "from the start" if self.carry == "start" else f"over {self.carry} {windows}"
            parts.append(f"state carried {told}")
        if self.precision != "float32":
            parts.append(self.precision)
        if self.engine != "torch":
            parts.append(f"by {self.engine}")
        return ", ".join(parts)

    @property
    def summary(self) -> str:
        """The means, in one line: `psnr 34.52, ssim 0.9461`."""
        means = ((name, self.mean(name)) for name in self.samples.values)
        return ", ".join(f"{name} {mean:#.4g}" for name, mean in means if mean is not None)

    @property
    def metrics(self) -> list[str]:
        """Keys of its metrics: those with values, and those that were unavailable."""
        return [*self.samples.values, *self.unavailable]

    @checked
    def definition(self, metric: str) -> Definition:
        """Definition of one metric, independent of the protocol's other metrics.

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
            return Definition(metric, _digest([whole, higher]), higher, self.protocol.name, False)
        if higher is None:
            higher = bool(own.get("higher_is_better", True))
        preparation = {key: about.get(key) for key in ("clip", "border", "rounding")}
        if "alignment" in about:
            preparation["alignment"] = about["alignment"]
        measure = {key: own.get(key) for key in ("metric", "arguments", "implementation")}
        is_foreign = "code" in own
        arguments = own.get("arguments")
        prepared = {"alignment": "none"} | preparation
        stated = prepared | (dict(arguments) if isinstance(arguments, Mapping) else {})
        if "revision" in own:
            measure["revision"] = stated["revision"] = own["revision"]
        if is_foreign:
            measure["code"] = own["code"]
            stated["code"] = f"{str(own['code'])[:6]} of {own.get('implementation')}"
        text = ", ".join(f"{key} {value}" for key, value in stated.items())
        digest = _digest([preparation, measure, higher])
        return Definition(metric, digest, higher, text, prepared == PLAIN, is_foreign)

    @checked
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
    """A name as a part of a file's: up to 50 letters, digits, `_` and `.`."""
    return re.sub(r"[^A-Za-z0-9_.]+", "_", name)[:50]  # disks take 255 of three names and the id


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


#: Key of `Record.code` under which a network's own code stands.
OWN_CODE = "network"

#: Reads a record from plain values, writes it as such, and states the JSON schema.
LAYOUT = TypeAdapter(Record)
