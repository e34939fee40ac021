"""Spike streams kept as arrays (T, H, W), top row first: `.npy`, `.npz` and `.h5`."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np
from numpy.lib import format as npy

from spikerec.errors import DataError, GeometryError
from spikerec.spikes.bits import PackedSpikes, as_spikes, pack_bits
from spikerec.spikes.stream import FileStream

#: Names that published files give to their spikes, where several arrays could be meant.
SPIKE_NAMES = ("spikes", "spk")
#: Attribute of a dataset in `.h5` whose rows are packed, eight pixels to a byte: their width.
PACKED_WIDTH = "packed_width"
#: Readouts per chunk of a `.h5` that we write: a window of 61 touches five of them at most.
CHUNK_READOUTS = 16


class NpyStream(FileStream[np.ndarray]):
    """An array in a `.npy` file, memory mapped.

    Args:
        path: the file.
        rate_hz: readouts per second, None where unknown.
        light_scale: firing rate of a pixel of intensity 1, None where unknown.

    Raises:
        DataError: not a `.npy` file.
        GeometryError: the array is not (T, H, W) of uint8 or bool, or empty.
    """

    def __init__(
        self, path: Path, rate_hz: float | None = None, light_scale: float | None = None
    ) -> None:
        self.path = path
        array = self._open()
        super().__init__(path, check_array(path, array.shape, array.dtype), rate_hz, light_scale)

    def _open(self) -> np.ndarray:
        try:
            array: np.ndarray = np.load(self.path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise DataError(f"{self.path} cannot be read as .npy: {error}") from error
        return array.view(np.ndarray)

    def _decode(self, time: slice, rows: slice, columns: slice) -> np.ndarray:
        # A copy: what is handed on must not hang on the open file.
        return as_spikes(self.path, self._handle[time, rows, columns].copy())


class NpzStream(FileStream[np.ndarray]):
    """An array in a `.npz` file: decompressed on first use, and kept as bits from then on.

    Args:
        path: the file.
        dataset: name of the array; None for the only one of three axes, or `spikes`, or `spk`.
        rate_hz: readouts per second, None where unknown.
        light_scale: firing rate of a pixel of intensity 1, None where unknown.

    Raises:
        DataError: not a `.npz` file, or it is not clear which array is meant.
        GeometryError: the array is not (T, H, W) of uint8 or bool, or empty.
    """

    def __init__(
        self,
        path: Path,
        dataset: str | None = None,
        rate_hz: float | None = None,
        light_scale: float | None = None,
    ) -> None:
        self.path = path
        headers = self._read(_headers)
        shapes = {name: shape for name, (shape, _) in headers.items()}
        self.dataset = choose_dataset(path, shapes, dataset)
        super().__init__(path, check_array(path, *headers[self.dataset]), rate_hz, light_scale)

    def _read(self, reader: Callable[[zipfile.ZipFile], Any]) -> Any:  # noqa: ANN401
        try:
            with zipfile.ZipFile(self.path) as archive:
                return reader(archive)
        except GeometryError:
            raise
        except (zipfile.BadZipFile, zlib.error, ValueError, EOFError) as error:
            raise DataError(f"{self.path} cannot be read as .npz: {error}") from error

    def _open(self) -> np.ndarray:
        bits: np.ndarray = self._read(self._read_packed)
        return bits

    def _read_packed(self, archive: zipfile.ZipFile) -> np.ndarray:
        """Pack the array as it is decompressed, so that it is never whole in memory."""
        with archive.open(f"{self.dataset}.npy") as member:
            _, is_fortran, dtype = _read_header(member)
            if is_fortran:
                return self._packed_fortran(member, dtype)
            readouts = (self._next_readout(member, dtype) for _ in range(self.num_readouts))
            return np.stack([pack_bits(as_spikes(self.path, one)) for one in readouts])

    def _next_readout(self, member: IO[bytes], dtype: np.dtype[Any]) -> np.ndarray:
        content = member.read(self.height * self.width)
        return np.frombuffer(content, dtype).reshape(self.height, self.width)

    def _packed_fortran(self, member: IO[bytes], dtype: np.dtype[Any]) -> np.ndarray:
        array = np.frombuffer(member.read(), dtype).reshape(self.shape, order="F")
        return pack_bits(as_spikes(self.path, array))

    def _decode(self, time: slice, rows: slice, columns: slice) -> np.ndarray:
        return np.ascontiguousarray(self._pack(time, rows, columns).unpack())

    def _pack(self, time: slice, rows: slice, columns: slice) -> PackedSpikes:
        octets = self._handle[time, rows, _byte_columns(columns)].copy()
        return PackedSpikes(octets, columns.start % 8, columns.stop - columns.start)


class H5Stream(FileStream[h5py.File]):
    """A dataset in an `.h5` file, read chunk by chunk.

    The dataset is (T, H, W), or (T, H, ceil(W / 8)) with rows packed as by `pack_bits` and their
    width in the attribute `packed_width`.

    Args:
        path: the file.
        dataset: path of the dataset; None for the only one of three axes, or `spikes`, or `spk`.
        rate_hz: readouts per second, None where unknown.
        light_scale: firing rate of a pixel of intensity 1, None where unknown.

    Raises:
        DataError: not an `.h5` file, or it is not clear which dataset is meant.
        GeometryError: the dataset is not (T, H, W) of uint8 or bool, or empty.
    """

    def __init__(
        self,
        path: Path,
        dataset: str | None = None,
        rate_hz: float | None = None,
        light_scale: float | None = None,
    ) -> None:
        self.path = path
        with self._open() as file:
            shapes: dict[str, tuple[int, ...]] = {}
            file.visititems(lambda name, item: _note_shape(shapes, name, item))
            self.dataset = choose_dataset(path, shapes, dataset)
            found = file[self.dataset]
            packed_width = found.attrs.get(PACKED_WIDTH)
            shape = check_array(path, found.shape, found.dtype)
        self.is_packed = packed_width is not None
        if self.is_packed:
            shape = (shape[0], shape[1], self._checked_width(int(packed_width), shape[2]))
        super().__init__(path, shape, rate_hz, light_scale)

    def _open(self) -> h5py.File:
        try:
            return h5py.File(self.path, "r")
        except OSError as error:
            raise DataError(f"{self.path} cannot be read as .h5: {error}") from error

    def _checked_width(self, width: int, row_bytes: int) -> int:
        if -(-width // 8) != row_bytes:
            raise GeometryError(
                f"{self.path}: {self.dataset} has {row_bytes} bytes a row, expected "
                f"{-(-width // 8)} for its attribute {PACKED_WIDTH} = {width}."
            )
        return width

    def close(self) -> None:
        """Let go of the file; the next access opens it again."""
        if self._opened is not None:
            self._opened.close()
        super().close()

    def _decode(self, time: slice, rows: slice, columns: slice) -> np.ndarray:
        if self.is_packed:
            return np.ascontiguousarray(self._pack(time, rows, columns).unpack())
        return as_spikes(self.path, self._handle[self.dataset][time, rows, columns])

    def _pack(self, time: slice, rows: slice, columns: slice) -> PackedSpikes:
        if not self.is_packed:
            return super()._pack(time, rows, columns)
        octets = self._handle[self.dataset][time, rows, _byte_columns(columns)]
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


def write_h5(
    path: Path, shape: tuple[int, int, int], blocks: Iterable[np.ndarray], dataset: str
) -> None:
    """Write blocks of readouts (t, H, W) uint8 as a dataset of packed rows in an `.h5`."""
    num_readouts, height, width = shape
    row_bytes = -(-width // 8)
    with h5py.File(path, "w") as file:
        packed = file.create_dataset(
            dataset,
            (num_readouts, height, row_bytes),
            np.uint8,
            chunks=(min(CHUNK_READOUTS, num_readouts), height, row_bytes),
        )
        packed.attrs[PACKED_WIDTH] = width
        first = 0
        for block in blocks:
            packed[first : first + len(block)] = pack_bits(block)
            first += len(block)


def choose_dataset(path: Path, shapes: Mapping[str, tuple[int, ...]], wanted: str | None) -> str:
    """The name of the array that holds the spikes, among the arrays of a file and their shapes.

    Raises:
        DataError: the wanted one is not there, or several could be meant, or none.
    """
    listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "none"
    if wanted is not None:
        if wanted not in shapes:
            raise DataError(
                f"{path} has no array {wanted!r}: expected one of those in it: {listed}."
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
        GeometryError: not three axes, or neither uint8 nor bool.
    """
    if len(shape) != 3 or dtype not in (np.uint8, np.bool_):
        raise GeometryError(
            f"{path}: spikes must be (T, H, W) of uint8 or bool, found {tuple(shape)} of {dtype}. "
            "Convert with spikerec.spikes.save."
        )
    return shape[0], shape[1], shape[2]


