"""A record read from a file that anybody may have written: bounded, checked, never executed.

`spikerec.parsing` bounds the document before it builds anything, and `spikerec.results.fields`
every part of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from spikerec.errors import DataError, DataNotFoundError, ResultsError
from spikerec.kinds import checked
from spikerec.parsing import Bounds, parse_json, read_bytes, shown
from spikerec.results.fields import FROM_FILE, MOST_DEPTH, complaint
from spikerec.results.record import LAYOUT, SCHEMA, Record, identify

#: 100,000 samples in 30 metrics, or fewer digits of up to 100.
BOUNDS = Bounds(bytes=64_000_000, depth=MOST_DEPTH, nodes=12_000_000)


@checked
def read_record(path: Path) -> Record:
    """Read and check a record.

    Raises:
        ResultsError: the file is truncated, of a newer schema, changed since it was written, larger
            than a record may be, or contradicts itself; the message names the file.
    """
    try:
        text = read_bytes(path, BOUNDS.bytes, "JSON").replace(b"\r\n", b"\n")
        content = parse_json(text, path, BOUNDS)
    except DataNotFoundError as error:
        raise ResultsError(str(error)) from error
    except DataError as error:
        raise ResultsError(
            f"{error} Copy it from where it was written, or evaluate again."
        ) from error
    try:
        return _record(content, text.partition(b"\n")[2].decode(), path)
    except ValidationError as error:
        raise ResultsError(f"{path}: {complaint(error)}.") from error


def _record(content: Any, body: str, path: Path) -> Record:  # noqa: ANN401
    if not isinstance(content, dict) or type(content.get("schema")) is not int:
        raise ResultsError(
            f"{path}: is not a record: expected a JSON object with a whole number `schema`."
        )
    if content["schema"] > SCHEMA:
        raise ResultsError(
            f"{path}: has schema {content['schema']}, and this spikerec reads up to {SCHEMA}. "
            "Update spikerec."
        )
    _complete(content)
    record: Record = LAYOUT.validate_python(content | {"path": path}, context=FROM_FILE)
    stored = content.get("id")
    if stored != identify(record.created, body):
        raise ResultsError(
            f"{path}: does not fit its id {shown(stored)}: it was changed after it was written. "
            "Restore it, or evaluate again."
        )
    record.__dict__["id"] = stored  # fills the cached property: hashed once, just above
    return record


def _complete(content: dict[str, Any]) -> None:
    """Add to a record of an older layout the values that it does not state."""
    weights, dataset, samples = (
        part if isinstance(part := content.get(name), dict) else {}
        for name in ("weights", "dataset", "samples")
    )
    if content["schema"] < 2:
        content["undefined"] = {}
        weights["origin"] = _origin(weights)
    if content["schema"] < 3:
        dataset["margin"] = samples["mirrored"] = None
    if content["schema"] < 4:
        content |= {"carry": None, "engine": "torch", "precision": "float32"}
    if content["schema"] < 5:
        samples["covariates"], samples["conditions"] = {}, {}
    if content["schema"] < 6:
        content["curves"] = None


def _origin(weights: dict[str, Any]) -> str:
    """Origin of weights, which records of schema 1 state by names alone."""
    if weights.get("digest") is None:
        return ""
    if str(weights.get("name")).endswith(".ckpt"):
        return "run"
    return "shipped" if weights.get("source") == "shipped" else "file"
