"""The JSON schema of records, and the records that it describes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spikerec.results import read_record, record_schema
from spikerec.results.record import SCHEMA
from tests.results.records import make_record

DOCS = Path(__file__).parents[2] / "docs"
RECORDS = sorted((DOCS / "leaderboard").glob("*.json"))
OLDER = sorted((Path(__file__).parent / "older").glob("*.json"))

KINDS: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
    "integer": int,
    "number": (int, float),
}


def complaints(value: Any, schema: dict[str, Any], place: str = "") -> list[str]:
    """Violations of the keywords of JSON schema that ours consists of."""
    if "$ref" in schema:
        schema = record_schema()["$defs"][schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        return min((complaints(value, one, place) for one in schema["anyOf"]), key=len)
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    fitting = [k for k in kinds if isinstance(value, KINDS[k]) and (type(value) is not bool)]
    if not fitting and not (kinds == ["boolean"] and isinstance(value, bool)):
        return [f"{place} is no {kinds}"]
    found = []
    if isinstance(value, int | float):
        low, high = schema.get("minimum", value), schema.get("maximum", value)
        found += [] if low <= value <= high else [f"{place} is out of bounds"]
        found += [] if schema.get("const", value) == value else [f"{place} is another"]
    if isinstance(value, dict):
        about, other = schema.get("properties", {}), schema.get("additionalProperties", True)
        found += [
            f"{place}.{name} is missing" for name in schema.get("required", ()) if name not in value
        ]
        for name, item in value.items():
            inner = about.get(name, other)
            found += complaints(item, inner, f"{place}.{name}") if isinstance(inner, dict) else []
    if isinstance(value, list):
        for item in value:
            found += complaints(item, schema["items"], f"{place}[]")
    if isinstance(value, str | list):
        words = ("minLength", "maxLength") if isinstance(value, str) else ("minItems", "maxItems")
        low, high = (schema.get(word, len(value)) for word in words)
        found += [] if low <= len(value) <= high else [f"{place} has another length"]
    return found


def test_the_published_schema_is_the_code_s() -> None:
    text = (DOCS / "record.schema.json").read_text(encoding="utf-8")
    assert json.loads(text) == record_schema(), (
        "run `python -m spikerec.results.schema > docs/record.schema.json`"
    )


def test_a_record_has_the_keys_of_the_schema() -> None:
    schema, content = record_schema(), json.loads(make_record().to_json())
    assert list(schema["properties"]) == schema["required"]
    assert set(content) == set(schema["properties"])
    assert complaints(content, schema) == []
    assert all("description" in about for name, about in schema["properties"].items())


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("samples", "keys", []),
        ("dataset", "num_samples", -1),
        ("dataset", "has_target", 1),
        ("protocol", "name", "x" * 101),
        ("efficiency", "params", True),
        ("efficiency", "latency", 5),
        ("weights", "digest", 5),
    ],
)
def test_the_schema_refuses_what_the_reader_refuses(part: str, key: str, value: Any) -> None:
    content = json.loads(make_record().to_json())
    content[part][key] = value
    assert complaints(content, record_schema())


@pytest.mark.parametrize("path", RECORDS + OLDER, ids=lambda path: path.stem)
def test_every_record_is_read_and_written_the_same(path: Path) -> None:
    record = read_record(path)
    assert record.to_json() == path.read_text(encoding="utf-8")
    today = replace(record, schema=SCHEMA).to_json()
    assert complaints(json.loads(today), record_schema()) == []


def test_records_of_all_older_layouts_are_read() -> None:
    assert [read_record(path).schema for path in OLDER] == list(range(1, SCHEMA))
