"""Where images go: a folder of PNGs or a video, whole under the final name or not at all."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spikerec.errors import ConfigError, DataError
from spikerec.spikes.files import temporary_name


class Sink(ABC):
    """A place that takes 8-bit grey images in order.

    A context manager: what was written takes its final name only when all went well.

    Args:
        path: the final name; nothing may be there yet.

    Raises:
        DataError: something is there.
    """

    def __init__(self, path: Path) -> None:
        if path.exists():
            raise DataError(f"output={path} is there already: name another, or move it away.")
        self.path = path
        self.count = 0
        self._unfinished = temporary_name(path)

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return self

    def write(self, image: NDArray[np.uint8]) -> None:
        """Take the next image, (H, W)."""
        self._write(image)
        self.count += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()
        if kind is None:
            self._unfinished.rename(self.path)
        else:
            self._discard()

    @abstractmethod
    def _write(self, image: NDArray[np.uint8]) -> None: ...

    def _close(self) -> None:  # noqa: B027 (a folder needs no finishing)
        """Finish the unfinished file."""

    def _discard(self) -> None:
        self._unfinished.unlink(missing_ok=True)


class PngFolder(Sink):
    """A folder of PNGs, 000000.png on."""

    def __enter__(self) -> Self:
        super().__enter__()
        self._unfinished.mkdir()
        return self

    def _write(self, image: NDArray[np.uint8]) -> None:
        Image.fromarray(image).save(self._unfinished / f"{self.count:06d}.png")

    def _discard(self) -> None:
        shutil.rmtree(self._unfinished, ignore_errors=True)


class Video(Sink):
    """An H.264 MP4 that plays everywhere.

    Args:
        path: the file.
        fps: images shown in a second.
    """

    def __init__(self, path: Path, fps: float) -> None:
        super().__init__(path)
        self.fps = fps
        self._container: Any = None
        self._stream: Any = None

    def _write(self, image: NDArray[np.uint8]) -> None:
        import av

        # yuv420p needs even sides; a repeated row or column is never seen missing.
        image = np.pad(image, [(0, side % 2) for side in image.shape], mode="edge")
        if self._container is None:
            self._container = av.open(str(self._unfinished), "w")
            rate = Fraction(self.fps).limit_denominator(1000)
            self._stream = self._container.add_stream("libx264", rate=rate)
            self._stream.height, self._stream.width = image.shape
            self._stream.pix_fmt = "yuv420p"
            self._stream.options = {"crf": "16"}
        frame = av.VideoFrame.from_ndarray(image, format="gray")
        self._container.mux(self._stream.encode(frame))

    def _close(self) -> None:
        if self._container is not None:
            self._container.mux(self._stream.encode())
            self._container.close()


def open_sink(path: Path, fps: float) -> Sink:
    """The sink for an output name: `.mp4` is a video, a name without suffix a folder of PNGs.

    Raises:
        ConfigError: another suffix.
        DataError: something of that name is there.
    """
    if path.suffix == ".mp4":
        return Video(path, fps)
    if path.suffix == "":
        return PngFolder(path)
    raise ConfigError(
        f"output={path}: expected NAME.mp4 or a folder without suffix, found {path.suffix!r}."
    )
