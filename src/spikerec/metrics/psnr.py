"""Peak signal-to-noise ratio in the published protocol of STIR and WGSE."""

from __future__ import annotations

from torch import Tensor

from spikerec.metrics.base import ImageMetric, each, to_levels


class PSNR(ImageMetric):
    """Peak signal-to-noise ratio of grey levels, in float64.

    PSNR = 20 · log10(255 / √MSE), over all pixels, levels in [0, 255] not rounded. Infinite for
    identical images.
    """

    name = "psnr"
    unit = "dB"
    undefined = "images that equal their target"
    higher_is_better = True

    def measure(self, image: Tensor, target: Tensor) -> Tensor:
        """See `ImageMetric.score`."""
        return each(_psnr, image, target)


def _psnr(image: Tensor, target: Tensor) -> Tensor:
    error = (to_levels(image) - to_levels(target)).square_().mean()
    return 10 * (255**2 / error).log10()
