"""Terms on local structure: SSIM and its multi-scale kind, edges, smoothness."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor

from spikerec.errors import ConfigError, InputError
from spikerec.losses.base import Term
from spikerec.metrics.ssim import WINDOW, ssim_factors
from spikerec.models.base import Reconstruction

#: Exponents of the scales, full size first (Wang et al., Asilomar 2003).
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)

#: Least value of a scale's similarity: at 0 or below, its power has no finite gradient.
SMALLEST_SIMILARITY = 1e-4


class SSIM(Term):
    """1 − SSIM of image and target, in [0, 2].

    The similarity is that of the metric (Wang et al., IEEE TIP 2004, equation 13): an 11 × 11
    Gaussian window of σ 1.5, the mean over the region where it fits, images in [0, 1].

    Raises:
        InputError: (forward) images smaller than the window.
    """

    def forward(self, reconstruction: Reconstruction, batch: Mapping[str, Any]) -> Tensor:
        """See `Term.forward`."""
        _check_size(reconstruction.image, scales=1)
        similarity, _ = _similarity(reconstruction.image.float(), batch["target"])
        return 1 - similarity.mean()


class MultiScaleSSIM(Term):
    """1 − MS-SSIM of image and target: contrast and structure at several sizes.

        MS-SSIM = SSIM_S^w_S · Π_{s<S} CS_s^w_s

    with CS the second factor of SSIM, each scale half the size of the one before by 2 × 2 means.
    Five scales need images of 176 × 176; with fewer, the published exponents of the scales that are
    left are divided by their sum.

    Args:
        scales: S, 1 to 5.
        weight: factor in the sum.

    Raises:
        ConfigError: another number of scales.
        InputError: (forward) images smaller than 11 · 2^(S−1) pixels.

    Source: Wang et al., Asilomar 2003.
    """

    def __init__(self, scales: int = 4, weight: float = 1.0) -> None:
        super().__init__(weight)
        if not 1 <= scales <= len(SCALE_WEIGHTS):
            raise ConfigError(
                f"scales of MS-SSIM must be 1 to {len(SCALE_WEIGHTS)}, found {scales}."
            )
        kept = SCALE_WEIGHTS[:scales]
        self.exponents = tuple(exponent / sum(kept) for exponent in kept)

    def forward(self, reconstruction: Reconstruction, batch: Mapping[str, Any]) -> Tensor:
        """See `Term.forward`."""
        image, target = reconstruction.image.float(), batch["target"]
        _check_size(image, len(self.exponents))
        product = image.new_ones(len(image))
        for scale, exponent in enumerate(self.exponents, start=1):
            similarity, structure = _similarity(image, target)
            factor = similarity if scale == len(self.exponents) else structure
            product = product * factor.clamp(min=SMALLEST_SIMILARITY) ** exponent
            image, target = F.avg_pool2d(image, 2), F.avg_pool2d(target, 2)
        return 1 - product.mean()


def _check_size(image: Tensor, scales: int) -> None:
    smallest = WINDOW * 2 ** (scales - 1)
    if min(image.shape[-2:]) < smallest:
        raise InputError(
            f"SSIM at {scales} scales needs images of at least {smallest} × {smallest} pixels, "
            f"found {image.shape[-2]} × {image.shape[-1]}: enlarge the crop, or take fewer scales."
        )


def _similarity(image: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """SSIM and its contrast-structure factor, each image's mean: two (B,)."""
    luminance, structure = ssim_factors(image, target, peak=1)
    return (luminance * structure).mean(dim=(1, 2, 3)), structure.mean(dim=(1, 2, 3))


class Edges(Term):
    """L1 of the differences between neighbouring pixels, image against target.

        mean |∂x image − ∂x target| + mean |∂y image − ∂y target|

    Source: the gradient difference of Mathieu et al., ICLR 2016 (α = 1), of signed differences, so
    that the direction of an edge counts.

    Args:
        weight: factor in the sum.
    """

    def __init__(self, weight: float = 0.5) -> None:
        super().__init__(weight)

    def forward(self, reconstruction: Reconstruction, batch: Mapping[str, Any]) -> Tensor:
        """See `Term.forward`."""
        return _variation(reconstruction.image - batch["target"])


class TotalVariation(Term):
    """Mean difference between neighbouring pixels of the image: a prior, without a target.

    Args:
        weight: factor in the sum.

    Source: Rudin et al., Physica D 1992 (the anisotropic kind).
    """

    needs_target: ClassVar[bool] = False

    def __init__(self, weight: float = 0.02) -> None:
        super().__init__(weight)

    def forward(self, reconstruction: Reconstruction, batch: Mapping[str, Any]) -> Tensor:
        """See `Term.forward`."""
        del batch
        return _variation(reconstruction.image)


def _variation(x: Tensor) -> Tensor:
    """Mean |∂x| plus mean |∂y|."""
    return x.diff(dim=-1).abs().mean() + x.diff(dim=-2).abs().mean()
