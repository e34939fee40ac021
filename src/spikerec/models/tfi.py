"""TFI: texture from interval, the inverse of the inter-spike interval at the key readout.

Zhu et al., "A retina-inspired sampling method for visual texture reconstruction", ICME 2019, by
either of the two rules of SpikeCV (see `spikerec.spikes.representations.tfi`).
"""

from __future__ import annotations

from torch import Tensor

from spikerec.errors import ConfigError
from spikerec.models.base import Network, Reconstruction, check_window
from spikerec.spikes.representations import TfiRule, tfi


class TFI(Network):
    """One over the interval that holds the key readout: sharp, and coarse where it is bright.

    The image is a firing rate in (0, 1]: 1, 1/2, 1/3, …

    Args:
        window: readouts searched for the interval's two spikes, half of them on either side.
        rule: `key` or `sequence`. A pixel without an interval has the rate 1 / (2 · half window)
            under `key`, 1 / 257 under `sequence`.

    Raises:
        ConfigError: window < 2, or an unknown rule.
    """

    def __init__(self, window: int, rule: TfiRule) -> None:
        super().__init__(window, output_scale=1.0)
        if window < 2:
            raise ConfigError(f"model.window must be at least 2 for an interval, found {window}.")
        if rule not in ("key", "sequence"):
            raise ConfigError(f"model.rule must be key or sequence, found {rule!r}.")
        self.rule = rule

    def forward(self, spikes: Tensor) -> Reconstruction:
        """Invert the interval at the key readout (see `Network.forward`)."""
        check_window(spikes, self.window)
        half = self.window // 2
        rate = tfi(spikes, key_readout=self.key_readout, half_window=half, rule=self.rule)
        return Reconstruction(rate)
