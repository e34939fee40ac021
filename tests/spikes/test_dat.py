"""`.dat` files: reading only what is asked for, and writing part by part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spikerec import spikes
from spikerec.errors import DataError, GeometryError
from spikerec.spikes import DatWriter, Geometry

LAYOUTS = [
    Geometry(20, 40),
    Geometry(20, 40, readout_width=48, bottom_up=False),
    Geometry(20, 37),  # rows begin inside a byte
    Geometry(20, 37, bit_order="big"),
]


@pytest.mark.parametrize("geometry", LAYOUTS, ids=str)
def test_a_crop_reads_only_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, geometry: Geometry
) -> None:
    array = np.random.default_rng(0).integers(0, 2, (9, 20, geometry.width), dtype=np.uint8)
    spikes.save(tmp_path / "a.dat", array, geometry=geometry)
    stream = spikes.open(tmp_path / "a.dat")
    decoded_bytes = []
    unpackbits = np.unpackbits

    def counting(octets: np.ndarray, **options: object) -> np.ndarray:
        decoded_bytes.append(octets.size)
        return unpackbits(octets, **options)

    monkeypatch.setattr(np, "unpackbits", counting)
    np.testing.assert_array_equal(stream[2:5, 7:11, 8:24], array[2:5, 7:11, 8:24])
    if geometry.row_bits % 8:
        assert sum(decoded_bytes) <= 3 * (4 * geometry.row_bits // 8 + 2)  # rows 7 to 10
    else:
        assert sum(decoded_bytes) == 3 * 4 * 2  # and of them only columns 8 to 23


def test_packed_rows_are_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.random.default_rng(0).integers(0, 2, (9, 20, 40), dtype=np.uint8)
    spikes.save(tmp_path / "a.dat", array)
    stream = spikes.open(tmp_path / "a.dat")
    with monkeypatch.context() as patch:
        patch.delattr(np, "unpackbits")
        packed = stream.packed(2, 5, 7, 11, 11, 30)
    assert (packed.offset, packed.width, packed.bits.shape) == (3, 19, (3, 4, 3))
    np.testing.assert_array_equal(packed.unpack(), array[2:5, 7:11, 11:30])


@pytest.mark.parametrize("geometry", LAYOUTS, ids=str)
def test_parts_make_the_same_file_as_the_whole(tmp_path: Path, geometry: Geometry) -> None:
    array = np.random.default_rng(0).integers(0, 2, (9, 20, geometry.width), dtype=np.uint8)
    spikes.save(tmp_path / "whole.dat", array, geometry=geometry, rate_hz=20_000)
    with DatWriter(tmp_path / "new" / "parts.dat", geometry, rate_hz=20_000) as writer:
        for start in (0, 4, 8):
            writer.append(array[start : start + 4])
        assert writer.num_readouts == 9
        assert not writer.path.exists()
    for suffix in (".dat", ".yaml"):
        whole, parts = tmp_path / f"whole{suffix}", tmp_path / "new" / f"parts{suffix}"
        assert whole.read_bytes() == parts.read_bytes()


def test_an_interrupted_writer_leaves_nothing(tmp_path: Path) -> None:
    def interrupt() -> None:
        with DatWriter(tmp_path / "a.dat", Geometry(2, 3)) as writer:
            writer.append(np.ones((1, 2, 3), np.uint8))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert list(tmp_path.iterdir()) == []


def test_a_writer_refuses_other_sizes(tmp_path: Path) -> None:
    with (
        pytest.raises(GeometryError, match=r"must be \(t, 2, 3\), found \(1, 3, 2\)"),
        DatWriter(tmp_path / "a.dat", Geometry(2, 3)) as writer,
    ):
        writer.append(np.ones((1, 3, 2), np.uint8))


def test_a_writer_refuses_values_that_are_no_spikes(tmp_path: Path) -> None:
    with (
        pytest.raises(GeometryError, match="only 0 and 1"),
        DatWriter(tmp_path / "a.dat", Geometry(2, 3)) as writer,
    ):
        writer.append(np.full((1, 2, 3), 7, np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_a_writer_needs_readouts_and_its_block(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match="no readouts were written"),
        DatWriter(tmp_path / "a.dat", Geometry(2, 3)),
    ):
        pass
    with pytest.raises(DataError, match="inside its `with` block"):
        DatWriter(tmp_path / "a.dat", Geometry(2, 3)).append(np.ones((1, 2, 3), np.uint8))


def test_a_writer_does_not_replace_unasked(tmp_path: Path) -> None:
    spikes.save(tmp_path / "a.dat", np.ones((1, 2, 3), np.uint8))
    with pytest.raises(DataError, match="exists already"):
        DatWriter(tmp_path / "a.dat", Geometry(2, 3))
    (tmp_path / "b.yaml").write_text("rate_hz: 5\n")
    with pytest.raises(DataError, match="states something else"):
        DatWriter(tmp_path / "b.dat", Geometry(2, 3))
