"""Reads back what wandb wrote offline."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2 as protocol

PATIENCE_S = 20


@dataclass
class Written:
    """One `.wandb` file: what `wandb.init` was told, the last of each value, the history."""

    about: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    artifacts: list[str] = field(default_factory=list)
    ended: bool = False

    def logged(self) -> set[str]:
        return {name for row in self.history for name in row}

    def values(self, name: str) -> list[Any]:
        return [row[name] for row in self.history if name in row]


def read_runs(folder: Path) -> list[Written]:
    """All W&B runs of a folder, in the order they were written."""
    return [read(path) for path in sorted(folder.rglob("*.wandb"))]


def read(path: Path) -> Written:
    """The file's content once it is whole: wandb's own process closes it after `finish` returns."""
    until = time.monotonic() + PATIENCE_S
    while not (written := parse(path)).ended and time.monotonic() < until:
        time.sleep(0.05)
    return written


def parse(path: Path) -> Written:
    """Records of the file so far."""
    written = Written()
    for data in messages(path.read_bytes()):
        record = protocol.Record()
        record.ParseFromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
            written.about |= {
                "id": run.run_id,
                "project": run.project,
                "group": run.run_group,
                "job_type": run.job_type,
                "name": run.display_name,
                "tags": list(run.tags),
            }
            _update(written.config, run.config.update)
        elif kind == "config":
            _update(written.config, record.config.update)
        elif kind == "summary":
            _update(written.summary, record.summary.update)
        elif kind == "history":
            row: dict[str, Any] = {}
            _update(row, record.history.item)
            written.history.append(row)
        elif kind == "artifact":
            written.artifacts.append(record.artifact.name)
        elif kind == "exit":
            written.ended = True
    return written


#: Sizes in LevelDB's log format, which `.wandb` files use after seven bytes of their own.
BLOCK, HEADER, FULL, LAST = 32768, 7, 1, 4


def messages(content: bytes) -> Iterator[bytes]:
    """The messages of a `.wandb` file: pieces of (checksum, length, kind), none across a block."""
    assert content.startswith(b":W&B"[: len(content)])
    position, message = HEADER, b""
    while position + HEADER <= len(content):
        if BLOCK - position % BLOCK < HEADER:  # no room for a header: the block's padding
            position += BLOCK - position % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", content, position)
        if position + HEADER + length > len(content):
            return
        message += content[position + HEADER : position + HEADER + length]
        position += HEADER + length
        if kind in (FULL, LAST):
            yield message
            message = b""


def _update(values: dict[str, Any], items: Any) -> None:
    for item in items:
        name = item.key or "/".join(item.nested_key)
        values[name] = json.loads(item.value_json)
