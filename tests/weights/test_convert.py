"""Files that libraries carry, when somebody else has made them."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.io import savemat

from spikerec.errors import SpikerecError
from spikerec.weights.convert import niqe_of_pyiqa
from spikerec.weights.matlab import read_doubles
from tests.hangs import no_hang

HEAD = b"MATLAB 5.0 MAT-file".ljust(116) + bytes(8) + struct.pack("<H", 0x0100) + b"IM"
MATRIX, COMPRESSED, DOUBLES = 14, 15, 9
CELL, DOUBLE = 1, 6


def element(kind: int, content: bytes) -> bytes:
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def begun(kind: int, columns: int) -> bytes:
    """The beginning of an array 1 × N of that kind, up to its content."""
    flags, shape = struct.pack("<II", kind, 0), struct.pack("<2i", 1, columns)
    return element(6, flags) + element(5, shape) + element(1, b"mu_prisparam")


def nested(levels: int) -> bytes:
    """Cells within one another."""
    content = element(MATRIX, begun(DOUBLE, 1) + element(DOUBLES, bytes(8)))
    for _ in range(levels):
        content = element(MATRIX, begun(CELL, 1) + content)
    return HEAD + content


def inflating(num_bytes: int) -> bytes:
    """An array of zeros that takes a thousandth of its size."""
    head = begun(DOUBLE, num_bytes // 8) + struct.pack("<II", DOUBLES, num_bytes)
    packer = zlib.compressobj(9)
    packed = packer.compress(struct.pack("<II", MATRIX, len(head) + num_bytes) + head)
    for _ in range(num_bytes >> 24):
        packed += packer.compress(bytes(1 << 24))
    packed += packer.flush()
    return HEAD + struct.pack("<II", COMPRESSED, len(packed)) + packed


@pytest.mark.parametrize(
    "content",
    [
        nested(500),
        nested(20_000),  # a reader of all classes goes down them until the process dies
        inflating(1 << 29),
        HEAD + element(MATRIX, begun(DOUBLE, 2**31 - 1) + struct.pack("<II", DOUBLES, 2**32 - 8)),
        struct.pack("<5i", 0, 2**31 - 1, 1, 0, 13) + b"mu_prisparam\0",  # version 4
        struct.pack("<5i", 0, -1, -1, 0, 13) + b"mu_prisparam\0",
    ],
    ids=["nested", "nested deeply", "inflating", "claims 4 GB", "version 4", "negative sizes"],
)
def test_hostile_parameters_of_niqe_are_refused_at_once(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "niqe.mat"
    path.write_bytes(content)
    with no_hang(), pytest.raises(SpikerecError, match=r"niqe\.mat"):
        niqe_of_pyiqa(path)


#: All but MATLAB's numbers and its containers; SciPy's reader ends the process on some.
UNKNOWN = [0, 8, 10, 11, *range(19, 42), 255, 0xFFFF]


@pytest.mark.parametrize("kind", UNKNOWN)
@pytest.mark.parametrize("packed", [False, True])
def test_numbers_of_an_unknown_type_are_refused(kind: int, packed: bool, tmp_path: Path) -> None:
    content = element(MATRIX, begun(DOUBLE, 1) + element(kind, bytes(8)))
    if packed:
        squeezed = zlib.compress(content)
        content = struct.pack("<II", COMPRESSED, len(squeezed)) + squeezed
    path = tmp_path / "niqe.mat"
    path.write_bytes(HEAD + content)
    with pytest.raises(SpikerecError, match=r"niqe\.mat"):
        niqe_of_pyiqa(path)


def test_parameters_of_other_sizes_are_refused(tmp_path: Path) -> None:
    arrays = {"mu_prisparam": np.arange(35.0)[None], "cov_prisparam": np.eye(36)}
    savemat(tmp_path / "niqe.mat", arrays)
    with pytest.raises(SpikerecError, match=r"mean of 36 .* found \(1, 35\) and \(36, 36\)"):
        niqe_of_pyiqa(tmp_path / "niqe.mat")


@pytest.mark.parametrize("packed", [False, True])
def test_parameters_of_niqe_are_read(packed: bool, tmp_path: Path) -> None:
    arrays = {"mu_prisparam": np.arange(36.0)[None], "cov_prisparam": np.eye(36)}
    savemat(tmp_path / "niqe.mat", arrays, do_compression=packed)
    state = niqe_of_pyiqa(tmp_path / "niqe.mat")
    assert state["mean"].tolist() == list(range(36))
    assert state["covariance"].trace() == 36


MATRICES = arrays(
    st.sampled_from([np.float64, np.int16, np.uint8]),
    array_shapes(min_dims=2, max_dims=2, max_side=5),
)


@given(st.dictionaries(st.sampled_from("abcdefg"), MATRICES, min_size=1), st.booleans())
def test_doubles_are_those_that_scipy_wrote(written: dict[str, np.ndarray], packed: bool) -> None:
    buffer = io.BytesIO()
    savemat(buffer, written, do_compression=packed)
    found = read_doubles(buffer.getvalue(), "abcdef", 1 << 12)
    expected = {
        name: values
        for name, values in written.items()
        if name != "g" and values.dtype == np.float64
    }
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


@pytest.mark.parametrize("order", ["<", ">"])
def test_doubles_written_as_small_integers_are_read(order: str) -> None:
    """MATLAB writes the doubles 1, 2, 3 as three bytes within a tag."""
    head = HEAD if order == "<" else HEAD[:124] + b"\x01\x00MI"
    parts = struct.pack(f"{order}4I", 6, 8, 6, 0) + struct.pack(f"{order}4I", 5, 8, 1, 3)
    parts += struct.pack(f"{order}I", 2 << 16 | 1) + b"mu\0\0"
    parts += struct.pack(f"{order}I", 3 << 16 | 2) + b"\x01\x02\x03\0"
    content = head + struct.pack(f"{order}2I", MATRIX, len(parts)) + parts
    assert read_doubles(content, ["mu"], 1 << 12)["mu"].tolist() == [[1, 2, 3]]
