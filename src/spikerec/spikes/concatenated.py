"""Several streams in a row, read as one: data sets that store a scene in short files."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np

from spikerec.errors import DataError, GeometryError
from spikerec.kinds import checked
from spikerec.spikes.bits import PackedSpikes
from spikerec.spikes.stream import SpikeStream


@checked
class ConcatenatedStream(SpikeStream):
    """Streams joined in time.

    Args:
        path: what to call the whole in messages: the folder of the parts.
        parts: the streams, in order.

    Raises:
        DataError: no parts.
        GeometryError: parts of different size, rate, light scale or colours.
    """

    def __init__(self, path: Path, parts: Sequence[SpikeStream]) -> None:
        if not parts:
            raise DataError(f"{path}: expected at least one spike file to join, found none.")
        head = parts[0]
        for part in parts[1:]:
            _check_alike(head, part)
        self.parts = tuple(parts)
        self._starts = (0, *accumulate(part.num_readouts for part in parts))
        shape = (self._starts[-1], head.height, head.width)
        super().__init__(path, shape, head.rate_hz, head.light_scale)
        self.bayer = head.bayer

    @property
    def name(self) -> str:
        """The names of the first and the last part, and how many there are."""
        first, *_, last = (part.name for part in (self.parts[0], *self.parts))
        return f"{first} … {last} ({len(self.parts)} files)" if self.parts[1:] else first

    @property
    def _source(self) -> str:
        return f"{str(self.path)!r}, {self.name}"

    def part_at(self, readout: int) -> tuple[SpikeStream, int]:
        """The part that holds a readout of the whole, and the place of its first one in that.

        Args:
            readout: from 0 to below `num_readouts`.
        """
        index = bisect_right(self._starts, readout) - 1
        return self.parts[index], self._starts[index]

    def close(self) -> None:
        """Close the files; the next access opens them again."""
        for part in self.parts:
            part.close()

    def _decode(self, time: slice, rows: slice, columns: slice) -> np.ndarray:
        block = np.empty(
            (
                len(range(self.num_readouts)[time]),
                rows.stop - rows.start,
                columns.stop - columns.start,
            ),
            np.uint8,
        )
        filled = 0
        for part, local in self._pieces(time):
            piece = part._decode(local, rows, columns)
            block[filled : filled + len(piece)] = piece
            filled += len(piece)
        return block

    def _pack(self, time: slice, rows: slice, columns: slice) -> PackedSpikes:
        pieces = [part._pack(local, rows, columns) for part, local in self._pieces(time)]
        if any(piece.offset != pieces[0].offset for piece in pieces):
            return super()._pack(time, rows, columns)  # formats that pack differently
        bits = np.concatenate([piece.bits for piece in pieces])
        return PackedSpikes(bits, pieces[0].offset, pieces[0].width)

    def _pieces(self, time: slice) -> Iterator[tuple[SpikeStream, slice]]:
        """Each part that the readouts touch, and which of its own readouts they are."""
        wanted = range(time.start, time.stop, time.step)
        while wanted:
            part, start = self.part_at(wanted[0])
            stop = min(start + part.num_readouts, time.stop)
            count = len(range(wanted[0], stop, time.step))
            yield part, slice(wanted[0] - start, stop - start, time.step)
            wanted = wanted[count:]


def _check_alike(head: SpikeStream, part: SpikeStream) -> None:
    for name in ("height", "width", "rate_hz", "light_scale", "bayer"):
        expected, found = getattr(head, name), getattr(part, name)
        if expected != found:
            raise GeometryError(
                f"{part.path} has {name} {found}, expected {expected} as {head.path}: "
                "only streams of one recording can be joined."
            )
