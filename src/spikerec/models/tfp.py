"""TFP: texture from playback, the firing rate in a window.

Zhu et al., "A retina-inspired sampling method for visual texture reconstruction", ICME 2019.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from spikerec.models.base import Network, Reconstruction, check_window
from spikerec.models.reconstructors import Reconstructor, Spikes
from spikerec.spikes.representations import tfp


class TFP(Network):
    """The mean of a window: little noise and motion blur if it is long, the reverse if short.

    The image is a firing rate in [0, 1].

    Args:
        window: number of readouts averaged.
    """

    is_per_pixel = True
    bears_motion = 8.0  # measured: 33 dB where nothing moves, 28 dB at 6 pixels in 31 readouts

    def __init__(self, window: int = 31) -> None:
        super().__init__(window, output_scale=1.0)

    def forward(self, spikes: Tensor) -> Reconstruction:
        """Average the window (see `Network.forward`)."""
        check_window(spikes, self.window)
        return Reconstruction(tfp(spikes, key_readout=self.key_readout, window=self.window))

    @property
    def variant(self) -> str:
        """The window, which decides what the method can show."""
        return str(self.window)

    def along(self, stride: int) -> RunningRate:
        """Count only what changes from window to window (see `Network.along`)."""
        return RunningRate(self, stride)


class RunningRate(Reconstructor):
    """TFP from the counts of the window before, less what left it and plus what entered it.

    Where that is more to count than a window holds, each window is counted on its own.

    Args:
        network: states the window.
        stride: readouts from one key readout to the next.
    """

    def __init__(self, network: TFP, stride: int) -> None:
        self.network = network
        self._is_less = 2 * stride < network.window
        self._count: Tensor | None = None
        self._window = (0, 0)

    def images(self, key_readouts: Sequence[int], spikes: Spikes) -> Tensor:
        """See `Reconstructor.images`."""
        counts = torch.stack([self._advance(key_readout, spikes) for key_readout in key_readouts])
        # a tensor, because CUDA divides by a number by multiplying with its reciprocal
        return counts.float()[:, None] / torch.full((), self.network.window, device=counts.device)

    def _advance(self, key_readout: int, spikes: Spikes) -> Tensor:
        first = key_readout - self.network.key_readout
        stop = first + self.network.window
        if self._count is None or not self._is_less:
            self._count = _count(spikes, first, stop)
        else:
            left, entered = (self._window[0], first), (self._window[1], stop)
            self._count = self._count + _count(spikes, *entered) - _count(spikes, *left)
        self._window = (first, stop)
        return self._count


def _count(spikes: Spikes, first: int, stop: int) -> Tensor:
    return spikes.part(first, stop).sum(0, dtype=torch.int32)
