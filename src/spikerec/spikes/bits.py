"""Spikes as bits: eight pixels of a row to a byte, the first in the least significant bit.

PyTorch is imported where a tensor is at hand, so that a stream is opened, and a geometry that does
not fit is refused, before the seconds that this takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np

from spikerec.errors import GeometryError, InputError
from spikerec.kinds import checked

if TYPE_CHECKING:
    from torch import Tensor


@overload
def pack_bits(spikes: np.ndarray) -> np.ndarray: ...
@overload
def pack_bits(spikes: Tensor) -> Tensor: ...
@checked
def pack_bits(spikes: np.ndarray | Tensor) -> np.ndarray | Tensor:
    """Pack the last axis, least significant bit first.

    Args:
        spikes: (..., width), 0 and 1, any dtype; a tensor may be on any device.

    Returns:
        (..., ceil(width / 8)) uint8; bits past the width are 0.
    """
    if isinstance(spikes, np.ndarray):
        integers = spikes if spikes.dtype.kind in "biu" else spikes.astype(np.uint8)
        return np.packbits(integers, axis=-1, bitorder="little")
    import torch

    from spikerec.kernels.devices import has_arrays

    spikes = spikes.to(torch.uint8)
    if has_arrays(spikes):  # NumPy has an instruction for it
        return torch.from_numpy(pack_bits(spikes.numpy()))
    return _pack_by_shifts(spikes)


def _pack_by_shifts(spikes: Tensor) -> Tensor:
    import torch
    from torch.nn import functional as F

    padded = F.pad(spikes, (0, -spikes.shape[-1] % 8))
    octets = padded.reshape(*spikes.shape[:-1], -1, 8)  # (..., n, 8)
    shifts = torch.arange(8, dtype=torch.uint8, device=spikes.device)
    bits: Tensor = (octets << shifts).sum(-1, dtype=torch.uint8)
    return bits


@overload
def unpack_bits(bits: np.ndarray, width: int, offset: int = 0) -> np.ndarray: ...
@overload
def unpack_bits(bits: Tensor, width: int, offset: int = 0) -> Tensor: ...
@checked
def unpack_bits(bits: np.ndarray | Tensor, width: int, offset: int = 0) -> np.ndarray | Tensor:
    """Undo `pack_bits` on the last axis: the pixels [offset, offset + width) of each row.

    Args:
        bits: (..., n) uint8; a tensor may be on any device.
        width: pixels wanted.
        offset: pixels to leave out before them.

    Returns:
        (..., width) uint8, 0 and 1.

    Raises:
        InputError: not uint8, or fewer than offset + width bits.
    """
    if str(bits.dtype).removeprefix("torch.") != "uint8":
        raise InputError(f"bits must be uint8, found {bits.dtype}. Pack spikes with pack_bits.")
    if width < 0 or offset < 0 or offset + width > 8 * bits.shape[-1]:
        raise InputError(
            f"bits hold {8 * bits.shape[-1]} pixels a row, expected at least offset + width = "
            f"{offset} + {width}, both 0 or more."
        )
    if isinstance(bits, np.ndarray):
        part = bits[..., offset // 8 : -(-(offset + width) // 8)]
        count = offset % 8 + width
        return np.unpackbits(part, axis=-1, count=count, bitorder="little")[..., offset % 8 :]
    return _unpack_tensor(bits, width, offset)


def _unpack_tensor(bits: Tensor, width: int, offset: int) -> Tensor:
    import torch

    from spikerec.kernels.devices import has_arrays

    if has_arrays(bits):
        return torch.from_numpy(unpack_bits(bits.numpy(), width, offset))
    part = bits[..., offset // 8 : -(-(offset + width) // 8)]
    return _unpack_by_shifts(part)[..., offset % 8 : offset % 8 + width]


def _unpack_by_shifts(bits: Tensor) -> Tensor:
    import torch

    shifts = torch.arange(8, dtype=torch.uint8, device=bits.device)
    return (bits.unsqueeze(-1) >> shifts).bitwise_and_(1).flatten(-2)  # (..., 8·n)


def as_spikes(path: Path, values: np.ndarray) -> np.ndarray:
    """Values read from or meant for a file as contiguous uint8, if all are 0 and 1.

    Raises:
        GeometryError: another value; it names the file and the first found.
    """
    values = np.ascontiguousarray(values)
    if values.dtype == np.bool_:  # a file may hold other bytes under that name
        values = values.view(np.uint8)
    if values.dtype == np.uint8:  # one pass, without a mask
        is_binary = values.max(initial=0) <= 1
    else:
        is_binary = bool(((values == 0) | (values == 1)).all())
    if not is_binary:
        found = values[(values != 0) & (values != 1)][0]
        raise GeometryError(
            f"{path} must hold only 0 and 1, found {found}: threshold an image, or unpack bits "
            "(spikerec.spikes.unpack_bits), first."
        )
    return values.astype(np.uint8, copy=False)


@checked
@dataclass(frozen=True, eq=False)
class PackedSpikes:
    """A block of spikes, one bit each, cut from a stream at whole bytes.

    Attributes:
        bits: (T, h, n) uint8, least significant bit first, top row first.
        offset: pixels before the block in the first byte of each row, 0 to 7.
        width: columns of the block.
    """

    bits: np.ndarray
    offset: int
    width: int

    def unpack(self) -> np.ndarray:
        """The block as (T, h, width) uint8, 0 and 1."""
        return unpack_bits(self.bits, self.width, self.offset)
