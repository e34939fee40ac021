"""Videos, written in segments of their own and then put together."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikerec.errors import ConfigError
from spikerec.extras import require
from spikerec.simulation.opening import open_container
from spikerec.spikes.files import sync
from spikerec.spikes.grey import grey_levels
from spikerec.streaming.sinks.base import Sink
from spikerec.streaming.sinks.marks import ABOUT_TAG, append_marks, last_mark


@dataclass(frozen=True)
class Encoding:
    """Settings by which FFmpeg writes a video format."""

    codec: str
    pixels: str
    options: Mapping[str, str]
    #: True if segments can be joined without decoding and encoding them again.
    joins: bool = True


ENCODINGS = {
    # without B-frames, whose delay differs between segments so that they cannot be put together
    ".mp4": Encoding("libx264", "yuv420p", {"crf": "16", "bf": "0", "rc-lookahead": "10"}),
    ".webm": Encoding(
        "libvpx-vp9", "yuv420p", {"crf": "20", "b:v": "0", "deadline": "good", "cpu-used": "5"}
    ),
    # grey levels without loss; a frame of a GIF builds on the one before
    ".gif": Encoding("gif", "gray", {}, joins=False),
}


class VideoSink(Sink):
    """A video, in the format of its suffix (`ENCODINGS`).

    Args:
        path: see `Sink`.
        total: see `Sink`.
        settings: see `Sink`.
        resume: see `Sink`.
        overwrite: see `Sink`.
        fps: frames shown in a second.

    Raises:
        ConfigError: the FFmpeg in use has no encoder for the format; or an fps of 0 or less.
    """

    def __init__(
        self,
        path: Path,
        total: int,
        settings: Mapping[str, Any],
        *,
        resume: bool = False,
        overwrite: bool = False,
        fps: float = 25,
    ) -> None:
        if fps <= 0:
            raise ConfigError(f"fps must be above 0, found {fps}.")
        self.suffix = path.suffix.lower()
        self.encoding = ENCODINGS[self.suffix]
        _check_codec(path, self.encoding.codec)
        settings = {**settings, "fps": fps}
        super().__init__(path, total, settings, resume=resume, overwrite=overwrite)
        self.rate = Fraction(fps).limit_denominator(1000)
        self._segment: VideoFile | None = None

    def _open(self) -> None:
        for path in self._segments():
            if int(path.stem) >= self.count:  # was open when the writing stopped
                path.unlink()

    def _write(self, picture: NDArray[np.float32]) -> None:
        if self._segment is None:
            path = self._partial / f"{self.count:08d}{self.suffix}"
            self._segment = VideoFile(path, self.encoding, self.rate, self._tags)
        self._segment.write(grey_levels(picture))

    def _flush(self) -> None:
        if self._segment is not None:
            self._segment.close()
            sync(self._segment.path)
            self._segment = None

    def _finish(self) -> Path:
        whole = self._partial / f"whole{self.suffix}"
        whole.unlink(missing_ok=True)
        if self.encoding.joins:
            _join(self._lengths(), whole, self.rate, self._tags)
            return whole
        file = VideoFile(whole, self.encoding, self.rate, self._tags)
        kind = "rgb24" if self._settings.get("bayer") else "gray"
        for levels in _decoded(self._lengths(), kind):
            file.write(levels)
        file.close()
        append_marks(whole, self._about, self._mark)
        return whole

    @property
    def _tags(self) -> dict[str, str]:
        return {"comment": self._mark, ABOUT_TAG.lower(): self._about}

    def _found_mark(self) -> str:
        require("av", "a video file")
        if not self.encoding.joins:
            return last_mark(self.path)
        with open_container(self.path) as container:
            about = {key.lower(): value for key, value in container.metadata.items()}
        return str(about.get("comment", ""))

    def _lengths(self) -> dict[Path, int]:
        """Segments and the frames that count in them.

        A segment that was interrupted while it took a frame may hold that frame, which the next
        segment begins with.
        """
        segments = self._segments()
        ends = [*(int(path.stem) for path in segments[1:]), self.count]
        return {path: end - int(path.stem) for path, end in zip(segments, ends, strict=True)}

    def _segments(self) -> list[Path]:
        return sorted(self._partial.glob(f"[0-9]*{self.suffix}"))


class VideoFile:
    """One file of frames, grey or in colour; it is there when it has been closed."""

    def __init__(
        self, path: Path, encoding: Encoding, rate: Fraction, tags: Mapping[str, str]
    ) -> None:
        require("av", "a video file")
        import av

        self.path = path
        self._container: Any = av.open(str(path), "w")
        self._container.metadata.update(tags)
        self._stream = self._container.add_stream(encoding.codec, rate=rate)
        self._stream.pix_fmt = encoding.pixels
        self._stream.options = dict(encoding.options)
        self._rate = rate
        self._count = 0

    def write(self, levels: NDArray[np.uint8]) -> None:
        """Encode the next frame, (h, w) or (h, w, 3)."""
        import av

        is_coloured = levels.ndim == 3
        if is_coloured and self._stream.pix_fmt == "gray":
            self._stream.pix_fmt = "rgb8"  # of a GIF
        if self._stream.pix_fmt == "yuv420p":
            # needs even sides; a repeated row or column is never seen missing
            odd = [(0, side % 2) for side in levels.shape[:2]]
            levels = np.pad(levels, odd + [(0, 0)] * is_coloured, mode="edge")
        if not self._count:
            self._stream.height, self._stream.width = levels.shape[:2]
        kind = "rgb24" if is_coloured else "gray"
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(levels), format=kind)
        frame.pts = self._count
        frame.time_base = 1 / self._rate
        self._container.mux(self._stream.encode(frame))
        self._count += 1

    def close(self) -> None:
        """Finish the file."""
        if self._count:
            self._container.mux(self._stream.encode())
        self._container.close()


def _check_codec(path: Path, codec: str) -> None:
    require("av", str(path))
    import av

    if codec not in av.codecs_available:
        raise ConfigError(
            f"{path} needs the encoder {codec}, which the FFmpeg of PyAV {av.__version__} "
            f"has not: name another suffix ({', '.join(ENCODINGS)}) or a folder for PNGs."
        )


def _join(
    segments: Mapping[Path, int], whole: Path, rate: Fraction, tags: Mapping[str, str]
) -> None:
    """Put segments together packet by packet."""
    import av

    with av.open(str(whole), "w") as output:
        output.metadata.update(tags)
        stream = None
        for path, length in segments.items():
            with open_container(path) as source:
                video = source.streams.video[0]
                stream = stream or output.add_stream_from_template(video)
                begin = int(path.stem) / rate / video.time_base
                packets = (one for one in source.demux(video) if one.dts is not None)
                for packet in islice(packets, length):  # one a frame
                    packet.pts += int(begin)
                    packet.dts += int(begin)
                    packet.stream = stream
                    output.mux(packet)


def _decoded(segments: Mapping[Path, int], kind: str) -> Generator[NDArray[np.uint8], None, None]:
    for path, length in segments.items():
        with open_container(path) as source:
            for frame in islice(source.decode(video=0), length):
                yield frame.to_ndarray(format=kind)
