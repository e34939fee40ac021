"""The leaderboard as one HTML file that opens from disk, with no network and no build step.

Everything that a reader can do is in `page.js`; this module gathers what it shows, as JSON. Each
row shows its newest figures, and images and values are bounded, however many records there are.
"""

from __future__ import annotations

import base64
import io
import json
import math
import stat
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from spikerec import __version__
from spikerec.errors import printable
from spikerec.results.boards import Board
from spikerec.results.breakdown import breakdowns, rule, shown
from spikerec.results.curves import Axis, covariates, curves, factors
from spikerec.results.folds import CrossValidated
from spikerec.results.learning import Learning, learning, without_curve
from spikerec.results.page.videos import MOST_SIDE, Strip, board_videos, filmstrip, is_video
from spikerec.results.record import Record
from spikerec.results.references import (
    Reference,
    reference_for,
    reported_figure,
    reported_label,
)
from spikerec.results.rows import Metric, Row, Summary
from spikerec.results.statistics import Standing, scenes
from spikerec.results.store import Problem
from spikerec.results.tables import (
    MOST_NOTE,
    Figure,
    Standings,
    Table,
    cut_notes,
    definition_notes,
    efficiency_figures,
    figure_note,
    latencies,
    mark_of,
    reference_table,
    row_values,
    too_few_scenes,
)
from spikerec.results.trained import training_of
from spikerec.streaming.pages import assembled

Found = TypeVar("Found")

MOST_PROBLEMS = 200
MOST_VALUES = 500_000  # per-sample values of a board; beyond, means alone
MOST_SHOWN = 50_000  # characters of a part of a record that is shown as it is
MOST_PIXELS = 2**25  # of a picture that is read
MOST_PICTURE_BYTES = 100_000_000


