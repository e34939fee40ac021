"""Where frames go: video, pictures or arrays, whole under the final name or not at all.

While it is being written, `car.mp4` is the folder `car.mp4.partial`. What is in it survives an
interruption, and the same command with `resume=true` goes on from there. Videos are written there
in segments of their own, which are put together without encoding them again.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from spikerec.errors import FAULTS, ConfigError, DataError
from spikerec.extras import require
from spikerec.parsing import RUN_DOCUMENT, SMALL_DOCUMENT, parse_json, read_json
from spikerec.spikes.files import atomic_path, lock_folder, sync
from spikerec.spikes.grey import grey_levels

#: Frames after which a video's segment is closed, and the count of frames kept brought up to date.
SEGMENT_FRAMES = 250
#: Seconds after which that is done at the latest: a slow network's work is lost when it is killed.
SEGMENT_SECONDS = 60
STATE = "state.json"
#: The beginning of the line inside an output that stands for the settings it was made by.
MARK = "spikerec:"
LONGEST_MARK = 1 << 14
#: Name of the text within a file that says how it was made; some formats keep it in lower case.
ABOUT_TAG = "Description"
#: Its beginning behind the end of a file whose format has no place for it.
ABOUT_MARK = "about spikerec:"


@dataclass(frozen=True)
class Encoding:
    """How FFmpeg writes a video format."""

    codec: str
    pixels: str
    options: Mapping[str, str]
    #: Whether segments can be put together as they are; else they are decoded and encoded again.
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


class Sink(ABC):
    """Takes frames in order.

    A context manager: leaving it without an error gives the file its final name; leaving it with
    one keeps what was written.

    Args:
        path: the final name; what is there must have been made by the same settings, and is done.
        total: frames that will come.
        settings: what the frames are made by: an unfinished file is only continued by the same.
        resume: continue an unfinished file where there is one.
        overwrite: replace an output of spikerec that was made by other settings, and begin an
            unfinished one anew.
        about: plain values kept inside the file, which say how it was made (`about.read_about`).

    Attributes:
        is_done: True if the file was finished before: nothing is written.
        count: frames that are there.

    Raises:
        DataError: something else is there under the final name; or an unfinished file, and
            `resume` is False or the settings differ.
        LockError: (on entering) another process is writing it.
    """

    #: Whether drawn pictures are wanted, or images as numbers.
    is_drawn: ClassVar[bool] = True

    def __init__(
        self,
        path: Path,
        total: int,
        settings: Mapping[str, Any],
        *,
        resume: bool = False,
        overwrite: bool = False,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = path
        self._about = json.dumps(about or {}, default=str)
        self.total = total
        self.count = 0
        self._overwrites = overwrite
        self._settings = json.loads(json.dumps(settings, default=str))
        self._partial = path.with_name(path.name + ".partial")
        self._lock = ExitStack()
        self.is_done = path.exists() and self._is_same()
        if self.is_done:
            self.count = total
        elif self._partial.exists():
            self.count = self._kept(resume)

    def __enter__(self) -> Self:
        if self.is_done:
            return self
        with self._told():
            self._lock.enter_context(lock_folder(self._partial))
            self._save_state()
            self._open()
        return self

    def write(self, picture: NDArray[np.float32]) -> None:
        """Take the next frame.

        Args:
            picture: for a drawn sink (h, w) or (h, w, 3) in [0, 1]; for another (M, H, W) or
                (M, H, W, 3) in intensity.

        Raises:
            DataError: it cannot be written, as when the disk is full; it says how to continue.
        """
        with self._told():
            self._write(picture)
            self.count += 1
            is_due = time.monotonic() - self._saved_at > SEGMENT_SECONDS
            if is_due or self.count % SEGMENT_FRAMES == 0:
                self._save()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self.is_done:
                pass
            elif kind is not None:
                self._keep()
                return
            else:
                with self._told():
                    self._save()
                    whole = self._finish()
                    for one in (*whole.rglob("*"), whole):  # the first are those of a folder
                        sync(one)
                    self._replace(whole)
                    sync(self.path.parent)
        finally:
            self._close()
            self._lock.close()
        shutil.rmtree(self._partial, ignore_errors=True)

    def _replace(self, whole: Path) -> None:
        """Give the file its name; one that is to be replaced goes when the new one is whole."""
        if self.path.is_dir():  # a folder cannot take the place of another in one step
            old = self._partial / "replaced"
            self.path.rename(old)
        whole.rename(self.path)

    @abstractmethod
    def _open(self) -> None:
        """Begin, or go on at frame `count`."""

    @abstractmethod
    def _write(self, picture: NDArray[np.float32]) -> None:
        """Write frame number `count`."""

    @abstractmethod
    def _flush(self) -> None:
        """Make sure that all frames so far survive."""

    @abstractmethod
    def _finish(self) -> Path:
        """Make the final file inside the partial folder, with `_mark` in it."""

    @abstractmethod
    def _found_mark(self) -> str:
        """The mark within the file under the final name; empty if it has none."""

    @property
    def _mark(self) -> str:
        """A line that stands for the settings, kept inside the file: a digest for each.

        By it a command that is given again knows its own output, and which setting differs. The
        settings themselves (names of folders) do not travel with the file.
        """
        settings = {**self._settings, "frames": self.total}
        texts = {key: json.dumps(value, sort_keys=True) for key, value in settings.items()}
        digests = {key: sha256(text.encode()).hexdigest()[:12] for key, text in texts.items()}
        return MARK + json.dumps(digests, sort_keys=True)

    def _is_same(self) -> bool:
        """True if what is there under the final name was made by these settings.

        Raises:
            DataError: it was not, and is not to be replaced; or it does not say.
        """
        found = None
        with suppress(OSError, ValueError, KeyError):  # no file of ours, or a damaged one
            mark = self._found_mark().removeprefix(MARK) or "null"
            found = parse_json(mark, self.path, SMALL_DOCUMENT)
        if not isinstance(found, dict):
            raise DataError(f"output={self.path} is there already: name another, or move it away.")
        own = parse_json(self._mark.removeprefix(MARK), self.path, SMALL_DOCUMENT)
        differing = [key for key in own.keys() | found.keys() if own.get(key) != found.get(key)]
        if differing and not self._overwrites:
            raise DataError(
                f"output={self.path} is there already, made with other settings "
                f"({', '.join(sorted(differing))}): name another, move it away, or set "
                "overwrite=true."
            )
        return not differing

    def _close(self) -> None:  # noqa: B027 (not every format keeps a file open)
        """Let go of open files."""

    def _save(self) -> None:
        self._flush()
        self._save_state()

    def _keep(self) -> None:
        """Keep what can be kept when an error, or the user, stops the writing."""
        if not self.count:
            shutil.rmtree(self._partial, ignore_errors=True)
            return
        try:
            self._save()
        except (OSError, ValueError) as error:  # the state of the last save holds
            sys.stderr.write(f"the frames since the last save are lost: {error}\n")

    def _save_state(self) -> None:
        content = json.dumps({"frames": self.count, "settings": self._settings})
        with atomic_path(self._partial / STATE) as temporary:
            temporary.write_text(content, encoding="utf-8")
        self._saved_at = time.monotonic()

    def _kept(self, resume: bool) -> int:
        """Frames that an earlier run has kept.

        Raises:
            DataError: not asked for, or made by other settings.
        """
        if all(one.name.startswith(".") for one in self._partial.iterdir()):
            return 0  # stopped before anything was kept
        try:
            state = read_json(self._partial / STATE, RUN_DOCUMENT)
            frames, settings = int(state["frames"]), dict(state["settings"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{self._partial} cannot be continued: delete it ({error}).") from error
        if self._overwrites and not resume:
            shutil.rmtree(self._partial)
            return 0
        if not resume:
            raise DataError(
                f"{self._partial} holds {frames} of {self.total} frames: continue with "
                "resume=true, or delete it."
            )
        for key in self._settings.keys() | settings.keys():
            if settings.get(key) != self._settings.get(key):
                raise DataError(
                    f"{self._partial} was begun with {key}={settings.get(key)}, found "
                    f"{key}={self._settings.get(key)}: use the same settings, or delete it."
                )
        return frames

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Tell an error of writing in one line."""
        try:
            yield
        except OSError as error:
            reason, way = FAULTS.get(error.errno or 0, (str(error), "remove the cause"))
            kept = (
                f"The {self.count} frames so far are in {self._partial}"
                if self.count
                else "No frame was written"
            )
            raise DataError(
                f"output={self.path} cannot be written: {reason}. {kept}; {way} and continue with "
                "resume=true."
            ) from error


