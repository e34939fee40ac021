"""A stream read once, in the order of the key readouts."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import NamedTuple

from spikerec.spikes import NpzStream, PackedSpikes, SpikeStream

#: Bytes read from a mapped file before it is let go: pages read count as memory until then.
RELEASE_BYTES = 1 << 22


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
