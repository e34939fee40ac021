"""The leaderboard as one HTML file that opens from disk, with no network and no build step.

Everything that a reader can do is in `page.js`; this module gathers what it shows, as JSON. Each
method shows its newest record, and the number of images is bounded, however many records there are.
"""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

import spikerec
from spikerec.results.boards import Board, Summary
from spikerec.results.record import Record
from spikerec.results.references import Reference, reference_for, reported_label
from spikerec.results.statistics import Standing, p_floor, scenes
from spikerec.results.store import Problem
from spikerec.results.tables import (
    DIGITS,
    Figure,
    Standings,
    Table,
    aligned,
    efficiency_figures,
    latencies,
    mark_of,
    reference_table,
    reported_figures,
)

MOST_RUNS = 20  # of a method's history
MOST_PROBLEMS = 200


def render(
    boards: Sequence[Board],
    stands: Standings,
    references: Sequence[Reference],
    problems: Sequence[Problem],
    folder: Path,
    *,
    images_per_board: int,
    image_side: int,
    image_megabytes: float,
) -> str:
    """The page.

    Args:
        boards: what to show.
        stands: their statistics.
        references: sources whose own tables are shown below the boards.
        problems: records that were left out.
        folder: the results folder, which the records' image paths start from.
        images_per_board: samples of each board whose images are embedded.
        image_side: longer side of an embedded image, in pixels; larger ones are scaled down.
        image_megabytes: limit of all embedded images together; what exceeds it is left out.
    """
    album = _Album(folder, image_side, int(image_megabytes * 1e6))
    data = {
        "version": spikerec.__version__,
        "generated": datetime.now(UTC).isoformat(timespec="seconds"),
        "boards": [
            _board(board, stands[board.name], album, images_per_board)
            for board in sorted(boards, key=_prominence)
        ],
        "references": [_reference_table(reference_table(reference)) for reference in references],
        "problems": [problem.reason for problem in problems[:MOST_PROBLEMS]],
        "problemCount": len(problems),
        "imagesLeftOut": album.left_out,
        "images": album.images,
    }
    page = resources.files(__package__)
    text = (page / "page.html").read_text(encoding="utf-8")
    parts = {
        "/* page.css */": (page / "page.css").read_text(encoding="utf-8"),
        "/* page.js */": (page / "page.js").read_text(encoding="utf-8"),
        "/* data */": _script_safe(data),
    }
    for place, content in parts.items():
        before, _, after = text.partition(place)
        text = before + content + after
    return text


def _prominence(board: Board) -> tuple[bool, int, int]:
    """Boards with published figures first, then those with most metrics and most methods."""
    return reference_for(board.name) is None, -len(board.metrics), -len(board.records)


