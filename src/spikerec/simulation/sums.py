"""Checksums of a simulated clip, by which its card tells its files from those of another scene."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from spikerec.spikes.folders import listed

#: Key of a card; cards of older versions lack it.
SUMS = "sha256"


class ReadoutSum:
    """SHA-256 of a stream, whatever format holds it, and however it is divided into parts."""

    def __init__(self) -> None:
        self._total = hashlib.sha256()

    def add(self, part: np.ndarray) -> None:
        """Take in the readouts (t, H, W) in {0, 1} that follow."""
        self._total.update(np.ascontiguousarray(part, np.uint8).tobytes())

    def hexdigest(self) -> str:
        """The sum so far."""
        return self._total.hexdigest()


def sum_of_images(folder: Path) -> str:
    """SHA-256 of the names and contents of the `.png` of a folder."""
    total = hashlib.sha256()
    for path in listed(folder, (".png",)):
        total.update(f"{path.name}|{hashlib.sha256(path.read_bytes()).hexdigest()}|".encode())
    return total.hexdigest()
