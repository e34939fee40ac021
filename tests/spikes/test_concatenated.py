"""Several files as one stream."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikerec import spikes
from spikerec.errors import DataError, DataNotFoundError, GeometryError
from spikerec.spikes import Geometry

ARRAY = np.random.default_rng(0).integers(0, 2, (11, 4, 9), dtype=np.uint8)


def write_parts(folder: Path, names: list[str], cuts: list[int]) -> list[Path]:
    parts = np.split(ARRAY, cuts)
    paths = [folder / name for name in names]
    for path, part in zip(paths, parts, strict=True):
        spikes.save(path, part)
    return paths


@settings(max_examples=60)
@given(
    cuts=st.lists(st.integers(1, 10), min_size=2, max_size=2, unique=True).map(sorted),
    bounds=st.tuples(st.integers(0, 11), st.integers(0, 11)),
    step=st.integers(1, 4),
)
def test_parts_read_as_the_whole(cuts: list[int], bounds: tuple[int, int], step: int) -> None:
    first, stop = bounds
    with tempfile.TemporaryDirectory() as folder:
        paths = write_parts(Path(folder), ["a.dat", "b.npz", "c.dat"], cuts)
        stream = spikes.open(paths)
        assert stream.shape == ARRAY.shape
        np.testing.assert_array_equal(
            stream[first:stop:step, 1:3, 2:], ARRAY[first:stop:step, 1:3, 2:]
        )
        if first < stop:
            packed = stream.packed(first, stop, 1, 3, 2, 8)
            np.testing.assert_array_equal(packed.unpack(), ARRAY[first:stop, 1:3, 2:8])


def test_bytes_are_joined_where_all_parts_have_whole_bytes(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 2, (6, 4, 16), dtype=np.uint8)
    for index in range(3):
        spikes.save(tmp_path / f"{index}.dat", array[2 * index : 2 * index + 2])
    packed = spikes.open(tmp_path).packed(1, 5, 0, 4, 3, 14)
    assert packed.offset == 3
    np.testing.assert_array_equal(packed.unpack(), array[1:5, :, 3:14])


def test_a_folder_is_read_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    write_parts(tmp_path, ["frame2.dat", "frame10.dat", "frame11.dat"], [3, 7])
    with spikes.open(tmp_path) as stream:
        assert stream.path == tmp_path
        np.testing.assert_array_equal(stream[:], ARRAY)


def test_a_folder_has_one_sidecar_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "scene"
    write_parts(folder, ["0.dat", "1.dat"], [5])
    for sidecar in folder.glob("*.yaml"):
        sidecar.unlink()
    (tmp_path / "scene.yaml").write_text("height: 4\nwidth: 9\nlight_scale: 0.4\n")
    stream = spikes.open(folder)
    assert stream.light_scale == 0.4
    np.testing.assert_array_equal(stream[:], ARRAY)


def test_parts_of_another_size_are_refused(tmp_path: Path) -> None:
    spikes.save(tmp_path / "a.npy", np.ones((1, 4, 9), np.uint8))
    spikes.save(tmp_path / "b.npy", np.ones((1, 4, 8), np.uint8))
    with pytest.raises(GeometryError, match=r"b\.npy has width 8, expected 9 as .*a\.npy"):
        spikes.open([tmp_path / "a.npy", tmp_path / "b.npy"])


def test_nothing_to_join_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match=r"holds no \.dat files"):
        spikes.open(tmp_path)
    with pytest.raises(DataError, match="expected at least one spike file"):
        spikes.open([])


def test_a_part_that_does_not_fit_is_named(tmp_path: Path) -> None:
    write_parts(tmp_path, ["0.dat", "1.dat"], [5])
    (tmp_path / "1.dat").write_bytes(bytes(7))
    with pytest.raises(GeometryError, match=r"1\.dat holds 7 bytes: 1\.40 readouts of 4 × 9"):
        spikes.open(tmp_path, geometry=Geometry(4, 9))
