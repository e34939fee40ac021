"""Spikes in memory: streams made from arrays, and decoded windows that know their light scale."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from spikerec.errors import GeometryError
from spikerec.spikes.bits import as_spikes, pack_bits, unpack_bits
from spikerec.spikes.stream import SpikeStream


class ArrayStream(SpikeStream):
    """A stream of spikes in memory. It keeps a copy, one bit a spike.

    Its `path` is a name made of the content, so that outputs begun from one array are not continued
    from another.

    Args:
        spikes: (T, H, W), 0 and 1, any dtype; top row first.
        rate_hz: readouts per second, None where unknown.
        light_scale: firing rate of a pixel of intensity 1, None where unknown.

    Raises:
        GeometryError: not (T, H, W) with T, H, W ≥ 1, or values other than 0 and 1.
        ConfigError: a rate or light scale out of range.
    """

    def __init__(
        self,
        spikes: np.ndarray | Tensor,
        rate_hz: float | None = None,
        light_scale: float | None = None,
    ) -> None:
        values = as_array(Path("spikes"), spikes)
        self._bits = pack_bits(values)
        digest = hashlib.sha256(self._bits.tobytes()).hexdigest()[:12]
        super().__init__(Path(f"array-{digest}"), values.shape, rate_hz, light_scale)

    def close(self) -> None:
        """Do nothing: there is no file."""

    def _decode(self, time: slice, rows: slice, columns: slice) -> np.ndarray:
        decoded = unpack_bits(self._bits[time, rows], self.width)
        return np.ascontiguousarray(decoded[..., columns])


def as_array(path: Path, spikes: np.ndarray | Tensor) -> np.ndarray[tuple[int, int, int], Any]:
    """An array or a tensor of spikes as (T, H, W) uint8, 0 and 1.

    Raises:
        GeometryError: another number of axes, one of them empty, or values other than 0 and 1.
    """
    array = spikes.detach().cpu().numpy() if isinstance(spikes, Tensor) else np.asarray(spikes)
    if array.ndim != 3 or 0 in array.shape:
        raise GeometryError(
            f"{path}: spikes must be (T, H, W), none of them 0, found {tuple(array.shape)}."
        )
    if array.dtype.kind not in "buif":
        raise GeometryError(f"{path}: spikes must be numbers, found {array.dtype}.")
    return as_spikes(path, array)
