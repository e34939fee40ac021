"""Spike files from strangers: bounds before allocation, own storage alone, one error."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from spikerec import spikes
from spikerec.errors import GeometryError, SpikerecError
from spikerec.spikes import arrays, numpy_files
from tests.hangs import no_hang

ARRAY = np.random.default_rng(0).integers(0, 2, (5, 4, 9), dtype=np.uint8)
SECRET = b"a line that belongs to another file\n"


def refusal(path: Path, dataset: str | None = None) -> str:
    with pytest.raises(SpikerecError) as caught:
        spikes.open(path, dataset=dataset)[:]
    assert path.stem in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def npy_head(text: str, version: int = 1, length: int | None = None) -> bytes:
    size = len(text) if length is None else length
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", size)


def npy(text: str, content: bytes = b"") -> bytes:
    return npy_head(text) + text.encode() + content


def claims(shape: str) -> str:
    return f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}\n"


@pytest.mark.parametrize("kind", ["external storage", "virtual dataset", "external link"])
def test_an_h5_reads_its_own_storage_alone(tmp_path: Path, kind: str) -> None:
    (tmp_path / "secret.txt").write_bytes(SECRET)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["spikes"] = ARRAY
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        if kind == "external storage":
            where = [(str(tmp_path / "secret.txt"), 0, 36)]
            file.create_dataset("spikes", (1, 6, 6), np.uint8, external=where)
        elif kind == "virtual dataset":
            layout = h5py.VirtualLayout(ARRAY.shape, np.uint8)
            layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "spikes", ARRAY.shape)
            file.create_virtual_dataset("spikes", layout)
        else:
            file["spikes"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/spikes")
    assert "unless external=true" in refusal(path)
    if kind == "external storage":
        with pytest.raises(GeometryError, match="must hold only 0 and 1"):
            spikes.open(path, external=True)[:]
    else:
        np.testing.assert_array_equal(spikes.open(path, external=True)[:], ARRAY)


def test_matlab_stores_its_axes_in_reverse(tmp_path: Path) -> None:
    in_matlab = ARRAY.transpose(1, 2, 0)  # (H, W, T)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["spikes"] = in_matlab.T
        file["spikes"].attrs["MATLAB_class"] = np.bytes_("uint8")
    stream = spikes.open(tmp_path / "a.h5")
    assert stream.shape == ARRAY.shape
    np.testing.assert_array_equal(stream[:], ARRAY)
    np.testing.assert_array_equal(stream[1:4, 2:3, 3:8], ARRAY[1:4, 2:3, 3:8])
    np.testing.assert_array_equal(stream.packed(1, 4, 1, 3, 2, 9).unpack(), ARRAY[1:4, 1:3, 2:9])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy(claims("(5000000000, 4, 9)")), "2,147,483,648 readouts"),
        (npy(claims("(1, 100000, 100000)")), "16,777,216 pixels"),
        (npy(claims("(5, 4, 9)"), bytes(20)), "is cut short"),
        (npy(claims("(-5, 4, 9)")), "sizes that cannot be"),
        (npy(claims("(True, 4, 9)")), "sizes that cannot be"),
        (npy(claims("(5, 4, 9")), "cannot be read as .npy"),
        (npy("[" * 9000), "cannot be read as .npy"),
        (npy(claims("(5, 4, 9)").replace("|u1", "|O")), "must be"),
        (npy(claims("(5, 4, 9)").replace("'|u1'", "[('a', '|u1')]")), "of records"),
        (npy_head("", 2, 1 << 31), "its header has 2,147,483,648 bytes"),
        (npy_head("", 9), "expected version 1, 2 or 3"),
        (b"\x93NUMPY", "cannot be read as .npy"),
    ],
)
def test_an_npy_that_states_what_it_lacks_is_refused(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    assert message in refusal(tmp_path / "a.npy")


def write_npz(path: Path, content: bytes, method: int = zipfile.ZIP_DEFLATED) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("spikes.npy", content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy(claims("(1, 4000, 4000)"), bytes(100)), "but its member has"),
        (npy(claims("(5, 4, 9)"), bytes(181)), "but its member has"),
        (npy_head("", 2, (1 << 32) - 1), "its header has 4,294,967,295 bytes"),
        (npy(claims("(5, 4, 9)"), bytes([7]) * 180), "must hold only 0 and 1, found 7"),
    ],
)
def test_an_npz_that_states_what_it_lacks_is_refused(
    tmp_path: Path, content: bytes, message: str
) -> None:
    write_npz(tmp_path / "a.npz", content)
    assert message in refusal(tmp_path / "a.npz")


def test_an_npz_is_bounded_before_it_is_decompressed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez_compressed(tmp_path / "a.npz", spikes=ARRAY)
    monkeypatch.setattr(numpy_files, "MAX_NPZ_PIXELS", ARRAY.size - 1)
    assert "expected at most 179" in refusal(tmp_path / "a.npz")
    monkeypatch.undo()
    write_npz(tmp_path / "lzma.npz", b"", zipfile.ZIP_LZMA)
    assert "otherwise than NumPy does it" in refusal(tmp_path / "lzma.npz")
    with zipfile.ZipFile(tmp_path / "many.npz", "w") as archive:
        for index in range(1001):
            archive.writestr(f"{index}", b"")
    assert "more than 1,000 members" in refusal(tmp_path / "many.npz")


def test_an_npz_may_hold_an_array_of_objects_beside_the_spikes(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", spikes=ARRAY, notes=np.array([{"a": 1}], dtype=object))
    np.testing.assert_array_equal(spikes.open(tmp_path / "a.npz")[:], ARRAY)


def test_bytes_that_are_no_booleans_are_refused(tmp_path: Path) -> None:
    content = npy(claims("(5, 4, 9)").replace("|u1", "|b1"), bytes([9]) * 180)
    (tmp_path / "a.npy").write_bytes(content)
    assert "must hold only 0 and 1, found 9" in refusal(tmp_path / "a.npy")


def test_an_h5_is_bounded(tmp_path: Path) -> None:
    def written(name: str, **how: object) -> Path:
        path = tmp_path / f"{name}.h5"
        with h5py.File(path, "w") as file:
            file.create_dataset("spikes", dtype=np.uint8, **how)
        return path

    assert "2,147,483,648 readouts" in refusal(
        written("huge", shape=(10**12, 1000, 1000), chunks=(1, 1000, 1000))
    )
    assert "chunks of 4,000,000,000 bytes" in refusal(
        written("chunk", shape=(4000, 1000, 1000), chunks=(4000, 1000, 1000))
    )
    assert "0 of 4 chunks" in refusal(written("hollow", shape=(4, 8, 8), chunks=(1, 8, 8)))
    assert "lacks values" in refusal(written("none", shape=(4, 8, 8)))
    assert "compressed by filters" in refusal(
        written("filter", data=np.ones((4, 8, 8)), chunks=(1, 8, 8), scaleoffset=1)
    )


def test_a_dataset_of_another_file_is_bounded_too(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.create_dataset("spikes", (4000, 1000, 1000), np.uint8, chunks=(4000, 1000, 1000))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["spikes"] = h5py.ExternalLink("other.h5", "/spikes")
    with pytest.raises(SpikerecError, match=r"chunks of 4,000,000,000 bytes"):
        spikes.open(tmp_path / "a.h5", external=True)


def test_an_h5_of_many_groups_is_bounded(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "deep.h5", "w") as file:
        group = file
        for _ in range(200):
            group = group.create_group("g")
    assert "16 levels deep" in refusal(tmp_path / "deep.h5")
    with h5py.File(tmp_path / "loop.h5", "w") as file:
        file["spikes"] = ARRAY
        file["again"] = file["/"]
    np.testing.assert_array_equal(spikes.open(tmp_path / "loop.h5")[:], ARRAY)


def zlib_chunk(size: int) -> bytes:
    return zlib.compress(bytes(size))


@pytest.mark.parametrize(
    ("filters", "content", "mask", "is_whole"),
    [
        ({"compression": "gzip"}, zlib_chunk(64), 0, True),
        ({"compression": "gzip"}, bytes(64), 1, True),
        ({"compression": "gzip"}, zlib_chunk(1 << 20), 0, False),
        ({"compression": "gzip"}, zlib_chunk(65), 0, False),
        ({"compression": "gzip"}, zlib_chunk(10), 0, False),
        ({"compression": "gzip"}, zlib_chunk(64)[:-4], 0, False),
        ({"compression": "gzip"}, bytes(10), 1, False),
        ({"compression": "gzip"}, bytes(100), 1, False),
        ({"shuffle": True}, bytes(64), 0, True),
        ({"shuffle": True}, bytes(63), 0, False),
        ({}, bytes(64), 0, True),
        ({}, bytes(10), 0, False),
    ],
)
def test_an_h5_chunk_of_another_size_than_stated_is_refused(
    tmp_path: Path, filters: dict[str, object], content: bytes, mask: int, is_whole: bool
) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("spikes", (2, 8, 8), np.uint8, chunks=(1, 8, 8), **filters)
        for readout in range(2):
            dataset.id.write_direct_chunk((readout, 0, 0), content, filter_mask=mask)
    if is_whole:
        assert not spikes.open(path)[:].any()
    else:
        assert "more or fewer bytes than its size" in refusal(path)


@pytest.mark.parametrize("value", ["nine", [9, 9], 9.0, -9, 0, 2**40, h5py.Empty("i4")])
def test_an_h5_attribute_of_another_kind_is_refused(tmp_path: Path, value: object) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["spikes"] = np.zeros((2, 3, 2), np.uint8)
        file["spikes"].attrs["packed_width"] = value
    assert "packed_width" in refusal(tmp_path / "a.h5")


@pytest.mark.parametrize("filters", [{"compression": "lzf"}, {"compression": "gzip"}, {}])
def test_usual_filters_are_read(tmp_path: Path, filters: dict[str, object]) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset(
            "spikes", data=ARRAY, chunks=(2, 4, 9), shuffle=True, fletcher32=True, **filters
        )
    np.testing.assert_array_equal(spikes.open(tmp_path / "a.h5")[:], ARRAY)


def test_an_error_does_not_quote_the_file(tmp_path: Path) -> None:
    text = SECRET.decode().strip()
    (tmp_path / "a.dat").write_bytes(bytes(8))
    np.save(tmp_path / "b.npy", ARRAY)
    buffer = io.BytesIO()
    np.savez(buffer, **{text * 3: ARRAY[0]})
    (tmp_path / "c.npz").write_bytes(buffer.getvalue())
    (tmp_path / "d.npy").write_bytes(npy(f"{{'descr': '{text}'}}"))
    (tmp_path / "e.npy").write_bytes(npy(text))
    for sidecar in (text, f"{text}: 1", f"light_scale: {text * 2}", f'"{text}', f"!{text}"):
        (tmp_path / "a.yaml").write_text(sidecar)
        assert "another file" not in refusal(tmp_path / "a.dat")
    for name in ("c.npz", "d.npy", "e.npy"):
        assert "another file" not in refusal(tmp_path / name)


def test_a_link_of_an_h5_is_not_quoted(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["spikes"] = h5py.SoftLink("/" + SECRET.decode() * 100)
    assert "has no array 'spikes'" in refusal(tmp_path / "a.h5", "spikes")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(40, 3, 17), (1, 1, 33), (100, 1, 1), (3, 50, 8)])
@pytest.mark.parametrize("slab", [8, 64, 1000, 1 << 24])
def test_an_npz_is_decompressed_a_slab_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slab: int, shape: tuple[int, ...], order: str
) -> None:
    monkeypatch.setattr(numpy_files, "SLAB_BYTES", slab)
    array = np.random.default_rng(0).integers(0, 2, shape, dtype=np.uint8)
    np.savez_compressed(tmp_path / "a.npz", spikes=np.asarray(array, order=order))
    np.testing.assert_array_equal(spikes.open(tmp_path / "a.npz")[:], array)


def test_an_npz_of_many_tiny_readouts_is_read_at_once_or_refused(tmp_path: Path) -> None:
    many = np.zeros((3_000_000, 1, 1), np.uint8)
    np.savez_compressed(tmp_path / "a.npz", spikes=many)
    with no_hang():
        assert spikes.open(tmp_path / "a.npz")[-2:].shape == (2, 1, 1)
    content = npy(claims("(400000000, 1, 1)"), bytes(400_000_000))
    write_npz(tmp_path / "b.npz", content)
    assert "400,000,000 bytes of memory" in refusal(tmp_path / "b.npz")


def test_an_npz_of_a_million_members_is_refused_before_they_are_listed(tmp_path: Path) -> None:
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", *(20, 0, 20, 0), *(0,) * 7, 1, *(0,) * 6)
    members = (entry + b"a") * 1_000_000
    end = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 10**6, 10**6, len(members), 0)
    place = struct.pack("<4sLQL", b"PK\x06\x07", 0, len(members), 1)
    old_end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, *(0xFFFF,) * 2, *(0xFFFFFFFF,) * 2, 0)
    (tmp_path / "a.npz").write_bytes(members + end + place + old_end)
    with no_hang():
        assert "lists more members" in refusal(tmp_path / "a.npz")


@pytest.mark.parametrize("suffix", ["npz", "h5"])
def test_a_small_file_that_unpacks_to_many_readouts_is_refused(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "FREE_PIXELS", 1 << 26)
    path, shape = tmp_path / f"a.{suffix}", (300, 500, 500)
    if suffix == "npz":
        np.savez_compressed(path, spikes=np.zeros(shape, np.uint8))
    else:
        with h5py.File(path, "w") as file:
            file.create_dataset("spikes", data=np.zeros(shape, np.uint8), compression="gzip")
    assert "states 75,000,000 pixels in" in refusal(path)


def test_a_small_recording_of_a_dark_scene_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, spikes=np.zeros((600, 250, 500), np.uint8))
    assert path.stat().st_size * arrays.MAX_PIXELS_PER_BYTE < 600 * 250 * 500
    assert spikes.open(path)[599].sum() == 0
