"""Every format on disk: what is saved comes back, and parts equal the parts of the whole."""

from __future__ import annotations

import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikerec import spikes
from spikerec.errors import (
    ConfigError,
    DataError,
    DataNotFoundError,
    GeometryError,
    SpikerecError,
)
from spikerec.spikes import Geometry

SUFFIXES = ["dat", "npy", "npz", "h5"]


def random_spikes(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, shape, dtype=np.uint8)


@st.composite
def stored_streams(draw: st.DrawFn) -> tuple[str, np.ndarray, Geometry | None]:
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 7), st.integers(1, 21)))
    array = random_spikes(*shape, seed=draw(st.integers(0, 99)))
    suffix = draw(st.sampled_from(SUFFIXES))
    if suffix != "dat":
        return suffix, array, None
    extra = draw(st.integers(0, 17))
    geometry = Geometry(
        shape[1],
        shape[2],
        shape[2] + extra if extra else None,
        draw(st.booleans()),
        draw(st.sampled_from(["little", "big"])),
    )
    return suffix, array, geometry


def part_of(size: int) -> st.SearchStrategy[tuple[int, int]]:
    bounds = st.tuples(st.integers(0, size), st.integers(0, size))
    return bounds.filter(lambda two: two[0] != two[1]).map(lambda two: (min(two), max(two)))


@settings(max_examples=120)
@given(stored=stored_streams(), data=st.data())
def test_any_part_equals_the_slice_of_the_whole(
    stored: tuple[str, np.ndarray, Geometry | None], data: st.DataObject
) -> None:
    suffix, array, geometry = stored
    num_readouts, height, width = array.shape
    (t0, t1), (y0, y1), (x0, x1) = (data.draw(part_of(size)) for size in array.shape)
    step = data.draw(st.integers(1, 3))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a.{suffix}"
        spikes.save(path, array, geometry=geometry, light_scale=0.4)
        with spikes.open(path) as stream:
            assert stream.shape == (num_readouts, height, width)
            assert stream.light_scale == 0.4
            assert stream.rate_hz is None
            np.testing.assert_array_equal(stream[:], array)
            part = stream[t0:t1:step, y0:y1, x0:x1]
            assert part.dtype == np.uint8
            assert part.flags.c_contiguous
            np.testing.assert_array_equal(part, array[t0:t1:step, y0:y1, x0:x1])
            packed = stream.packed(t0, t1, y0, y1, x0, x1)
            assert 0 <= packed.offset < 8
            np.testing.assert_array_equal(packed.unpack(), array[t0:t1, y0:y1, x0:x1])
            assert packed.bits.shape[2] == -(-(packed.offset + packed.width) // 8)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", [bool, np.uint8, np.float32, torch.bool, torch.float32])
def test_spikes_of_any_type_are_saved(
    tmp_path: Path, suffix: str, kind: type | torch.dtype
) -> None:
    array = random_spikes(3, 4, 5)
    given = (
        torch.from_numpy(array).to(kind) if isinstance(kind, torch.dtype) else array.astype(kind)
    )
    spikes.save(tmp_path / f"a.{suffix}", given)
    np.testing.assert_array_equal(spikes.open(tmp_path / f"a.{suffix}")[:], array)


@pytest.mark.parametrize("source", SUFFIXES)
@pytest.mark.parametrize("target", SUFFIXES)
def test_a_stream_is_converted_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, target: str
) -> None:
    monkeypatch.setattr("spikerec.spikes.formats.COPY_BYTES", 90)  # two readouts
    array = random_spikes(7, 5, 9)
    spikes.save(tmp_path / f"a.{source}", array, rate_hz=20_000)
    spikes.save(tmp_path / f"b.{target}", spikes.open(tmp_path / f"a.{source}"))
    copy = spikes.open(tmp_path / f"b.{target}")
    assert copy.rate_hz == 20_000
    np.testing.assert_array_equal(copy[:], array)


