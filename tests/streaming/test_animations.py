from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spikerec.streaming.animations import read_animation, write_animation


def test_images_come_back_exactly_and_as_often_as_they_were_written(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    a, b, c = (random.integers(0, 256, (31, 45), dtype=np.uint8) for _ in range(3))
    frames = [a, a, a, b, c, c]
    write_animation(tmp_path / "one.webp", frames)
    found = [np.asarray(image) for image in read_animation(tmp_path / "one.webp", 2000, 100)]
    assert len(found) == len(frames)
    assert all(np.array_equal(*pair) for pair in zip(found, frames, strict=True))


def test_what_is_read_is_bounded(tmp_path: Path) -> None:
    frames = list(np.random.default_rng(0).integers(0, 256, (9, 8, 8), dtype=np.uint8))
    write_animation(tmp_path / "one.webp", frames)
    assert len(list(read_animation(tmp_path / "one.webp", 64, 4))) == 4
    assert list(read_animation(tmp_path / "one.webp", 63, 4)) == []


def test_other_formats_are_refused(tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "one.webp", "PNG")
    with pytest.raises(OSError, match="cannot identify"):
        list(read_animation(tmp_path / "one.webp", 2000, 100))
