"""tLPIPS: whether a reconstruction changes from image to image as much as the truth does."""

from __future__ import annotations

from torch import Tensor

from spikerec.kinds import checked
from spikerec.metrics.lpips import LPIPS, SMALLEST
from spikerec.metrics.pairs import Pair, PairMetric


@checked
class TLPIPS(PairMetric):
    """The difference between two perceptual changes.

    tLPIPS = |LPIPS(x_t, x_(t+1)) − LPIPS(y_t, y_(t+1))| for images x and true images y: 0 for the
    true images, positive for a video that flickers and for one that changes too little.

    Raises:
        MissingPackageError: the package lpips is not installed.
        WeightsNotFoundError: AlexNet's weights are not in the cache; says how to get them.

    Source: Chu et al., TecoGAN, ACM TOG 2020 (there times 100).
    """

    name = "tlpips"
    implementation = "lpips"
    needs_weights = ("alexnet",)
    smallest = SMALLEST

    def __init__(self) -> None:
        super().__init__()
        self._distance = LPIPS()

    def measure(self, pair: Pair) -> Tensor:
        """See `PairMetric.score`."""
        assert pair.targets is not None
        changes = [
            self._distance.score(images[:1], images[1:]) for images in (pair.images, pair.targets)
        ]
        return (changes[0] - changes[1]).abs()[0]
