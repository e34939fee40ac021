"""A stream whose pictures are turned: rotated by quarter turns, then flipped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from spikerec.spikes.bayer import Flip, check_turn, turned_pattern
from spikerec.spikes.bits import PackedSpikes
from spikerec.spikes.stream import SpikeStream


class TurnedStream(SpikeStream):
    """Another stream, its pictures rotated, then flipped.

    Args:
        stream: any.
        rotate: degrees clockwise: 0, 90, 180 or 270.
        flip: `none`, `horizontal` (left and right change places) or `vertical`.

    Raises:
        ConfigError: another rotation or flip.
    """

    def __init__(self, stream: SpikeStream, rotate: int = 0, flip: Flip = "none") -> None:
        check_turn(rotate, flip)
        num_readouts, height, width = stream.shape
        self.source = stream
        # A quarter turn clockwise swaps rows and columns, then mirrors the columns.
        self._is_transposed = rotate in (90, 270)
        self._mirrors_rows = (rotate in (180, 270)) != (flip == "vertical")
        self._mirrors_columns = (rotate in (90, 180)) != (flip == "horizontal")
        size = (width, height) if self._is_transposed else (height, width)
        super().__init__(stream.path, (num_readouts, *size), stream.rate_hz, stream.light_scale)
        if stream.bayer is not None:
            self.bayer = turned_pattern(stream.bayer, rotate, flip, height, width)

    def close(self) -> None:
        """Close the file; the next access opens it again."""
        self.source.close()

    def _decode(self, time: slice, rows: slice, columns: slice) -> np.ndarray:
        rows, columns = self._unmirrored(rows, columns)
        if self._is_transposed:
            block = self.source._decode(time, columns, rows).swapaxes(1, 2)
        else:
            block = self.source._decode(time, rows, columns)
        block = block[:, ::-1] if self._mirrors_rows else block
        return np.ascontiguousarray(block[..., ::-1] if self._mirrors_columns else block)

    def _pack(self, time: slice, rows: slice, columns: slice) -> PackedSpikes:
        if self._is_transposed or self._mirrors_columns:
            return super()._pack(time, rows, columns)
        rows, columns = self._unmirrored(rows, columns)
        packed = self.source._pack(time, rows, columns)
        step = -1 if self._mirrors_rows else 1
        return replace(packed, bits=np.ascontiguousarray(packed.bits[:, ::step]))

    def _unmirrored(self, rows: slice, columns: slice) -> tuple[slice, slice]:
        """The same part before rows and columns are mirrored."""
        if self._mirrors_rows:
            rows = slice(self.height - rows.stop, self.height - rows.start, 1)
        if self._mirrors_columns:
            columns = slice(self.width - columns.stop, self.width - columns.start, 1)
        return rows, columns
