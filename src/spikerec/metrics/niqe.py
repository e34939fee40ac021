"""Natural image quality evaluator (Mittal et al., IEEE SPL 2013), as the package `pyiqa` has it."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor

from spikerec import weights
from spikerec.extras import require
from spikerec.metrics.base import ImageMetric, each

#: Side of the blocks whose statistics are compared with those of pristine images.
BLOCK = 96


class NIQE(ImageMetric):
    """NIQE by the package `pyiqa`: no reference, lower is better.

    Levels are rounded to 8 bits and the image is cut to whole blocks of 96 × 96, as the original
    does. Its figures deviate a little from those of the MATLAB original. NaN for an image without
    texture (statistics of a constant do not exist).

    Raises:
        MissingPackageError: the package pyiqa is not installed.
        WeightsNotFoundError: its parameters are not in the cache; says how to get them.
    """

    name = "niqe"
    higher_is_better = False
    needs_target = False
    implementation = "pyiqa"
    needs_weights = ("niqe",)
    smallest = BLOCK
    undefined = "images without texture"

    def __init__(self) -> None:
        super().__init__()
        require("pyiqa", "NIQE")
        self._pristine = weights.load("niqe")

    def measure(self, image: Tensor, _target: Tensor) -> Tensor:
        """See `ImageMetric.score`."""
        from pyiqa.archs.niqe_arch import calculate_niqe

        mean, covariance = self._pristine["mean"], self._pristine["covariance"]

        def niqe(single: Tensor) -> Tensor:
            try:
                with warnings.catch_warnings():  # without texture, no block is left to compare
                    warnings.filterwarnings("ignore", message=r"cov\(\): degrees of freedom")
                    value: Tensor = calculate_niqe(
                        single, mu_pris_param=mean[None], cov_pris_param=covariance[None]
                    )
            except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # not in its stubs
                # Statistics that are not finite have no inverse.
                return single.new_full((), math.nan)
            return value

        return each(niqe, image.float())
