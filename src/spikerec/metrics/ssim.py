"""Structural similarity in the published protocol of STIR and WGSE."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from spikerec.metrics.base import ImageMetric, each, to_levels

WINDOW = 11
SIGMA = 1.5


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


def ssim_factors(x: Tensor, y: Tensor, peak: float) -> tuple[Tensor, Tensor]:
    """The two factors of SSIM at each place where the window fits; their product is SSIM.

    Args:
        x: (B, 1, H, W), values in [0, peak].
        y: likewise.
        peak: the white level.

    Returns:
        Luminance, and contrast with structure: (B, 1, H - 10, W - 10) each.
    """
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    mean_x, mean_y = _blur(x), _blur(y)
    mean_xy = mean_x * mean_y
    covariance = _blur(x * y) - mean_xy
    means = mean_x.square() + mean_y.square()
    # σx² + σy² is one blur of x² + y²: four blurs in all instead of five
    variances = _blur(x.square() + y.square()) - means
    return (2 * mean_xy + c1) / (means + c1), (2 * covariance + c2) / (variances + c2)


def _ssim(image: Tensor, target: Tensor) -> Tensor:
    luminance, structure = ssim_factors(to_levels(image), to_levels(target), peak=255)
    return (luminance * structure).mean()


def _blur(levels: Tensor) -> Tensor:
    """Local mean under the Gaussian window where it fits: (B, 1, H, W) → (B, 1, H-10, W-10)."""
    offsets = torch.arange(WINDOW, dtype=levels.dtype, device=levels.device) - WINDOW // 2
    weights = (-offsets.square() / (2 * SIGMA**2)).exp()
    weights = weights / weights.sum()
    # As precise under autocast: variances are small differences of large numbers.
    with torch.autocast(levels.device.type, enabled=False):
        rows = F.conv2d(levels, weights.view(1, 1, -1, 1))
        return F.conv2d(rows, weights.view(1, 1, 1, -1))