class PngFolder(Sink):
    """A folder of PNGs, 000000.png on.

    Args:
        path: see `Sink`.
        total: see `Sink`.
        settings: see `Sink`.
        resume: see `Sink`.
        overwrite: see `Sink`.
        about: see `Sink`.
        bits: 8 or 16 a pixel.

    Raises:
        ConfigError: another number of bits.
    """

    def __init__(
        self,
        path: Path,
        total: int,
        settings: Mapping[str, Any],
        *,
        resume: bool = False,
        overwrite: bool = False,
        about: Mapping[str, Any] | None = None,
        bits: int = 8,
    ) -> None:
        if bits not in (8, 16):
            raise ConfigError(f"bits must be 8 or 16, found {bits}.")
        settings = {**settings, "bits": bits}
        super().__init__(path, total, settings, resume=resume, overwrite=overwrite, about=about)
        self.bits = bits
        self._folder = self._partial / "frames"

    def _open(self) -> None:
        self._folder.mkdir(exist_ok=True)

    def _write(self, picture: NDArray[np.float32]) -> None:
        levels = grey_levels(picture, self.bits)
        about = PngInfo()
        if self.count == 0:
            about.add_text("Comment", self._mark)
        about.add_text(ABOUT_TAG, self._about)
        path = self._folder / self._name()
        Image.fromarray(levels).save(path, pnginfo=about)
        sync(path)

    def _name(self, number: int | None = None) -> str:
        return f"{self.count if number is None else number:06d}.png"

    def _flush(self) -> None:
        """Each file is whole, and on the disk."""

    def _finish(self) -> Path:
        return self._folder

    def _found_mark(self) -> str:
        with Image.open(self.path / "000000.png") as image:
            return str(image.info.get("Comment", ""))