def _headers(archive: zipfile.ZipFile) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Shape and type of each array of a `.npz`, without decompressing it."""
    headers = {}
    for member in archive.namelist():
        if member.endswith(".npy"):
            with archive.open(member) as file:
                shape, _, dtype = _read_header(file)
            headers[member.removesuffix(".npy")] = (shape, dtype)
    return headers


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, Fortran order and type from the head of a `.npy`."""
    read = (
        npy.read_array_header_1_0 if npy.read_magic(file) == (1, 0) else npy.read_array_header_2_0
    )
    return read(file)


def _write_array(
    file: IO[bytes], shape: tuple[int, int, int], blocks: Iterable[np.ndarray]
) -> None:
    header = {"descr": np.dtype(np.uint8).str, "fortran_order": False, "shape": shape}
    npy.write_array_header_1_0(file, header)
    for block in blocks:
        file.write(block.tobytes())


def _note_shape(shapes: dict[str, tuple[int, ...]], name: str, item: h5py.HLObject) -> None:
    """Visitor of an `.h5` file that keeps the shapes of its datasets."""
    if isinstance(item, h5py.Dataset):
        shapes[name] = item.shape


def _byte_columns(columns: slice) -> slice:
    """The bytes of a packed row that hold a range of its pixels."""
    return slice(columns.start // 8, -(-columns.stop // 8))
