"""Blind image quality (BRISQUE; Mittal et al., IEEE TIP 2012), as the package `pyiqa` has it."""

from __future__ import annotations

import math

from torch import Tensor

from spikerec import weights
from spikerec.extras import require
from spikerec.metrics.base import ImageMetric, each

#: The 7 × 7 window must fit the image at half size.
SMALLEST = 16


class BRISQUE(ImageMetric):
    """BRISQUE by the package `pyiqa`: no reference, lower is better, can be negative.

    Computed in float32, levels in [0, 255] not rounded. NaN for an image without texture.

    Raises:
        MissingPackageError: the package pyiqa is not installed.
        WeightsNotFoundError: its support vectors are not in the cache; says how to get them.
    """

    name = "brisque"
    higher_is_better = False
    needs_target = False
    implementation = "pyiqa"
    needs_weights = ("brisque",)
    smallest = SMALLEST
    undefined = "images without texture"

    def __init__(self) -> None:
        super().__init__()
        require("pyiqa", "BRISQUE")
        self._regression = weights.load("brisque")

    def measure(self, image: Tensor, _target: Tensor) -> Tensor:
        """See `ImageMetric.score`."""
        from pyiqa.archs.brisque_arch import brisque

        coefficients, vectors = self._regression["coefficients"], self._regression["vectors"]

        def score(single: Tensor) -> Tensor:
            try:
                value: Tensor = brisque(single, sv_coef=coefficients, sv=vectors)
            except AssertionError:  # the package asserts that the levels vary
                return single.new_full((), math.nan)
            return value

        return each(score, image.float())
