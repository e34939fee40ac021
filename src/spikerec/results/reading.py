"""A record read from a file that anybody may have written: bounded, checked, never executed.

Bytes, depth and digits are bounded before the text is parsed; samples, metrics, names and parts by
`Record` itself (`spikerec.results.record`).
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spikerec.errors import ResultsError
from spikerec.results.record import (
    FREE_PARTS,
    MOST_PART,
    SCHEMA,
    DatasetInfo,
    ProtocolInfo,
    Record,
    Samples,
    WeightsInfo,
    identify,
)

MOST_BYTES = 64_000_000  # 100,000 samples in 30 metrics
MOST_DEPTH = 32
MOST_DIGITS = 40  # a float has 25 characters at most

#: What a bounded text may hold: strings, which may contain brackets; brackets; numbers.
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]|[-+.0-9eE]+', re.DOTALL)


def read_record(path: Path) -> Record:
    """Read and check a record.

    Raises:
        ResultsError: the file is truncated, of a newer schema, changed since it was written, larger
            than a record may be, or contradicts itself; the message names the file.
    """
    try:
        return _parse(_read(path).replace(b"\r\n", b"\n"), path)
    except ResultsError as error:
        raise ResultsError(f"{path}: {error}") from error
    except OSError as error:
        raise ResultsError(f"{path}: cannot be read ({error.strerror}).") from error


def _read(path: Path) -> bytes:
    """The bytes of a regular file of bounded size; a pipe would be waited for without end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ResultsError("is not a file.")
    with path.open("rb") as file:
        text = file.read(MOST_BYTES + 1)
    if len(text) > MOST_BYTES:
        raise ResultsError(f"has more than {MOST_BYTES:,} bytes, which no record needs.")
    return text


def _parse(text: bytes, path: Path) -> Record:
    _check_shape(text)
    try:
        content = json.loads(text.decode(), parse_constant=_refuse_constant)
        body = text.partition(b"\n")[2].decode()
    except (ValueError, RecursionError) as error:
        raise ResultsError(
            f"is not complete JSON ({error}). It was cut off or damaged: copy it again from "
            "where it was written, or evaluate again."
        ) from error
    if not isinstance(content, dict) or type(content.get("schema")) is not int:
        raise ResultsError("is not a record: expected a JSON object with a whole number `schema`.")
    if not 1 <= content["schema"] <= SCHEMA:
        raise ResultsError(
            f"has schema {content['schema']}, and this spikerec reads up to {SCHEMA}. "
            "Update spikerec."
        )
    _check_texts(content)
    stored = content.get("id")
    record = _record(_Part(content, ""), path)
    if stored != identify(record.created, body):
        raise ResultsError(
            f"does not fit its id {stored!r:.60}: it was changed after it was written. "
            "Restore it, or evaluate again."
        )
    record.__dict__["id"] = stored  # fills the cached property: hashed once, just above
    return record


def _check_shape(text: bytes) -> None:
    """Bound depth and digits, by one pass over the text's tokens.

    Raises:
        ResultsError: more of either than a record can have.
    """
    depth = 0
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token in (b"[", b"{"):
            depth += 1
            if depth > MOST_DEPTH:
                raise ResultsError(f"is nested more than {MOST_DEPTH} levels deep.")
        elif token in (b"]", b"}"):
            depth -= 1
        elif token[:1] != b'"' and len(token) > MOST_DIGITS:
            raise ResultsError(
                f"holds a number of {len(token):,} characters, expected at most {MOST_DIGITS}."
            )


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _check_texts(content: Mapping[str, Any]) -> None:
    """Refuse texts that cannot be written again, and parts too large to show.

    Raises:
        ResultsError: half of a surrogate pair, or a part over the limit.
    """
    for name, part in content.items():
        text = json.dumps(part, ensure_ascii=False)
        if name in FREE_PARTS and len(text) > MOST_PART:
            raise ResultsError(
                f"`{name}` must have at most {MOST_PART:,} characters, found {len(text):,}."
            )
        try:
            (name + text).encode()
        except UnicodeEncodeError:
            raise ResultsError(f"`{name!r:.60}` holds text that is not Unicode.") from None


_COUNT = "a whole number or null"


def _record(part: _Part, path: Path) -> Record:
    schema = part.content["schema"]
    weights, dataset, protocol, samples = map(
        part.part, ("weights", "dataset", "protocol", "samples")
    )
    description = protocol.mapping("description")
    if len(json.dumps(description)) > MOST_PART:
        raise ResultsError(f"`protocol.description` must have at most {MOST_PART:,} characters.")
    values = samples.part("values")
    images = part.part("images")
    return Record(
        method=part.text("method"),
        label=part.text("label"),
        weights=WeightsInfo(
            digest=weights.take("digest", (str, type(None)), "text or null"),
            source=weights.text("source"),
            name=weights.text("name"),
            origin=_origin(weights) if schema == 1 else weights.text("origin"),
        ),
        dataset=DatasetInfo(
            name=dataset.text("name"),
            split=dataset.text("split"),
            digest=dataset.text("digest"),
            num_samples=dataset.take("num_samples", (int,), "a whole number"),
            has_target=dataset.take("has_target", (bool,), "true or false"),
            light_scale=dataset.take("light_scale", (int, float, type(None)), "a number or null"),
            margin=None if schema < 3 else dataset.take("margin", (int, type(None)), _COUNT),
        ),
        protocol=ProtocolInfo(
            name=protocol.text("name"), digest=protocol.text("digest"), description=description
        ),
        samples=Samples(
            keys=samples.sequence("keys", (str,), "text"),
            values={
                name: values.sequence(name, (int, float, type(None)), "numbers or null")
                for name in values.content
            },
            higher_is_better=samples.mapping("higher_is_better", (bool,), "true or false"),
            mirrored=None if schema < 3 else _mirrored(samples),
        ),
        unavailable=part.mapping("unavailable", (str,), "text"),
        undefined={} if schema == 1 else part.mapping("undefined", (str,), "text"),
        efficiency=part.mapping("efficiency"),
        training=part.mapping("training"),
        config=part.mapping("config"),
        code=part.mapping("code"),
        environment=part.mapping("environment"),
        images={key: images.mapping(key, (str,), "paths") for key in images.content},
        created=part.text("created"),
        schema=schema,
        path=path,
    )


def _mirrored(samples: _Part) -> list[int] | None:
    """Return the number of mirrored readouts of each sample, or None where it is unknown."""
    if samples.content.get("mirrored", ()) is None:
        return None
    return samples.sequence("mirrored", (int,), "whole numbers")


def _origin(weights: _Part) -> str:
    """Where weights come from, which records of schema 1 tell by names alone."""
    if weights.content.get("digest") is None:
        return ""
    if weights.text("name").endswith(".ckpt"):
        return "run"
    return "shipped" if weights.text("source") == "shipped" else "file"


@dataclass(frozen=True)
class _Part:
    """A JSON object whose values are taken with their type checked."""

    content: Mapping[str, Any]
    place: str

    def take(self, key: str, kinds: tuple[type, ...], expected: str) -> Any:  # noqa: ANN401
        """The value of a key, of one of some types."""
        place = f"{self.place}{key:.60}"
        if key not in self.content:
            raise ResultsError(f"`{place}` is missing: expected {expected}.")
        value = self.content[key]
        if type(value) not in kinds:
            raise ResultsError(f"`{place}` must be {expected}, found {value!r:.60}.")
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
            raise ResultsError(f"`{self.place}{key:.60}` must be a list of {expected}.")
        return value

    def part(self, key: str) -> _Part:
        return _Part(self.mapping(key), f"{self.place}{key}.")