def render(
    boards: Sequence[Board],
    stands: Standings,
    references: Sequence[Reference],
    problems: Sequence[Problem],
    folders: Sequence[Path],
    *,
    images_per_board: int,
    image_side: int,
    image_megabytes: float,
) -> str:
    """Return the page.

    Args:
        boards: what to show.
        stands: their statistics.
        references: sources whose own tables are shown below the boards.
        problems: records that were left out.
        folders: the results folders; a record's pictures are looked for in its own, then in all.
        images_per_board: samples of each board whose images are embedded.
        image_side: longer side of an embedded image, in pixels; larger ones are scaled down.
        image_megabytes: limit of all embedded images together; what exceeds it is left out.
    """
    album = _Album(folders, image_side, int(image_megabytes * 1e6))
    data = {
        "version": __version__,
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
    return assembled("spikerec.results.page", "page.html", {"data": _script_safe(data)})


def _prominence(board: Board) -> tuple[bool, int, int]:
    """Boards with published figures first, then those with most metrics and most methods."""
    return reference_for(board) is None, -len(board.metrics), -len(board.rows)


def _script_safe(data: object) -> str:
    """JSON that is safe inside a script element, whatever its texts hold."""
    text = json.dumps(_visible(data), ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _visible(value: object) -> object:
    """The same, with the marks written out by which a text would turn letters or end lines."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {printable(key): _visible(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [_visible(item) for item in value]
    return value


def _board(
    board: Board, stands: Mapping[str, Standing], album: _Album, most_images: int
) -> dict[str, Any]:
    dataset = board.record.dataset
    labels = {label: position for position, label in enumerate(board.rows)}
    reference = reference_for(board)
    units = len(set(scenes(board.keys)))
    pairs = max((len(stand.comparisons) for stand in stands.values()), default=0)
    has_values = len(board.keys) * len(board.rows) * len(board.metrics) <= MOST_VALUES
    return {
        "name": str(board.name),
        "dataDigest": dataset.digest,
        "lightScale": dataset.light_scale,
        "keys": list(board.keys) if has_values else [],
        "samples": len(board.keys),
        "scenes": units,
        "tooFew": too_few_scenes(units, pairs),
        "notes": [*cut_notes(board), *definition_notes(board)],
        "metrics": [_metric(metric, stands) for metric in board.metrics.values()],
        "rows": [_row(board, stands, row, has_values) for row in board.rows.values()],
        "pairs": {key: _pairs(stand, labels) for key, stand in stands.items()},
        "reference": _reference_points(reference, board) if reference else None,
        "images": _board_images(board, album, most_images),
        "factors": [_axis(board, axis) for axis in factors(board)],
        "covariates": [_axis(board, axis) for axis in covariates(board)] if has_values else [],
        "breakdown": _breakdown(board),
        "learning": [_learning(group, labels) for group in learning(board)],
        "withoutCurve": without_curve(board),
        "videos": board_videos(board, _videos(board, album, most_images), most_images),
    }


def _axis(board: Board, axis: Axis) -> dict[str, Any]:
    """An axis with its points and the curves over it.

    `curves` is metric → one list a row of the board, of [mean, low, high, samples with a value] at
    each point; null where there is nothing.
    """
    found = curves(board, axis)
    present = {
        (key, label): ~np.isnan(values)
        for key, metric in board.metrics.items()
        for label, row in board.rows.items()
        if (values := row_values(row, metric, board.keys)) is not None
    }
    return {
        "name": axis.name,
        "title": axis.title,
        "points": [
            {"text": point.text, "low": _rounded(point.low), "high": _rounded(point.high)}
            for point in axis.points
        ],
        "middle": axis.middle,
        "curves": {
            key: [
                [
                    one and [*map(_rounded, one), int((mask & present[key, label]).sum())]
                    for one, mask in zip(by_row[label], axis.masks[label], strict=True)
                ]
                if label in by_row
                else None
                for label in board.rows
            ]
            for key, by_row in found.items()
        },
    }


def _breakdown(board: Board) -> dict[str, Any] | None:
    """The table of breakdowns: a list of texts a row, in the order of `factors`."""
    found = breakdowns(board)
    if not found:
        return None
    rows = [
        [shown(by_row[label]) if label in by_row else None for by_row in found.values()]
        for label in board.rows
    ]
    return {"factors": list(found), "rows": rows, "rule": rule(board)}


def _learning(group: Learning, labels: Mapping[str, int]) -> dict[str, Any]:
    """Learning curves that may be compared, and their table."""
    return {
        "title": group.title,
        "name": group.budget,
        "budget": group.together.seconds,
        "clock": group.together.clock,
        "curves": [
            {"row": labels[label], "samples": curve.samples, "seconds": curve.seconds}
            | {"psnr": curve.psnr}
            for label, curve in group.curves.items()
        ],
        "table": _texts(group.table()),
    }


def _texts(table: Table) -> dict[str, Any]:
    """A table whose cells are texts, each row with its label first."""
    return {
        "columns": [column.title for column in table.columns],
        "rows": [
            [label, *(row[column.key].plain(column.digits) for column in table.columns)]
            for label, row in table.rows.items()
        ],
        "notes": table.notes,
    }


def _metric(metric: Metric, stands: Mapping[str, Standing]) -> dict[str, Any]:
    return {
        "key": metric.key,
        "title": metric.title,
        "higher": metric.higher_is_better,
        "digits": metric.digits,
        "canTell": metric.key in stands and stands[metric.key].can_tell,
        "definition": f"{metric.definition.text[:MOST_NOTE]} · {metric.definition.digest[:12]}",
    }


def _row(
    board: Board, stands: Mapping[str, Standing], row: Row, has_values: bool
) -> dict[str, Any]:
    training = training_of(row)
    return {
        "label": row.label,
        "trained": training.text,
        "record": {"id": row.record.id, "file": row.record.file_name} | _provenance(row),
        "figures": {
            key: _figure(board, stands, metric, row) for key, metric in board.metrics.items()
        },
        "values": {
            key: [_rounded(v) for v in values.tolist()]
            for key, metric in board.metrics.items()
            if has_values and (values := row_values(row, metric, board.keys)) is not None
        },
        "efficiency": {
            key: _plain_figure(figure) for key, figure in efficiency_figures(board, row).items()
        },
        "latency": latencies(row),
        "history": [_summary(item) for item in row.history],
        "runCount": row.count,
    }


def _summary(item: Summary) -> dict[str, Any]:
    rounded = {key: None if mean is None else _rounded(mean) for key, mean in item.means.items()}
    return {"created": item.created, "file": item.file, "means": rounded}


def _provenance(row: Row) -> dict[str, Any]:
    """The newest record for the page's dialog, without its samples and images."""
    left_out = ("samples", "images", "label", "undefined", "protocol")
    content = {k: v for k, v in row.record.content.items() if k not in left_out}
    content["code"] = {k: None if v is None else str(v) for k, v in content["code"].items()}
    content |= {name: row.aspect(name) for name in ("efficiency", "training")}
    content["training"] = {k: v for k, v in content["training"].items() if k != "curve"}  # drawn
    folds = row.record.folds if isinstance(row.record, CrossValidated) else ()
    return {name: _bounded(part) for name, part in content.items()} | {
        "folds": {
            f"fold {number}": {"file": one.file_name, "weights": asdict(one.weights)}
            for number, one in enumerate(folds, 1)
        }
    }


def _bounded(part: Any) -> Any:  # noqa: ANN401 (any JSON value)
    """A part of a record, or where it is very long a statement in its place."""
    if isinstance(part, Mapping) and len(json.dumps(part)) > MOST_SHOWN:
        return {"left out": "too long for this page: see the record"}
    return part


def _figure(
    board: Board, stands: Mapping[str, Standing], metric: Metric, row: Row
) -> dict[str, Any]:
    record = row.figures.get(metric.definition.digest)
    if record is None:
        return {"mean": None}
    figure = {
        "mean": None,
        "reported": reported_figure(board, row, metric),
        "note": figure_note(row, metric, record),
        "disagrees": bool(row.disagreement(metric)),
        "file": record.file_name,
        "protocol": printable(record.protocol.name),
        "description": _bounded(record.content["protocol"]["description"]),
    }
    stand = stands.get(metric.key)
    if stand is None or row.label not in stand.intervals:
        return figure
    mean, low, high = (_rounded(v) for v in stand.intervals[row.label])
    return figure | {
        "mean": mean,
        "low": low,
        "high": high,
        "samples": sum(not math.isnan(v) for v in record.column(metric.name)),
        "rank": stand.ranks[row.label],
        "mark": mark_of(stand, row.label),
        "level": stand.is_level_with_best(row.label),
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
    """The figures that the source reports, for the plot."""
    figures = reference.figures[board.name.dataset.lower()]
    return {
        "title": reference.title,
        "source": reference.source,
        "size": reference.size,
        "points": [
            {"label": label, "figures": figures[label], **reference.efficiency.get(label, {})}
            for label in reference.labels()
        ],
        "names": {label: reported_label(reference, row) for label, row in board.rows.items()},
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
                "group": column.group,
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

    def __init__(self, folders: Sequence[Path], side: int, limit_bytes: int) -> None:
        self.folders = tuple(folders)
        self.side = side
        self.left_bytes = limit_bytes
        self.left_out = 0
        self.images: list[str] = []
        self.known: dict[tuple[Path | None, str], int | None] = {}

    def add(self, record: Record, path: str) -> int | None:
        """The number of a record's image, or None if it cannot be shown."""
        own = record.path.parent if record.path else None
        if (own, path) not in self.known:
            self.known[own, path] = self._embed(self._find(own, path, self._shrunk))
        return self.known[own, path]

    def add_video(self, record: Record, path: str) -> dict[str, int] | None:
        """The number of a record's video and the layout of its filmstrip, or None."""
        strip = self._find(record.path.parent if record.path else None, path, self._filmstrip)
        number = self._embed(_webp(strip.picture) if strip else None)
        return None if strip is None or number is None else {"image": number} | strip.layout()

    def _find(
        self, own: Path | None, path: str, read: Callable[[Path], Found | None]
    ) -> Found | None:
        """Read the file of that name in the first folder that has a readable one; else None."""
        for folder in dict.fromkeys([*([own] if own else []), *self.folders]):
            file = folder / path
            if _is_inside(file, folder) and (found := read(file)):
                return found
        return None

    def _shrunk(self, file: Path) -> bytes | None:
        return _shrunk(file, self.side)

    def _filmstrip(self, file: Path) -> Strip | None:
        try:
            return filmstrip(file, min(self.side, MOST_SIDE))
        except Exception:  # noqa: BLE001 (a stranger's video fails in many ways; none stops the page)
            return None

    def _embed(self, data: bytes | None) -> int | None:
        """Keep a picture as a data URI, and return its number; None where there is no room."""
        if not data or len(data) > self.left_bytes:
            self.left_out += 1
            return None
        self.left_bytes -= len(data)
        self.images.append("data:image/webp;base64," + base64.b64encode(data).decode())
        return len(self.images) - 1


def _is_inside(file: Path, folder: Path) -> bool:
    """True for a file of bounded size that is in the folder, links followed."""
    try:
        about = file.stat()
        inside = file.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError):
        return False
    return inside and stat.S_ISREG(about.st_mode) and about.st_size <= MOST_PICTURE_BYTES


def _shrunk(file: Path, side: int) -> bytes | None:
    """A PNG as WebP, its longer side at most `side` pixels; None if it cannot be shown."""
    try:
        with Image.open(file, formats=["PNG"]) as image:
            if image.width * image.height > MOST_PIXELS:
                return None
            small = image.convert("L")
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
        return _webp(small)
    except Exception:  # noqa: BLE001 (a stranger's picture fails in many ways; none stops the page)
        return None


def _webp(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=85)
    return buffer.getvalue()


def _pictured(board: Board) -> dict[str, Record]:
    """Row → its newest record that has pictures."""
    return {
        label: row.aspects["images"] for label, row in board.rows.items() if "images" in row.aspects
    }


def _layer(role: str, label: str) -> str:
    """The name under which the page shows a picture of a row."""
    return {"target": "Ground truth", "tfp": "TFP of the window"}.get(role, label)


def _videos(board: Board, album: _Album, most: int) -> dict[str, dict[str, Any]]:
    """Clip → name of what it shows → its filmstrip; of the clips with most videos."""
    pictured = _pictured(board)
    found: dict[str, dict[str, Any]] = {}
    counts = Counter(key for record in pictured.values() for key in record.images)
    for key, _ in counts.most_common(most):
        for label, record in pictured.items():
            for role, path in record.images.get(key, {}).items():
                strips = found.setdefault(key, {})
                if is_video(path) and strips.get(_layer(role, label)) is None:
                    strips[_layer(role, label)] = album.add_video(record, path)
    return {
        key: {name: strip for name, strip in strips.items() if strip}
        for key, strips in found.items()
    }


def _board_images(board: Board, album: _Album, most: int) -> list[dict[str, Any]]:
    """Per sample: the layers that the viewer can show, best method first."""
    pictured = _pictured(board)
    shown: dict[str, int] = {}
    for record in pictured.values():
        for key in record.images:
            shown[key] = shown.get(key, 0) + 1
    order = {key: i for i, key in enumerate(board.keys)}
    chosen = sorted(shown, key=lambda key: (-shown[key], order[key]))[:most]
    samples = []
    for key in sorted(chosen, key=order.__getitem__):
        layers: dict[str, int | None] = {}
        for label, record in pictured.items():
            for role, path in record.images.get(key, {}).items():
                name = _layer(role, label)
                if layers.get(name) is None and not is_video(path):
                    layers[name] = album.add(record, path)
        found = {name: image for name, image in layers.items() if image is not None}
        if len(found) > 1:
            samples.append({"key": key, "layers": found})
    return samples


def _rounded(value: float) -> float | None:
    """Six significant digits, which is more than is printed; null where there is no value."""
    return float(f"{value:.6g}") if math.isfinite(value) else None
