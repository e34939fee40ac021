"""Intensity as numbers: `.npy` and `.h5`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikerec.spikes.files import sync
from spikerec.streaming.sinks.base import Sink
from spikerec.streaming.sinks.marks import ABOUT_TAG, append_marks, last_mark


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
        append_marks(self._data, self._about, self._mark)
        return self._data

    def _found_mark(self) -> str:
        return last_mark(self.path)

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
        names: tuple[str, ...] = ("images",),
    ) -> None:
        self.names = names
        super().__init__(path, total, settings, resume=resume, overwrite=overwrite)

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


def _read_npy_header(file: Any) -> tuple[int, tuple[int, ...]]:  # noqa: ANN401
    """Offset of the data in the file, and their shape."""
    np.lib.format.read_magic(file)
    shape, _, _ = np.lib.format.read_array_header_1_0(file)
    return file.tell(), shape
