"""Consecutive windows of a stream, through which a network carries its state.

Training samples are sequences: windows `hop` readouts apart, of one crop. A whole image is the last
window of a chain that begins at its stream's start, or some windows before it (`Carry`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from spikerec.errors import ConfigError
from spikerec.kinds import checked
from spikerec.models.carrying import Carry, check_carry
from spikerec.spikes import unpack_bits


@checked
@dataclass(frozen=True)
class Sequences:
    """Training samples of several windows, each of which goes on from the one before.

    Args:
        hop: readouts from window to window (`Network.hop`).
        length: windows of a sequence.
        warm_up: the first of them, which fill the state and are not learnt from; they need no true
            images.

    Raises:
        ConfigError: a length below 2, or a warm-up that leaves no window to learn from.
    """

    hop: int
    length: int
    warm_up: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.length, int) or self.length < 2:
            raise ConfigError(
                f"sequence must be at least 2 windows, or null for windows on their own, found "
                f"{self.length!r}."
            )
        if not isinstance(self.warm_up, int) or not 0 <= self.warm_up < self.length:
            raise ConfigError(
                f"warm_up must be from 0 to {self.length - 1}, so that a window of the sequence of "
                f"{self.length} is left to learn from, found {self.warm_up!r}."
            )

    @property
    def reach(self) -> int:
        """Readouts from the first window's key readout to the last one's."""
        return (self.length - 1) * self.hop

    def learnt(self, last: int) -> list[int]:
        """Key readouts of the windows that are learnt from, in the sequence that ends at `last`."""
        return list(range(last - (self.length - 1 - self.warm_up) * self.hop, last + 1, self.hop))

    def ends(self, key_readouts: Iterable[int], before: int) -> list[int]:
        """Key readouts at which a sequence may end.

        Args:
            key_readouts: of the clip: those that may be learnt from.
            before: readouts of a window before its key readout. The first window lies in the
                stream, so that no state is made of mirrored readouts.
        """
        known = set(key_readouts)
        return sorted(
            last
            for last in known
            if last - self.reach >= before and known.issuperset(self.learnt(last))
        )


@dataclass(frozen=True)
class Past:
    """The past of a whole image: windows that are read with it, or a state that is at hand.

    Attributes:
        count: windows that are read before its own.
        follows: key of the sample that these go on from; empty for the network's initial state.
    """

    count: int
    follows: str = ""


class Earlier:
    """The windows before a sample's own, of one picture, unpacked one at a time.

    Args:
        bits: (1, T, H, n) packed readouts, where they lie.
        width: of the picture, in pixels.
        offset: of its first pixel among the bits.
        window: readouts of a window.
        hop: readouts from window to window.
        count: windows.
    """

    def __init__(
        self, bits: Tensor, width: int, offset: int, *, window: int, hop: int, count: int
    ) -> None:
        self._bits, self._width, self._offset = bits, width, offset
        self._window, self._hop, self._count = window, hop, count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Tensor]:
        """The windows, (1, window, H, W) uint8 in {0, 1}, in order."""
        for start in range(0, self._count * self._hop, self._hop):
            bits = self._bits[0, start : start + self._window]
            yield unpack_bits(bits, self._width, self._offset)[None]


def is_sequence(batch: Mapping[str, Any]) -> bool:
    """True for a batch of sequences."""
    return "hop" in batch


def windows_of(batch: Mapping[str, Any], window: int) -> Iterator[tuple[dict[str, Any], bool]]:
    """The windows of a batch of sequences, in order, each as a batch of its own.

    Args:
        batch: decoded: `spikes` (B, T, H, W), `hop`, `target` (B, n, 1, H, W) of the last n windows
            where there are images, and whatever else, passed on.
        window: readouts of a window.

    Yields:
        A batch of windows, and whether it is learnt from.
    """
    hop, learnt = int(batch["hop"][0]), int(batch["learnt"][0])
    rest = {name: value for name, value in batch.items() if name not in ("hop", "learnt")}
    length = (batch["spikes"].shape[1] - window) // hop + 1
    for index in range(length):
        start, place = index * hop, index - (length - learnt)
        one = rest | {"spikes": batch["spikes"][:, start : start + window]}
        one.pop("target", None)
        if place >= 0 and "target" in batch:
            one["target"] = batch["target"][:, place]
        yield one, place >= 0


def carried_by(sequences: Sequences | None, carry: Carry, hop: int | None) -> Carry:
    """The windows through which the state of whole images comes.

    Where nothing is said, whole images are seen as training sees the last window of a sequence.

    Raises:
        ConfigError: no `Carry`, or a state to carry without the readouts from window to window.
    """
    check_carry(carry)
    if carry is not None and hop is None:
        raise needs_hop(f"carry={carry}")
    return sequences.length - 1 if carry is None and sequences is not None else carry


def needs_hop(asked: str) -> ConfigError:
    """The error of data that are to carry a state and do not know how far apart windows are."""
    return ConfigError(
        f"{asked} needs the readouts from window to window (hop=network.hop), found none: the "
        "network carries no state, or hop was left out."
    )