class PngFile(PngFolder):
    """One picture.

    Args:
        path: see `Sink`.
        total: 1.
        settings: see `Sink`.
        **common: see `PngFolder`.

    Raises:
        ConfigError: more frames than one.
    """

    def __init__(
        self,
        path: Path,
        total: int,
        settings: Mapping[str, Any],
        **common: Any,  # noqa: ANN401 (those of `PngFolder`)
    ) -> None:
        if total != 1:
            raise ConfigError(
                f"output={path} is one picture, but {total} frames were asked for: set "
                "at=READOUT or at=TIME, or name a folder without suffix."
            )
        super().__init__(path, total, settings, **common)

    def _finish(self) -> Path:
        return self._folder / self._name(0)

    def _found_mark(self) -> str:
        with Image.open(self.path) as image:
            return str(image.info.get("Comment", ""))


class VideoSink(Sink):
    """A video, in the format of its suffix (`ENCODINGS`).

    Args:
        path: see `Sink`.
        total: see `Sink`.
        settings: see `Sink`.
        resume: see `Sink`.
        overwrite: see `Sink`.
        about: see `Sink`.
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
        about: Mapping[str, Any] | None = None,
        fps: float = 25,
    ) -> None:
        if fps <= 0:
            raise ConfigError(f"fps must be above 0, found {fps}.")
        self.suffix = path.suffix.lower()
        self.encoding = ENCODINGS[self.suffix]
        _check_codec(path, self.encoding.codec)
        settings = {**settings, "fps": fps}
        super().__init__(path, total, settings, resume=resume, overwrite=overwrite, about=about)
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
        _append_marks(whole, self._about, self._mark)
        return whole

    @property
    def _tags(self) -> dict[str, str]:
        return {"comment": self._mark, ABOUT_TAG.lower(): self._about}

    def _found_mark(self) -> str:
        require("av", "a video file")
        import av

        if not self.encoding.joins:
            return _last_mark(self.path)
        with av.open(str(self.path)) as container:
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


class Array(Sink):
    """Intensity as float32, not clipped: `.npy`, (T, H, W), or (T, M, H, W) of several methods.

    Colours come last: (T, H, W, 3) and (T, M, H, W, 3).

    The frames of an unfinished file lie in a `.npy` whose header states the final shape.
    """

    is_drawn = False
    _file: Any = None

    def _open(self) -> None:
        self._data = self._partial / "frames.npy"
        if self.count:
            self._file = self._data.open("r+b")
            self._begin, self._shape = _read_npy_header(self._file)
            self._file.seek(self._begin + self.count * int(np.prod(self._shape[1:])) * 4)
            self._file.truncate()

    def _write(self, picture: NDArray[np.float32]) -> None:
        picture = np.ascontiguousarray(picture[0] if len(picture) == 1 else picture, "<f4")
        if self._file is None:
            self._shape = (self.total, *picture.shape)
            self._file = self._data.open("wb")
            header = {"descr": "<f4", "fortran_order": False, "shape": self._shape}
            np.lib.format.write_array_header_1_0(self._file, header)
        self._file.write(picture.data)

    def _flush(self) -> None:
        if self._file is not None:
            self._file.flush()
            sync(self._data)

    def _finish(self) -> Path:
        self._close()
        _append_marks(self._data, self._about, self._mark)
        return self._data

    def _found_mark(self) -> str:
        return _last_mark(self.path)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()


class H5(Array):
    """Intensity as float32, not clipped: an `.h5` with one dataset (T, H, W) a method.

    The file's attributes are the settings that the images were made by.

    Args:
        path: see `Sink`.
        total: see `Sink`.
        settings: see `Sink`.
        resume: see `Sink`.
        overwrite: see `Sink`.
        about: see `Sink`.
        names: of the methods, in the order of the images.
    """

    def __init__(
        self,
        path: Path,
        total: int,
        settings: Mapping[str, Any],
        *,
        resume: bool = False,
        overwrite: bool = False,
        about: Mapping[str, Any] | None = None,
        names: tuple[str, ...] = ("images",),
    ) -> None:
        self.names = names
        super().__init__(path, total, settings, resume=resume, overwrite=overwrite, about=about)

    def _finish(self) -> Path:
        import h5py

        frames = np.load(super()._finish(), mmap_mode="r")
        whole = self._partial / "whole.h5"
        with h5py.File(whole, "w") as file:
            file.attrs[ABOUT_TAG] = self._about
            for key, value in self._settings.items():
                file.attrs[key] = value if isinstance(value, int | float | str) else str(value)
            for k, name in enumerate(self.names):
                several = len(self.names) > 1
                shape = (self.total, *frames.shape[2 if several else 1 :])
                images = file.create_dataset(name, shape, "f4", chunks=(1, *shape[1:]))
                images.attrs["made"] = self._mark
                for index in range(self.total):
                    images[index] = frames[index, k] if several else frames[index]
        return whole

    def _found_mark(self) -> str:
        import h5py

        with h5py.File(self.path) as file:
            return str(file[self.names[0]].attrs.get("made", ""))


def open_sink(
    path: Path,
    total: int,
    settings: Mapping[str, Any],
    *,
    names: tuple[str, ...] = ("images",),
    fps: float = 25,
    bits: int = 8,
    resume: bool = False,
    overwrite: bool = False,
    about: Mapping[str, Any] | None = None,
) -> Sink:
    """The sink for an output's name: by its suffix; a name without one is a folder of PNGs.

    Args:
        path: the output.
        total: frames that will come.
        settings: what they are made by.
        names: of the methods whose images a frame holds.
        fps: frames that a video shows in a second.
        bits: 8 or 16 a pixel of a PNG.
        resume: continue an unfinished output.
        overwrite: see `Sink`.
        about: see `Sink`.

    Raises:
        ConfigError: another suffix, or a format that FFmpeg here cannot write.
        DataError: something of that name is there (see `Sink`).
    """
    suffix = path.suffix.lower()
    common: dict[str, Any] = {"resume": resume, "overwrite": overwrite, "about": about}
    if suffix in ENCODINGS:
        return VideoSink(path, total, settings, fps=fps, **common)
    if suffix == "" or path.is_dir():
        return PngFolder(path, total, settings, bits=bits, **common)
    if suffix == ".png":
        return PngFile(path, total, settings, bits=bits, **common)
    if suffix == ".npy":
        return Array(path, total, settings, **common)
    if suffix in (".h5", ".hdf5"):
        return H5(path, total, settings, names=names, **common)
    raise ConfigError(
        f"output={path}: expected {', '.join(ENCODINGS)}, .png, .npy, .h5 or a folder without "
        f"suffix, found {path.suffix!r}."
    )


def _check_codec(path: Path, codec: str) -> None:
    require("av", f"output={path}")
    import av

    if codec not in av.codecs_available:
        raise ConfigError(
            f"output={path} needs the encoder {codec}, which the FFmpeg of PyAV {av.__version__} "
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
            with av.open(str(path)) as source:
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
    import av

    for path, length in segments.items():
        with av.open(str(path)) as source:
            for frame in islice(source.decode(video=0), length):
                yield frame.to_ndarray(format=kind)


def _append_marks(path: Path, about: str, mark: str) -> None:
    """Put marks behind the end of a file, where readers of its format do not look."""
    with path.open("ab") as file:
        file.write(f"\n{ABOUT_MARK}{about}\n{mark}".encode())


def _last_mark(path: Path) -> str:
    """The mark behind the end of a file; empty if there is none."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LONGEST_MARK))
        _, found, mark = file.read().rpartition(f"\n{MARK}".encode())
    return MARK + mark.decode() if found else ""


def _read_npy_header(file: Any) -> tuple[int, tuple[int, ...]]:  # noqa: ANN401
    """Where the data begin, and the shape."""
    np.lib.format.read_magic(file)
    shape, _, _ = np.lib.format.read_array_header_1_0(file)
    return file.tell(), shape
