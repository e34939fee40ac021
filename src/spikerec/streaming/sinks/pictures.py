"""PNGs: a folder of them, or one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from spikerec.errors import ConfigError
from spikerec.simulation.opening import open_image
from spikerec.spikes.files import sync
from spikerec.spikes.grey import grey_levels
from spikerec.streaming.sinks.base import Sink
from spikerec.streaming.sinks.marks import ABOUT_TAG


class PngFolder(Sink):
    """A folder of PNGs, 000000.png on.

    Args:
        path: see `Sink`.
        total: see `Sink`.
        settings: see `Sink`.
        resume: see `Sink`.
        overwrite: see `Sink`.
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
        bits: int = 8,
    ) -> None:
        if bits not in (8, 16):
            raise ConfigError(f"bits must be 8 or 16, found {bits}.")
        settings = {**settings, "bits": bits}
        super().__init__(path, total, settings, resume=resume, overwrite=overwrite)
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
        with open_image(self.path / "000000.png") as image:
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
                f"{path} is one picture, but {total} frames were asked for: set "
                "at=READOUT or at=TIME, or name a folder without suffix."
            )
        super().__init__(path, total, settings, **common)

    def _finish(self) -> Path:
        return self._folder / self._name(0)

    def _found_mark(self) -> str:
        with open_image(self.path) as image:
            return str(image.info.get("Comment", ""))