def test_a_dat_is_laid_out_as_published(tmp_path: Path) -> None:
    array = np.zeros((1, 2, 10), np.uint8)
    array[0, 0, 0] = array[0, 1, 9] = 1  # bottom row first: pixels 9 and 10 of the readout
    spikes.save(tmp_path / "a.dat", array)
    assert (tmp_path / "a.dat").read_bytes() == bytes([0, 0b110, 0])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_is_not_replaced_unasked(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    spikes.save(path, random_spikes(2, 3, 4))
    before = path.read_bytes()
    with pytest.raises(DataError, match="exists already: pass overwrite=True"):
        spikes.save(path, random_spikes(2, 3, 4, seed=1))
    assert path.read_bytes() == before
    spikes.save(path, random_spikes(2, 3, 4, seed=1), overwrite=True)
    np.testing.assert_array_equal(spikes.open(path)[:], random_spikes(2, 3, 4, seed=1))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_failed_save_leaves_the_old_file_and_no_other(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    spikes.save(path, random_spikes(2, 3, 4))
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    np.save(tmp_path / "bad.npy", np.full((9, 3, 4), 7, np.uint8))
    with pytest.raises(GeometryError, match="only 0 and 1, found 7"):
        spikes.save(path, spikes.open(tmp_path / "bad.npy"), overwrite=True)
    (tmp_path / "bad.npy").unlink()
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_the_argument_wins_over_the_sidecar(tmp_path: Path) -> None:
    spikes.save(tmp_path / "a.dat", random_spikes(2, 4, 8), rate_hz=20_000, light_scale=0.6)
    stream = spikes.open(tmp_path / "a.dat", geometry=Geometry(8, 4), rate_hz=40_000)
    assert (stream.shape, stream.rate_hz, stream.light_scale) == ((2, 8, 4), 40_000, 0.6)


def test_a_dat_without_geometry_says_which_would_fit(tmp_path: Path) -> None:
    (tmp_path / "car.dat").write_bytes(bytes(2_048_000))
    with pytest.raises(GeometryError) as caught:
        spikes.open(tmp_path / "car.dat")
    message = str(caught.value)
    assert "car.dat holds 2,048,000 bytes and states no geometry." in message
    assert "1000 × 1024 (16 readouts)" in message
    assert "1000 × 1000 stored 1024 wide (16 readouts)" in message
    assert "250 × 400 (" not in message
    assert "or write car.yaml beside it." in message
    assert "\n" not in message


def test_a_geometry_that_does_not_divide_says_what_would(tmp_path: Path) -> None:
    (tmp_path / "car.dat").write_bytes(bytes(2_048_000))
    with pytest.raises(
        GeometryError,
        match=r"2,048,000 bytes: 163\.84 readouts of 250 × 400 \(12,500 bytes each; 10,500 left "
        r"over\).*1000 × 1024",
    ):
        spikes.open(tmp_path / "car.dat", geometry=Geometry(250, 400))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.dat", b"", "is empty: expected at least one readout"),
        ("a.npy", b"nonsense", "cannot be read as .npy"),
        ("a.npy", b"", "cannot be read as .npy"),
        ("a.npz", b"nonsense", "cannot be read as .npz"),
        ("a.h5", b"nonsense", "cannot be read as .h5"),
        ("a.mp4", b"nonsense", "unknown format '.mp4', expected one of .dat, .raw"),
    ],
)
def test_content_of_another_kind_is_one_line(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SpikerecError, match=message) as caught:
        spikes.open(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_of_other_files_says_what_it_holds(tmp_path: Path) -> None:
    for name in ("a.npy", "b.npy"):
        np.save(tmp_path / name, random_spikes(3, 4, 5))
    with pytest.raises(
        DataNotFoundError, match=r"no \.dat files.* It holds a\.npy and 1 more: open"
    ):
        spikes.open(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match=r"car\.npy does not exist"):
        spikes.open(tmp_path / "car.npy")


def test_a_light_scale_out_of_range_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", random_spikes(2, 3, 4))
    with pytest.raises(ConfigError, match="light_scale"):
        spikes.open(tmp_path / "a.npy", light_scale=0)


def test_a_geometry_is_only_for_dat(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", random_spikes(2, 3, 4))
    with pytest.raises(GeometryError, match="states its own shape"):
        spikes.open(tmp_path / "a.npy", geometry=Geometry(3, 4))


@pytest.mark.parametrize(
    "array", [np.zeros((3, 4), np.uint8), np.zeros((2, 3, 4)), np.zeros((0, 3, 4), np.uint8)]
)
@pytest.mark.parametrize("suffix", ["npy", "npz", "h5"])
def test_arrays_that_are_no_spikes_are_refused(
    tmp_path: Path, array: np.ndarray, suffix: str
) -> None:
    path = tmp_path / f"a.{suffix}"
    if suffix == "npy":
        np.save(path, array)
    elif suffix == "npz":
        np.savez_compressed(path, spk=array)
    else:
        with h5py.File(path, "w") as file:
            file["spk"] = array
    with pytest.raises(GeometryError, match=r"expected readouts|must be \(T, H, W\) of uint8"):
        spikes.open(path, dataset=None if suffix == "npy" else "spk")


@pytest.mark.parametrize("suffix", ["npy", "npz", "h5"])
def test_values_other_than_0_and_1_are_found_when_decoded(tmp_path: Path, suffix: str) -> None:
    array = random_spikes(3, 4, 5)
    array[2, 3, 4] = 255
    path = tmp_path / f"a.{suffix}"
    if suffix == "npy":
        np.save(path, array)
    elif suffix == "npz":
        np.savez_compressed(path, spk=array)
    else:
        with h5py.File(path, "w") as file:
            file["spk"] = array
    stream = spikes.open(path)
    with pytest.raises(GeometryError, match=f"a.{suffix} must hold only 0 and 1, found 255"):
        stream.window(2, 1)


@pytest.mark.parametrize("suffix", ["npz", "h5"])
def test_the_array_is_chosen_by_name_or_by_its_axes(tmp_path: Path, suffix: str) -> None:
    one, other = random_spikes(2, 3, 4), random_spikes(3, 3, 4)

    def write(name: str, **members: np.ndarray) -> Path:
        path = tmp_path / f"{name}.{suffix}"
        if suffix == "npz":
            np.savez(path, **members)
        else:
            with h5py.File(path, "w") as file:
                for key, value in members.items():
                    file[key] = value
        return path

    only = write("only", block=one, label=np.int64(3))
    assert spikes.open(only).shape == one.shape
    named = write("named", aux=other, spk=one)
    assert spikes.open(named).shape == one.shape
    assert spikes.open(named, dataset="aux").shape == other.shape
    with pytest.raises(DataError, match="has no array 'x': expected one of those in it: 'aux'"):
        spikes.open(named, dataset="x")
    with pytest.raises(DataError, match="Pass dataset=NAME"):
        spikes.open(write("unclear", a=one, b=other))


def test_fortran_order_is_read(tmp_path: Path) -> None:
    array = random_spikes(3, 4, 19)
    np.savez_compressed(tmp_path / "a.npz", spk=np.asfortranarray(array))
    np.save(tmp_path / "a.npy", np.asfortranarray(array))
    np.testing.assert_array_equal(spikes.open(tmp_path / "a.npz")[:], array)
    np.testing.assert_array_equal(spikes.open(tmp_path / "a.npy")[:], array)


def test_a_large_array_in_fortran_order_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    head = {"descr": "|u1", "fortran_order": True, "shape": (1_000, 4_096, 4_096)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, head)
        file.truncate(file.tell() + 1_000 * 4_096 * 4_096)  # takes no room on the disk
    with pytest.raises(DataError, match=r"in Fortran order.*Save it in C order"):
        spikes.open(path)


def test_a_packed_h5_with_a_wrong_width_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["spikes"] = np.zeros((2, 3, 4), np.uint8)
        file["spikes"].attrs["packed_width"] = 40
    with pytest.raises(GeometryError, match="has 4 bytes a row, expected 5"):
        spikes.open(tmp_path / "a.h5")


def test_published_recordings_are_read(shared: Path) -> None:
    stream = spikes.open(shared / "data" / "uhsr_4144_helicopter.npz")
    assert stream.shape == (200, 250, 250)
    assert 0.02 < stream[:].mean() < 0.04  # a dark scene: 3 % of the bits


ARRAY = np.random.default_rng(0).integers(0, 2, (4, 5, 9), dtype=np.uint8)


def test_a_dataset_is_refused_for_a_file_whose_array_has_no_name(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((8, 4, 8), np.uint8))
    with pytest.raises(ConfigError, match=r"expected none for .*a\.npy, found rec/spikes"):
        spikes.open(path, dataset="rec/spikes")


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """An `.h5` with two recordings in a group, and soft links to a dataset and to the group."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["rec/spikes"] = ARRAY
        file["rec/dark"] = 1 - ARRAY
        file["link"] = h5py.SoftLink("/rec/dark")
        file["group"] = h5py.SoftLink("rec")
        file["rec/again"] = h5py.SoftLink("spikes")
        file["nowhere"] = h5py.SoftLink("/rec/none")
        file["round"] = h5py.SoftLink("/round")
    return path


@pytest.mark.parametrize(
    ("name", "is_dark"),
    [
        ("/rec/spikes", False),
        ("rec//spikes/", False),
        ("link", True),
        ("/group/dark", True),
        ("rec/again", False),
    ],
)
def test_a_dataset_is_found_by_its_path_and_by_soft_links(
    name: str, is_dark: bool, linked: Path
) -> None:
    expected = 1 - ARRAY if is_dark else ARRAY
    np.testing.assert_array_equal(spikes.open(linked, dataset=name)[:], expected)


def test_a_soft_link_named_spikes_is_the_spikes(linked: Path) -> None:
    with pytest.raises(DataError, match="Pass dataset=NAME"):
        spikes.open(linked)
    with h5py.File(linked, "r+") as file:
        file["spikes"] = h5py.SoftLink("/rec/dark")
    np.testing.assert_array_equal(spikes.open(linked)[:], 1 - ARRAY)


@pytest.mark.parametrize("name", ["nowhere", "round", "/other"])
def test_a_link_to_nothing_is_told_in_a_line(name: str, linked: Path) -> None:
    with pytest.raises(DataError, match=r"a\.h5 has no array .*rec/spikes"):
        spikes.open(linked, dataset=name)


def test_a_soft_link_never_leads_out_of_the_file(linked: Path, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["spikes"] = ARRAY
    with h5py.File(linked, "r+") as file:
        file["out"] = h5py.ExternalLink("other.h5", "/")
        file["sly"] = h5py.SoftLink("/out/spikes")
    with pytest.raises(DataError, match="unless external=true"):
        spikes.open(linked, dataset="sly")


def test_a_damaged_chunk_is_told_in_a_line(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("spikes", data=ARRAY, chunks=ARRAY.shape, fletcher32=True)
        place = file["spikes"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[place + 3] ^= 1
    path.write_bytes(bytes(content))
    stream = spikes.open(path)
    with pytest.raises(DataError, match=r"a\.h5 cannot be read as \.h5"):
        stream[:]
