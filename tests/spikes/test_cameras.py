"""Recordings as cameras write them: tags in the rows, headers, cut ends, turned pictures."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
from numpy.typing import NDArray

from spikerec import spikes
from spikerec.errors import ConfigError, DataError, GeometryError
from spikerec.spikes import Geometry, Sidecar
from spikerec.spikes.bayer import cropped_pattern, mosaic, turned, turned_pattern
from spikerec.spikes.inspection import rank_geometries
from tests.fakes import fake_spikes, sps100_bytes

HEIGHT = 20  # of a small SPS100; the width is fixed
READOUT = HEIGHT * 128
PICTURES = fake_spikes(4, HEIGHT, 1000)
RAW = Geometry(HEIGHT, 1000, layout="sps100")


@pytest.mark.parametrize("cut", [0, 16, 37 * 64, 19 * 64 + 16, 39 * 64 + 32])
def test_a_raw_sps100_stream_is_read_from_its_first_whole_readout(
    cut: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = sps100_bytes(PICTURES)
    assert len(content) == 4 * READOUT
    (tmp_path / "a.dat").write_bytes(content[cut:])
    with caplog.at_level(logging.WARNING):
        stream = spikes.open(tmp_path / "a.dat", geometry=RAW)
    whole = PICTURES if cut == 0 else PICTURES[1:]
    assert stream.shape == whole.shape
    np.testing.assert_array_equal(stream[:], whole)
    np.testing.assert_array_equal(stream[1:3, 3:7, 490:520], whole[1:3, 3:7, 490:520])
    np.testing.assert_array_equal(
        stream.packed(0, 2, 1, 5, 501, 777).unpack(), whole[:2, 1:5, 501:777]
    )
    assert ("begins in the middle of a readout" in caplog.text) == (cut > 0)


def test_what_looks_like_a_tag_among_pixels_is_passed_over(tmp_path: Path) -> None:
    content = bytearray(sps100_bytes(PICTURES))
    first = content[62:64]
    for place in range(64 * 3, READOUT, 64 * 4):  # in pixels, at a multiple of 16 bytes
        content[place + 14 : place + 16] = first
    (tmp_path / "a.dat").write_bytes(bytes(content[64:]))
    stream = spikes.open(tmp_path / "a.dat", geometry=RAW)
    np.testing.assert_array_equal(stream[:], PICTURES[1:])


def test_the_end_of_a_raw_stream_may_be_cut(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.dat").write_bytes(sps100_bytes(PICTURES)[:-100])
    with caplog.at_level(logging.WARNING):
        assert len(spikes.open(tmp_path / "a.dat", geometry=RAW)) == 3
    assert f"its last {READOUT - 100} bytes are left out" in caplog.text


@pytest.mark.parametrize("content", [b"", bytes(1000), bytes(5 * READOUT)])
def test_a_file_without_tags_is_no_raw_stream(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.dat").write_bytes(content)
    with pytest.raises(GeometryError, match=r"a\.dat holds no whole readout of 20 × 1000 of a raw"):
        spikes.open(tmp_path / "a.dat", geometry=RAW)


def test_the_clusters_of_a_recorder_are_read_by_number(tmp_path: Path) -> None:
    for number, folder in enumerate("0210"):
        file = tmp_path / "rec" / folder / f"{number + 9}.dat"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(sps100_bytes(PICTURES[number : number + 1]))
    (tmp_path / "rec.yaml").write_text(f"layout: sps100\nheight: {HEIGHT}\n")
    np.testing.assert_array_equal(spikes.open(tmp_path / "rec")[:], PICTURES)
    (tmp_path / "rec" / "2" / "10.dat").unlink()
    with pytest.raises(DataError, match=r"clusters 9 to 12 .* 10 is missing"):
        spikes.open(tmp_path / "rec")


def test_a_raw_stream_is_noticed_by_the_inspector(tmp_path: Path) -> None:
    y, x = np.mgrid[:1000, :1000]
    scene = (np.sin(x / 90) + np.cos(y / 70) + 2) / 4
    random = np.random.default_rng(0)
    pictures = (random.random((4, 1000, 1000)) < scene).astype(np.uint8)
    (tmp_path / "a.dat").write_bytes(sps100_bytes(pictures))
    best = rank_geometries(tmp_path / "a.dat")[0]
    assert best.geometry == Geometry(1000, 1000, layout="sps100")
    assert best.num_readouts == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"height": 4, "width": 8, "layout": "sps10"}, "layout must be plain or sps100"),
        ({"height": 4, "width": 8, "layout": "sps100"}, "rows of 1000 pixels.*found 4 × 8"),
        ({"height": 5, "width": 1000, "layout": "sps100"}, "an even number of them"),
        ({"height": 4, "width": 8, "skip_bytes": -1}, "skip_bytes must be a whole number"),
        ({"height": 4, "width": 8, "skip_bytes": 10**30}, "skip_bytes must be a whole number"),
        ({"height": 4, "width": 8, "partial": "keep"}, "partial must be refuse or drop"),
    ],
)
def test_layouts_that_cannot_be_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(GeometryError, match=message):
        Geometry(**arguments)


@pytest.fixture
def cut(tmp_path: Path) -> Path:
    """A recording of 3 readouts and a half, behind a header of 10 bytes, with a sidecar."""
    path = tmp_path / "car.dat"
    spikes.save(path, PICTURES[:, :, :16], rate_hz=20000)
    path.write_bytes(b"0123456789" + path.read_bytes()[:-20])
    return path


def test_a_header_is_skipped_and_a_cut_end_dropped_when_asked(
    cut: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(GeometryError, match=r"partial=drop.*skip_bytes=N"):
        spikes.open(cut)
    with pytest.raises(GeometryError, match=r"after 10 to skip: 3\.50 readouts"):
        spikes.open(cut, geometry={"skip_bytes": 10})
    with caplog.at_level(logging.WARNING):
        stream = spikes.open(cut, geometry={"skip_bytes": 10, "partial": "drop"})
    assert "car.dat ends in the middle of a readout: its last 20 bytes are left out" in caplog.text
    np.testing.assert_array_equal(stream[:], PICTURES[:3, :, :16])
    assert stream.rate_hz == 20000
    cut.write_bytes(cut.read_bytes()[:30])
    with pytest.raises(GeometryError, match=r"0\.50 readouts"):
        spikes.open(cut, geometry={"skip_bytes": 10, "partial": "drop"})


def test_a_recording_that_grows_keeps_what_it_had(cut: Path) -> None:
    stream = spikes.open(cut, geometry={"skip_bytes": 10, "partial": "drop"})
    with cut.open("ab") as file:
        file.write(bytes(100))
    np.testing.assert_array_equal(stream[:], PICTURES[:3, :, :16])


def test_a_geometry_in_part_completes_the_sidecar(cut: Path, tmp_path: Path) -> None:
    given = {"skip_bytes": 10, "partial": "drop", "bottom_up": False}
    stream = spikes.open(cut, geometry=given)
    np.testing.assert_array_equal(stream[:], PICTURES[:3, ::-1, :16])
    with pytest.raises(GeometryError, match=r"car\.dat: geometry has no 'hight'"):
        spikes.open(cut, geometry={"hight": 3})
    (tmp_path / "bare.dat").write_bytes(bytes(40))
    with pytest.raises(GeometryError, match=r"bare\.dat: height and width missing.*partial"):
        spikes.open(tmp_path / "bare.dat", geometry={"partial": "drop"})
    spikes.save(tmp_path / "a.h5", PICTURES)
    assert spikes.open(tmp_path / "a.h5", geometry={"partial": "drop"}).shape == PICTURES.shape
    with pytest.raises(GeometryError, match="expected no geometry, found skip_bytes"):
        spikes.open(tmp_path / "a.h5", geometry={"partial": "drop", "skip_bytes": 4})
    np.save(tmp_path / "a.npy", PICTURES)
    with pytest.raises(GeometryError, match="expected no geometry, found height"):
        spikes.open(tmp_path / "a.npy", geometry={"partial": "drop", "height": 6})


def test_an_array_that_was_cut_opens_when_asked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.npy"
    np.save(path, PICTURES)
    pixels = PICTURES[0].size
    whole = path.read_bytes()
    path.write_bytes(whole[: -(2 * pixels + 1)])
    left = len(PICTURES) - 3
    with pytest.raises(DataError, match=f"its {left} whole readouts by geometry.partial=drop"):
        spikes.open(path)
    stream = spikes.open(path, geometry={"partial": "drop"})
    assert f"{left} of its {len(PICTURES)} readouts are read" in caplog.text
    np.testing.assert_array_equal(stream[:], PICTURES[:left])
    path.write_bytes(whole[: -(len(PICTURES) * pixels - 1)])
    with pytest.raises(DataError, match=r"Get it again\.$"):
        spikes.open(path, geometry={"partial": "drop"})
    with pytest.raises(GeometryError, match=r"geometry\.partial must be refuse or drop"):
        spikes.open(path, geometry={"partial": "keep"})


@pytest.mark.parametrize("is_matlab", [False, True])
def test_a_dataset_that_was_not_written_to_its_end_opens_when_asked(
    is_matlab: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pictures = fake_spikes(9, 6, 10)
    stored = pictures.transpose(0, 2, 1) if is_matlab else pictures
    with h5py.File(tmp_path / "a.h5", "w") as file:
        chunks = (2, 4, 4)
        written = file.create_dataset("spikes", (20, *stored.shape[1:]), np.uint8, chunks=chunks)
        written[:8] = stored[:8]
        written[8:9, :4, :4] = stored[8:9, :4, :4]  # of the next chunks, one alone
        written[14:16] = 1  # and some behind a gap
        if is_matlab:
            written.attrs["MATLAB_class"] = np.bytes_("uint8")
    with pytest.raises(DataError, match=r"chunks. Get it again, or read its 8 whole readouts by"):
        spikes.open(tmp_path / "a.h5")
    stream = spikes.open(tmp_path / "a.h5", geometry={"partial": "drop"})
    assert "8 of its 20 readouts are read" in caplog.text
    np.testing.assert_array_equal(stream[:], pictures[:8])
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_dataset("spikes", (20, 6, 10), np.uint8, chunks=(2, 6, 10))[2:4] = 1
    with pytest.raises(DataError, match=r"1 of 10 chunks\. Get it again\.$"):
        spikes.open(tmp_path / "b.h5", geometry={"partial": "drop"})


def test_what_cannot_be_read_in_part_is_refused(tmp_path: Path) -> None:
    for name in ("a.h5", "a.npz"):
        spikes.save(tmp_path / name, PICTURES)
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 2])
        with pytest.raises(DataError, match=r"damaged, cut short, or of another kind"):
            spikes.open(tmp_path / name, geometry={"partial": "drop"})


@pytest.mark.parametrize("suffix", [".raw", ".bin", ".RAW"])
def test_bits_have_other_names_too(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    spikes.save(path, PICTURES, rate_hz=20000)
    assert spikes.open(path).rate_hz == 20000
    assert (tmp_path / f"a{suffix}.yaml").is_file()  # a.yaml belongs to a.dat
    content = path.read_bytes()
    path.write_bytes(b"head" + content[:-1])
    stream = spikes.open(path, geometry={"skip_bytes": 4, "partial": "drop"})
    np.testing.assert_array_equal(stream[:], PICTURES[:-1])
    (tmp_path / f"a{suffix}.yaml").unlink()
    with pytest.raises(GeometryError, match="states no geometry"):
        spikes.open(path)


def test_a_mat_of_version_7_3_is_read_and_an_older_one_answered(tmp_path: Path) -> None:
    pictures = fake_spikes(4, 6, 10)
    with h5py.File(tmp_path / "a.mat", "w", userblock_size=512) as file:
        written = file.create_dataset("rec/spikes", data=pictures.transpose(0, 2, 1))
        written.attrs["MATLAB_class"] = np.bytes_("uint8")
    np.testing.assert_array_equal(spikes.open(tmp_path / "a.mat")[:], pictures)
    stream = spikes.open(tmp_path / "a.mat", dataset="/rec/spikes", rotate=90)
    np.testing.assert_array_equal(stream[:], turned(pictures, 90, "none"))
    scipy.io.savemat(tmp_path / "old.mat", {"spikes": pictures})
    with pytest.raises(DataError, match=r"MATLAB file of version 5, expected version 7\.3"):
        spikes.open(tmp_path / "old.mat")
    with pytest.raises(DataError, match=r"unknown format '\.mat'"):
        spikes.save(tmp_path / "new.mat", pictures)


def test_a_raw_stream_that_grows_keeps_what_it_had(tmp_path: Path) -> None:
    content = sps100_bytes(PICTURES)
    path = tmp_path / "a.dat"
    path.write_bytes(content[: 2 * READOUT + 100])
    stream = spikes.open(path, geometry=RAW)
    with path.open("ab") as file:
        file.write(content[2 * READOUT + 100 :])
    assert stream.num_readouts == 2
    np.testing.assert_array_equal(stream[:], PICTURES[:2])


def test_a_sidecar_keeps_layout_turn_and_colours(tmp_path: Path) -> None:
    for geometry in (
        Geometry(1000, 1000, layout="sps100", skip_bytes=64),
        Geometry(6, 8, bottom_up=False, partial="drop"),
    ):
        stated = Sidecar(geometry, 20000, None, rotate=90, flip="vertical", bayer="bggr")
        spikes.write_sidecar(tmp_path / "a.dat", stated, overwrite=True)
        assert spikes.read_sidecar(tmp_path / "a.dat") == stated
    spikes.write_sidecar(tmp_path / "b.dat", Sidecar(Geometry(6, 8)))
    words = "".join((tmp_path / "b.yaml").read_text().split())
    assert words == "height:6width:8bottom_up:truebit_order:little"  # as older versions read it
    (tmp_path / "c.yaml").write_text("layout: sps100")
    assert spikes.read_sidecar(tmp_path / "c.dat").geometry == Geometry(1000, 1000, layout="sps100")


def test_only_plain_files_are_written(tmp_path: Path) -> None:
    for geometry in (RAW, Geometry(HEIGHT, 1000, skip_bytes=4)):
        with pytest.raises(GeometryError, match="written plain and without a header"):
            spikes.save(tmp_path / "a.dat", PICTURES, geometry=geometry)


TURNS = [
    (rotate, flip) for rotate in (0, 90, 180, 270) for flip in ("none", "horizontal", "vertical")
]


@pytest.mark.parametrize(("rotate", "flip"), TURNS)
@pytest.mark.parametrize("suffix", ["dat", "npy", "h5"])
def test_pictures_are_turned_whatever_the_format(
    rotate: int, flip: Any, suffix: str, tmp_path: Path
) -> None:
    pictures = fake_spikes(3, 5, 9)
    spikes.save(tmp_path / f"a.{suffix}", pictures)
    stream = spikes.open(tmp_path / f"a.{suffix}", rotate=rotate, flip=flip)
    expected = turned(pictures, rotate, flip)
    assert stream.shape == expected.shape
    np.testing.assert_array_equal(stream[:], expected)
    np.testing.assert_array_equal(stream[1:, 1:4, 2:5], expected[1:, 1:4, 2:5])
    packed = stream.packed(0, 2, 1, 4, 2, 5).unpack()
    np.testing.assert_array_equal(packed, expected[:2, 1:4, 2:5])


def test_a_quarter_turn_is_clockwise() -> None:
    assert turned(np.array([[1, 2], [3, 4]]), 90, "none").tolist() == [[3, 1], [4, 2]]
    assert turned(np.array([[1, 2], [3, 4]]), 90, "horizontal").tolist() == [[1, 3], [2, 4]]


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "grbg", "gbrg"])
@pytest.mark.parametrize(("rotate", "flip"), TURNS)
@pytest.mark.parametrize("size", [(4, 6), (5, 6), (4, 7), (5, 7)])
def test_turns_and_crops_keep_the_colour_of_each_pixel(
    pattern: Any, rotate: int, flip: Any, size: tuple[int, int]
) -> None:
    colours = mosaic(pattern, *size)
    seen = turned(colours, rotate, flip)
    np.testing.assert_array_equal(
        mosaic(turned_pattern(pattern, rotate, flip, *size), *seen.shape), seen
    )
    for top, left in ((0, 1), (1, 0), (1, 1), (2, 3)):
        part = colours[top:, left:]
        found: NDArray[np.str_] = mosaic(cropped_pattern(pattern, top, left), *part.shape)
        np.testing.assert_array_equal(found, part)


def test_an_array_is_turned_and_coloured_as_a_file_is() -> None:
    pictures = fake_spikes(3, 5, 8)
    stream = spikes.open(pictures, rotate=90, flip="vertical", bayer="bggr")
    np.testing.assert_array_equal(stream[:], turned(pictures, 90, "vertical"))
    assert stream.bayer == turned_pattern("bggr", 90, "vertical", 5, 8)


def test_a_turned_stream_knows_its_colours(tmp_path: Path) -> None:
    spikes.save(tmp_path / "a.npy", fake_spikes(3, 5, 8))
    (tmp_path / "a.npy.yaml").write_text("bayer: bggr\nrotate: 90\n")
    assert spikes.open(tmp_path / "a.npy").bayer == turned_pattern("bggr", 90, "none", 5, 8)
    assert spikes.open(tmp_path / "a.npy", rotate=0).bayer == "bggr"
    assert spikes.open(tmp_path / "a.npy", rotate=0, bayer="rggb").bayer == "rggb"


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"rotate": 45}, "rotate must be 0, 90, 180 or 270 degrees clockwise, found 45"),
        ({"rotate": True}, "rotate must be"),
        (
            {"flip": "both"},
            "flip must be none, horizontal, vertical or None, found",
        ),
        ({"bayer": "rgb"}, "bayer must be rggb, bggr, grbg, gbrg or None, found the text 'rgb'"),
    ],
)
def test_turns_and_patterns_that_there_are_not(
    stated: dict[str, Any], message: str, tmp_path: Path
) -> None:
    spikes.save(tmp_path / "a.npy", fake_spikes(3, 5, 8))
    with pytest.raises(ConfigError, match=message):
        spikes.open(tmp_path / "a.npy", **stated)
