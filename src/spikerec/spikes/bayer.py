"""The Bayer mosaic of a colour camera: which colour each pixel sees.

A pattern is named by the colours of the pixels (even row, even column), (even, odd), (odd, even)
and (odd, odd), rows and columns counted from the top left of the picture the right way up: `rggb`,
`bggr`, `grbg` or `gbrg`.
"""

from __future__ import annotations

from typing import Any, Literal, TypeGuard, get_args

import numpy as np
from numpy.typing import NDArray

from spikerec.errors import ConfigError
from spikerec.parsing import shown

BayerPattern = Literal["rggb", "bggr", "grbg", "gbrg"]
Flip = Literal["none", "horizontal", "vertical"]

#: First row and column of each of the four planes, of which each has one colour.
PLANES = ((0, 0), (0, 1), (1, 0), (1, 1))
#: A mosaic is seen where pixels differ from the next one of their row and column by this much more
#: than from the next but one, of the same colour. Measured: 1.0 at most in grey recordings and
#: scenes, which noise alone gives; 1.25 to 980 in mosaics of photographs in colour.
SEEN_RATIO = 1.2

#: Quarter turns clockwise that a picture may be given.
ROTATIONS = (0, 90, 180, 270)


def check_bayer(pattern: object) -> TypeGuard[BayerPattern]:
    """Refuse a pattern that there is not.

    Raises:
        ConfigError: none of the four.
    """
    if pattern not in get_args(BayerPattern):
        raise ConfigError(
            f"bayer must be one of {', '.join(get_args(BayerPattern))}, found {shown(pattern)}."
        )
    return True


def check_turn(rotate: object, flip: object) -> None:
    """Refuse a turn that there is not.

    Raises:
        ConfigError: rotate is none of 0, 90, 180 and 270, or flip none of its three.
    """
    if isinstance(rotate, bool) or rotate not in ROTATIONS:
        raise ConfigError(
            f"rotate must be 0, 90, 180 or 270 degrees clockwise, found {shown(rotate)}."
        )
    if flip not in get_args(Flip):
        raise ConfigError(f"flip must be one of {', '.join(get_args(Flip))}, found {shown(flip)}.")


def mosaic(pattern: BayerPattern, height: int, width: int) -> NDArray[np.str_]:
    """The colour that each pixel sees: (height, width) of `r`, `g` and `b`."""
    tile = np.array(list(pattern)).reshape(2, 2)
    rows, columns = np.arange(height) % 2, np.arange(width) % 2
    return tile[rows[:, None], columns]


def plane_size(height: int, width: int, top: int, left: int) -> tuple[int, int]:
    """Height and width of the plane that begins at a row and a column, each 0 or 1."""
    return (height - top + 1) // 2, (width - left + 1) // 2


def notice_mosaic(rate: NDArray[np.floating[Any]]) -> tuple[BayerPattern, BayerPattern] | None:
    """Return the two patterns that a picture may have; None where it shows no mosaic.

    Neighbours in a mosaic differ more than pixels two apart, which see one colour; in a grey
    picture they differ less. Which diagonal is green shows, but not which of the others is red. The
    mosaic of a scene without colours cannot be seen.

    Args:
        rate: (H, W) firing rates.
    """
    height, width = (side // 2 * 2 for side in rate.shape)
    if min(height, width) < 8:
        return None
    rate = np.asarray(rate[:height, :width], np.float64)
    for image in (rate, rate.T):
        next_one, next_but_one = (
            float(np.square(image[step:] - image[:-step]).mean()) for step in (1, 2)
        )
        if next_one <= SEEN_RATIO * next_but_one or next_one == 0:
            return None
    first, second, third, fourth = (rate[top::2, left::2] for top, left in PLANES)
    if np.square(second - third).mean() < np.square(first - fourth).mean():
        return "rggb", "bggr"
    return "grbg", "gbrg"


def cropped_pattern(pattern: BayerPattern, top: int, left: int) -> BayerPattern:
    """The pattern of a picture whose first `top` rows and `left` columns are cut off.

    Example:
        >>> cropped_pattern("bggr", 1, 1)
        'rggb'
    """
    return _name(mosaic(pattern, top % 2 + 2, left % 2 + 2)[top % 2 :, left % 2 :])


def turned_pattern(
    pattern: BayerPattern, rotate: int, flip: Flip, height: int, width: int
) -> BayerPattern:
    """The pattern of a picture that was turned by `turned`.

    Args:
        pattern: before the turn.
        rotate: degrees clockwise.
        flip: after the rotation.
        height: before the turn; only whether it is odd counts, as of the width.
        width: before the turn.

    Example:
        >>> turned_pattern("bggr", 0, "vertical", 1000, 1000)
        'grbg'
    """
    small = mosaic(pattern, height % 2 + 2, width % 2 + 2)
    return _name(turned(small, rotate, flip)[:2, :2])


def turned(image: NDArray[Any], rotate: int, flip: Flip) -> NDArray[Any]:
    """Turn pictures (..., H, W) clockwise by some degrees, then flip them."""
    image = np.rot90(image, -rotate // 90, axes=(-2, -1))
    if flip == "horizontal":
        return image[..., ::-1]
    return image[..., ::-1, :] if flip == "vertical" else image


def _name(tile: NDArray[np.str_]) -> BayerPattern:
    name = "".join(tile.flatten().tolist())
    assert check_bayer(name)
    return name
