"""Base of the metrics of videos: one value per pair of consecutive images of a clip.

A clip's value is the mean over its pairs, and the values by pair are its curve. Two images are held
at a time, however long a clip is.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from spikerec.errors import ConfigError, InputError
from spikerec.kinds import found_array
from spikerec.metrics.base import QualityMetric


@dataclass(frozen=True)
class Known:
    """The facts about a pair of images that do not depend on the method.

    Attributes:
        steady: (2, 1, H, W) intensity at both times by a method that hardly flickers, from which
            motion is estimated: Hann's window of 61 readouts.
        static: (H, W) bool, the pixels whose true intensity does not change in the whole clip; None
            without true images.
        static_estimated: (H, W) bool, likewise, estimated from the spikes.
        displacement: (H, W, 2) pixels right and down, the exact motion from the first to the second
            image; None where no scene is known.
        is_kept: (H, W) bool, the pixels whose intensity the second image shows again at the
            displaced place; None with `displacement`.
    """

    steady: Tensor
    static: Tensor | None
    static_estimated: Tensor
    displacement: Tensor | None = None
    is_kept: Tensor | None = None

    def cut(self, border: int) -> Known:
        """The facts without a border of so many pixels."""
        if border == 0:
            return self
        inner = slice(border, -border)

        def cut(mask: Tensor | None) -> Tensor | None:
            return None if mask is None else mask[inner, inner]

        return replace(
            self,
            steady=self.steady[..., inner, inner],
            static=cut(self.static),
            static_estimated=self.static_estimated[inner, inner],
            displacement=cut(self.displacement),
            is_kept=cut(self.is_kept),
        )


@dataclass(frozen=True)
class Pair:
    """Two consecutive images of a clip, prepared by the protocol.

    Attributes:
        images: (2, 1, H, W) reconstructions in [0, 1], the earlier one first.
        targets: (2, 1, H, W) true images; None where there are none.
        known: about both.
    """

    images: Tensor
    targets: Tensor | None
    known: Known


class PairMetric(QualityMetric):
    """Base of every metric of videos.

    A subclass defines `measure` and the class attributes. Where `measure` returns NaN, the pair has
    no value, for the reason that `undefined` states.
    """

    higher_is_better = False

    @abstractmethod
    def measure(self, pair: Pair) -> Tensor:
        """The value of a pair, a scalar; NaN where it is not defined."""

    @torch.no_grad()
    def score(self, pair: Pair) -> Tensor:
        """The metric's value for a pair of images.

        Returns:
            A float64 scalar, not finite for a pair that has no value.

        Raises:
            ConfigError: `measure` returns anything but a floating scalar tensor.
            InputError: images that are not (2, 1, H, W), or too small.
        """
        if pair.images.ndim != 4 or pair.images.shape[:2] != (2, 1):
            raise InputError(
                f"{self.name} takes two images (2, 1, H, W), found {tuple(pair.images.shape)}."
            )
        self._check_size(pair.images)
        if self.needs_target and pair.targets is None:
            return torch.tensor(torch.nan, dtype=torch.float64)
        value: Any = self.measure(pair)
        if not isinstance(value, Tensor) or value.ndim or not value.is_floating_point():
            raise ConfigError(
                f"metric {self.name}: {type(self).__name__}.measure must return one value per pair "
                f"of images, a floating scalar tensor, found {found_array(value)}: reduce what it "
                "computes over all dimensions, as .mean() does."
            )
        return value.double()

    def update(self, pair: Pair) -> None:
        """Add the value of a pair; see `score`. What has no value is not counted."""
        self.add(self.score(pair).reshape(1))


def mean_over(difference: Tensor, mask: Tensor | None, least: float) -> Tensor:
    """Mean absolute difference of intensities in grey levels of 255, over the pixels of a mask.

    Args:
        difference: (H, W) in intensity.
        mask: (H, W) bool; None gives NaN.
        least: share of the pixels that the mask must have; below it the value is NaN.
    """
    if mask is None or mask.float().mean() < least:
        return torch.tensor(torch.nan, dtype=torch.float64)
    return 255 * difference[mask].double().abs().mean()
