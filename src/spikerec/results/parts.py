"""Parts of a record: its weights, set and protocol, the values of its samples, and its costs."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from dataclasses import field
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    ConfigDict,
    ValidationInfo,
    field_validator,
    with_config,
)
from typing_extensions import TypedDict

from spikerec.parsing import shown, word
from spikerec.results.fields import (
    MOST_CURVE_VALUES,
    MOST_LATENCIES,
    Columns,
    Conditions,
    Counts,
    CurveValues,
    Directions,
    Free,
    Keys,
    Label,
    Name,
    Number,
    Readouts,
    Size,
    Stated,
    Truth,
    Whole,
    at_most,
    part,
)

if TYPE_CHECKING:
    pass


@part()
class WeightsInfo(Stated):
    """The weights that were evaluated.

    Attributes:
        digest: SHA-256 of the weights, hexadecimal; None for a method without parameters.
        source: the name of the folder they were in (a run's, …); empty without parameters.
        name: short name for people, such as the checkpoint's file name.
        origin: `shipped` with spikerec, of a training `run`, another `file`, or `memory`, where
            none is known; empty without parameters.
    """

    digest: Label | None = None
    source: Label = ""
    name: Label = ""
    origin: Label = ""


@part()
class DatasetInfo(Stated):
    """The data set of an evaluation.

    Attributes:
        name: key of the data set (`sreds`).
        split: `test`, `val`, …
        digest: hash of the samples' content; figures of different digests are never compared.
        num_samples: how many samples the split holds.
        has_target: whether there is ground truth.
        light_scale: firing rate of a pixel of intensity 1; None where samples differ in it.
        margin: readouts that each key readout has on both sides; None where it is not known.
    """

    name: Name
    split: Name
    digest: Label
    num_samples: Whole
    has_target: Truth
    light_scale: Number | None = None
    margin: Whole | None = None


@part()
class ProtocolInfo(Stated):
    """The protocol by which the figures were computed.

    Attributes:
        name: key of the protocol (`stir`, `corrected`, …).
        digest: hash of its whole definition.
        description: as `spikerec.metrics.Protocol.describe` returns it: clip, border, rounding,
            alignment where there is one, and the class and arguments of each metric. Figures are
            compared by these: see `Record.definition`.
    """

    name: Name
    digest: Label
    description: Free = field(default_factory=dict)


#: Condition that names the covariate or condition in which a sample differs from the middle.
FACTOR = "factor"

#: The preparation of images whose figures have the plain name of a metric: whole, clipped to
#: [0, 1], and neither aligned with their truth nor rounded.
PLAIN = {"alignment": "none", "clip": True, "border": 0, "rounding": "none"}


class Definition(NamedTuple):
    """Definition of a metric: figures of one definition may be compared.

    Attributes:
        metric: its key.
        digest: hash of the image's preparation and the metric's class, code, arguments, direction.
        higher_is_better: the direction.
        text: preparation and arguments, for people.
        is_plain: True if images are prepared as `PLAIN` says; False also where it is not stated.
        is_foreign: True if the metric's class is not of spikerec.
    """

    metric: str
    digest: str
    higher_is_better: bool
    text: str
    is_plain: bool
    is_foreign: bool = False


@part(is_large=True)
class Samples(Stated):
    """Every metric of every sample.

    Attributes:
        keys: one per sample, unique; at least one.
        values: metric → one value per key, as a read-only float64 array; NaN where there is no
            value, which None and what is not finite become.
        higher_is_better: metric → direction, for exactly the metrics of `values`.
        mirrored: one per key: how many readouts of the sample's window lie outside its stream and
            were mirrored; None where it is not known.
        covariates: name → a number per key to draw the metrics against, as a column of `values`
            (`firing_rate`, `light_scale`, `motion` in pixels a readout, …).
        conditions: name → a short label per key (`noise`, `motion_source`, …).

    Raises:
        ResultsError: lengths or names that contradict each other.
    """

    keys: Keys
    values: Columns
    higher_is_better: Directions
    mirrored: Counts | None = None
    covariates: Columns = field(default_factory=dict)
    conditions: Conditions = field(default_factory=dict)

    @property
    def all_covariates(self) -> dict[str, NDArray[np.float64]]:
        """All numbers to draw the metrics against: `covariates`, and `mirrored` where known."""
        if self.mirrored is None:
            return dict(self.covariates)
        return self.covariates | {"mirrored": np.array(self.mirrored, np.float64)}

    @field_validator("values", "covariates", "conditions")
    @classmethod
    def _one_per_key(cls, given: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        for name, column in given.items():
            _check_length(column, info, f".{word(name)} ")
        return given

    @field_validator("covariates", "conditions")
    @classmethod
    def _named_once(cls, given: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        taken = {"mirrored", *info.data.get("values", ()), *info.data.get("covariates", ())}
        if both := given.keys() & taken:
            raise ValueError(f"must not name what has a column already, found {shown(min(both))}")
        return given

    @field_validator("mirrored")
    @classmethod
    def _mirrored_of_all_keys(cls, given: Counts | None, info: ValidationInfo) -> Counts | None:
        if given is not None:
            _check_length(given, info)
        return given

    @field_validator("higher_is_better")
    @classmethod
    def _same_metrics(cls, given: Directions, info: ValidationInfo) -> Directions:
        for metric in given.keys() ^ info.data.get("values", given).keys():
            raise ValueError(
                f"must name the metrics of values, but {shown(metric)} is in one alone"
            )
        return given


@part(is_large=True)
class Curves(Stated):
    """The values of clips image by image.

    Attributes:
        readouts: clip → the key readouts of its images, rising.
        values: metric → clip → a value per image, as a read-only float64 array; NaN where there is
            none. That of a metric of pairs is of the step from the image before, so that the first
            image has none. Empty where there are more values than a record holds.

    Raises:
        ResultsError: lengths or names that contradict each other, or too many values.
    """

    readouts: Readouts
    values: CurveValues

    @field_validator("readouts")
    @classmethod
    def _rising(cls, given: dict[str, Sequence[int]]) -> dict[str, Sequence[int]]:
        _check_curve_size(sum(map(len, given.values())))
        for clip, readouts in given.items():
            if any(after <= before for before, after in pairwise(readouts)):
                raise ValueError(f".{word(clip)} must rise from image to image")
        return given

    @field_validator("values")
    @classmethod
    def _values_of_all_images(cls, given: CurveValues, info: ValidationInfo) -> CurveValues:
        readouts = info.data.get("readouts")
        if readouts is None:  # they are wrong themselves
            return given
        for metric, curve in given.items():
            if curve.keys() != readouts.keys():
                raise ValueError(f".{word(metric)} must be of the clips of readouts")
            for clip, column in curve.items():
                if len(column) != len(readouts[clip]):
                    raise ValueError(
                        f".{word(metric)} must hold one value for each of {len(readouts[clip])} "
                        f"images of {shown(clip)}, found {len(column)}"
                    )
        _check_curve_size(sum(map(len, readouts.values())) * len(given))
        return given


def _check_curve_size(count: int) -> None:
    if count > MOST_CURVE_VALUES:
        raise ValueError(f"must hold at most {MOST_CURVE_VALUES:,} numbers, found {count:,}")


def _check_length(column: Sized, info: ValidationInfo, place: str = "") -> None:
    keys = info.data.get("keys")  # absent where they are wrong themselves
    if keys is not None and len(column) != len(keys):
        raise ValueError(
            f"{place}must hold one value for each of {len(keys)} keys, found {len(column)}"
        )


@with_config(ConfigDict(extra="allow"))
class Latency(TypedDict):
    """Time of one image; further keys are allowed."""

    size: Size
    median_ms: Number | None
    device: Label


@with_config(ConfigDict(extra="allow"))
class Efficiency(TypedDict, total=False):
    """Cost of an image of `size` [H, W]; more may be stated."""

    size: Size
    params: Number | None
    macs: Number | None
    macs_published: Number | None
    memory_bytes: Number | None
    latency: Annotated[list[Latency], *at_most(MOST_LATENCIES)]
