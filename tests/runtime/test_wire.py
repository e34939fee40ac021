from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from spikerec.errors import DataError
from spikerec.models.base import Network
from spikerec.runtime.wire import HOLDERS, check_own_data


def field(number: int, value: bytes) -> bytes:
    """A field of a protobuf message that holds fewer than 128 bytes."""
    assert len(value) < 128
    key = number << 3 | 2
    coded = bytes([key]) if key < 128 else bytes([key & 127 | 128, key >> 7])
    return coded + bytes([len(value)]) + value


OUTSIDE = field(13, field(1, b"location") + field(2, b"weights.bin"))


def test_an_exported_file_is_its_own(small: tuple[Network, Path]) -> None:
    check_own_data(small[1])


@pytest.mark.parametrize(
    "route",
    [
        (7, 5),  # an initializer of the graph
        (7, 15, 1),  # the values of a sparse one
        (7, 1, 5, 5),  # a node's constant
        (7, 1, 5, 6, 5),  # within a branch of a node
        (25, 7, 5, 5),  # within a function
        (20, 1, 5),  # of the training
        (7, 1, 5, 23, 2),  # among the indices of a list
    ],
)
def test_a_tensor_elsewhere_is_found_wherever_it_is_named(
    route: tuple[int, ...], tmp_path: Path
) -> None:
    content = OUTSIDE
    for number in reversed(route):
        content = field(number, content)
    (tmp_path / "a.onnx").write_bytes(b"\x08\x08" + content)
    with pytest.raises(DataError, match=r"a.onnx keeps numbers of its network in another file"):
        check_own_data(tmp_path / "a.onnx")


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"<?xml version='1.0'?><net/>", b"\x3a\x7f", b"\xff" * 11, b"\x80"),
        *(b"\x3a\x03\x2a\x05a", b"\x3b\x3c"),  # a field that leaves its message; a group
    ],
)
def test_what_is_no_message_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(content)
    with pytest.raises(DataError, match=r"a.onnx cannot be read as ONNX"):
        check_own_data(tmp_path / "a.onnx")


def test_the_fields_are_those_of_onnx() -> None:
    onnx = pytest.importorskip("onnx")
    names = {"sparse tensor": "SparseTensor", "training": "TrainingInfo"}

    def of(message: str) -> Any:  # protobuf has no types for its descriptors
        return getattr(onnx, f"{names.get(message, message.title())}Proto").DESCRIPTOR

    kinds = {of(message).full_name: message for message in HOLDERS}
    for message, fields in HOLDERS.items():
        holding = {
            one.number: kinds[one.message_type.full_name]
            for one in of(message).fields
            if one.message_type is not None and one.message_type.full_name in kinds
        }
        assert fields == holding
