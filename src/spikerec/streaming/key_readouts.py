"""The readouts of a stream that become images."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from spikerec.errors import ConfigError, DataError, WindowError
from spikerec.kinds import checked
from spikerec.parsing import read_bytes, shown
from spikerec.spikes import Ends, SpikeStream
from spikerec.spikes.ends import check_ends, check_mirrors


class Windowed(Protocol):
    """A method as far as its windows go."""

    @property
    def window(self) -> int:
        """Readouts of a window."""

    @property
    def key_readout(self) -> int:
        """Index in the window of the readout that is reconstructed."""


@checked
@dataclass(frozen=True)
class KeyReadouts:
    """Key readouts of a stream: evenly spaced, or a list of them.

    Attributes:
        first: the first of them.
        stop: they are below it.
        stride: readouts from one to the next; on the average, of a list.
        listed: the list, rising; empty for evenly spaced ones.
    """

    first: int
    stop: int
    stride: int
    listed: tuple[int, ...] = ()

    @classmethod
    @checked
    def of(
        cls,
        stream: SpikeStream,
        networks: Sequence[Windowed],
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
        for name, value, least in (("stride", stride, 1), ("start", start, 0), ("stop", stop, 0)):
            if name == "stop" and value is None:
                continue
            if not isinstance(value, int) or isinstance(value, bool):
                raise ConfigError(f"{name} must be a whole number, found {value!r}.")
            if name != "stop" and value < least:
                raise ConfigError(f"{name} must be at least {least}, found {value}.")
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

    @classmethod
    @checked
    def at(
        cls,
        stream: SpikeStream,
        networks: Sequence[Windowed],
        readouts: Sequence[int],
        ends: Ends = "reflect",
    ) -> KeyReadouts:
        """These readouts, each once and in order.

        Args:
            stream: whose readouts they are.
            networks: that reconstruct them.
            readouts: at least one.
            ends: see `of`; with `drop` each must have its whole window inside the stream.

        Raises:
            ConfigError: none, one outside the stream, or another value of `ends`.
            WindowError: a window that may not be mirrored, or cannot be.
        """
        check_ends(ends)
        listed = tuple(sorted(set(readouts)))
        total = stream.num_readouts
        if not listed:
            raise ConfigError(f"at names no readout of {stream.path}: name one, such as at=150.")
        check_inside(listed, stream)
        before, after = reach(networks)
        leaving = [one for one in listed if one < before or one > total - after]
        if leaving and ends == "drop":
            raise WindowError(
                f"at={leaving[0]} has not the window of {before + after} readouts in the {total} "
                f"of {stream.path}: expected {before} to {total - after}, or ends=reflect."
            )
        if leaving:
            check_mirrors(stream.path, total)
        first, stop = listed[0], listed[-1] + 1
        return cls(first, stop, max(1, (stop - first) // len(listed)), listed)

    def runs(self) -> Iterator[KeyReadouts]:
        """Their longest evenly spaced parts, in order: a network goes along each by one stride."""
        left = self.listed
        if not left:
            yield self
        while left:
            stride = left[1] - left[0] if left[1:] else 1
            count = 1
            while count < len(left) and left[count] - left[count - 1] == stride:
                count += 1
            yield KeyReadouts(left[0], left[count - 1] + 1, stride)
            left = left[count:]

    def __len__(self) -> int:
        return len(self._range)

    def __iter__(self) -> Iterator[int]:
        return iter(self._range)

    def __getitem__(self, index: slice) -> KeyReadouts:
        """Some of them in a row."""
        part = self._range[index]
        if isinstance(part, range):
            return KeyReadouts(part.start, part.stop, part.step)
        return KeyReadouts(part[0], part[-1] + 1, self.stride, part) if part else _NONE

    @property
    def _range(self) -> range | tuple[int, ...]:
        return self.listed or range(self.first, self.stop, self.stride)


_NONE = KeyReadouts(0, 0, 1)

#: Frames by which a short clip becomes a video of a few seconds.
FEWEST_FRAMES = 75


def choose_key_readouts(
    stream: SpikeStream,
    networks: Sequence[Windowed],
    *,
    stride: int | None = None,
    start: int = 0,
    stop: int | None = None,
    ends: Ends = "reflect",
    slow_motion: float | None = None,
    fps: float = 25,
    at: Any = None,  # noqa: ANN401 (a readout, a time, a list of them, or a file)
) -> KeyReadouts:
    """The key readouts that the arguments of `spikerec.reconstruct` ask for.

    Raises:
        ConfigError: `at` beside another choice, or a value out of range.
        WindowError: see `KeyReadouts.of` and `KeyReadouts.at`.
    """
    if at is not None:
        if (stride, slow_motion, start, stop) != (None, None, 0, None):
            raise ConfigError("at names readouts: leave out stride, slow_motion, start and stop.")
        return KeyReadouts.at(stream, networks, parse_readouts(at, stream), ends)
    if stride is None:
        end = stream.num_readouts if stop is None else min(stop, stream.num_readouts)
        stride = default_stride(stream, networks, slow_motion, fps, end - start)
    return KeyReadouts.of(stream, networks, stride, start, stop, ends)


@checked
def default_stride(
    stream: SpikeStream,
    networks: Sequence[Windowed],
    slow_motion: float | None,
    fps: float,
    num_readouts: int | None = None,
) -> int:
    """Readouts from one frame to the next for a wanted playback speed.

    Args:
        stream: states the sampling rate.
        networks: the methods.
        slow_motion: times slower than life; None for half the shortest window, and less of a clip
            so short that it would play for less than three seconds.
        fps: frames shown in a second.
        num_readouts: of the clip; None for the whole stream.

    Raises:
        ConfigError: a speed is wanted of a stream whose sampling rate is unknown, or one so slow
            that there is less than one readout a frame.
    """
    if slow_motion is None:
        count = stream.num_readouts if num_readouts is None else num_readouts
        half = min(network.window for network in networks) // 2
        return max(1, min(half, count // FEWEST_FRAMES))
    if stream.rate_hz is None:
        raise ConfigError(
            f"slow_motion={slow_motion:g} needs the sampling rate of {stream.path}: set rate_hz, "
            "or stride instead."
        )
    stride = stream.rate_hz / (fps * slow_motion)
    if stride < 0.5:
        raise ConfigError(
            f"slow_motion={slow_motion:g} at fps={fps:g} asks for {fps * slow_motion:g} frames a "
            f"second of {stream.rate_hz:g} readouts: lower slow_motion or fps."
        )
    return round(stride)


#: Units of time behind a number, in seconds.
UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6}
#: Bytes of a file of readouts: some hundred thousand of them.
MOST_BYTES = 1 << 22


def parse_readouts(at: Any, stream: SpikeStream) -> list[int]:  # noqa: ANN401 (see below)
    """The readouts that somebody names: numbers, times, a list of both, or a file of them.

    Args:
        at: `150`, `12.5ms`, `0, 12.5ms`, `[0, 150]`, or the name of a text file with one or more a
            line, in which `#` begins a comment.
        stream: whose sampling rate turns times into readouts.

    Returns:
        Readouts, in the order in which they are named; the nearest of a time.

    Raises:
        ConfigError: what is neither, or a time in a stream whose sampling rate is unknown.
        DataError: a file that cannot be read.
    """
    if isinstance(at, Sequence) and not isinstance(at, str):
        return [one for part in at for one in parse_readouts(part, stream)]
    text = str(at)
    parts = text.split(",")
    if not all(map(_READOUT.fullmatch, parts)):
        if not Path(text).is_file():
            raise ConfigError(
                f"at={text} is neither a readout (150), nor a time (12.5ms), a list of them or a "
                "file of them."
            )
        lines = read_bytes(Path(text), MOST_BYTES, "text").decode("utf-8", "replace").splitlines()
        parts = [word for line in lines for word in re.split(r"[\s,]+", line.partition("#")[0])]
        parts = [word for word in parts if word]
        wrong = [word for word in parts if not _READOUT.fullmatch(word)]
        if wrong:
            raise DataError(f"{text} must hold readouts or times, found {shown(wrong[0])}.")
    return [_readout(part, stream) for part in parts]


def check_inside(readouts: Sequence[int], stream: SpikeStream) -> None:
    """Check that a stream has these readouts.

    Raises:
        ConfigError: one is outside.
    """
    outside = [one for one in readouts if not 0 <= one < stream.num_readouts]
    if outside:
        found, last = (_with_time(one, stream) for one in (outside[0], stream.num_readouts - 1))
        raise ConfigError(f"at={found} is no readout of {stream.path}: expected 0 to {last}.")


def _with_time(readout: int, stream: SpikeStream) -> str:
    """A readout, and its time where the sampling rate is known."""
    if stream.rate_hz is None:
        return str(readout)
    return f"{readout} ({1000 * readout / stream.rate_hz:.4g}ms)"


#: A readout's number, or a time.
_READOUT = re.compile(
    r"\s*(\d{1,18}|\d{1,18}(?:\.\d*)?(?:[eE][+-]?\d{1,2})?)\s*(s|ms|us|µs|μs)?\s*"
)


def _readout(text: str, stream: SpikeStream) -> int:
    found = _READOUT.fullmatch(text)
    assert found is not None
    number = float(found[1])
    if found[2] is not None:
        if stream.rate_hz is None:
            raise ConfigError(
                f"at={text.strip()} needs the sampling rate of {stream.path}: set rate_hz, or name "
                "a readout."
            )
        return round(number * UNITS[found[2]] * stream.rate_hz)
    if not number.is_integer():
        raise ConfigError(f"at={text.strip()} must be a whole number, or a time (12.5ms).")
    return int(number)


def reach(networks: Sequence[Windowed]) -> tuple[int, int]:
    """Readouts needed before a key readout, and from it on."""
    before = max(network.key_readout for network in networks)
    return before, max(network.window - network.key_readout for network in networks)
