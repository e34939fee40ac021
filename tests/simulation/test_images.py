from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from spikerec.errors import DataError, DataNotFoundError
from spikerec.simulation import bundled_images, folder_images
from spikerec.simulation.images import fitted, read_grey, write_grey


def test_bundled_images_need_no_download() -> None:
    images = bundled_images()
    assert len(images) >= 10
    for one in images:
        assert one.licence
        assert len(one.sha256) == 64
        assert min(one.image.shape) >= 96
        assert one.image.std() > 0.02


def test_grey_weighs_colours_as_the_field_does(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), (200, 100, 50)).save(tmp_path / "colour.png")
    expected = (0.299 * 200 + 0.587 * 100 + 0.114 * 50) / 255
    assert read_grey(tmp_path / "colour.png").mean().item() == pytest.approx(expected, abs=1 / 255)


def test_sixteen_bits_are_not_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 30000, np.uint16)).save(tmp_path / "deep.png")
    assert read_grey(tmp_path / "deep.png").mean().item() == pytest.approx(30000 / 65535, abs=1e-6)


def test_written_intensity_reads_back_to_half_a_level(tmp_path: Path) -> None:
    image = torch.rand(9, 7)
    write_grey(tmp_path / "image.png", image)
    torch.testing.assert_close(read_grey(tmp_path / "image.png"), image, atol=0.5001 / 255, rtol=0)


def test_fitting_keeps_proportions() -> None:
    image = torch.zeros(40, 80)
    image[:, 20:60] = 1  # the middle, which is what a square cut keeps
    torch.testing.assert_close(fitted(image, 10, 10), torch.ones(10, 10))


def test_a_folder_is_read_by_name_and_its_errors_say_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="holds no image"):
        folder_images(tmp_path)
    for name in ("b.png", "a.png"):
        Image.new("L", (9, 9)).save(tmp_path / name)
    assert [one.name for one in folder_images(tmp_path, "CC0")] == ["a.png", "b.png"]
    (tmp_path / "c.jpg").write_bytes(b"no")
    with pytest.raises(DataError, match=r"c\.jpg is not an image"):
        folder_images(tmp_path)
