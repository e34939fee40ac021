"""Spike streams kept as arrays (T, H, W), top row first, in NumPy's files: `.npy` and `.npz`.

What a file states of itself is compared with the bounds below, and with the bytes that are there,
before anything is allocated.
"""

from __future__ import annotations

import io
import logging
import math
import zipfile
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from spikerec.errors import DataError
from spikerec.kinds import checked
from spikerec.parsing import open_zip, parsing, shown
from spikerec.spikes.arrays import (
    byte_columns,
    check_array,
    check_density,
    choose_dataset,
    shown_array,
)
from spikerec.spikes.bits import PackedSpikes, as_spikes, pack_bits
from spikerec.spikes.geometry import Partial
from spikerec.spikes.stream import FileStream

_log = logging.getLogger(__name__)

#: Bounds of what these files state.
MAX_HEADER_BYTES = 10_000  # of the array's description in a `.npy`, as NumPy's own reader has it
MAX_FORTRAN_BYTES = 1 << 31  # time runs fastest: reading one readout touches the whole file
MAX_NPZ_MEMBERS = 1_000
MAX_NPZ_PIXELS = 1 << 31  # 20,000 readouts of 250 × 400; five seconds to decompress
MAX_NPZ_BYTES = 1 << 28  # of them as bits in memory, a byte or more a row
MAX_DEFLATE_RATIO = 1_100  # deflate cannot do better than 1,032
#: Bytes decompressed at once from a `.npz`.
SLAB_BYTES = 1 << 24


class Header(NamedTuple):
    """Header of a `.npy` file, and its length in bytes."""

    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype[Any]
    num_bytes: int

    @property
    def content_bytes(self) -> int:
        """Bytes of the array."""
        return math.prod(self.shape) * self.dtype.itemsize


@checked
class NpyStream(FileStream[np.ndarray]):
    """An array in a `.npy` file, memory mapped.

    Args:
        path: the file.
        rate_hz: readouts per second, None where unknown.
        light_scale: firing rate of a pixel of intensity 1, None where unknown.
        partial: what becomes of a file that was cut short, or is still being written: `refuse` it,
            or `drop` the readout that is not whole, and those that are missing, with a warning.

    Raises:
        DataError: not a `.npy` file, a large one in Fortran order, or one that is cut short, unless
            its whole readouts are to be read and there is one.
        GeometryError: the array is not (T, H, W) of uint8 or bool, empty, or beyond the bounds.
    """

    def __init__(
        self,
        path: Path,
        rate_hz: float | None = None,
        light_scale: float | None = None,
        *,
        partial: Partial = "refuse",
    ) -> None:
        with parsing(path, ".npy"), path.open("rb") as file:
            self._header = read_header(file, path)
        shape = check_array(path, self._header.shape, self._header.dtype)
        if self._header.is_fortran and self._header.content_bytes > MAX_FORTRAN_BYTES:
            raise DataError(
                f"{path} holds {self._header.content_bytes:,} bytes in Fortran order, where each "
                f"readout is spread over the whole file: expected at most {MAX_FORTRAN_BYTES:,}. "
                "Save it in C order (numpy.ascontiguousarray), or as .h5 or .dat."
            )
        expected = self._header.num_bytes + self._header.content_bytes
        found = path.stat().st_size
        if found < expected:
            whole = max(found - self._header.num_bytes, 0) // max(shape[1] * shape[2], 1)
            is_readable = whole > 0 and not self._header.is_fortran
            if partial == "refuse" or not is_readable:
                others = f", or read its {whole} whole readouts by geometry.partial=drop"
                raise DataError(
                    f"{path} is cut short: expected {expected:,} bytes, found {found:,}. Get it "
                    f"again{others if is_readable else ''}."
                )
            _log.warning("%s is cut short: %d of its %d readouts are read.", path, whole, shape[0])
            shape = (whole, *shape[1:])
            self._header = self._header._replace(shape=shape)
        super().__init__(path, shape, rate_hz, light_scale)

    def _open(self) -> np.ndarray:
        head = self._header
        with parsing(self.path, ".npy"):
            octets = np.memmap(self.path, np.uint8, "r", head.num_bytes, (math.prod(head.shape),))
        array: np.ndarray = octets.view(np.ndarray).view(head.dtype)
        return array.reshape(head.shape, order="F" if head.is_fortran else "C")

    def _decode(self, time: slice, rows: slice, columns: slice) -> np.ndarray:
        # A copy: what is handed on must not hang on the open file.
        return as_spikes(self.path, self._handle[time, rows, columns].copy())


