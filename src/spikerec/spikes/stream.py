"""A spike stream: lazy, whatever file it comes from, decoding only what is asked for."""

from __future__ import annotations

import os
import weakref
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import EllipsisType
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np

from spikerec.errors import GeometryError, WindowError
from spikerec.kinds import checked
from spikerec.spikes.bayer import BayerPattern, cropped_pattern
from spikerec.spikes.bits import PackedSpikes, pack_bits
from spikerec.spikes.ends import Ends, check_ends, check_mirrors, mirrored
from spikerec.spikes.geometry import Sidecar

#: Files kept open at once in a process: below the usual limit of 1024 with room for others.
MAX_OPEN_FILES = 256

Handle = TypeVar("Handle")
Axis = int | slice | Sequence[int] | np.ndarray
Index = Axis | EllipsisType | tuple[Axis | EllipsisType, ...]


class SpikeWindow(np.ndarray):
    """Decoded spikes, an array like any other, that know what their stream states.

    Attributes:
        light_scale: firing rate of a pixel of intensity 1, None where unknown.
        rate_hz: readouts per second, None where unknown.
        bayer: colours of its pixels, counted from its own top left; None for a grey camera, and for
            what an array's own indexing or arithmetic makes of a window.
    """

    light_scale: float | None
    rate_hz: float | None
    bayer: BayerPattern | None

    def __array_finalize__(self, origin: object) -> None:
        self.light_scale = getattr(origin, "light_scale", None)
        self.rate_hz = getattr(origin, "rate_hz", None)
        self.bayer = None


