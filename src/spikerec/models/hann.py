"""Hann: the firing rate in a smooth window, the best fixed filter for a scene at rest.

A spike camera is a first-order sigma-delta converter: the error of a count falls as 1/T, that of a
mean under a smooth window much faster, since the noise lies at high frequencies. No paper of the
field uses it as a method; it is here as the reference that a network should never fall below.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spikerec.models.base import Network, Reconstruction, check_window


class Hann(Network):
    """The mean of a window under Hann's weights, w_t ∝ 1 + cos(2π (t − key) / (window + 1)).

    The image is a firing rate in [0, 1].

    Args:
        window: readouts that have a weight.
    """

    is_per_pixel = True
    bears_motion = 16.0  # TFP's: three quarters of the weight lie in the middle half of the window
    starts_linear = True
    weights: Tensor

    def __init__(self, window: int = 61) -> None:
        super().__init__(window, output_scale=1.0)
        times = torch.arange(window, dtype=torch.float32)
        weights = hann_weights(times, self.key_readout, window)
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, spikes: Tensor) -> Reconstruction:
        """Average the window (see `Network.forward`)."""
        check_window(spikes, self.window)
        weighted = spikes.to(self.weights.dtype) * self.weights[:, None, None]
        return Reconstruction(weighted.sum(1, keepdim=True))


def hann_weights(times: Tensor, centre: float, length: int) -> Tensor:
    """Weights at times (T,) of a Hann window of `length` readouts around a centre: (T,), sum 1."""
    weights = 1 + torch.cos(2 * torch.pi * (times - centre) / (length + 1))
    weights = torch.where((times - centre).abs() <= (length + 1) / 2, weights, torch.zeros(()))
    return weights / weights.sum()
