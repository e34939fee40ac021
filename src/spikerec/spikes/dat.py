"""`.dat`: the field's headerless bit-packed format, read through a memory map and written in parts.

Readouts follow one another, each on whole bytes; see `Geometry` for the layout of one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Self

import numpy as np

from spikerec.errors import DataError, GeometryError
from spikerec.kinds import checked
from spikerec.spikes import sps100
from spikerec.spikes.bayer import BayerPattern
from spikerec.spikes.bits import PackedSpikes, as_spikes
from spikerec.spikes.files import Unfinished, refuse_existing
from spikerec.spikes.geometry import (
    Geometry,
    Sidecar,
    check_sidecar,
    sidecar_path,
    write_sidecar,
)
from spikerec.spikes.stream import FileStream

_log = logging.getLogger(__name__)

#: Layouts met in published data sets, offered when a file does not fit the one stated.
COMMON_GEOMETRIES = (
    Geometry(250, 400),
    Geometry(250, 400, readout_width=416),
    Geometry(250, 250),
    Geometry(480, 640),
    Geometry(480, 854),
    Geometry(720, 1280),
    Geometry(1000, 1000),
    Geometry(1000, 1000, readout_width=1024),
    Geometry(1000, 1024),
)


@checked
class DatStream(FileStream[np.ndarray]):
    """A `.dat` file.

    Args:
        path: the file.
        geometry: layout of a readout.
        rate_hz: readouts per second, None where unknown.
        light_scale: firing rate of a pixel of intensity 1, None where unknown.

    Raises:
        GeometryError: the file is empty, or does not hold a whole number of readouts, unless the
            geometry says to drop the rest.
    """

    def __init__(
        self,
        path: Path,
        geometry: Geometry,
        rate_hz: float | None = None,
        light_scale: float | None = None,
    ) -> None:
        size_bytes = path.stat().st_size
        held = max(size_bytes - geometry.skip_bytes, 0)
        num_readouts, left_over = divmod(held, geometry.readout_bytes)
        if not num_readouts or (left_over and geometry.partial == "refuse"):
            raise GeometryError(misfit(path, size_bytes, geometry))
        if left_over:
            _warn_of_rest(path, left_over)
        super().__init__(
            path, (num_readouts, geometry.height, geometry.width), rate_hz, light_scale
        )
        self.geometry = geometry

    def _open(self) -> np.ndarray:
        shape = (self.num_readouts, self.geometry.readout_bytes)
        mapped = np.memmap(self.path, np.uint8, "r", self.geometry.skip_bytes, shape)
        return mapped.view(np.ndarray)

    def _decode(self, time: slice, rows: slice, columns: slice) -> np.ndarray:
        if self.geometry.row_bits % 8:
            return self._decode_unaligned(time, rows, columns)
        octets, offset = self._row_bytes(time, rows, columns)
        count = offset + columns.stop - columns.start
        pixels = np.unpackbits(octets, axis=-1, count=count, bitorder=self.geometry.bit_order)
        return np.ascontiguousarray(pixels[..., offset:])

    def _decode_unaligned(self, time: slice, rows: slice, columns: slice) -> np.ndarray:
        """Decode rows that begin inside a byte: all bits from the first row to the last."""
        row_bits = self.geometry.row_bits
        stored = self._stored_rows(rows)
        first, stop = stored.start * row_bits, stored.stop * row_bits
        octets = self._handle[time, first // 8 : -(-stop // 8)]
        skipped = first % 8
        count = skipped + stop - first
        bits = np.unpackbits(octets, axis=-1, count=count, bitorder=self.geometry.bit_order)
        pixels = bits[:, skipped:].reshape(len(octets), rows.stop - rows.start, row_bits)
        return np.ascontiguousarray(pixels[:, self._top_down, columns])

    def _row_bytes(self, time: slice, rows: slice, columns: slice) -> tuple[np.ndarray, int]:
        """Bytes (t, h, n) that hold the part, top row first, and the pixels before it in them."""
        shape = (self.num_readouts, self.height, self.geometry.row_bits // 8)
        octets = self._handle.reshape(shape)[
            time, self._stored_rows(rows), columns.start // 8 : -(-columns.stop // 8)
        ]
        return octets[:, self._top_down], columns.start % 8

    def _pack(self, time: slice, rows: slice, columns: slice) -> PackedSpikes:
        if self.geometry.row_bits % 8 or self.geometry.bit_order == "big":
            return super()._pack(time, rows, columns)
        octets, offset = self._row_bytes(time, rows, columns)
        # A copy: what is handed on must not hang on the open file.
        return PackedSpikes(octets.copy(), offset, columns.stop - columns.start)

    def _stored_rows(self, rows: slice) -> slice:
        """Slice of the file's rows that holds these rows of the image."""
        if self.geometry.bottom_up:
            return slice(self.height - rows.stop, self.height - rows.start)
        return rows

    @property
    def _top_down(self) -> slice:
        return slice(None, None, -1 if self.geometry.bottom_up else 1)


