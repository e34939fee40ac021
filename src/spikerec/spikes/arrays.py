"""Rules of streams kept as arrays (T, H, W): which array of a file is meant, and its bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from spikerec.errors import DataError, GeometryError
from spikerec.parsing import shown
from spikerec.spikes.geometry import MAX_READOUT_PIXELS, MAX_READOUTS

#: Names that published files give to their spikes, where several arrays could be meant.
SPIKE_NAMES = ("spikes", "spk")

#: Pixels that a file may state for each of its bytes: one whose pixels fire in 1 of 500 readouts
#: compresses so well. A file of any size may state `FREE_PIXELS`, 5,368 readouts of 250 × 400: dark
#: scenes compress far better, and so many pixels are read within seconds.
MAX_PIXELS_PER_BYTE = 256
FREE_PIXELS = 1 << 29


def choose_dataset(path: Path, shapes: Mapping[str, tuple[int, ...]], wanted: str | None) -> str:
    """The name of the array that holds the spikes, among the arrays of a file and their shapes.

    Raises:
        DataError: the wanted one is not there, or several could be meant, or none.
    """
    listed = ", ".join(f"{shown(name)} {shape}" for name, shape in list(shapes.items())[:8])
    listed += f" and {len(shapes) - 8} more" if len(shapes) > 8 else ""
    listed = listed or "none"
    if wanted is not None:
        if wanted not in shapes:
            raise DataError(
                f"{path} has no array {wanted[:100]!r}: expected one of those in it: {listed}."
            )
        return wanted
    blocks = [name for name, shape in shapes.items() if len(shape) == 3]
    if len(blocks) == 1:
        return blocks[0]
    named = [name for name in SPIKE_NAMES if name in blocks]
    if not named:
        raise DataError(
            f"{path}: expected one array (T, H, W), or one named {' or '.join(SPIKE_NAMES)}, found "
            f"{listed}. Pass dataset=NAME."
        )
    return named[0]


def check_array(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[int, int, int]:
    """The shape, if an array of it can be a spike stream.

    Raises:
        GeometryError: not three axes, neither uint8 nor bool, or larger than a stream may be.
    """
    if len(shape) != 3 or dtype not in (np.uint8, np.bool_):
        raise GeometryError(
            f"{path}: spikes must be (T, H, W) of uint8 or bool, found "
            f"{shown_array(shape, dtype)}. Convert with spikerec.spikes.save."
        )
    if shape[0] > MAX_READOUTS or shape[1] * shape[2] > MAX_READOUT_PIXELS:
        raise GeometryError(
            f"{path}: spikes may have {MAX_READOUTS:,} readouts of {MAX_READOUT_PIXELS:,} pixels "
            f"at most, found {shown_array(shape, dtype)}."
        )
    return shape[0], shape[1], shape[2]


def check_density(path: Path, shape: tuple[int, int, int]) -> None:
    """Refuse a small file that unpacks to a stream which takes minutes to read.

    Raises:
        DataError: it states more than `MAX_PIXELS_PER_BYTE`, and more than `FREE_PIXELS` in all.
    """
    pixels, held = math.prod(shape), path.stat().st_size
    if pixels > max(FREE_PIXELS, MAX_PIXELS_PER_BYTE * held):
        raise DataError(
            f"{path} states {pixels:,} pixels in {held:,} bytes: expected at most "
            f"{MAX_PIXELS_PER_BYTE} for each, as a recording has. Write it without compression."
        )


def byte_columns(columns: slice) -> slice:
    """The bytes of a packed row that hold a range of its pixels."""
    return slice(columns.start // 8, -(-columns.stop // 8))


def shown_array(shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    """An array's shape and type for an error, however many axes it states."""
    sizes = str(tuple(shape)) if len(shape) <= 8 else f"{len(shape)} axes"
    return f"{sizes} of {dtype if dtype.names is None else 'records'}"
