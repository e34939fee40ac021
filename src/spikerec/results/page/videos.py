"""The videos of a board for its page: filmstrips, and the curves that go with them.

A filmstrip is one still picture of all images of a video, row by row, from which the page draws one
image at a time. Every browser shows it, all videos are at the same image whatever their sizes, and
a page that is one file contains it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from spikerec.results.boards import Board
from spikerec.results.parts import Curves
from spikerec.streaming.animations import SUFFIX, read_animation

MOST_FRAMES = 120  # images of a clip that the page plays
MOST_PIXELS = 2**22  # of an image that is read
MOST_SIDE = 480  # longest side in pixels of an image that is played
MOST_STRIP_SIDE = 16_000  # pixels: WebP holds 16,383


class Strip(NamedTuple):
    """A filmstrip.

    Attributes:
        picture: all images, row by row.
        frames: how many there are.
        columns: images in a row.
        width: of an image, in pixels.
        height: of an image, in pixels.
    """

    picture: Image.Image
    frames: int
    columns: int
    width: int
    height: int

    def layout(self) -> dict[str, int]:
        """All but the picture, for the page."""
        return {name: getattr(self, name) for name in ("frames", "columns", "width", "height")}


def filmstrip(file: Path, side: int) -> Strip | None:
    """The filmstrip of an animation; None if it cannot be shown.

    Args:
        file: an animated WebP.
        side: longest side of an image, in pixels; larger ones are scaled down.
    """
    frames = []
    for frame in read_animation(file, MOST_PIXELS, MOST_FRAMES):
        frame.thumbnail((side, side), Image.Resampling.LANCZOS)
        frames.append(frame)
    if not frames:
        return None
    width, height = frames[0].size
    columns = max(1, min(math.isqrt(len(frames) - 1) + 1, MOST_STRIP_SIDE // width))
    rows = -(-len(frames) // columns)
    if rows * height > MOST_STRIP_SIDE:
        return None
    strip = Image.new("L", (columns * width, rows * height))
    for index, frame in enumerate(frames):
        strip.paste(frame, (index % columns * width, index // columns * height))
    return Strip(strip, len(frames), columns, width, height)


def is_video(path: str) -> bool:
    """True for the path of a saved video."""
    return path.endswith(SUFFIX)


def board_videos(
    board: Board, videos: Mapping[str, Mapping[str, Any]], most: int
) -> list[dict[str, Any]]:
    """The clips that the page plays, those with most videos first among equals in the set's order.

    Args:
        board: of videos.
        videos: clip → name of a method or of the truth → its filmstrip on the page.
        most: clips.

    Returns:
        For each clip its key, the number of its images and their readouts as far as they are
        played, its filmstrips, and metric → method → value per image.
    """
    curves = {
        (metric.key, label): record.curves
        for metric in board.metrics.values()
        for label, row in board.rows.items()
        if (record := row.figures.get(metric.definition.digest)) and record.curves
    }
    chosen = sorted(board.keys, key=lambda key: -len(videos.get(key, {})))[:most]
    return [
        _clip(board, key, curves, videos.get(key, {}))
        for key in board.keys
        if key in chosen and curves
    ]


def _clip(
    board: Board,
    key: str,
    curves: Mapping[tuple[str, str], Curves],
    strips: Mapping[str, Any],
) -> dict[str, Any]:
    readouts = next(iter(curves.values())).readouts[key]
    shown: dict[str, dict[str, list[float | None]]] = {}
    for (metric, label), own in curves.items():
        curve = own.values.get(board.metrics[metric].name, {}).get(key)
        if curve is not None and own.readouts[key] == readouts:
            shown.setdefault(metric, {})[label] = [_rounded(v) for v in curve[:MOST_FRAMES]]
    return {
        "key": key,
        "images": len(readouts),
        "readouts": list(readouts[:MOST_FRAMES]),
        "strips": dict(strips),
        "curves": shown,
    }


def _rounded(value: float) -> float | None:
    """Four significant digits, which is more than a curve shows; null where there is no value."""
    return float(f"{value:.4g}") if math.isfinite(value) else None