@checked
class SpikeStream(ABC):
    """A record of T readouts of H × W pixels, one bit each.

    Everything is in image orientation: the top row of the picture first.

    Args:
        path: the file, or the folder of files.
        shape: (T, H, W).
        rate_hz: readouts per second, None where unknown.
        light_scale: firing rate of a pixel of intensity 1, None where unknown.

    Attributes:
        bayer: colours that the pixels see, counted from the top left; None for a grey camera.

    Raises:
        GeometryError: no readouts, or no pixels.
        ConfigError: a rate or light scale out of range.
    """

    bayer: BayerPattern | None = None

    def __init__(
        self,
        path: Path,
        shape: tuple[int, int, int],
        rate_hz: float | None = None,
        light_scale: float | None = None,
    ) -> None:
        if min(shape) < 1:
            raise GeometryError(
                f"{path} holds no spikes: expected readouts, rows and columns, found "
                f"{shape[0]} × {shape[1]} × {shape[2]}."
            )
        stated = Sidecar(rate_hz=rate_hz, light_scale=light_scale)  # checks the ranges
        self.path = path
        self.shape = shape
        self.rate_hz = stated.rate_hz
        self.light_scale = stated.light_scale

    @property
    def num_readouts(self) -> int:
        """T."""
        return self.shape[0]

    @property
    def height(self) -> int:
        """H."""
        return self.shape[1]

    @property
    def width(self) -> int:
        """W."""
        return self.shape[2]

    @property
    def name(self) -> str:
        """A short name for people: that of the file, the folder or the array."""
        return self.path.name

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        size = " × ".join(map(str, self.shape))
        stated = "".join(
            f", {name}={value:g}"
            for name in ("rate_hz", "light_scale")
            if (value := getattr(self, name)) is not None
        )
        return f"{type(self).__name__}({self._source}, {size}{stated})"

    @property
    def _source(self) -> str:
        return repr(str(self.path))

    def __getitem__(self, index: Index) -> SpikeWindow:
        """Decode part of the stream: `stream[t0:t1, y0:y1, x0:x1]`.

        Indices mean what they mean for an array of (T, H, W): ends are cut to the stream, negative
        ones count from its end, an integer drops its axis, a list takes some readouts in its order.
        Slices take steps in time, above 0, but not in space.

        Returns:
            uint8, 0 and 1, contiguous, with the stream's light scale, rate and colours.

        Raises:
            IndexError: an integer out of range, a step that is not served, too many indices, or an
                index of another kind.
        """
        time, rows, columns = _complete(index)
        place = _resolve(rows, self.shape[1], "rows"), _resolve(columns, self.shape[2], "columns")
        if isinstance(time, list):
            readouts = [self[one, rows, columns] for one in time]
            block = np.stack(readouts) if readouts else self[:0, rows, columns]
        else:
            whole = self._decode(_resolve(time, self.shape[0], "readouts", any_step=True), *place)
            dropped = tuple(
                axis for axis, one in enumerate((time, rows, columns)) if not isinstance(one, slice)
            )
            block = whole.squeeze(dropped) if dropped else whole
        return self._stated(block, *(part.start for part in place))

    def _stated(self, spikes: np.ndarray, top: int = 0, left: int = 0) -> SpikeWindow:
        """Spikes of this stream from a row and a column on, with what it states."""
        window = spikes.view(SpikeWindow)
        window.light_scale, window.rate_hz = self.light_scale, self.rate_hz
        if self.bayer is not None and window.ndim == 3:
            window.bayer = cropped_pattern(self.bayer, top, left)
        return window

    @checked
    def window(self, centre: int, length: int, *, ends: Ends = "reflect") -> SpikeWindow:
        """Decode the readouts around one: [centre − length // 2, centre − length // 2 + length).

        Args:
            centre: a readout of the stream.
            length: of the window, at least 1.
            ends: `reflect` completes a window that leaves the stream by mirroring it in time (see
                `spikerec.spikes.ends`); `drop` refuses it.

        Returns:
            (length, H, W) uint8, 0 and 1, with the stream's light scale and rate.

        Raises:
            WindowError: the centre is outside the stream, length < 1, the window leaves the stream
                and is not to be completed, or the stream is too short to complete it.
            ConfigError: another value of `ends`.
        """
        if not 0 <= centre < self.num_readouts:
            self._check_window(centre, centre + 1)
        first = centre - length // 2
        return self._stated(self.packed(first, first + length, ends=ends).unpack())

    @checked
    def packed(
        self,
        t0: int,
        t1: int,
        y0: int = 0,
        y1: int | None = None,
        x0: int = 0,
        x1: int | None = None,
        *,
        ends: Ends = "drop",
    ) -> PackedSpikes:
        """Part of the stream as bits, without decoding them where the file allows it.

        Args:
            t0: first readout.
            t1: readout after the last.
            y0: first row.
            y1: row after the last; None for all.
            x0: first column.
            x1: column after the last; None for all.
            ends: `reflect` replaces readouts outside the stream by mirrored ones, `drop` refuses
                them (see `window`).

        Returns:
            Bits of (t1 − t0) × (y1 − y0) × (x1 − x0) pixels.

        Raises:
            WindowError: a range that is empty or leaves the stream, or a stream too short to be
                mirrored.
            ConfigError: another value of `ends`.
        """
        y1 = self.height if y1 is None else y1
        x1 = self.width if x1 is None else x1
        check_ends(ends)
        is_inside = 0 <= t0 < t1 <= self.num_readouts
        if ends == "drop" or t0 >= t1:
            self._check_window(t0, t1)
        elif not is_inside:
            check_mirrors(self.path, self.num_readouts)
        for name, low, high, size in (
            ("rows", y0, y1, self.height),
            ("columns", x0, x1, self.width),
        ):
            if not 0 <= low < high <= size:
                raise WindowError(
                    f"{self.path}: {name} must be a part of [0, {size}), found [{low}, {high})."
                )
        rows, columns = slice(y0, y1, 1), slice(x0, x1, 1)
        if is_inside:
            return self._pack(slice(t0, t1, 1), rows, columns)
        readouts = mirrored(t0, t1, self.num_readouts)
        first = int(readouts.min())
        packed = self._pack(slice(first, int(readouts.max()) + 1, 1), rows, columns)
        return replace(packed, bits=packed.bits[readouts - first])

    @abstractmethod
    def close(self) -> None:
        """Close the file; the next access opens it again."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def _decode(self, time: slice, rows: slice, columns: slice) -> np.ndarray:
        """The part as contiguous uint8; every slice has a start, a stop and a step above 0."""

    def _pack(self, time: slice, rows: slice, columns: slice) -> PackedSpikes:
        block = self._decode(time, rows, columns)
        return PackedSpikes(pack_bits(block), 0, block.shape[-1])

    def _check_window(self, first: int, stop: int) -> None:
        if not 0 <= first < stop <= self.num_readouts:
            raise WindowError(
                f"{self.path} holds {self.num_readouts} readouts, expected those in "
                f"[{first}, {stop}): choose a window within [0, {self.num_readouts})."
            )


class FileStream(SpikeStream, Generic[Handle]):
    """A stream of one file: opened on first use, and again in every process it is sent to.

    At most `MAX_OPEN_FILES` are open at once, so that a data set of thousands of files needs no
    bookkeeping by its readers.
    """

    _open_streams: ClassVar[deque[weakref.ref[FileStream[Any]]]] = deque()
    _opened: Handle | None = None
    _opened_in: int = 0

    @abstractmethod
    def _open(self) -> Handle:
        """Open the file for reading."""

    @property
    def _handle(self) -> Handle:
        # A forked worker must not share a file position with its parent.
        handle = self._opened  # held here: another thread may close the stream meanwhile
        if handle is None or self._opened_in != os.getpid():
            handle = self._open()
            self._opened, self._opened_in = handle, os.getpid()
            queue = FileStream._open_streams
            queue.append(weakref.ref(self))
            oldest = queue.popleft()() if len(queue) > MAX_OPEN_FILES else None
            if oldest is not None and oldest is not self:  # which may have been opened before
                oldest.close()
        return handle

    def close(self) -> None:
        """Close the file; the next access opens it again."""
        self._opened = None

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        state.pop("_opened", None)
        return state


def _complete(index: Index) -> tuple[int | slice | list[int], int | slice, int | slice]:
    """The index of each of three axes, `...` and missing ones spelled out."""
    given = index if isinstance(index, tuple) else (index,)
    dots = [place for place, one in enumerate(given) if one is Ellipsis]
    if dots:
        place = dots[0]
        whole = (slice(None),) * (4 - len(given))
        given = (*given[:place], *whole, *given[place + 1 :])
    given = (*given, *(slice(None),) * (3 - len(given)))
    if len(given) != 3 or any(isinstance(one, EllipsisType) for one in given):
        raise IndexError(f"a spike stream has three axes (T, H, W), found the index {index!r}.")
    time, *rest = (_axis(one, index) for one in given)
    rows, columns = rest
    if isinstance(rows, list) or isinstance(columns, list):
        raise IndexError(f"a list takes readouts, not rows or columns, found the index {index!r}.")
    return time, rows, columns


def _axis(one: Any, index: Index) -> int | slice | list[int]:  # noqa: ANN401 (whatever was given)
    """The index of one axis: a slice, a whole number, or a list of these."""
    if isinstance(one, slice):
        return one
    if hasattr(one, "__index__") and not isinstance(one, bool | np.bool_) and not np.ndim(one):
        return int(one)
    if isinstance(one, Sequence | np.ndarray) and not isinstance(one, str):
        places = [_axis(place, index) for place in one]
        if all(isinstance(place, int) for place in places):
            return places  # type: ignore[return-value]  # all whole numbers
    raise IndexError(
        f"a spike stream is indexed by whole numbers, slices and a list of readouts, found the "
        f"index {index!r}."
    )


def _resolve(index: int | slice, size: int, axis: str, *, any_step: bool = False) -> slice:
    """A slice with start ≤ stop inside [0, size] and a step above 0."""
    if isinstance(index, slice):
        start, stop, step = index.indices(size)
        if step != 1 and not (any_step and step > 0):
            raise IndexError(f"{axis} of a spike stream cannot be taken in steps of {step}.")
        return slice(start, max(start, stop), step)
    position = index.__index__()
    if not -size <= position < size:
        raise IndexError(f"index {position} is out of range: the stream has {size} {axis}.")
    return slice(position % size, position % size + 1, 1)
