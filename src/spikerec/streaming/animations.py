"""Short videos as lossless animated WebP: every browser plays them, and Pillow reads them exactly.

The format keeps an image that equals the one before as a longer duration of it. Every image is
therefore shown for the same time, by which a reader finds how many there were. Where all are equal
the file is a still picture, and is read as one image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

#: Milliseconds that an image is shown.
DURATION_MS = 100
SUFFIX = ".webp"


def write_animation(path: Path, frames: Sequence[NDArray[np.uint8]]) -> None:
    """Write grey images (H, W) of one size as an animation that repeats.

    Args:
        path: of the file, which ends in `.webp`.
        frames: at least one.
    """
    first, *others = map(Image.fromarray, frames)
    first.save(
        path,
        "WEBP",
        save_all=True,
        append_images=others,
        duration=DURATION_MS,
        loop=0,
        lossless=True,
        method=2,
    )


def read_animation(path: Path, most_pixels: int, most_frames: int) -> Iterator[Image.Image]:
    """The images of an animation, each as often as it was written.

    Args:
        path: of the file.
        most_pixels: of an image; a file with larger ones has none.
        most_frames: images after which the rest is left out.

    Yields:
        Grey images.

    Raises:
        OSError: the file is not an animated WebP, or is damaged.
    """
    with Image.open(path, formats=["WEBP"]) as animation:
        if animation.width * animation.height > most_pixels:
            return
        count = 0
        for index in range(getattr(animation, "n_frames", 1)):
            animation.seek(index)
            frame = animation.convert("L")
            repeats = round(float(animation.info.get("duration", 0)) / DURATION_MS)
            for _ in range(max(1, min(repeats, most_frames - count))):
                yield frame
                count += 1
            if count >= most_frames:
                return
