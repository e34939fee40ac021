"""Frames of a video file, or of a folder of images: upright, timed, and read one by one.

A video is opened by its content, as one of `opening.CONTAINERS`, and may name no other file or
address: playlists and scripts of FFmpeg (ffconcat, HLS, DASH, SDP, …) are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spikerec.errors import DataError, DataNotFoundError
from spikerec.extras import require
from spikerec.kinds import checked
from spikerec.parsing import parsing
from spikerec.simulation.images import (
    Light,
    fitted,
    image_files,
    image_size,
    light_of,
    read_light,
)
from spikerec.simulation.opening import open_container

#: Bounds of a video: pixels of a frame (8192²), frames (an hour at 36 a second), pixels in all
#: (10 minutes of 4K at 60 a second), and the longest gap between two frames over the shortest.
MAX_FRAME_PIXELS = 1 << 26
MAX_FRAMES = 1 << 17
MAX_VIDEO_PIXELS = 1 << 38
#: Pixels for each byte of the file (low rates of published videos have half of it), beyond some ten
#: seconds of decoding: a frame that repeats the one before takes 13 bytes, whatever its size.
MAX_PIXELS_PER_BYTE = 1_024
FREE_VIDEO_PIXELS = 1 << 31
MAX_GAP_RATIO = 1_000

#: Largest difference of two equal gaps, relative to the shorter.
JITTER = 0.1
#: Frames kept: those of two gaps, in which the readouts of an image may lie.
KEPT = 3


@checked
class Footage:
    """Frames of a video file, or of a folder of images taken in order, numbers by value.

    A frame is read when it is asked for, and the last three are kept, so that memory does not grow
    with the length: ask for them in order. A video is read through once before, for its number of
    frames, their size and their times.

    Args:
        path: file or folder.
        size: (height, width) to cut and scale to; None keeps the frames' own.
        frames: how many to read; None: all.
        detail: read frames at so many times `size`, a side, where they have as many pixels.
        light: intensity of all colours together, or of one.

    Attributes:
        detail: pixels of a frame as read for one of `size`, a side.
        times: seconds at which each frame was taken, from 0; None where they are evenly spaced or
            the file states no times.
        shape: (F, H, W).

    Raises:
        DataNotFoundError: nothing there.
        DataError: unreadable, beyond the bounds, fewer frames than asked for or than 2, frames of
            different sizes, or at times that do not rise.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        size: tuple[int, int] | None = None,
        frames: int | None = None,
        detail: int = 1,
        light: Light = "grey",
    ) -> None:
        self.path = Path(path)
        self._light = light
        self._files: list[Path] = []
        self.times: list[float] | None = None
        self._tick = 0.0  # seconds between two times that the file can state
        if self.path.is_dir():
            self._files = image_files(self.path)[:frames]
            sizes = [image_size(file) for file in self._files]
        else:
            sizes = self._look_through(frames)
        needed = max(2, frames or 2)
        if len(sizes) < needed:
            raise DataError(
                f"input={self.path} holds {len(sizes)} frame(s): expected at least {needed}."
            )
        if size is None and len(set(sizes)) > 1:
            raise DataError(
                f"input={self.path} holds frames of {len(set(sizes))} sizes: expected one. "
                "Set size=[HEIGHT,WIDTH]."
            )
        self.detail = 1
        if size is not None:
            own = zip(sizes[0], size, strict=True)
            self.detail = detail if all(has >= detail * side for has, side in own) else 1
            size = (self.detail * size[0], self.detail * size[1])
        self._size = size
        self.shape = (len(sizes), *(size or sizes[0]))
        self._kept: dict[int, Tensor] = {}
        self._source: Iterator[tuple[int, Tensor]] = iter(())

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int) -> Tensor:
        """A frame as intensity, (H, W) float32 in [0, 1].

        Raises:
            IndexError: there is no such frame.
            DataError: the video cannot be read as far, or not as the first time.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} is not among {len(self)} frames.")
        if index not in self._kept:
            if self._kept and index < min(self._kept):
                self._kept = {}
            if not self._kept:
                self._source = enumerate(self._frames())
            for position, frame in self._source:
                whole = frame if self._size is None else fitted(frame, *self._size)
                if tuple(whole.shape) != self.shape[1:]:
                    break
                self._kept[position] = whole
                self._kept.pop(position - KEPT, None)
                if position == index:
                    return whole
            raise DataError(
                f"input={self.path} cannot be read twice: frame {index} is missing the second time."
            )
        return self._kept[index]

    @checked
    def gaps(self, readouts_per_frame: int) -> list[int]:
        """Readouts from each frame to the next.

        The shortest gap in time has `readouts_per_frame`, longer ones as many more as they are
        longer; those that differ by jitter, or by the rounding of the file's clock, are the same.
        """
        if self.times is None:
            return [readouts_per_frame] * (len(self) - 1)
        gaps = np.diff(self.times)
        slack = max(JITTER * float(gaps.min()), 1.01 * self._tick)
        unit = float(gaps[gaps <= gaps.min() + slack].mean())
        times_unit = np.maximum(np.round(gaps / unit), 1)
        is_multiple = np.abs(gaps - times_unit * unit) <= slack
        shares = np.where(is_multiple, times_unit, gaps / unit)
        return [max(1, round(share * readouts_per_frame)) for share in shares.tolist()]

    def _frames(self) -> Iterator[Tensor]:
        if self._files:
            yield from (read_light(file, self._light) for file in self._files)
        else:
            yield from read_video(self.path, frames=len(self), light=self._light)

    def _look_through(self, frames: int | None) -> list[tuple[int, int]]:
        """The size of each frame of a video; notes their times."""
        sizes: list[tuple[int, int]] = []
        times: list[float | None] = []
        held = self.path.stat().st_size if self.path.is_file() else 0
        most = min(MAX_VIDEO_PIXELS, max(FREE_VIDEO_PIXELS, MAX_PIXELS_PER_BYTE * held))
        with _opened(self.path) as (container, stream):
            self._tick = float(stream.time_base or 0)
            for frame in islice(container.decode(stream), frames):
                sizes.append(_upright_size(frame))
                times.append(frame.time)
                pixels = len(sizes) * frame.width * frame.height
                if len(sizes) > MAX_FRAMES or pixels > most:
                    raise DataError(
                        f"input={self.path} is longer than the {MAX_FRAMES:,} frames or "
                        f"{most:,} pixels of a video of its {held:,} bytes. Cut it, or set images."
                    )
        if any(time is not None for time in times):
            self.times = self._rising(times)
        return sizes

    def _rising(self, times: list[float | None]) -> list[float]:
        stated = [time for time in times if time is not None]
        gaps = [after - before for before, after in pairwise(stated)]
        if len(stated) < len(times) or any(gap <= 0 for gap in gaps):
            raise DataError(
                f"input={self.path} states times of its frames that do not rise: encode it again."
            )
        if gaps and max(gaps) > MAX_GAP_RATIO * min(gaps):
            raise DataError(
                f"input={self.path} has a gap between two frames that is more than "
                f"{MAX_GAP_RATIO:,} times another one. Cut the video there."
            )
        return [time - stated[0] for time in stated]


@checked
def read_frames(
    path: str | Path, *, size: tuple[int, int] | None = None, frames: int | None = None
) -> Tensor:
    """All frames of a `Footage` at once: (F, H, W) float32 in [0, 1].

    Args:
        path: file or folder.
        size: (height, width) to cut and scale to; None keeps the frames' own.
        frames: how many to read; None: all.

    Raises:
        DataNotFoundError: nothing there.
        DataError: see `Footage`.
    """
    footage = Footage(path, size=size, frames=frames)
    return torch.stack([footage[index] for index in range(len(footage))])


@checked
def read_video(
    path: str | Path, *, frames: int | None = None, light: Light = "grey"
) -> Iterator[Tensor]:
    """Frames of a video file as intensity, (h, w) float32 in [0, 1], in order, upright.

    Args:
        path: a file in one of `CONTAINERS`; its first video track is taken.
        frames: how many to read; None: all.
        light: intensity of all colours together, or of one.

    Raises:
        DataNotFoundError: no such file.
        DataError: not a video, a broken one, or one beyond the bounds.
    """
    with _opened(Path(path)) as (container, stream):
        for frame in islice(container.decode(stream), frames):
            seen = light_of(frame.to_ndarray(format="rgb24"), light)
            upright = np.rot90(seen, _quarter_turns(frame))
            yield torch.from_numpy(np.ascontiguousarray(upright))


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """A container and its first video track."""
    require("av", f"input={path}")
    if not path.is_file():
        raise DataNotFoundError(f"input={path} does not exist: name a video, an image or a folder.")
    with parsing(path, "a video"), open_container(path) as container:
        if not container.streams.video:
            raise DataError(f"input={path} holds no video track.")
        stream = container.streams.video[0]
        codec = stream.codec_context
        codec.options = {"max_pixels": str(MAX_FRAME_PIXELS)}
        if codec.width * codec.height > MAX_FRAME_PIXELS:
            raise DataError(
                f"input={path} has frames of {codec.height:,} × {codec.width:,} pixels: expected "
                f"at most {MAX_FRAME_PIXELS:,}."
            )
        yield container, stream


def _quarter_turns(frame: Any) -> int:  # noqa: ANN401  # PyAV has no types
    """Number of counterclockwise quarter turns that make a frame upright."""
    rotation: float = frame.rotation
    return round(rotation / 90) % 4


def _upright_size(frame: Any) -> tuple[int, int]:  # noqa: ANN401
    """(height, width) of a frame once it is upright."""
    size = (frame.height, frame.width)
    return size[::-1] if _quarter_turns(frame) % 2 else size
