"""Lines of text, as pictures of a scene's objects: bare letters, or a sign that bears them."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

#: Characters of which lines are made, with spaces among them.
LETTERS = "     ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.,:!?&%+-="


def lettered(text: str, size: int, *, ink: float, paper: float | None) -> Tensor:
    """A line of text in the font that Pillow carries.

    Args:
        text: what it says.
        size: of the font, in pixels of the picture.
        ink: intensity of the letters, in [0, 1].
        paper: intensity of the sign that they are on, in [0, 1]; None: there is no sign.

    Returns:
        (2, h, w) float32: intensity and opacity, clear at the rim.
    """
    font = _font(size)
    margin = max(4, size // 3)
    left, top, right, bottom = font.getbbox(text)
    width, height = round(right - left) + 2 * margin, round(bottom - top) + 2 * margin
    image = Image.new("L", (width, height))
    ImageDraw.Draw(image).text((margin - left, margin - top), text, fill=255, font=font)
    letters = torch.from_numpy(np.asarray(image) / np.float32(255))
    if paper is None:
        return torch.stack((torch.full_like(letters, ink), letters))
    sign = torch.zeros_like(letters)
    sign[2:-2, 2:-2] = 1
    return torch.stack((paper + (ink - paper) * letters, sign))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