@checked
class NpzStream(FileStream[np.ndarray]):
    """An array in a `.npz` file: decompressed on first use, and kept as bits from then on.

    Args:
        path: the file.
        dataset: name of the array; None for the only one of three axes, or `spikes`, or `spk`.
        rate_hz: readouts per second, None where unknown.
        light_scale: firing rate of a pixel of intensity 1, None where unknown.

    Raises:
        DataError: not a `.npz` file, one beyond the bounds, or it is not clear which array is
            meant.
        GeometryError: the array is not (T, H, W) of uint8 or bool, or empty.
    """

    def __init__(
        self,
        path: Path,
        dataset: str | None = None,
        rate_hz: float | None = None,
        light_scale: float | None = None,
    ) -> None:
        with parsing(path, ".npz"), open_zip(path) as archive:
            headers = read_headers(archive, path)
        shapes = {name: header.shape for name, header in headers.items()}
        self.dataset = choose_dataset(path, shapes, dataset)
        header = headers[self.dataset]
        shape = check_array(path, header.shape, header.dtype)
        if math.prod(shape) > MAX_NPZ_PIXELS:
            raise DataError(
                f"{path}: {shown(self.dataset)} states {math.prod(shape):,} pixels, but a .npz is "
                f"decompressed into memory: expected at most {MAX_NPZ_PIXELS:,}. Convert it to "
                ".npy, .h5 or .dat."
            )
        num_bytes = shape[0] * shape[1] * -(-shape[2] // 8)
        if num_bytes > MAX_NPZ_BYTES:
            raise DataError(
                f"{path}: {shown(self.dataset)} states {shape[0]:,} readouts of {shape[1]} × "
                f"{shape[2]} pixels, which take {num_bytes:,} bytes of memory: expected at most "
                f"{MAX_NPZ_BYTES:,}. Convert it to .npy, .h5 or .dat."
            )
        check_density(path, shape)
        super().__init__(path, shape, rate_hz, light_scale)

    def _open(self) -> np.ndarray:
        """Pack the array as it is decompressed, so that it is never whole in memory."""
        bits = np.zeros((self.num_readouts, self.height, -(-self.width // 8)), np.uint8)
        with (
            parsing(self.path, ".npz"),
            open_zip(self.path) as archive,
            archive.open(f"{self.dataset}.npy") as member,
        ):
            header = read_header(member, self.path)
            fill = self._fill_by_columns if header.is_fortran else self._fill_by_readouts
            fill(bits, member, header.dtype)
        return bits

    def _fill_by_readouts(self, bits: np.ndarray, member: IO[bytes], dtype: np.dtype[Any]) -> None:
        count = max(1, SLAB_BYTES // (self.height * self.width))
        for first in range(0, self.num_readouts, count):
            part = bits[first : first + count]
            values = _next_values(member, len(part) * self.height * self.width, dtype, self.path)
            part[...] = pack_bits(values.reshape(-1, self.height, self.width))

    def _fill_by_columns(self, bits: np.ndarray, member: IO[bytes], dtype: np.dtype[Any]) -> None:
        """Fortran order has time run fastest, then rows, then columns."""
        column_bytes = self.num_readouts * self.height
        if column_bytes > SLAB_BYTES // 8:
            for column in range(self.width):
                self._fill_column(bits[:, :, column // 8], column % 8, member, dtype)
            return
        count = SLAB_BYTES // (8 * column_bytes)
        for first in range(0, bits.shape[2], count):
            part = bits[:, :, first : first + count]
            columns = min(8 * part.shape[2], self.width - 8 * first)
            values = _next_values(member, columns * column_bytes, dtype, self.path)
            part[...] = pack_bits(values.reshape(columns, self.height, -1).T)

    def _fill_column(
        self, octets: np.ndarray, bit: int, member: IO[bytes], dtype: np.dtype[Any]
    ) -> None:
        """Set one bit of bytes (T, H), some rows or a part of one at a time."""
        count = max(1, SLAB_BYTES // self.num_readouts)
        for top in range(0, self.height, count):
            for first in range(0, self.num_readouts, SLAB_BYTES):
                part = octets[first : first + SLAB_BYTES, top : top + count]
                values = _next_values(member, part.size, dtype, self.path)
                part |= values.reshape(part.shape[::-1]).T << np.uint8(bit)

    def _decode(self, time: slice, rows: slice, columns: slice) -> np.ndarray:
        return np.ascontiguousarray(self._pack(time, rows, columns).unpack())

    def _pack(self, time: slice, rows: slice, columns: slice) -> PackedSpikes:
        octets = self._handle[time, rows, byte_columns(columns)].copy()
        return PackedSpikes(octets, columns.start % 8, columns.stop - columns.start)


def write_npy(path: Path, shape: tuple[int, int, int], blocks: Iterable[np.ndarray]) -> None:
    """Write blocks of readouts (t, H, W) uint8 as one `.npy`."""
    with path.open("wb") as file:
        _write_array(file, shape, blocks)


def write_npz(
    path: Path, shape: tuple[int, int, int], blocks: Iterable[np.ndarray], dataset: str
) -> None:
    """Write blocks of readouts (t, H, W) uint8 as one compressed array of a `.npz`."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open(f"{dataset}.npy", "w", force_zip64=True) as member,
    ):
        _write_array(member, shape, blocks)


def read_header(file: IO[bytes], path: Path) -> Header:
    """Read the header of a `.npy` file, up to the first byte of the array.

    Raises:
        DataError: not the head of a `.npy`, or beyond the bounds.
    """
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise DataError(f"{path} cannot be read as .npy: expected version 1, 2 or 3 of the format.")
    length_bytes = file.read(2 if version == (1, 0) else 4)
    length = int.from_bytes(length_bytes, "little")
    if length > MAX_HEADER_BYTES:
        raise DataError(
            f"{path} cannot be read as .npy: its header has {length:,} bytes, expected at most "
            f"{MAX_HEADER_BYTES:,}."
        )
    head = io.BytesIO(length_bytes + file.read(length))
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, is_fortran, dtype = read(head)
    if any(isinstance(size, bool) or not 0 <= size < 1 << 63 for size in shape):
        raise DataError(f"{path} cannot be read as .npy: its shape has sizes that cannot be.")
    return Header(shape, is_fortran, dtype, npy.MAGIC_LEN + len(length_bytes) + length)


def read_headers(archive: zipfile.ZipFile, path: Path) -> dict[str, Header]:
    """The head of each array of a `.npz`, without decompressing the rest.

    Raises:
        DataError: more members than the bound, one compressed otherwise than by deflate, one that
            states more than it can hold, or two of one name.
    """
    members = [one for one in archive.infolist() if one.filename.endswith(".npy")]
    if len(archive.infolist()) > MAX_NPZ_MEMBERS:
        raise DataError(f"{path} holds more than {MAX_NPZ_MEMBERS:,} members.")
    headers: dict[str, Header] = {}
    for member in members:
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(f"{path} is compressed otherwise than NumPy does it: save it again.")
        with archive.open(member) as file:
            header = read_header(file, path)
        stated = header.num_bytes + header.content_bytes
        possible = MAX_DEFLATE_RATIO * member.compress_size + MAX_HEADER_BYTES
        is_pickled = header.dtype.hasobject  # listed, never read: its size says nothing
        if not is_pickled and (stated != member.file_size or stated > possible):
            raise DataError(
                f"{path} cannot be read as .npz: an array states {stated:,} bytes, but its member "
                f"has {member.file_size:,}."
            )
        name = member.filename.removesuffix(".npy")
        if name in headers:
            raise DataError(f"{path} holds two arrays of one name.")
        headers[name] = header
    return headers


def read_npz(path: Path, names: Collection[str], limit: int) -> dict[str, NDArray[np.float64]]:
    """The arrays of numbers of an `.npz` that have one of these names.

    Args:
        path: the file.
        names: others in it are left alone.
        limit: values that an array may have.

    Raises:
        DataError: not a `.npz`, one beyond the bounds, or an array that holds no numbers.
    """
    arrays = {}
    with parsing(path, ".npz"), open_zip(path) as archive:
        for name, header in read_headers(archive, path).items():
            if name not in names:
                continue
            count = math.prod(header.shape)
            if header.dtype.kind not in "biuf" or count > limit:
                raise DataError(
                    f"{path}: {name} is {shown_array(header.shape, header.dtype)}: expected at "
                    f"most {limit:,} numbers."
                )
            with archive.open(f"{name}.npy") as member:
                head = read_header(member, path)
                values = np.frombuffer(member.read(header.content_bytes), head.dtype, count)
            values = values.reshape(header.shape, order="F" if header.is_fortran else "C")
            arrays[name] = values.astype(np.float64)
    return arrays


def read_text(path: Path, name: str, limit: int) -> str | None:
    """The text that an `.npz` holds under a name; None where it holds nothing there.

    Args:
        path: the file.
        name: of a scalar array of text.
        limit: characters that the text may have.

    Raises:
        DataError: not a `.npz`, one beyond the bounds, or something else than such a text.
    """
    with parsing(path, ".npz"), open_zip(path) as archive:
        header = read_headers(archive, path).get(name)
        if header is None:
            return None
        if header.dtype.kind != "U" or header.shape or header.dtype.itemsize > 4 * limit:
            raise DataError(
                f"{path}: {name} is {shown_array(header.shape, header.dtype)}: expected one text "
                f"of at most {limit:,} characters."
            )
        with archive.open(f"{name}.npy") as member:
            head = read_header(member, path)
            octets = member.read(header.content_bytes)
        return str(np.frombuffer(octets, head.dtype, 1)[0])


def _next_values(member: IO[bytes], count: int, dtype: np.dtype[Any], path: Path) -> np.ndarray:
    """The next values of an array of bytes, checked to be spikes."""
    return as_spikes(path, np.frombuffer(member.read(count), dtype, count))


def _write_array(
    file: IO[bytes], shape: tuple[int, int, int], blocks: Iterable[np.ndarray]
) -> None:
    header = {"descr": np.dtype(np.uint8).str, "fortran_order": False, "shape": shape}
    npy.write_array_header_1_0(file, header)
    for block in blocks:
        file.write(block.tobytes())
