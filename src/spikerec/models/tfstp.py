"""TFSTP: texture from short-term plasticity, the rate that a model synapse settles to.

Zheng et al., "Capture the moment: high-speed imaging with spiking cameras through short-term
plasticity", TPAMI 2023, in SpikeCV's offline form (see `spikerec.spikes.plasticity`).

Departures: the published picture is stretched to the minimum and maximum of each image and its
histogram equalised, which no metric against a true image survives. The image here is the firing
rate behind it, as a float. The state starts afresh in every window instead of running on through
the stream, so that an image depends on its window alone.
"""

from __future__ import annotations

from torch import Tensor

from spikerec.models.base import Network, Reconstruction, check_window
from spikerec.spikes.plasticity import Plasticity, tfstp


class TFSTP(Network):
    """The firing rate read off two state maps that the spikes up to the key readout drive.

    At a constant interval d both maps can be inverted to the rate 1 / d. The published inversion
    of the second is an offset of 0.016 (d = 20) to 0.033 (d = 1) instead, and the image is the
    sum; the exact one gives the rate twice, and the image is the mean of the two.

    Args:
        window: readouts; only its first half and the key readout are looked at, since the states
            are causal. They settle in about 2 · facilitation_time readouts.
        recovery_time: time constant D of the first map, in readouts.
        facilitation_time: time constant F of the second, in readouts.
        exact: invert the second map exactly.
    """

    is_per_pixel = True
    bears_motion = 24.0  # measured: the states forget, so that 24 pixels cost 2 dB

    def __init__(
        self,
        window: int = 61,
        recovery_time: float = 1.0,
        facilitation_time: float = 10.0,
        exact: bool = False,
    ) -> None:
        super().__init__(window, output_scale=1.0)
        self.plasticity = Plasticity(
            recovery_time=recovery_time, facilitation_time=facilitation_time, exact=exact
        )

    def forward(self, spikes: Tensor) -> Reconstruction:
        """Invert the states at the key readout to a rate (see `Network.forward`)."""
        check_window(spikes, self.window)
        intensity = tfstp(spikes, key_readout=self.key_readout, plasticity=self.plasticity)
        return Reconstruction(intensity / 2 if self.plasticity.exact else intensity)
