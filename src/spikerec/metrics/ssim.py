"""Structural similarity in the published protocol of STIR and WGSE."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from spikerec.metrics.base import ImageMetric, each, to_levels

WINDOW = 11
SIGMA = 1.5
C1 = (0.01 * 255) ** 2
C2 = (0.03 * 255) ** 2


class SSIM(ImageMetric):
    """Mean structural similarity of grey levels, in float64.

    SSIM = (2 μx μy + C1)(2 σxy + C2) / ((μx² + μy² + C1)(σx² + σy² + C2)), with local moments under
    an 11 × 11 Gaussian window of σ 1.5, C1 = (0.01 · 255)², C2 = (0.03 · 255)²; the mean over the
    region where the window fits (5 pixels off each side), levels in [0, 255] not rounded.

    Source: Wang et al., IEEE TIP 2004, equation 13.
    """

    name = "ssim"
    higher_is_better = True
    smallest = WINDOW

    def measure(self, image: Tensor, target: Tensor) -> Tensor:
        """See `ImageMetric.score`."""
        return each(_ssim, image, target)


def _ssim(image: Tensor, target: Tensor) -> Tensor:
    x, y = to_levels(image), to_levels(target)
    mean_x, mean_y = _blur(x), _blur(y)
    mean_xy = mean_x * mean_y
    covariance = _blur(x * y) - mean_xy
    means = mean_x.square_() + mean_y.square_()
    # σx² + σy² is one blur of x² + y²: four blurs in all instead of five
    variances = _blur(x.square_() + y.square_()) - means
    structure = (2 * covariance + C2) / (variances + C2)
    return (structure * (2 * mean_xy + C1) / (means + C1)).mean()


def _blur(levels: Tensor) -> Tensor:
    """Local mean under the Gaussian window where it fits: (1, 1, H, W) → (1, 1, H-10, W-10)."""
    offsets = torch.arange(WINDOW, dtype=levels.dtype, device=levels.device) - WINDOW // 2
    weights = (-offsets.square() / (2 * SIGMA**2)).exp()
    weights = weights / weights.sum()
    rows = F.conv2d(levels, weights.view(1, 1, -1, 1))
    return F.conv2d(rows, weights.view(1, 1, 1, -1))
