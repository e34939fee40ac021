"""Reading `.dat` files as the field's public code does: whole, readout by readout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def decode_dat(path: Path, height: int, width: int) -> NDArray[np.int8]:
    """All readouts (T, H, W): each pixel's byte is looked up and its bit tested."""
    octets = np.frombuffer(path.read_bytes(), np.uint8).astype(np.int32)
    readout_bytes = height * width // 8
    num_readouts = len(octets) // readout_bytes
    pixels = np.arange(height * width).reshape(height, width)
    place, bit = pixels // 8, np.left_shift(1, pixels % 8)
    spikes = np.zeros((num_readouts, height, width), np.int8)
    for t in range(num_readouts):
        readout = octets[t * readout_bytes : (t + 1) * readout_bytes]
        spikes[t] = np.flipud((readout[place] & bit) == bit)
    return spikes


def crop_dat(
    path: Path, height: int, width: int, part: tuple[slice, slice, slice]
) -> NDArray[np.int8]:
    """A part (t, h, w): decode the file, then cut."""
    return decode_dat(path, height, width)[part]


def unpack_dat(path: Path) -> NDArray[np.uint8]:
    """The bits of a file in the order in which they are stored: one call, and no image yet."""
    return np.unpackbits(np.fromfile(path, np.uint8), bitorder="little")