class SPS100Stream(FileStream[np.ndarray]):
    """A `.dat` with the raw stream of an SPS100 (see `spikerec.spikes.sps100`).

    Bytes before the first whole readout, and after the last, are left out with a warning: the
    camera's recordings begin and end anywhere.

    Args:
        path: the file.
        geometry: its layout is `sps100`.
        rate_hz: readouts per second, None where unknown.
        light_scale: firing rate of a pixel of intensity 1, None where unknown.

    Raises:
        GeometryError: no tag in the file says where a readout begins.
    """

    def __init__(
        self,
        path: Path,
        geometry: Geometry,
        rate_hz: float | None = None,
        light_scale: float | None = None,
    ) -> None:
        self._start = find_sps100_start(path, geometry)
        num_readouts, left_over = divmod(path.stat().st_size - self._start, geometry.readout_bytes)
        if self._start > geometry.skip_bytes:
            _log.warning(
                "%s begins in the middle of a readout: its first %d bytes are left out.",
                path,
                self._start,
            )
        if left_over:
            _warn_of_rest(path, left_over)
        super().__init__(
            path, (num_readouts, geometry.height, geometry.width), rate_hz, light_scale
        )
        self.geometry = geometry

    def _open(self) -> np.ndarray:
        shape = (self.num_readouts, self.height, sps100.ROW_BYTES)
        return np.memmap(self.path, np.uint8, "r", self._start, shape).view(np.ndarray)

    def _decode(self, time: slice, rows: slice, columns: slice) -> np.ndarray:
        pixels = sps100.decode(np.ascontiguousarray(self._handle[time, rows]))
        return np.ascontiguousarray(pixels[..., columns])


def find_sps100_start(path: Path, geometry: Geometry) -> int:
    """Return the byte at which the first whole readout of a raw SPS100 stream begins.

    Raises:
        GeometryError: the file holds none.
    """
    held = path.stat().st_size - geometry.skip_bytes
    start = None
    if held >= geometry.readout_bytes:
        octets = np.memmap(path, np.uint8, "r", geometry.skip_bytes, (held,)).view(np.ndarray)
        start = sps100.find_start(octets, geometry.height)
    if start is None:
        raise GeometryError(
            f"{path} holds no whole readout of {geometry} ({geometry.readout_bytes:,} bytes with "
            "their tags): no tag says where one begins. Published sets of 1000 × 1000 pixels are "
            "plain: layout=plain."
        )
    return start + geometry.skip_bytes


def open_dat(
    path: Path, geometry: Geometry, rate_hz: float | None = None, light_scale: float | None = None
) -> DatStream | SPS100Stream:
    """Open a `.dat` of either layout."""
    kind = SPS100Stream if geometry.layout == "sps100" else DatStream
    return kind(path, geometry, rate_hz, light_scale)


def _warn_of_rest(path: Path, left_over: int) -> None:
    _log.warning(
        "%s ends in the middle of a readout: its last %d bytes are left out.", path, left_over
    )


