"""SpikeCLIP: pictures of dim scenes, learned without true images.

Chen et al., "Rethinking High-speed Image Reconstruction Framework with Spike Camera", AAAI 2025:
the lightweight reconstruction network (LRN). Its input is 200 readouts, summed in fours; the layers
are those of `spikerec.models.base_net`.

The image shows what the eye would want to see of a dim scene: it is neither a firing rate nor an
intensity, and the published code stretches it to [0, 1] before it is shown. Our image is the
network's output as it is, so PSNR of the published weights says little; the paper compares by
NIQE and BRISQUE. Training by CLIP prompts, which the authors did not publish, is not part of this.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from spikerec.models.base_net import BaseNet, Norm


class SpikeCLIP(BaseNet):
    """The network of SpikeCLIP; the defaults are the published ones.

    Arguments are those of `BaseNet`. `output_scale` is None because the published weights give the
    same picture at any light scale.
    """

    published_output_scale: ClassVar[float | None] = None

    def __init__(
        self,
        window: int = 200,
        group: int = 4,
        channels: Sequence[int] = (64, 128, 64, 16),
        norm: Norm | None = None,
        output_scale: float | None = None,
    ) -> None:
        super().__init__(window, group, channels, norm, output_scale)
