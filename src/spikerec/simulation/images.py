"""Images as intensity, grey or by colour: the one reader, for files, folders and samples.

Intensity is the stored value over the largest one of its type, and of colours 0.299 R + 0.587 G +
0.114 B (ITU-R BT.601, as published code of the field has it), computed in float32 without rounding
to levels again. Neither a gamma curve nor a colour profile is applied, and transparency is ignored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps
from PIL.TiffImagePlugin import TiffImageFile
from torch import Tensor

from spikerec.errors import DataError, DataNotFoundError
from spikerec.kinds import checked
from spikerec.simulation.opening import open_image
from spikerec.spikes.folders import listed
from spikerec.spikes.grey import grey_levels

#: Intensity of all colours together, or of one.
Light = Literal["grey", "red", "green", "blue"]
COLOURS: tuple[Light, ...] = ("red", "green", "blue")

#: Weights of red, green and blue in grey (ITU-R BT.601).
GREY_WEIGHTS = (0.299, 0.587, 0.114)

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
#: Pixels whose colours are read at once.
STRIP_PIXELS = 1 << 22
#: Distance by which a float image may leave [0, 1], as resampling and rounding cause it.
FLOAT_SLACK = 1e-3

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


@checked
@dataclass(frozen=True)
class SourceImage:
    """A photograph, or a cut-out, to make scenes from.

    Attributes:
        name: file name.
        image: float32 in [0, 1]: grey (h, w), or grey and opacity (2, h, w) of a cut-out.
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


@checked
def folder_images(folder: str | Path, licence: str = "not stated") -> list[SourceImage]:
    """All images of a folder, in order, each reduced to at most 2048 pixels a side.

    Args:
        folder: its subfolders are not searched.
        licence: of all of them, for the data card.

    Raises:
        DataNotFoundError: no such folder, or no image in it.
        DataError: a file that is not an image.
    """
    return [source_image(path, licence) for path in image_files(Path(folder))]


