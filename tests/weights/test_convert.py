"""Files that libraries carry, when somebody else has made them."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from spikerec.errors import SpikerecError
from spikerec.weights.convert import niqe_of_pyiqa
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
        nested(20_000),  # SciPy's reader goes down them until the process dies
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


@pytest.mark.parametrize("packed", [False, True])
def test_parameters_of_niqe_are_read(packed: bool, tmp_path: Path) -> None:
    arrays = {"mu_prisparam": np.arange(36.0)[None], "cov_prisparam": np.eye(36)}
    savemat(tmp_path / "niqe.mat", arrays, do_compression=packed)
    state = niqe_of_pyiqa(tmp_path / "niqe.mat")
    assert state["mean"].tolist() == list(range(36))
    assert state["covariance"].trace() == 36
