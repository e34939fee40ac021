"""Grey source images: from a file, a folder, or the photographs that come with scikit-image."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from spikerec.errors import DataError, DataNotFoundError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
LARGEST_SIDE = 2048  # photographs are reduced to this when read: more detail than a scene shows

PUBLIC_DOMAIN = "public domain"
#: Images inside the scikit-image wheel that need no download, with the licence its documentation
#: states for each; those without a stated licence are left out.
BUNDLED_IMAGES = {
    "astronaut.png": f"{PUBLIC_DOMAIN} (NASA)",
    "brick.png": "CC0",
    "camera.png": "CC0",
    "cell.png": "CC0",
    "chelsea.png": "CC0",
    "coffee.png": "CC0",
    "coins.png": "no known copyright restrictions (Brooklyn Museum)",
    "grass.png": "CC0",
    "gravel.png": "CC0",
    "hubble_deep_field.jpg": f"{PUBLIC_DOMAIN} (NASA)",
    "ihc.png": "no known copyright restrictions (CMMI)",
    "retina.jpg": "CC0",
    "rocket.jpg": f"{PUBLIC_DOMAIN} (SpaceX)",
    "text.png": PUBLIC_DOMAIN,
}


@dataclass(frozen=True)
class SourceImage:
    """A photograph to make scenes from.

    Attributes:
        name: file name.
        image: (h, w) float32 in [0, 1], grey.
        licence: under which it may be used.
        sha256: digest of the file.
    """

    name: str
    image: Tensor
    licence: str
    sha256: str


def bundled_images() -> list[SourceImage]:
    """The photographs of `BUNDLED_IMAGES`.

    Raises:
        DataNotFoundError: this scikit-image has not got one of them.
    """
    spec = find_spec("skimage")
    if spec is None or spec.origin is None:
        raise DataNotFoundError("scikit-image is not installed: reinstall spikerec.")
    folder = Path(spec.origin).parent / "data"
    return [source_image(folder / name, licence) for name, licence in BUNDLED_IMAGES.items()]


def folder_images(folder: str | Path, licence: str = "not stated") -> list[SourceImage]:
    """All images of a folder, sorted by name, each reduced to at most 2048 pixels a side.

    Args:
        folder: its subfolders are not searched.
        licence: of all of them, for the data card.

    Raises:
        DataNotFoundError: no such folder, or no image in it.
        DataError: a file that is not an image.
    """
    return [source_image(path, licence) for path in image_files(Path(folder))]


def image_files(folder: Path) -> list[Path]:
    """The image files of a folder, sorted by name.

    Raises:
        DataNotFoundError: no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise DataNotFoundError(f"{folder} is not a folder: name one that holds images.")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise DataNotFoundError(f"{folder} holds no image ({', '.join(IMAGE_SUFFIXES)}).")
    return files


def read_grey(path: Path, largest_side: int | None = None) -> Tensor:
    """Read an image as grey intensity, by the weights 0.299 R + 0.587 G + 0.114 B.

    Args:
        path: 8-bit or 16-bit image.
        largest_side: reduce larger ones to this.

    Returns:
        (h, w) float32 in [0, 1].

    Raises:
        DataNotFoundError: no such file.
        DataError: not an image.
    """
    if not path.is_file():
        raise DataNotFoundError(f"{path} is not there: expected an image file.")
    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode.startswith("I"):  # 16 bits, which conversion to L would clip
                grey = torch.from_numpy(np.asarray(image, np.float32) / 65535)
            else:
                grey = torch.from_numpy(np.asarray(image.convert("L"), np.float32) / 255)
    except (UnidentifiedImageError, OSError) as error:
        raise DataError(f"{path} is not an image that Pillow can read: {error}.") from error
    if largest_side is not None and max(grey.shape) > largest_side:
        share = largest_side / max(grey.shape)
        grey = resized(grey, *(max(1, round(length * share)) for length in grey.shape))
    return grey.clamp(0, 1)


def write_grey(path: Path, image: Tensor) -> None:
    """Write intensity (H, W) in [0, 1] as an 8-bit grey PNG, rounded to the nearest level."""
    levels = (image * 255).round().to(torch.uint8).cpu().numpy()
    Image.fromarray(levels).save(path, format="PNG")


def resized(image: Tensor, height: int, width: int) -> Tensor:
    """An image (h, w) at another size, without aliasing: (height, width), within the same range."""
    out = F.interpolate(image[None, None], (height, width), mode="bilinear", antialias=True)
    return out[0, 0].clamp(0, 1)  # rounding may step beyond the range


def fitted(image: Tensor, height: int, width: int) -> Tensor:
    """The largest centred cut of an image (h, w) of these proportions, at this size."""
    scale = min(image.shape[0] / height, image.shape[1] / width)
    rows, columns = round(scale * height), round(scale * width)
    top, left = (image.shape[0] - rows) // 2, (image.shape[1] - columns) // 2
    return resized(image[top : top + rows, left : left + columns], height, width)


def source_image(path: Path, licence: str) -> SourceImage:
    """A photograph read as grey intensity, reduced to at most 2048 pixels a side."""
    image = read_grey(path, LARGEST_SIDE)
    return SourceImage(path.name, image, licence, hashlib.sha256(path.read_bytes()).hexdigest())
