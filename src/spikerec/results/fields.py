"""Kinds of values that a record holds: each with its bounds, checked by pydantic.

The same checks hold for a record that is made in Python and for one that is read from a file, and
they give the JSON schema of the file. docs/records.md says why pydantic does it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import field
from datetime import UTC, datetime
from functools import wraps
from numbers import Integral, Real
from pathlib import PurePath, PurePosixPath
from types import NoneType
from typing import Annotated, Any, Literal, TypeVar, cast, dataclass_transform

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticSerializationError, to_json

from spikerec.data.bounds import MOST_LABEL, MOST_NAME, MOST_VALUE
from spikerec.errors import ResultsError
from spikerec.parsing import LARGEST_INTEGER, shown, word

#: Bounds of what a record may hold, so that no file can make the board slow or large.
MOST_SAMPLES = 100_000
MOST_METRICS = 100  # and covariates, and conditions
MOST_LATENCIES = 100
MOST_CURVE_VALUES = 1_000_000  # of all curves together
MOST_ROLES = 100  # pictures of one sample
MOST_KEY = 500  # characters of a sample's key
MOST_PATH = 1000  # characters of a picture's path
MOST_SIDE = 2**31 - 1  # of an image
MOST_PART = 1_000_000  # characters of each part that is shown as it is (config, training, …)
MOST_DEPTH = 32  # mappings and lists inside one another
YEARS = range(1970, 9000)

#: pydantic's context while a file is read.
FROM_FILE = "file"


def _printable(name: str) -> str:
    if not name.isprintable():
        raise ValueError("must have printable characters alone")
    return name


def _utc(text: str) -> str:
    """A time in the one form that sorts as text: UTC, to the microsecond."""
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo and time.year in YEARS:
            return time.astimezone(UTC).isoformat(timespec="microseconds")
    except (ValueError, OverflowError):
        pass  # no time, or one without end
    raise ValueError("must be an ISO 8601 time with its zone, as 2026-01-31T12:00:00+00:00")


def _inside(path: str) -> str:
    parts = PurePosixPath(path).parts
    outside = PurePosixPath(path).is_absolute() or ".." in parts or not parts
    if outside or not path.isprintable():
        raise ValueError("must be a path inside the results folder")
    return path


def _unique(keys: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(keys)) != len(keys):
        ((twice, _),) = Counter(keys).most_common(1)
        raise ValueError(f"must be unique, found {shown(twice)} more than once")
    return keys


def _column(values: object) -> NDArray[np.float64]:
    """A read-only column, NaN where a value is None or not finite."""
    given = values.tolist() if isinstance(values, np.ndarray) else values
    kinds = set(map(type, given)) if isinstance(given, Sequence) else {object}
    if not all(issubclass(kind, Real | NoneType) and not issubclass(kind, bool) for kind in kinds):
        raise ValueError("must be a list of numbers or null")
    try:
        column = np.array(given, dtype=np.float64)
    except OverflowError:
        column = np.array([np.finfo(np.float64).max])
    column[~np.isfinite(column)] = np.nan
    if (np.abs(column) > MOST_VALUE).any():
        raise ValueError(f"must hold numbers up to {MOST_VALUE:g}, found one beyond it")
    column.setflags(write=False)
    return column


def _listed(column: NDArray[np.float64]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in column.tolist()]


def free(value: object, info: ValidationInfo) -> Any:  # noqa: ANN401
    """A mapping of plain values, which those of a file are already (`FROM_FILE`)."""
    if not isinstance(value, Mapping):
        raise ValueError(f"must be an object, found {shown(value)}")
    plain = value if info.context == FROM_FILE else _plain(value, "", MOST_DEPTH)
    return _bounded(plain)


def _bounded(part: Any) -> Any:  # noqa: ANN401
    try:
        length = len(to_json(part))
    except PydanticSerializationError:
        raise ValueError("must be Unicode, found half of a surrogate pair") from None
    if length > MOST_PART:
        raise ValueError(f"must have at most {MOST_PART:,} characters")
    return part


def _plain(value: object, place: str, depth: int) -> Any:  # noqa: ANN401
    """A value as JSON holds it; numbers that are not finite become null."""
    value = _item(value)
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, Integral):
        if abs(int(value)) > LARGEST_INTEGER:
            raise ValueError(f"{place} must be a number of at most 64 bits")
        return int(value)
    if isinstance(value, Real):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, PurePath):
        return value.as_posix()
    if isinstance(value, Mapping | Sequence) and depth == 0:
        raise ValueError(f"must be nested at most {MOST_DEPTH} levels deep")
    if isinstance(value, Mapping):
        return {str(k): _plain(v, f"{place}.{word(k)}", depth - 1) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [_plain(item, place, depth - 1) for item in value]
    raise ValueError(
        f"{place} must be a plain value (numbers, text, lists or mappings), found a "
        f"{type(value).__name__}"
    )


def _item(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else value


def at_most(count: int) -> tuple[Any, BeforeValidator]:
    """Refuse a container of too many items before any of them is looked at."""

    def check(value: Any) -> Any:  # noqa: ANN401
        if isinstance(value, Sized) and len(value) > count:
            raise ValueError(f"must have at most {count:,} items, found {len(value):,}")
        return value

    return Field(max_length=count), BeforeValidator(check)


Text = Annotated[str, Field(strict=True)]
Truth = Annotated[bool, Field(strict=True)]
Label = Annotated[Text, Field(max_length=MOST_LABEL)]
Key = Annotated[Text, Field(max_length=MOST_KEY)]
Name = Annotated[Text, Field(min_length=1, max_length=MOST_NAME), AfterValidator(_printable)]
Time = Annotated[Text, AfterValidator(_utc), Field(json_schema_extra={"format": "date-time"})]
Picture = Annotated[Text, Field(max_length=MOST_PATH), AfterValidator(_inside)]
Number = Annotated[
    float, Field(strict=True, ge=0, le=MOST_VALUE, allow_inf_nan=False), BeforeValidator(_item)
]
Whole = Annotated[int, Field(strict=True, ge=0, le=int(MOST_VALUE)), BeforeValidator(_item)]
Side = Annotated[int, Field(strict=True, ge=1, le=MOST_SIDE)]
Size = Annotated[list[Side], Field(min_length=2), *at_most(2)]
Carried = Annotated[int, Field(strict=True, ge=1, le=int(MOST_VALUE))] | Literal["start"]
Keys = Annotated[
    tuple[Key, ...],
    Field(min_length=1, fail_fast=True),
    *at_most(MOST_SAMPLES),
    AfterValidator(_unique),
]
Counts = Annotated[tuple[Whole, ...], Field(fail_fast=True), *at_most(MOST_SAMPLES)]
_FIGURE = {"type": ["number", "null"], "minimum": -MOST_VALUE, "maximum": MOST_VALUE}
Column = Annotated[
    NDArray[np.float64],
    PlainValidator(_column),
    PlainSerializer(_listed),
    WithJsonSchema({"type": "array", "items": _FIGURE}),
]
Columns = Annotated[dict[Name, Column], *at_most(MOST_METRICS)]
Labels = Annotated[tuple[Label, ...], Field(fail_fast=True), *at_most(MOST_SAMPLES)]
Conditions = Annotated[dict[Name, Labels], *at_most(MOST_METRICS)]
#: Clip → a number per image.
Readouts = Annotated[dict[Key, Counts], *at_most(MOST_SAMPLES)]
Curve = Annotated[dict[Key, Column], *at_most(MOST_SAMPLES)]
CurveValues = Annotated[dict[Name, Curve], *at_most(MOST_METRICS)]
Directions = Annotated[dict[Name, Truth], *at_most(MOST_METRICS)]
Reasons = Annotated[dict[Name, Text], *at_most(MOST_METRICS), AfterValidator(_bounded)]
Roles = Annotated[dict[Name, Picture], *at_most(MOST_ROLES)]
Pictures = Annotated[dict[Key, Roles], *at_most(MOST_SAMPLES)]
#: A part that is kept as it was written.
Free = Annotated[dict[str, Any], PlainValidator(free), WithJsonSchema({"type": "object"})]

T = TypeVar("T")


class Stated:
    """Base of the parts of a record: what a file states of one, it states in full."""

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, given: Any) -> Any:  # noqa: ANN401
        if isinstance(given, dict):  # of a file; the arguments of a call are not one
            for name in cls.__dataclass_fields__:  # type: ignore[attr-defined]
                if name not in given:
                    raise ValueError(f".{name} is missing")
        return given


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def part(*, is_large: bool = False) -> Callable[[type[T]], type[T]]:
    """Make a class a frozen dataclass whose fields are checked, with one of our errors.

    Args:
        is_large: the instances neither compare nor print by content.
    """

    def make(cls: type[T]) -> type[T]:
        made: Any = dataclass(cls, frozen=True, eq=not is_large, repr=not is_large)
        check = made.__init__

        @wraps(check)
        def __init__(self: T, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401, N807
            try:
                check(self, *args, **kwargs)
            except ValidationError as error:
                raise ResultsError(f"{complaint(error)}.") from error

        made.__init__ = __init__
        return cast(type[T], made)

    return make


def complaint(error: ValidationError) -> str:
    """The first complaint: the place, what is expected there, and what was found.

    A text or a key is not quoted unless it is one short word: a file may hold anything.
    """
    first = error.errors(include_url=False)[0]
    place = ".".join(word(key) for key in first["loc"] if key != "[key]")
    kind, found = first["type"], first["input"]
    if kind == "value_error":
        text = str(first["ctx"]["error"])
        return f"{place}{text}" if text.startswith(".") else f"{place} {text}".strip()
    if kind == "missing":
        return f"{place} is missing"
    text = _EXPECTED.get(kind) or re.sub(r"^.* should ", "must ", first["msg"])
    text = text.partition(" after validation")[0]
    is_short = kind == "too_short" and isinstance(found, Sized)
    return f"{place} {text}, found {len(found) if is_short else shown(found)}"


#: pydantic's kinds of error in other words than its own.
_EXPECTED = {
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "dataclass_type": "must be an object",
}
