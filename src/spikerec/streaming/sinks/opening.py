"""The sink for an output's name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spikerec.errors import ConfigError
from spikerec.kinds import checked
from spikerec.streaming.sinks.arrays import H5, Array
from spikerec.streaming.sinks.base import Sink
from spikerec.streaming.sinks.pictures import PngFile, PngFolder
from spikerec.streaming.sinks.videos import ENCODINGS, VideoSink

#: Suffixes of outputs that are not videos.
SUFFIXES = (".png", ".npy", ".h5", ".hdf5")


@checked
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

    Raises:
        ConfigError: another suffix, or a format that FFmpeg here cannot write.
        DataError: something of that name is there (see `Sink`).
    """
    check_output(path, is_one=True)
    suffix = path.suffix.lower()
    common: dict[str, Any] = {"resume": resume, "overwrite": overwrite}
    if suffix in ENCODINGS:
        return VideoSink(path, total, settings, fps=fps, **common)
    if suffix == "" or path.is_dir():
        return PngFolder(path, total, settings, bits=bits, **common)
    if suffix == ".png":
        return PngFile(path, total, settings, bits=bits, **common)
    if suffix == ".npy":
        return Array(path, total, settings, **common)
    return H5(path, total, settings, names=names, **common)


def check_output(path: Path, *, is_one: bool) -> None:
    """Check an output's name, before anything is computed.

    Args:
        path: the output.
        is_one: True if there may be one frame alone, as a `.png` needs it.

    Raises:
        ConfigError: no format of that suffix is written.
    """
    suffix = path.suffix.lower()
    if suffix == ".png" and not is_one and not path.is_dir():
        raise ConfigError(
            f"{path} is one picture: say which, at=READOUT or at=TIME (at=150, at=12.5ms), "
            "or name a folder without suffix for all."
        )
    if not (suffix in (*ENCODINGS, *SUFFIXES, "") or path.is_dir()):
        raise ConfigError(
            f"{path}: expected {', '.join(ENCODINGS)}, {', '.join(SUFFIXES)} or a folder "
            f"without suffix, found {path.suffix!r}."
        )
