"""The messages of an ONNX file, walked through without the `onnx` package or building anything.

ONNX is protobuf: a message is a run of fields, each a number, a kind and a value, which may be a
message. A tensor in it may lie in another file, which the engines read from wherever they allow.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from spikerec.errors import DataError
from spikerec.parsing import parsing

#: Message → the numbers of its fields that may hold a tensor, and their messages: `onnx.proto`.
HOLDERS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "node": {5: "attribute"},
    "attribute": {
        **{5: "tensor", 6: "graph", 10: "tensor", 11: "graph"},
        **{22: "sparse tensor", 23: "sparse tensor"},
    },
    "sparse tensor": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
#: Number of the field of a tensor that names another file.
EXTERNAL_DATA = 13
#: Kinds of fields: a number of 7 bits a byte, 8 bytes, a stated number of bytes, and 4 bytes.
VARINT, EIGHT_BYTES, STATED, FOUR_BYTES = 0, 1, 2, 5


def check_own_data(path: Path) -> None:
    """Refuse an ONNX file of which a tensor lies in another file, and what is no ONNX file.

    Raises:
        DataError: it is one of these.
    """
    with (
        parsing(path, "ONNX"),
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as held,
    ):
        left = [("model", 0, len(held))]
        while left:
            message, start, stop = left.pop()
            for number, first, last in _fields(held, start, stop):
                if message == "tensor" and number == EXTERNAL_DATA:
                    raise DataError(
                        f"{path} keeps numbers of its network in another file, which is refused: "
                        "have it written as one file, as spikerec export does."
                    )
                if number in HOLDERS[message]:
                    left.append((HOLDERS[message][number], first, last))


def _fields(held: mmap.mmap, place: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """The fields of a message: the number of each, where its value begins, and where it ends.

    Raises:
        ValueError: the bytes are no message.
    """
    while place < stop:
        key, place = _varint(held, place)
        number, kind = key >> 3, key & 7
        length = 0
        if kind == VARINT:
            _, place = _varint(held, place)
        elif kind == STATED:
            length, place = _varint(held, place)
        elif kind in (EIGHT_BYTES, FOUR_BYTES):
            length = 8 if kind == EIGHT_BYTES else 4
        else:
            raise ValueError(f"no field of kind {kind}")
        if place + length > stop:
            raise ValueError("a field leaves its message")
        yield number, place, place + length
        place += length


def _varint(held: mmap.mmap, place: int) -> tuple[int, int]:
    """A number, and where it ends.

    Raises:
        ValueError: it has more than 64 bits.
        IndexError: the file ends in it.
    """
    value = 0
    for shift in range(0, 70, 7):
        byte = held[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("a number of more than 64 bits")
