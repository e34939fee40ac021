"""Training data as the field's public code has it: a whole file decoded for every sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from benchmarks.references.dat import decode_dat


class DecodingWindows(Dataset[Tensor]):
    """Crops of one file's first readouts: each sample reads and decodes the whole file.

    Args:
        path: a `.dat`.
        size: its H, W.
        window: readouts of a sample.
        places: rows and columns of each sample.
    """

    def __init__(
        self, path: Path, size: tuple[int, int], window: int, places: list[tuple[slice, slice]]
    ) -> None:
        self.path = path
        self.size = size
        self.window = window
        self.places = places

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Tensor:
        """Spikes (window, h, w) float32."""
        rows, columns = self.places[index]
        spikes = decode_dat(self.path, *self.size)
        return torch.from_numpy(spikes[: self.window, rows, columns].astype(np.float32))
