"""TFP: texture from playback, the firing rate in a window.

Zhu et al., "A retina-inspired sampling method for visual texture reconstruction", ICME 2019.
"""

from __future__ import annotations

from torch import Tensor

from spikerec.models.base import Network, Reconstruction, check_window
from spikerec.spikes.representations import tfp


class TFP(Network):
    """The mean of a window: little noise and motion blur if it is long, the reverse if short.

    The image is a firing rate in [0, 1].

    Args:
        window: number of readouts averaged.
    """

    def __init__(self, window: int) -> None:
        super().__init__(window, output_scale=1.0)

    def forward(self, spikes: Tensor) -> Reconstruction:
        """Average the window (see `Network.forward`)."""
        check_window(spikes, self.window)
        return Reconstruction(tfp(spikes, key_readout=self.key_readout, window=self.window))
