"""Alignment of a reconstruction's brightness before it is scored.

Published tables differ in it, mostly without a word: some scale or stretch each image to its truth,
some equalise histograms. What it hides is brightness alone: a method that is right but for its
light scale scores as one that is right.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikerec.errors import InputError

Alignment = Literal["none", "gain", "affine", "matched", "equalised"]

#: Grey levels of an equalisation.
LEVELS = 256


def needs_target(alignment: Alignment) -> bool:
    """True if the brightness is aligned with the target's."""
    return alignment in _TO_TARGET


def align(
    image: Tensor, target: Tensor | None, alignment: Alignment
) -> tuple[Tensor, Tensor | None]:
    """Align the brightness of each image of a batch.

        gain         image · g, with the g ≥ 0 that minimises Σ (g · image − target)²
        affine       image · g + c, with g ≥ 0 and c that minimise Σ (g · image + c − target)²
        matched      grey levels replaced by those of the target of the same rank
        equalised    both images' grey levels replaced by their ranks, in [0, 1]

    A negative g would make an inverted image right: it becomes the best constant instead.

    Args:
        image: (B, 1, H, W), intensity, not clipped.
        target: (B, 1, H, W) in [0, 1], or None.
        alignment: the kind.

    Returns:
        The image, and the target, which only `equalised` changes.

    Raises:
        InputError: no target, where the image is aligned with it.
    """
    if alignment == "none":
        return image, target
    if alignment == "equalised":
        return _each(_equalised, image), None if target is None else _each(_equalised, target)
    if target is None:
        raise InputError(
            f"alignment={alignment} fits each image to its true one, and there is none: score "
            "real recordings by a protocol without alignment."
        )
    return _each(_TO_TARGET[alignment], image, target), target


def _each(function: Callable[..., Tensor], *images: Tensor) -> Tensor:
    """A function of single images for every image of some batches."""
    return torch.cat(
        [function(*one) for one in zip(*(torch.split(x, 1) for x in images), strict=True)]
    )


def _with_gain(image: Tensor, target: Tensor) -> Tensor:
    x, y = image.double(), target.double()
    power = x.square().sum()
    gain = (x * y).sum() / power if power else power
    return (gain.clamp(min=0) * x).to(image.dtype)


def _affine(image: Tensor, target: Tensor) -> Tensor:
    x, y = image.double(), target.double()
    from_mean = x - x.mean()
    variance = from_mean.square().sum()
    slope = (from_mean * y).sum() / variance if variance else variance
    return (slope.clamp(min=0) * from_mean + y.mean()).to(image.dtype)


def _matched(image: Tensor, target: Tensor) -> Tensor:
    from skimage.exposure import match_histograms

    return _by_numpy(match_histograms, image, target)


def _equalised(image: Tensor) -> Tensor:
    from skimage.exposure import equalize_hist

    def equalise(levels: NDArray[np.float64]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = equalize_hist(levels, nbins=LEVELS)
        return found

    return _by_numpy(equalise, image.clamp(0, 1))


def _by_numpy(function: Callable[..., NDArray[np.float64]], *images: Tensor) -> Tensor:
    found = function(*(image.double().cpu().numpy() for image in images))
    return torch.from_numpy(found).to(images[0])


_TO_TARGET: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "gain": _with_gain,
    "affine": _affine,
    "matched": _matched,
}