def image_files(folder: Path) -> list[Path]:
    """The image files of a folder, by name, numbers by value (see `spikes.folders.listed`).

    Raises:
        DataNotFoundError: no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise DataNotFoundError(f"{folder} is not a folder: name one that holds images.")
    files = listed(folder, IMAGE_SUFFIXES)
    if not files:
        raise DataNotFoundError(f"{folder} holds no image ({', '.join(IMAGE_SUFFIXES)}).")
    return files


def read_grey(path: Path, largest_side: int | None = None) -> Tensor:
    """Read an image as grey intensity (see the module's text), upright as its EXIF tag says.

    Args:
        path: an image of any of Pillow's modes. Integers of 32 bits hold levels of 16 bits, and
            floats hold intensity.
        largest_side: reduce larger ones to this.

    Returns:
        (h, w) float32 in [0, 1].

    Raises:
        DataNotFoundError: no such file.
        DataError: not an image, one beyond the bounds, or values outside the range of its type.
    """
    with open_image(path) as opened:
        grey = torch.from_numpy(_grey(ImageOps.exif_transpose(opened), path))
    if largest_side is not None and max(grey.shape) > largest_side:
        share = largest_side / max(grey.shape)
        grey = resized(grey, *(max(1, round(length * share)) for length in grey.shape))
    return grey.clamp_(0, 1)


def read_cut_out(path: Path) -> Tensor:
    """Read an image with transparency: grey intensity and opacity, (2, h, w) float32 in [0, 1].

    Raises:
        DataNotFoundError: no such file.
        DataError: as of `read_grey`, or nothing of it is transparent, or all.
    """
    with open_image(path) as opened:
        image = ImageOps.exif_transpose(opened).convert("RGBA")
    opacity = torch.from_numpy(_scaled(np.asarray(image.getchannel("A")), 255))
    if not 0 == opacity.min() < opacity.max():
        raise DataError(f"{path} has no outline: expected a picture with a transparent part.")
    return torch.stack((torch.from_numpy(_grey(image, path)), opacity))


def read_colour(path: Path) -> Tensor:
    """Read an image as intensity of red, green and blue, upright as its EXIF tag says.

    Args:
        path: an image of any of Pillow's modes; grey ones have three equal channels.

    Returns:
        (3, h, w) float32 in [0, 1].

    Raises:
        DataNotFoundError: no such file.
        DataError: as of `read_grey`.
    """
    with open_image(path) as opened:
        image = ImageOps.exif_transpose(opened)
        if image.mode.startswith("I") or image.mode in ("1", "L", "LA", "La", "F"):
            return torch.from_numpy(_grey(image, path)).clamp(0, 1).expand(3, -1, -1).contiguous()
        colours = np.empty((3, image.height, image.width), np.float32)
        for rows, levels in _strips(image):
            colours[:, rows] = _scaled(levels, 255).transpose(2, 0, 1)
    return torch.from_numpy(colours)


def read_light(path: Path, light: Light) -> Tensor:
    """Read an image as intensity of all colours together, or of one: (h, w) float32 in [0, 1].

    Raises:
        DataNotFoundError: no such file.
        DataError: as of `read_grey`.
    """
    return read_grey(path) if light == "grey" else read_colour(path)[COLOURS.index(light)]


def light_of(colours: NDArray[np.uint8], light: Light) -> NDArray[np.float32]:
    """Intensity (H, W) in [0, 1] of 8-bit colours (H, W, 3): of all together, or of one."""
    if light == "grey":
        return weighed(colours)
    return _scaled(colours[..., COLOURS.index(light)], 255)


def image_size(path: Path) -> tuple[int, int]:
    """Height and width of the image that `read_grey` would give, from the file's head alone.

    Raises:
        DataNotFoundError: no such file.
        DataError: not an image, or one beyond the bounds.
    """
    with open_image(path) as opened:
        lies_on_its_side = opened.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
        height, width = opened.height, opened.width
        if isinstance(opened, TiffImageFile):  # some versions of Pillow turn its size on opening
            stored = ExifTags.Base.ImageLength, ExifTags.Base.ImageWidth
            height, width = (int(opened.tag_v2[tag]) for tag in stored)
    return (width, height) if lies_on_its_side else (height, width)


def weighed(colours: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Grey intensity (H, W) in [0, 1] of 8-bit colours (H, W, 3), by `GREY_WEIGHTS`."""
    grey: NDArray[np.float32] = colours[..., 0] * np.float32(GREY_WEIGHTS[0])
    for channel in (1, 2):
        grey += colours[..., channel] * np.float32(GREY_WEIGHTS[channel])
    grey /= 255
    return np.minimum(grey, 1, out=grey)


def _scaled(levels: NDArray[Any], white: int) -> NDArray[np.float32]:
    scaled: NDArray[np.float32] = levels.astype(np.float32)
    scaled /= white
    return scaled


def _grey(image: Image.Image, path: Path) -> NDArray[np.float32]:
    """Grey intensity of an image of any mode."""
    mode = image.mode
    if mode in ("1", "L"):
        return _scaled(np.asarray(image.convert("L")), 255)
    if mode in ("LA", "La"):
        return _scaled(np.asarray(image.convert("LA").getchannel(0)), 255)
    if mode.startswith("I;16"):
        return _scaled(np.asarray(image), 65535)
    if mode == "I":
        levels = np.asarray(image)
        if levels.min() < 0 or levels.max() > 65535:
            raise DataError(
                f"{path} holds integers outside 0 to 65535: expected levels of 8 or 16 bits, or "
                "floats in [0, 1]. Scale it first."
            )
        return _scaled(levels, 65535)
    if mode == "F":
        values: NDArray[np.float32] = np.array(image, np.float32)
        if not (values.min() >= -FLOAT_SLACK and values.max() <= 1 + FLOAT_SLACK):  # or NaN
            raise DataError(
                f"{path} holds floats outside [0, 1]: expected intensity. Divide it by its white."
            )
        return values
    grey = np.empty((image.height, image.width), np.float32)
    for rows, levels in _strips(image):
        grey[rows] = weighed(levels)
    return grey


def _strips(image: Image.Image) -> Iterator[tuple[slice, NDArray[np.uint8]]]:
    """Rows of an image and their 8-bit colours (rows, W, 3), a few at a time to save memory."""
    count = max(1, STRIP_PIXELS // image.width)
    for top in range(0, image.height, count):
        rows = slice(top, min(top + count, image.height))
        strip = image.crop((0, rows.start, image.width, rows.stop))
        if image.mode in ("P", "PA"):
            strip = strip.convert("RGBA")
        yield rows, np.asarray(strip.convert("RGB"))


def write_grey(path: Path, image: Tensor) -> None:
    """Write intensity (H, W) in [0, 1] as an 8-bit grey PNG, rounded to the nearest level."""
    Image.fromarray(grey_levels(image.cpu().numpy())).save(path, format="PNG")


def write_colour(path: Path, image: Tensor) -> None:
    """Write intensity (3, H, W) in [0, 1] as an 8-bit PNG in colour."""
    levels = grey_levels(image.permute(1, 2, 0).cpu().numpy())
    Image.fromarray(np.ascontiguousarray(levels)).save(path, format="PNG")


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


def source_image(path: Path, licence: str, *, is_cut_out: bool = False) -> SourceImage:
    """A photograph read as grey intensity, reduced to at most 2048 pixels a side, or a cut-out."""
    image = read_cut_out(path) if is_cut_out else read_grey(path, LARGEST_SIDE)
    return SourceImage(path.name, image, licence, hashlib.sha256(path.read_bytes()).hexdigest())
