"""The readouts that pass through memory: read once, held as bits, let go when no window needs them.

What is held at a time depends on window, stride and batch, and not on the length of the stream.

Readouts are counted on an axis that goes on beyond both ends of the stream, below 0 and above its
last: what lies there is mirrored when it is read (`spikes.ends`), and is like any other readout to
all that follows. So every way along a stream, and every tile, sees the ends as one window does.
"""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor

from spikerec.models.padding import Margins
from spikerec.models.reconstructors import Spikes
from spikerec.spikes import unpack_bits
from spikerec.spikes.defects import Repair
from spikerec.streaming.calibrated import Calibrated
from spikerec.streaming.reading import Chunk


class Readouts:
    """A run of readouts as bits on the device: filled at its end, forgotten at its start.

    Args:
        device: where the bits lie.
        repair: replaces the spikes of broken pixels; None for none.
    """

    def __init__(self, device: torch.device, repair: Repair | Calibrated | None = None) -> None:
        self._device = device
        self._repair = repair
        self._chunks: deque[tuple[int, int, Tensor]] = deque()
        self._width = self._offset = 0

    @property
    def stop(self) -> int:
        """The readout after the last that is held; 0 when there is none."""
        return self._chunks[-1][1] if self._chunks else 0

    def add(self, chunk: Chunk) -> None:
        """Hold the readouts that follow."""
        bits = torch.from_numpy(chunk.packed.bits).to(self._device)
        self._width, self._offset = chunk.packed.width, chunk.packed.offset
        self._chunks.append((chunk.first, chunk.stop, bits))

    def forget(self, first: int) -> None:
        """Drop the chunks that lie wholly before a readout."""
        while self._chunks and self._chunks[0][1] <= first:
            self._chunks.popleft()

    def part(self, first: int, stop: int) -> Tensor:
        """See `Spikes.part`; the readouts must be held."""
        pieces = [
            bits[max(first - begin, 0) : stop - begin]
            for begin, end, bits in self._chunks
            if begin < stop and first < end
        ]
        bits = pieces[0] if len(pieces) == 1 else torch.cat(pieces)
        assert len(bits) == stop - first
        spikes = unpack_bits(bits, self._width, self._offset)
        return spikes if self._repair is None else self._repair(spikes)

    def fired(self, first: int, stop: int) -> Tensor:
        """Return 1 where a pixel fires, else 0, also where a calibration has corrected the spikes.

        What a calibration makes of no spike, −dark · gain, is never above 0.
        """
        spikes = self.part(first, stop)
        return (spikes > 0).to(torch.uint8) if spikes.is_floating_point() else spikes


class Cut:
    """The spikes of a part of the padded picture.

    Args:
        whole: the spikes of the picture.
        margins: added before cutting.
        rows: of the padded picture.
        columns: of the padded picture.
    """

    def __init__(
        self,
        whole: Spikes,
        margins: Margins,
        rows: slice,
        columns: slice,
    ) -> None:
        self._whole = whole
        self._margins = margins
        self._rows = rows
        self._columns = columns

    def part(self, first: int, stop: int) -> Tensor:
        """See `Spikes.part`."""
        padded = self._margins.pad(self._whole.part(first, stop))
        return padded[:, self._rows, self._columns]
