"""Image and video files, opened within bounds and by their content: without PyTorch."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from spikerec.errors import DataError, DataNotFoundError
from spikerec.parsing import parsing

#: Decoders that a file may ask for, by its content; others of Pillow's start programs or are rare.
IMAGE_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")

#: Bounds of an image file: bytes, pixels (33 million, half a gigabyte while it is read), and pixels
#: times the scans of a progressive JPEG, each of which goes over all of them.
MAX_IMAGE_BYTES = 1 << 28
MAX_IMAGE_PIXELS = 1 << 25
#: Pixels of a WebP, whose decoder holds four pictures of them at once.
MAX_WEBP_PIXELS = 1 << 24
MAX_SCANNED_PIXELS = 1 << 29

#: Containers that hold their own frames, as FFmpeg's demuxers are called.
CONTAINERS = (
    *("mov", "matroska", "avi", "mpegts", "mpeg", "ogg", "flv", "asf", "gif", "mxf", "dv", "nut"),
    *("ivf", "yuv4mpegpipe", "mjpeg", "m4v", "h264", "hevc", "obu", "mpegvideo", "apng"),
)


@contextmanager
def open_image(path: Path) -> Iterator[Image.Image]:
    """Open an image without decoding it; what fails inside the `with` block is one of our errors.

    Raises:
        DataNotFoundError: no such file.
        DataError: not an image, or one beyond the bounds.
    """
    if not path.is_file():
        raise DataNotFoundError(f"{path} does not exist: expected an image file.")
    if path.stat().st_size > MAX_IMAGE_BYTES:
        raise DataError(f"{path} holds more than the {MAX_IMAGE_BYTES:,} bytes of an image.")
    with parsing(path, "an image"), warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # ours is the lower bound
        # From a file object: of a path, Pillow maps a rotated TIFF in wrong rows.
        with path.open("rb") as file, Image.open(file, formats=IMAGE_FORMATS) as image:
            most = MAX_WEBP_PIXELS if image.format == "WEBP" else MAX_IMAGE_PIXELS
            if image.width * image.height > most:
                raise DataError(
                    f"{path} has {image.height:,} × {image.width:,} pixels, expected at most "
                    f"{most:,}: reduce it first."
                )
            if image.format == "JPEG":
                _check_scans(path, image.width * image.height)
            yield image


def _check_scans(path: Path, pixels: int) -> None:
    """Refuse a JPEG of many scans, which takes a hundred times as long as it looks.

    Raises:
        DataError: it is one.
    """
    scans = path.read_bytes().count(b"\xff\xda")  # this pair begins a scan, and nothing else
    if scans * pixels > max(MAX_SCANNED_PIXELS, pixels):
        raise DataError(
            f"{path} has {pixels:,} pixels in {scans:,} scans, expected at most "
            f"{MAX_SCANNED_PIXELS:,} together: save it again."
        )


@contextmanager
def open_container(path: Path) -> Iterator[Any]:
    """Open a video file by its content, as one of `CONTAINERS`: the one place that does.

    What PyAV raises inside the `with` block is not translated.
    """
    import av

    options = {"protocol_whitelist": "file", "format_whitelist": ",".join(CONTAINERS)}
    with av.open(
        f"file:{path.absolute()}", options=options, metadata_errors="replace"
    ) as container:
        yield container
