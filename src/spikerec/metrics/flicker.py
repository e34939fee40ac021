"""Flicker: how much a reconstruction changes from image to image where the scene does not."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from spikerec.kinds import checked
from spikerec.metrics.pairs import Pair, PairMetric, mean_over

#: Share of an image's pixels that must be static for its flicker to be stated.
LEAST_SHARE = 0.01


@checked
class Flicker(PairMetric):
    """Mean absolute change on static pixels, in grey levels of 255.

    Flicker of the images x_t and x_(t+1) = 255 · mean over static pixels p of
    |x_(t+1)(p) − x_t(p)|. Nothing is subtracted: noise that differs from image to image counts,
    and an error that stays, such as a blur or a fixed pattern, does not. It is 0 for the true
    images, as for any constant image: read it beside a metric of fidelity. It grows with nothing
    but the pixels' own change, so that images further apart in time may be compared as well.

    Args:
        static: `truth`: the pixels that have one 8-bit grey level in all true images of the clip,
            other than 0 and 255, which clipped intensity keeps though the scene moves. `spikes`:
            those whose firing rate hardly changes (`spikerec.data.frames`), for recordings without
            true images; no value for clips too short to tell.
    """

    name = "flicker"
    revision = 2
    unit = "levels"
    undefined = (
        f"clips of which less than {LEAST_SHARE:.0%} of the pixels are known to be static, or too "
        "short to tell from their spikes"
    )
    needs_target = False

    def __init__(self, static: Literal["truth", "spikes"] = "truth") -> None:
        super().__init__()
        self.static = static

    def measure(self, pair: Pair) -> Tensor:
        """See `PairMetric.score`."""
        known = pair.known
        static = known.static if self.static == "truth" else known.static_estimated
        return mean_over(pair.images[1, 0] - pair.images[0, 0], static, LEAST_SHARE)
