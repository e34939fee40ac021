from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from spikerec.errors import DataError, DataNotFoundError
from spikerec.simulation import bundled_images, folder_images, images, opening
from spikerec.simulation.images import (
    fitted,
    image_size,
    read_colour,
    read_cut_out,
    read_grey,
    write_grey,
)


def test_bundled_images_need_no_download() -> None:
    images = bundled_images()
    assert len(images) >= 10
    for one in images:
        assert one.licence
        assert len(one.sha256) == 64
        assert min(one.image.shape) >= 96
        assert one.image.std() > 0.02


def test_a_webp_has_a_lower_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "MAX_WEBP_PIXELS", 100)
    for kind in ("webp", "png"):
        Image.new("L", (11, 10)).save(tmp_path / f"a.{kind}")
    assert image_size(tmp_path / "a.png") == (10, 11)
    with pytest.raises(DataError, match="10 × 11 pixels, expected at most 100"):
        image_size(tmp_path / "a.webp")


def saved(path: Path, image: Image.Image, **how: Any) -> Path:
    image.save(path, **how)
    return path


def test_grey_weighs_colours_as_the_field_does(tmp_path: Path) -> None:
    path = saved(tmp_path / "colour.png", Image.new("RGB", (4, 4), (201, 102, 50)))
    expected = (0.299 * 201 + 0.587 * 102 + 0.114 * 50) / 255  # not a whole level
    assert read_grey(path).mean().item() == pytest.approx(expected, abs=1e-6)


def test_colours_are_read_by_strips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "STRIP_PIXELS", 30_000)
    levels = np.random.default_rng(0).integers(0, 256, (500, 400, 3), dtype=np.uint8)
    path = saved(tmp_path / "colour.png", Image.fromarray(levels))
    tracemalloc.start()
    try:
        colours = read_colour(path)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    expected = torch.from_numpy(levels).permute(2, 0, 1).to(torch.float32) / 255
    assert torch.equal(colours, expected)
    assert most < 2 * colours.nbytes


RAMP = np.arange(0, 256, 4, dtype=np.uint8).reshape(8, 8)
COLOURED = Image.fromarray(np.stack([RAMP, RAMP.T, 255 - RAMP], -1))
COLOURED_GREY = (0.299 * RAMP + 0.587 * RAMP.T + 0.114 * (255 - RAMP.astype(float))) / 255


@pytest.mark.parametrize(
    ("image", "suffix", "expected", "within"),
    [
        (Image.fromarray(RAMP > 128), "png", RAMP > 128, 0),
        (Image.fromarray(RAMP), "png", RAMP / 255, 1e-6),
        (Image.fromarray(np.stack([RAMP, 255 - RAMP], -1)), "png", RAMP / 255, 1e-6),
        (Image.fromarray(RAMP).convert("P"), "png", RAMP / 255, 1e-6),
        (COLOURED, "png", COLOURED_GREY, 1e-6),
        (COLOURED.convert("RGBA"), "png", COLOURED_GREY, 1e-6),
        (COLOURED.convert("CMYK"), "tif", COLOURED_GREY, 1e-6),
        (COLOURED.convert("CMYK"), "jpg", COLOURED_GREY, 0.1),
        (COLOURED.convert("YCbCr"), "tif", COLOURED_GREY, 2 / 255),
        (Image.fromarray(RAMP.astype(np.uint16) * 257), "png", RAMP / 255, 1e-6),
        (Image.fromarray(RAMP.astype(np.uint16) * 257), "tif", RAMP / 255, 1e-6),
        (Image.fromarray(RAMP.astype(">u2") * 257), "tif", RAMP / 255, 1e-6),
        (Image.fromarray(RAMP.astype(np.int32) * 257), "tif", RAMP / 255, 1e-6),
        (Image.fromarray((RAMP / 255).astype(np.float32)), "tif", RAMP / 255, 1e-6),
    ],
)
def test_every_mode_is_intensity(
    tmp_path: Path, image: Image.Image, suffix: str, expected: np.ndarray, within: float
) -> None:
    path = saved(tmp_path / f"a.{suffix}", image)
    np.testing.assert_allclose(read_grey(path).numpy(), expected, atol=within)


def test_hues_and_lightness_are_read_by_their_colours(tmp_path: Path) -> None:
    hsv = Image.fromarray(RAMP).convert("RGB").convert("HSV")  # no file format has it
    np.testing.assert_allclose(images._grey(hsv, tmp_path), RAMP / 255, atol=2 / 255)
    neutral = np.zeros_like(RAMP)
    lab = Image.frombytes("LAB", (8, 8), np.stack([RAMP, neutral, neutral], -1).tobytes())
    found = read_grey(saved(tmp_path / "a.tif", lab)).numpy().ravel()
    # CIE lightness 128 / 255 · 100 = 50.2 is the sRGB value 119.4 / 255
    assert found[32] == pytest.approx(119.4 / 255, abs=0.01)
    assert (np.diff(found) >= 0).all()


