"""The readouts of a stream that become images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from spikerec.errors import ConfigError, WindowError
from spikerec.models.base import Network
from spikerec.spikes import Ends, SpikeStream
from spikerec.spikes.ends import check_ends, check_mirrors


@dataclass(frozen=True)
class KeyReadouts:
    """Evenly spaced key readouts of a stream.

    Attributes:
        first: the first of them.
        stop: they are below it.
        stride: readouts from one to the next.
    """

    first: int
    stop: int
    stride: int

    @classmethod
    def of(
        cls,
        stream: SpikeStream,
        networks: Sequence[Network],
        stride: int,
        start: int = 0,
        stop: int | None = None,
        ends: Ends = "reflect",
    ) -> KeyReadouts:
        """Every `stride`-th readout of [start, stop).

        Windows see what the stream holds on either side of [start, stop), so that the images of a
        part are those that the whole stream would give.

        Args:
            stream: whose readouts they are.
            networks: that reconstruct them.
            stride: readouts from one to the next.
            start: the first.
            stop: they are below it; None for the end of the stream.
            ends: `reflect` takes all, and windows that leave the stream are completed by mirroring
                in time (`spikes.ends`); `drop` takes those whose windows lie inside the stream, for
                all networks.

        Raises:
            ConfigError: a stride below 1, a start below 0, or another value of `ends`.
            WindowError: no readout is left, or the stream is too short to be mirrored.
        """
        if stride < 1:
            raise ConfigError(f"stride must be at least 1, found {stride}.")
        if start < 0:
            raise ConfigError(f"start must be at least 0, found {start}.")
        check_ends(ends)
        total = stream.num_readouts
        end = total if stop is None else min(stop, total)
        if start >= end:
            raise WindowError(
                f"{stream.path} holds {total} readouts, of which [{start}, {end}) are none: set "
                "start and stop within them."
            )
        before, after = reach(networks)
        first, last = start, end
        if ends == "drop":
            first, last = max(start, before), min(end, total - after + 1)
        elif start < before or end > total - after + 1:
            check_mirrors(stream.path, total)
        if first >= last:
            names = ", ".join(type(network).__name__ for network in networks)
            raise WindowError(
                f"{stream.path}: no readout of [{start}, {end}) has the window of "
                f"{before + after} readouts that {names} needs, in the {total} that the stream "
                "holds. Set ends=reflect to complete windows by mirroring, or a smaller "
                "window."
            )
        return cls(first, last, stride)

    def __len__(self) -> int:
        return len(self._range)

    def __iter__(self) -> Iterator[int]:
        return iter(self._range)

    def __getitem__(self, index: slice) -> KeyReadouts:
        """Some of them in a row."""
        part = self._range[index]
        return KeyReadouts(part.start, part.stop, part.step)

    @property
    def _range(self) -> range:
        return range(self.first, self.stop, self.stride)


def reach(networks: Sequence[Network]) -> tuple[int, int]:
    """Readouts needed before a key readout, and from it on."""
    before = max(network.key_readout for network in networks)
    return before, max(network.window - network.key_readout for network in networks)
