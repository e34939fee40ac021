"""Spikes in memory: streams made from arrays, and decoded windows that know their light scale."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from spikerec.errors import GeometryError
from spikerec.kinds import checked
from spikerec.spikes.bits import as_spikes, pack_bits, unpack_bits
from spikerec.spikes.geometry import MAX_READOUT_PIXELS, MAX_READOUTS
from spikerec.spikes.stream import SpikeStream

if TYPE_CHECKING:
    from torch import Tensor


def is_tensor(value: object) -> TypeGuard[Tensor]:
    """True for a tensor of PyTorch, which is not imported where nobody has made one."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


@checked
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
        GeometryError: another number of axes, one of them empty, more than a stream may have, a
            tensor that is not dense, or values other than 0 and 1.
    """
    array = _of_tensor(path, spikes) if is_tensor(spikes) else np.asarray(spikes)
    if array.ndim != 3 or 0 in array.shape:
        raise GeometryError(
            f"{path}: spikes must be (T, H, W), none of them 0, found {tuple(array.shape)}."
        )
    if array.dtype.kind not in "buif":
        raise GeometryError(f"{path}: spikes must be numbers, found {array.dtype}.")
    if len(array) > MAX_READOUTS or array[0].size > MAX_READOUT_PIXELS:
        raise GeometryError(
            f"{path}: spikes may have {MAX_READOUTS:,} readouts of {MAX_READOUT_PIXELS:,} pixels "
            f"at most, found {tuple(array.shape)}."
        )
    try:
        return as_spikes(path, array)
    except MemoryError as error:  # an array may be a view that repeats a few values
        raise GeometryError(
            f"{path}: {array.size:,} spikes do not fit into memory: save them part by part "
            "(spikerec.spikes.save_parts), and open the file."
        ) from error


def _of_tensor(path: Path, spikes: Tensor) -> np.ndarray:
    """The values of a tensor as NumPy's.

    Raises:
        GeometryError: a tensor that is not dense, or not of real numbers.
    """
    import torch

    is_dense = spikes.layout == torch.strided and not (spikes.is_meta or spikes.is_nested)
    if not is_dense or spikes.is_complex() or spikes.is_quantized:
        kind = "nested" if spikes.is_nested else f"{spikes.layout}, {spikes.device}"
        raise GeometryError(
            f"{path}: spikes must be a dense tensor of real numbers, found {spikes.dtype} ({kind})."
        )
    values = spikes.detach().cpu()
    if values.is_floating_point() and values.itemsize < torch.float32.itemsize:
        values = values.float()  # NumPy has no type for bfloat16 and shorter ones
    return values.numpy()