def _script_safe(data: object) -> str:
    """JSON that may stand inside a script element, whatever its texts hold."""
    return json.dumps(data, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")


def _board(
    board: Board, stands: Mapping[str, Standing], album: _Album, most_images: int
) -> dict[str, Any]:
    record = next(iter(board.records.values()))
    labels = {label: position for position, label in enumerate(board.records)}
    reference = reference_for(board.name)
    units = len(set(scenes(record.samples.keys)))
    return {
        "dataset": board.name.dataset,
        "split": board.name.split,
        "protocol": board.name.protocol,
        "dataDigest": record.dataset.digest,
        "protocolDigest": record.protocol.digest,
        "description": record.content["protocol"]["description"],
        "lightScale": record.dataset.light_scale,
        "keys": list(record.samples.keys),
        "scenes": units,
        "pFloor": p_floor(units),
        "metrics": [
            {"key": key, "title": key.upper(), "higher": higher, "digits": DIGITS.get(key, 4)}
            for key, higher in board.metrics.items()
        ],
        "rows": [
            _row(board, stands, label, record.samples.keys, board.history[label])
            for label in labels
        ],
        "pairs": {metric: _pairs(stand, labels) for metric, stand in stands.items()},
        "reference": _reference_points(reference, board) if reference else None,
        "images": _board_images(board, album, most_images),
    }


def _row(
    board: Board,
    stands: Mapping[str, Standing],
    label: str,
    keys: Sequence[str],
    history: Sequence[Summary],
) -> dict[str, Any]:
    record = board.records[label]
    return {
        "label": label,
        "record": {"id": record.id, "file": record.file_name} | _provenance(record),
        "figures": {metric: _figure(board, stands, metric, record) for metric in board.metrics},
        "values": {
            metric: [_rounded(v) for v in aligned(record, metric, keys).tolist()]
            for metric in record.samples.values
        },
        "efficiency": {
            key: _plain_figure(figure)
            for key, figure in efficiency_figures(record, board.name).items()
        },
        "latency": latencies(record),
        "runs": [summary._asdict() for summary in history[-MOST_RUNS:]],
        "runCount": len(history),
    }


def _provenance(record: Record) -> dict[str, Any]:
    """What the dialog shows of a record: all but the samples and images."""
    return {k: v for k, v in record.content.items() if k not in ("samples", "images", "label")}


def _figure(
    board: Board, stands: Mapping[str, Standing], metric: str, record: Record
) -> dict[str, Any]:
    reported = reported_figures(board.name, record).get(metric)
    stand = stands.get(metric)
    if stand is None or record.label not in stand.intervals:
        reason = record.unavailable.get(metric, "No sample has a finite value.")
        return {"mean": None, "reported": reported, "note": reason}
    mean, low, high = (_rounded(v) for v in stand.intervals[record.label])
    return {
        "mean": mean,
        "low": low,
        "high": high,
        "samples": sum(not math.isnan(v) for v in record.column(metric)),
        "rank": stand.ranks[record.label],
        "mark": mark_of(stand, record.label),
        "level": stand.is_level_with_best(record.label),
        "reported": reported,
    }


def _plain_figure(figure: Figure) -> dict[str, Any]:
    return {
        "mean": figure.value,
        "reported": figure.reported,
        "note": figure.note,
        "mark": figure.mark,
    }


def _pairs(stand: Standing, labels: dict[str, int]) -> list[list[float | None]]:
    """[first, second, samples, scenes, difference, low, high, p, corrected p] of each pair."""
    return [
        [labels[pair.first], labels[pair.second], pair.samples, pair.units]
        + [_rounded(v) for v in (*pair.difference, pair.p_value, pair.p_holm)]
        for pair in stand.comparisons
    ]


def _reference_points(reference: Reference, board: Board) -> dict[str, Any]:
    """What the source reports, for the plot."""
    figures = reference.figures[board.name.dataset.lower()]
    return {
        "title": reference.title,
        "source": reference.source,
        "size": reference.size,
        "points": [
            {"label": label, "figures": figures[label], **reference.efficiency.get(label, {})}
            for label in reference.labels()
        ],
        "names": {
            label: reported_label(reference, record) for label, record in board.records.items()
        },
    }


def _reference_table(table: Table) -> dict[str, Any]:
    """A source's own table, for the lower part of the page."""
    return {
        "title": table.title,
        "notes": table.notes,
        "columns": [
            {
                "key": column.key,
                "title": column.title,
                "group": column.group.dataset if column.group else "",
                "digits": column.digits,
                "arrow": column.arrow,
            }
            for column in table.columns
        ],
        "rows": [
            {"label": label, "figures": {key: _plain_figure(f) for key, f in row.items()}}
            for label, row in table.rows.items()
        ],
    }


class _Album:
    """Images as data URIs, each once, up to a total size."""

    def __init__(self, folder: Path, side: int, limit_bytes: int) -> None:
        self.folder = folder
        self.side = side
        self.left_bytes = limit_bytes
        self.left_out = 0
        self.images: list[str] = []
        self.known: dict[str, int | None] = {}

    def add(self, path: str) -> int | None:
        """The number of an image, or None if it cannot be shown."""
        if path not in self.known:
            self.known[path] = self._embed(path)
        return self.known[path]

    def _embed(self, path: str) -> int | None:
        file = self.folder / path
        try:
            inside = file.resolve().is_relative_to(self.folder.resolve())
            data = _shrunk(file, self.side) if inside else b""
        except (OSError, UnidentifiedImageError):
            data = b""
        if not data or len(data) > self.left_bytes:
            self.left_out += 1
            return None
        self.left_bytes -= len(data)
        self.images.append("data:image/webp;base64," + base64.b64encode(data).decode())
        return len(self.images) - 1


def _shrunk(file: Path, side: int) -> bytes:
    """An image as WebP, its longer side at most `side` pixels."""
    with Image.open(file) as image:
        small = image.convert("L")
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=85)
    return buffer.getvalue()


def _board_images(board: Board, album: _Album, most: int) -> list[dict[str, Any]]:
    """Per sample: the layers that the viewer can show, best method first."""
    shown: dict[str, int] = {}
    for record in board.records.values():
        for key in record.images:
            shown[key] = shown.get(key, 0) + 1
    order = {key: i for i, key in enumerate(next(iter(board.records.values())).samples.keys)}
    chosen = sorted(shown, key=lambda key: (-shown[key], order[key]))[:most]
    samples = []
    for key in sorted(chosen, key=order.__getitem__):
        layers: dict[str, int | None] = {}
        for record in board.records.values():
            for role, path in record.images.get(key, {}).items():
                name = {"target": "Ground truth", "tfp": "TFP of the window"}.get(
                    role, record.label
                )
                if layers.get(name) is None:
                    layers[name] = album.add(path)
        found = {name: image for name, image in layers.items() if image is not None}
        if len(found) > 1:
            samples.append({"key": key, "layers": found})
    return samples


def _rounded(value: float) -> float | None:
    """Six significant digits, which is more than is printed; null where there is no value."""
    return float(f"{value:.6g}") if math.isfinite(value) else None
