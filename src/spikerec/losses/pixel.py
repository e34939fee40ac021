"""Terms that compare images pixel by pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from spikerec.errors import ConfigError, InputError
from spikerec.losses.base import Term, clipped
from spikerec.models.base import Reconstruction


class L1(Term):
    """Mean absolute difference between image and target, |image − target|.

    Args:
        weight: factor in the sum.
        clip: compare the image clipped to [0, 1], as SSIR's recipe does.
    """

    def __init__(self, weight: float = 1.0, clip: bool = False) -> None:
        super().__init__(weight)
        self.clip = clip

    def forward(self, reconstruction: Reconstruction, batch: Mapping[str, Any]) -> Tensor:
        """See `Term.forward`."""
        image = reconstruction.image
        return F.l1_loss(clipped(image) if self.clip else image, batch["target"])


class MSE(Term):
    """Mean squared difference between image and target."""

    def forward(self, reconstruction: Reconstruction, batch: Mapping[str, Any]) -> Tensor:
        """See `Term.forward`."""
        return F.mse_loss(reconstruction.image, batch["target"])


class SmoothL1(Term):
    """Mean of an absolute difference that is quadratic where it is small (Girshick, ICCV 2015).

    The defaults are SwinSF's (ICVRV 2024), which is published in grey levels: a weight of 255 and a
    beta of 1/255 give the same for intensities.

    Args:
        weight: factor in the sum.
        beta: difference below which it is quadratic, in intensity.
        clip: compare the image clipped to [0, 1], as SwinSF's recipe does.

    Raises:
        ConfigError: beta ≤ 0.
    """

    def __init__(self, weight: float = 255.0, beta: float = 1 / 255, clip: bool = True) -> None:
        super().__init__(weight)
        if beta <= 0:
            raise ConfigError(f"beta must be above 0, found {beta}.")
        self.beta = beta
        self.clip = clip

    def forward(self, reconstruction: Reconstruction, batch: Mapping[str, Any]) -> Tensor:
        """See `Term.forward`."""
        return self.difference(reconstruction.image, batch["target"])

    def difference(self, image: Tensor, target: Tensor) -> Tensor:
        """The term for any two images (B, 1, H, W) in intensity."""
        return F.smooth_l1_loss(clipped(image) if self.clip else image, target, beta=self.beta)


class Charbonnier(Term):
    """Mean of √(difference² + ε²), a smooth L1 (Charbonnier et al., ICIP 1994).

    Args:
        weight: factor in the sum.
        epsilon: width of the quadratic part, in intensity.
    """

    def __init__(self, weight: float = 1.0, epsilon: float = 1e-3) -> None:
        super().__init__(weight)
        self.epsilon = epsilon

    def forward(self, reconstruction: Reconstruction, batch: Mapping[str, Any]) -> Tensor:
        """See `Term.forward`."""
        difference = reconstruction.image - batch["target"]
        return torch.sqrt(difference.square() + self.epsilon**2).mean()


class LogMSE(Term):
    """Mean over the samples of log(1 + mean squared difference / floor): PSNR, as a loss.

    A dB gained on a sample that is nearly right counts as much as one on a sample that is far off,
    so that still scenes are learned beside fast ones. Source: the PSNR loss of HINet (Chen et al.,
    CVPR workshops 2021), whose floor is 1e-8.

    Args:
        weight: factor in the sum.
        floor: squared difference from which on better no longer counts, in intensity².

    Raises:
        ConfigError: floor ≤ 0.
    """

    def __init__(self, weight: float = 1.0, floor: float = 1e-5) -> None:
        super().__init__(weight)
        if not floor > 0:
            raise ConfigError(f"floor must be above 0, found {floor}.")
        self.floor = floor

    def forward(self, reconstruction: Reconstruction, batch: Mapping[str, Any]) -> Tensor:
        """See `Term.forward`."""
        difference = reconstruction.image - batch["target"]
        return torch.log1p(difference.square().mean((1, 2, 3)) / self.floor).mean()


class MultiScaleL1(Term):
    """L1 on the smaller images of a pyramid.

        Σ_l scales[l−1] · mean |pyramid[l] − target_l| / len(scales),   l = 1, 2, …

    where target_l is the target after l times 2×2 mean pooling. The full-size image (l = 0) is not
    part of it. STIR (NeurIPS 2024), code `losses.py`: scales 0.5, 0.25, 0.25, 0.25; the paper's
    text: 1/2^(l−1).

    Args:
        scales: weight of each level, from half size down.
        weight: factor in the sum.

    Raises:
        ConfigError: no scales.
        InputError: (forward) the network's pyramid has fewer levels than there are scales.
    """

    needs: ClassVar[tuple[str, ...]] = ("pyramid",)

    def __init__(
        self, scales: Sequence[float] = (0.5, 0.25, 0.25, 0.25), weight: float = 1.0
    ) -> None:
        super().__init__(weight)
        if not scales:
            raise ConfigError("scales is empty: give one weight a level.")
        self.scales = tuple(scales)

    def forward(self, reconstruction: Reconstruction, batch: Mapping[str, Any]) -> Tensor:
        """See `Term.forward`."""
        levels = reconstruction.extras["pyramid"][1:]
        if len(levels) < len(self.scales):
            raise InputError(
                f"scales names {len(self.scales)} levels below full size, "
                f"the network's pyramid has {len(levels)}: shorten the list."
            )
        target = batch["target"]
        total = target.new_zeros(())
        for scale, level in zip(self.scales, levels, strict=False):
            target = F.avg_pool2d(target, 2)
            total = total + scale * F.l1_loss(level, target)
        mean: Tensor = total / len(self.scales)
        return mean
