"""Facts about how a picture, video or array was made, as the file itself states them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spikerec.errors import DataNotFoundError
from spikerec.parsing import Bounds, parse_json, parsing
from spikerec.simulation.opening import open_container, open_image
from spikerec.streaming.sinks.marks import ABOUT_MARK, ABOUT_TAG, LONGEST_MARK
from spikerec.streaming.sinks.videos import ENCODINGS

#: Bounds of what a file may state: a list of readouts is the largest part.
BOUNDS = Bounds(bytes=1 << 20, depth=8, nodes=200_000)

#: Files that may say so.
SUFFIXES = (*ENCODINGS, ".png", ".npy", ".h5", ".hdf5")


def read_about(path: Path) -> dict[str, Any]:
    """Read how a result of `reconstruct` was made: `Video.about`, as the file states it.

    Args:
        path: a picture, a video, an array, or a folder of pictures.

    Returns:
        Plain values; empty for a file that states nothing of the kind. What a file states is data,
        and may be anything.

    Raises:
        DataNotFoundError: no such file.
        DataError: a file that cannot be read, or a statement beyond its bounds.
    """
    if path.is_dir():
        path = path / "000000.png"
    if not path.is_file():
        raise DataNotFoundError(
            f"{path} does not exist: expected a result of spikerec reconstruct."
        )
    with parsing(path, path.suffix or "a picture"):
        text = _stated(path)
    if not text.startswith("{"):
        return {}
    found = parse_json(text, path, BOUNDS)
    return found if isinstance(found, dict) else {}


def _stated(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix == ".png":
        with open_image(path) as image:
            return str(image.info.get(ABOUT_TAG, ""))
    if suffix in (".h5", ".hdf5"):
        import h5py

        with h5py.File(path) as file:
            return str(file.attrs.get(ABOUT_TAG, ""))
    if suffix in ENCODINGS and ENCODINGS[suffix].joins:
        with open_container(path) as container:
            about = {key.lower(): value for key, value in container.metadata.items()}
        return str(about.get(ABOUT_TAG.lower(), ""))
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - BOUNDS.bytes - LONGEST_MARK))
        _, _, rest = file.read().rpartition(f"\n{ABOUT_MARK}".encode())
    return rest.partition(b"\n")[0].decode("utf-8", "replace") if rest else ""
