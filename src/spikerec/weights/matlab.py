"""Matrices of doubles from MATLAB's level 5 files, the format of `save -v6` and `-v7`.

SciPy reads all of the format, but ends the process on element types that do not exist, and inflates
whatever a file states. The few parts that matrices of doubles need are read here, within bounds.

Source: MAT-File Format, The MathWorks, chapter 1, "Level 5 MAT-File Format".
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Container, Iterator

import numpy as np
from numpy.typing import NDArray

HEADER_BYTES = 128
#: Byte order by the end of the header: the version, and the letters MI as the writer's numbers.
BYTE_ORDERS = {b"\x00\x01IM": "<", b"\x01\x00MI": ">"}

# Types of elements, and parts of an array's flags.
MATRIX, COMPRESSED = 14, 15
CLASS, DOUBLES, COMPLEX = 0xFF, 6, 0x800
#: NumPy's types by those of elements: MATLAB writes doubles as the smallest type that holds them.
NUMBERS = dict(
    zip(
        (1, 2, 3, 4, 5, 6, 7, 9, 12, 13),
        ("i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8", "i8", "u8"),
        strict=True,
    )
)


def read_doubles(
    content: bytes, names: Container[str], most_bytes: int
) -> dict[str, NDArray[np.float64]]:
    """The real matrices of doubles of these names, each (rows, columns).

    Arrays of other names, other classes, complex numbers or more axes are left out.

    Args:
        content: of the file.
        names: of the arrays.
        most_bytes: of one array, inflated.

    Raises:
        ValueError: the file is of another format, or damaged, or an array is larger.
        struct.error: the same.
        zlib.error: the same.
    """
    order = BYTE_ORDERS.get(content[HEADER_BYTES - 4 : HEADER_BYTES])
    if order is None:
        raise ValueError("the file is not a MATLAB file of level 5")
    found = {}
    for kind, array in _elements(content[HEADER_BYTES:], order):
        if kind == COMPRESSED:
            kind, array = next(_elements(zlib.decompressobj().decompress(array, most_bytes), order))
        if kind != MATRIX:
            continue
        parts = _elements(array, order)
        (_, flags), (_, shape), (_, name) = next(parts), next(parts), next(parts)
        [stated] = struct.unpack_from(f"{order}I", flags)
        known = name.decode("ascii")
        if known in names and stated & (CLASS | COMPLEX) == DOUBLES and len(shape) == 8:
            rows, columns = struct.unpack(f"{order}2I", shape)
            kind, numbers = next(parts)
            if kind not in NUMBERS:
                raise ValueError(f"there are no numbers of type {kind}")
            values = np.frombuffer(numbers, np.dtype(order + NUMBERS[kind]))
            found[known] = values.astype(np.float64).reshape(columns, rows).T
    return found


def _elements(content: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Type and content of one element after the other.

    Raises:
        ValueError: one is shorter than it states.
        struct.error: the same.
    """
    start = 0
    while start < len(content):
        kind, size = struct.unpack_from(f"{order}2I", content, start)
        if short := kind >> 16:  # four bytes at most, which stand within the tag
            kind, size, begin, end = kind & 0xFFFF, short, start + 4, start + 8
        else:
            begin = start + 8
            # all elements but compressed ones are filled up to eight bytes
            end = begin + size + (0 if kind == COMPRESSED else -size % 8)
        if size > min(end, len(content)) - begin:
            raise ValueError(f"{size} bytes are stated, and fewer are there")
        yield kind, content[begin : begin + size]
        start = end
