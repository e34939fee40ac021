"""Recordings that names, patterns and folders refer to.

A folder of spike streams is one recording in parts, joined in time, or several recordings. Its
content decides: a sidecar of the folder (`FOLDER.yaml`) makes it one recording; streams of another
    format
than `.dat`, a sidecar beside a file in it, or folders in it make it several. Otherwise the caller
must say which.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from pathlib import Path

from spikerec.errors import ConfigError, DataError, DataNotFoundError
from spikerec.spikes.folders import folders_in, in_order, listed
from spikerec.spikes.formats import SUFFIXES, clusters
from spikerec.spikes.geometry import BITS_SUFFIXES, sidecar_path

#: The two kinds of folders of streams.
FOLDERS = ("parts", "recordings")

#: Signs of a pattern.
MAGIC = re.compile(r"[*?\[]")


def find_recordings(
    names: Sequence[str | Path], folder: str | None = None, *, joins: bool = False
) -> list[Path]:
    """The recordings that some names refer to, each a file or a folder of parts for `open`.

    Args:
        names: files, folders, or patterns such as `rec/**/*.dat`; a name that exists is never a
            pattern. Hidden files do not count in folders and patterns.
        folder: `parts` or `recordings`, for every folder; None to decide by each folder's content.
        joins: True to read a folder of `.dat` that does not say which it is as one recording in
            parts.

    Returns:
        Paths in order, each once.

    Raises:
        ConfigError: another word for `folder`.
        DataNotFoundError: a name, or a pattern, that matches nothing.
        DataError: a folder that may be either.
    """
    if folder not in (None, *FOLDERS):
        raise ConfigError(f"folder must be parts or recordings, found {folder}.")
    found: dict[Path, None] = {}
    for name in names:
        path = Path(name)
        if path.is_dir():
            found |= dict.fromkeys(_in_folder(path, folder, joins=joins))
        elif path.exists() or not MAGIC.search(str(name)):
            found[path] = None  # one that is not there is refused where it is opened
        else:
            found |= dict.fromkeys(_matching(str(name), folder, joins=joins))
    return list(found)


def is_several(name: str | Path) -> bool:
    """True for a name that may refer to several recordings: a folder, or a pattern."""
    path = Path(name)
    return path.is_dir() or (not path.exists() and MAGIC.search(str(name)) is not None)


def _matching(pattern: str, folder: str | None, *, joins: bool) -> list[Path]:
    paths = in_order(Path(one) for one in glob.glob(pattern, recursive=True))  # noqa: PTH207
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            holds = listed(path, SUFFIXES) or "**" not in pattern
            found += _in_folder(path, folder, joins=joins) if holds and "**" not in pattern else []
        elif path.suffix.lower() in SUFFIXES:
            found.append(path)
    if not found:
        raise DataNotFoundError(
            f"input={pattern} matches no spike stream ({', '.join(SUFFIXES)}): check the pattern, "
            "and quote it for the shell."
        )
    return found


def _in_folder(path: Path, folder: str | None, *, joins: bool) -> list[Path]:
    files = listed(path, SUFFIXES)
    inner = [one for one in folders_in(path) if listed(one, SUFFIXES, recursive=True)]
    if not files and not inner:
        raise DataNotFoundError(
            f"{path} holds no spike stream: expected files with one of {', '.join(SUFFIXES)}."
        )
    if (folder == "parts" and files) or (not files and clusters(path)):
        return [path]
    if folder is None and files and not inner:
        if sidecar_path(path).is_file():
            return [path]
        is_told = any(
            one.suffix.lower() not in BITS_SUFFIXES or sidecar_path(one).is_file() for one in files
        )
        if not is_told and joins:
            return [path]
        if not is_told and len(files) > 1:
            raise DataError(
                f"{path} holds {len(files)} .dat files, which may be the parts of one recording or "
                "recordings of their own: say folder=parts or folder=recordings."
            )
    return [*files, *(one for sub in inner for one in _in_folder(sub, folder, joins=joins))]


def output_paths(recordings: Sequence[Path], output: str, suffix: str) -> list[Path]:
    """Name a path for the result of each of several recordings, all of them different.

    Args:
        recordings: from `find_recordings`.
        output: a folder, or a pattern with `{stem}`, `{name}` (with the suffix) or `{folder}`.
        suffix: of the files in a folder.

    Raises:
        ConfigError: one file for several recordings, or a pattern that names two results alike.

    Example:
        >>> output_paths([Path("a/car.dat"), Path("a/bus.npy")], "videos/{stem}.gif", ".mp4")
        [PosixPath('videos/car.gif'), PosixPath('videos/bus.gif')]
    """
    if not PLACE.search(output):
        if Path(output).suffix and not Path(output).is_dir() and not output.endswith("/"):
            raise ConfigError(
                f"{output} is one file, and the input may be several recordings "
                f"({len(recordings)} now): name a folder, or a pattern such as "
                f"videos/{{stem}}{Path(output).suffix}."
            )
        return [Path(output) / f"{name}{suffix}" for name in _names(recordings)]
    paths = [Path(placed(output, one)) for one in recordings]
    for index, path in enumerate(paths):
        if path in paths[:index]:
            other = recordings[paths.index(path)]
            raise ConfigError(
                f"{output} gives {other} and {recordings[index]} the same name, {path}: "
                "add {folder} or {name} to the pattern."
            )
    return paths


#: A place in a pattern for the name of an output.
PLACE = re.compile(r"\{(stem|name|folder)\}")


def placed(pattern: str, recording: Path) -> str:
    """The pattern with the places filled by a recording's names; any other text stays."""
    names = {
        "stem": recording.name if recording.is_dir() else recording.stem,
        "name": recording.name,
        "folder": recording.absolute().parent.name,
    }
    return PLACE.sub(lambda found: names[found[1]], pattern)


def _names(recordings: Sequence[Path]) -> list[str]:
    """A name for each recording: its stem; where that is not its own, with folders and suffix."""
    stems = [placed("{stem}", one) for one in recordings]
    if len(set(stems)) == len(stems):
        return stems
    absolute = [one.absolute() for one in recordings]
    above = [path.parent for path in absolute]
    common = next(one for one in (above[0], *above[0].parents) if _all_in(above, one))
    inside = [path.relative_to(common) for path in absolute]
    if len({one.with_suffix("") for one in inside}) == len(inside):
        return [str(one.with_suffix("")) for one in inside]
    return [str(one) for one in inside]


def _all_in(folders: Sequence[Path], common: Path) -> bool:
    return all(folder.is_relative_to(common) for folder in folders)
