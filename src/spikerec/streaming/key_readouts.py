"""The readouts of a stream that become images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from spikerec.errors import ConfigError, WindowError
from spikerec.models.base import Network
from spikerec.spikes import SpikeStream


@dataclass(frozen=True)
class KeyReadouts:
    """Evenly spaced key readouts, each with a whole window around it.

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
    ) -> KeyReadouts:
        """Every `stride`-th readout of [start, stop) with the windows of all networks inside it.

        Raises:
            ConfigError: a stride below 1, or a start below 0.
            WindowError: the part is shorter than what the networks need.
        """
        if stride < 1:
            raise ConfigError(f"stride must be at least 1, found {stride}.")
        if start < 0:
            raise ConfigError(f"start must be at least 0, found {start}.")
        end = stream.num_readouts if stop is None else min(stop, stream.num_readouts)
        before, after = reach(networks)
        if end - start < before + after:
            names = ", ".join(type(network).__name__ for network in networks)
            raise WindowError(
                f"{stream.path}: readouts [{start}, {end}) are {max(end - start, 0)}, but {names} "
                f"needs a window of {before + after}. Give a longer part, or set model.window."
            )
        return cls(start + before, end - after + 1, stride)

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