def test_a_transparent_palette_is_read_by_its_colours(tmp_path: Path) -> None:
    image = Image.fromarray(RAMP).convert("P")
    path = saved(tmp_path / "a.png", image, transparency=bytes(range(256)))
    np.testing.assert_allclose(read_grey(path).numpy(), RAMP / 255, atol=1e-6)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_shown_upright(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    upright = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
    turns = {  # what a camera held so would have stored
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }
    stored = Image.fromarray(np.ascontiguousarray(turns[orientation]))
    path = saved(tmp_path / f"a.{suffix}", stored, exif=exif)
    np.testing.assert_allclose(read_grey(path).numpy(), upright / 255, atol=1e-6)
    assert image_size(path) == (6, 8)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((4, 4), 200, np.float32), "floats outside"),
        (np.full((4, 4), np.nan, np.float32), "floats outside"),
        (np.full((4, 4), 1 << 20, np.int32), "integers outside 0 to 65535"),
        (np.full((4, 4), -1, np.int32), "integers outside 0 to 65535"),
    ],
)
def test_values_that_are_no_intensity_are_refused(
    tmp_path: Path, values: np.ndarray, message: str
) -> None:
    path = saved(tmp_path / "a.tif", Image.fromarray(values))
    with pytest.raises(DataError, match=f"a.tif holds {message}"):
        read_grey(path)


def png_of(width: int, height: int) -> bytes:
    """A PNG that states a size and holds no pixel."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [8193, 13_300, 100_000])
def test_an_image_is_bounded_before_it_is_decoded(tmp_path: Path, side: int) -> None:
    (tmp_path / "a.png").write_bytes(png_of(side, side))
    for read in (read_grey, image_size):
        with pytest.raises(DataError, match=r"a\.png (has|cannot be read as an image)"):
            read(tmp_path / "a.png")


@pytest.mark.parametrize("content", [b"", b"no", png_of(9, 9), b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_what_is_no_image_is_one_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png cannot be read as an image: it is damaged"):
        read_grey(tmp_path / "a.png")


def test_a_cut_out_has_grey_and_opacity(tmp_path: Path) -> None:
    levels = np.zeros((10, 12, 4), np.uint8)
    levels[..., :3] = 102
    levels[2:5, 3:9, 3] = 255
    cut_out = read_cut_out(saved(tmp_path / "a.png", Image.fromarray(levels)))
    assert cut_out.shape == (2, 10, 12)
    torch.testing.assert_close(cut_out[0], torch.full((10, 12), 0.4))
    assert cut_out[1].sum() == 18
    opaque = saved(tmp_path / "b.png", Image.fromarray(levels[..., :3]))
    with pytest.raises(DataError, match="has no outline: expected a picture with a transparent"):
        read_cut_out(opaque)


def test_written_intensity_reads_back_to_half_a_level(tmp_path: Path) -> None:
    image = torch.rand(9, 7)
    write_grey(tmp_path / "image.png", image)
    torch.testing.assert_close(read_grey(tmp_path / "image.png"), image, atol=0.5001 / 255, rtol=0)


def test_fitting_keeps_proportions() -> None:
    image = torch.zeros(40, 80)
    image[:, 20:60] = 1  # the middle, which is what a square cut keeps
    torch.testing.assert_close(fitted(image, 10, 10), torch.ones(10, 10))


def test_a_folder_is_read_in_order_and_without_hidden_files(tmp_path: Path) -> None:
    for name in ("f_0.png", "f_10.png", "f_2.png", "f_1.png", "f_11.png"):
        Image.new("L", (9, 9)).save(tmp_path / name)
    (tmp_path / "._f_0.png").write_bytes(b"what macOS writes beside a file")
    (tmp_path / ".DS_Store").write_bytes(b"")
    names = [one.name for one in folder_images(tmp_path)]
    assert names == ["f_0.png", "f_1.png", "f_2.png", "f_10.png", "f_11.png"]


def test_a_folder_is_read_by_name_and_its_errors_say_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="holds no image"):
        folder_images(tmp_path)
    for name in ("b.png", "a.png"):
        Image.new("L", (9, 9)).save(tmp_path / name)
    assert [one.name for one in folder_images(tmp_path, "CC0")] == ["a.png", "b.png"]
    (tmp_path / "c.jpg").write_bytes(b"no")
    with pytest.raises(DataError, match=r"c\.jpg cannot be read as an image"):
        folder_images(tmp_path)


def test_a_jpeg_of_many_scans_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (2048, 2048)).save(buffer, "JPEG", progressive=True)
    content = buffer.getvalue()
    scans = content[content.index(b"\xff\xda") : -2]
    (tmp_path / "a.jpg").write_bytes(content)
    assert read_grey(tmp_path / "a.jpg").shape == (2048, 2048)
    (tmp_path / "b.jpg").write_bytes(content[:-2] + 20 * scans + content[-2:])
    with pytest.raises(DataError, match="scans, expected at most 536,870,912 together"):
        read_grey(tmp_path / "b.jpg")
