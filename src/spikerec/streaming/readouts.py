"""The readouts that pass through memory: read once, held as bits, let go when no window needs them.

What is held at a time depends on window, stride and batch, and not on the length of the stream.

Readouts are counted on an axis that goes on beyond both ends of the stream, below 0 and above its
last: what lies there is mirrored when it is read (`spikes.ends`), and is like any other readout to
all that follows. So every way along a stream, and every tile, sees the ends as one window does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple, TypeVar

import torch
from torch import Tensor

from spikerec.models.padding import Margins
from spikerec.models.reconstructors import Spikes
from spikerec.spikes import NpzStream, PackedSpikes, SpikeStream, unpack_bits
from spikerec.spikes.defects import Repair
from spikerec.streaming.light import Calibrated

#: Bytes read from a mapped file before it is let go: pages read count as memory until then.
RELEASE_BYTES = 1 << 22

Item = TypeVar("Item")


class Chunk(NamedTuple):
    """Readouts [first, stop) of a stream, mirrored where they lie outside."""

    first: int
    stop: int
    packed: PackedSpikes


def read(
    stream: SpikeStream, key_readouts: Iterable[int], before: int, after: int
) -> Generator[Chunk, None, None]:
    """Read what each rising key readout needs beyond the ones before it.

    No readout is read twice, but for those that are mirrored at the ends.
    """
    done: int | None = None
    unreleased = 0
    for key_readout in key_readouts:
        first, stop = key_readout - before, key_readout + after
        first = first if done is None else max(first, done)
        packed = stream.packed(first, stop, ends="reflect")
        yield Chunk(first, stop, packed)
        done = stop
        unreleased += packed.bits.nbytes
        if unreleased > RELEASE_BYTES and not isinstance(stream, NpzStream):
            stream.close()
            unreleased = 0


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


class _End:
    """After the last item."""


END: Final = _End()


def ahead(items: Generator[Item, None, None], depth: int) -> Generator[Item, None, None]:
    """The same items, made in a thread of their own, at most `depth` of them ahead.

    An error in making one is raised in its place. When the reader stops early, so does the thread.
    """
    with ThreadPoolExecutor(1) as pool:
        pending = deque(pool.submit(next, items, END) for _ in range(depth))
        try:
            while not isinstance(item := pending.popleft().result(), _End):
                pending.append(pool.submit(next, items, END))
                yield item
        finally:
            for future in pending:
                future.cancel()
            pool.submit(items.close).result()
