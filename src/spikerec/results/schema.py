"""The JSON schema of a record's file.

`python -m spikerec.results.schema` writes it; docs/record.schema.json is its output.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from typing import Any

from spikerec.results.fields import Stated
from spikerec.results.record import LAYOUT, SCHEMA

#: One line of a docstring's section Attributes, with those that continue it.
_ATTRIBUTE = re.compile(r"^ {4}(\w+): (.*(?:\n {6,}.*)*)", re.MULTILINE)


def record_schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of the files that this version writes.

    Records of older layouts, which are read as well, lack some of its keys (see `SCHEMA`).
    """
    made = LAYOUT.json_schema()
    for kind in Stated.__subclasses__():
        _state(made["$defs"].get(kind.__name__, made), inspect.getdoc(kind) or "")
    for name in ("Efficiency", "Latency"):
        _untitle(made["$defs"][name])
    made["properties"] = {"id": {"type": "string"}} | made["properties"]
    made["properties"]["id"]["description"] = "The time, and a hash of every line after the first."
    made["properties"]["schema"] |= {"const": SCHEMA}
    made["required"] = list(made["properties"])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"A record of spikerec, layout {SCHEMA}",
    } | made


def _state(part: dict[str, Any], doc: str) -> None:
    """Give a part's keys the descriptions of its docstring, and require all of them."""
    part["description"] = doc.partition("\n")[0]
    part["required"] = list(part["properties"])
    _untitle(part)
    for name, text in _ATTRIBUTE.findall(doc):
        if name in part["properties"]:
            part["properties"][name]["description"] = " ".join(text.split())


def _untitle(part: dict[str, Any]) -> None:
    """Leave out titles, which repeat the names, and defaults, which no file has."""
    del part["title"]
    for about in part["properties"].values():
        about.pop("title", None)
        about.pop("default", None)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(record_schema(), indent=2, ensure_ascii=False) + "\n")