@checked
class DatWriter:
    """Write a `.dat` and its sidecar part by part; both appear when the `with` block succeeds.

    Args:
        path: the file to make; its folders are made as well.
        geometry: layout of a readout.
        rate_hz: readouts per second, None where unknown.
        light_scale: firing rate of a pixel of intensity 1, None where unknown.
        overwrite: replace a file and a sidecar that exist.
        bayer: the colours that pixels see, None for a grey camera.

    Raises:
        DataError: the file exists, or a sidecar that states something else, unless `overwrite`.
        GeometryError: a layout other than plain, or a header to skip.

    Example:
        >>> with DatWriter(Path("car.dat"), Geometry(250, 400)) as writer:  # doctest: +SKIP
        ...     for block in blocks:
        ...         writer.append(block)
    """

    def __init__(
        self,
        path: str | Path,
        geometry: Geometry,
        *,
        rate_hz: float | None = None,
        light_scale: float | None = None,
        overwrite: bool = False,
        bayer: BayerPattern | None = None,
    ) -> None:
        self.path = Path(path)
        if geometry.layout != "plain" or geometry.skip_bytes:
            raise GeometryError(
                f"{self.path}: a .dat is written plain and without a header, found {geometry} and "
                f"skip_bytes={geometry.skip_bytes}."
            )
        self.geometry = geometry
        self.num_readouts = 0
        self._sidecar = Sidecar(geometry, rate_hz, light_scale, bayer=bayer)
        self._overwrite = overwrite
        refuse_existing(self.path, overwrite=overwrite)
        check_sidecar(self.path, self._sidecar, overwrite=overwrite)
        self._unfinished: Unfinished | None = None
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        self._unfinished = Unfinished(self.path)
        self._file = self._unfinished.path.open("wb")
        return self

    @checked
    def append(self, spikes: np.ndarray) -> None:
        """Write the next readouts.

        Args:
            spikes: (t, H, W), 0 and 1, top row first.

        Raises:
            GeometryError: another height or width, or values other than 0 and 1.
            DataError: called outside the `with` block.
        """
        if self._file is None:
            raise DataError(f"{self.path}: append to a DatWriter inside its `with` block.")
        expected = (self.geometry.height, self.geometry.width)
        if spikes.ndim != 3 or spikes.shape[1:] != expected:
            raise GeometryError(
                f"{self.path}: spikes must be (t, {expected[0]}, {expected[1]}), "
                f"found {tuple(spikes.shape)}."
            )
        octets = encode_readouts(as_spikes(self.path, spikes), self.geometry)
        self._file.write(octets.tobytes())
        self.num_readouts += len(spikes)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        assert self._file is not None
        assert self._unfinished is not None
        try:
            self._file.close()
            self._file = None
            if kind is None:
                self._finish(self._unfinished)
        finally:
            self._unfinished.discard()

    def _finish(self, unfinished: Unfinished) -> None:
        if not self.num_readouts:
            raise DataError(f"{self.path}: no readouts were written; append at least one.")
        write_sidecar(self.path, self._sidecar, overwrite=self._overwrite)
        unfinished.finish()


def encode_readouts(spikes: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The bytes of readouts (t, H, W): (t, readout_bytes) uint8."""
    rows = spikes[:, ::-1] if geometry.bottom_up else spikes
    padded = np.pad(rows, ((0, 0), (0, 0), (0, geometry.row_bits - geometry.width)))
    return np.packbits(padded.reshape(len(spikes), -1), axis=-1, bitorder=geometry.bit_order)


def misfit(path: Path, size_bytes: int, geometry: Geometry | None) -> str:
    """The line that says why a file cannot be read at a geometry, and which sizes could be."""
    fitting = ", ".join(
        f"{one} ({size_bytes // one.readout_bytes} readouts)" for one in _fitting(size_bytes)
    )
    if not size_bytes:
        return f"{path} is empty: expected at least one readout. Write or fetch it again."
    if geometry is None:
        found = f"{path} holds {size_bytes:,} bytes and states no geometry."
    else:
        held = max(size_bytes - geometry.skip_bytes, 0)
        skipped = f" after {geometry.skip_bytes:,} to skip" if geometry.skip_bytes else ""
        found = (
            f"{path} holds {size_bytes:,} bytes{skipped}: {held / geometry.readout_bytes:.2f} "
            f"readouts of {geometry} ({geometry.readout_bytes:,} bytes each; "
            f"{held % geometry.readout_bytes:,} left over)."
        )
        if held > geometry.readout_bytes:
            found += (
                " A geometry with partial=drop leaves out what follows the last whole readout, "
                "with skip_bytes=N a header."
            )
    fits = f"Common sizes that divide it: {fitting}." if fitting else "No common size divides it."
    return (
        f"{found} {fits} Set height and width of the geometry, or write "
        f"{sidecar_path(path).name} beside it."
    )


def _fitting(size_bytes: int) -> Iterator[Geometry]:
    return (one for one in COMMON_GEOMETRIES if size_bytes and size_bytes % one.readout_bytes == 0)
