"""Pictures side by side under their labels, with a line of text below."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

#: Share of the height that a line of text takes, and its least number of pixels.
TEXT_SHARE = 0.06
LEAST_TEXT = 12
#: Below this size text is cut instead of made smaller.
SMALLEST_FONT = 7
#: Columns between two pictures.
GAP = 2


def side_by_side(
    pictures: Sequence[NDArray[np.float32]],
    labels: Sequence[str] = (),
    caption: str = "",
) -> NDArray[np.float32]:
    """One picture of several of the same size.

    Args:
        pictures: (h, w) or (h, w, 3) each, in [0, 1]; all are made colour if one is.
        labels: one a picture, written above it; none for no such line.
        caption: written below all; empty for no such line.
    """
    if any(picture.ndim == 3 for picture in pictures):
        pictures = [_coloured(picture) for picture in pictures]
    height, width, *colours = pictures[0].shape
    line = max(LEAST_TEXT, round(TEXT_SHARE * height)) + 4
    gap = np.ones((height, GAP, *colours), np.float32)
    row = _joined([picture.astype(np.float32, copy=False) for picture in pictures], gap)
    parts = [row]
    if labels:
        gap = np.zeros((line, GAP), np.float32)
        parts.insert(0, _joined([_text(label, line, width) for label in labels], gap))
    if caption:
        parts.append(_text(caption, line, row.shape[1]))
    if colours:
        parts = [_coloured(part) for part in parts]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _coloured(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """A grey picture (h, w) as (h, w, 3); one in colour as it is."""
    return np.repeat(picture[..., None], 3, -1) if picture.ndim == 2 else picture


def _joined(
    pictures: Sequence[NDArray[np.float32]], gap: NDArray[np.float32]
) -> NDArray[np.float32]:
    parts = [pictures[0]]
    for picture in pictures[1:]:
        parts += [gap, picture]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


@lru_cache(maxsize=32)
def _text(text: str, height: int, width: int) -> NDArray[np.float32]:
    """White on black, in one line, as large as fits."""
    canvas = Image.new("L", (width, height))
    draw = ImageDraw.Draw(canvas)
    for size in range(height - 4, SMALLEST_FONT - 1, -1):
        font = ImageFont.load_default(size)
        left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
        if right - left <= width - 4:
            break
    # At whole pixels: elsewhere Pillow cuts the letters off at their upper and lower edge.
    place = (3 - round(left), round((height - (bottom - top)) / 2 - top))
    draw.text(place, text, fill=255, font=font)
    return np.asarray(canvas, np.float32) / np.float32(255)
