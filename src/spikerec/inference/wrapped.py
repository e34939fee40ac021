"""A network whose images another network's are, computed in another way."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from spikerec.kernels.devices import has_values
from spikerec.models.base import Network, Reconstruction
from spikerec.models.padding import Margins
from spikerec.models.reconstructors import Reconstructor, Spikes


class Wrapped(Network):
    """A network that states what another does, and leaves its images to a subclass.

    It is for inference: it is neither trained nor saved.

    Args:
        network: the one whose images are computed, in eval mode.
    """

    def __init__(self, network: Network) -> None:
        super().__init__(network.window, network.output_scale)
        self.network = network
        self.multiple = network.multiple  # type: ignore[misc]  # a class's own elsewhere
        self.padding = network.padding  # type: ignore[misc]
        self.is_per_pixel = network.is_per_pixel  # type: ignore[misc]
        self.is_continuous = network.is_continuous  # type: ignore[misc]
        self.starts_linear = network.starts_linear  # type: ignore[misc]
        self.is_loaded, self.weights_file = network.is_loaded, network.weights_file
        self.eval()

    @property
    def key_readout(self) -> int:
        """The network's."""
        return self.network.key_readout

    @property
    def variant(self) -> str:
        """The network's."""
        return self.network.variant

    def margins(self, height: int, width: int) -> Margins:
        """The network's."""
        return self.network.margins(height, width)


class InPrecision(Wrapped):
    """A network that PyTorch computes in numbers of 16 bits where they suffice (autocast).

    Args:
        network: in eval mode.
        dtype: `torch.bfloat16` or `torch.float16`.
    """

    def __init__(self, network: Network, dtype: torch.dtype) -> None:
        super().__init__(network)
        self._dtype = dtype

    def forward(self, spikes: Tensor) -> Reconstruction:
        """See `Network.forward`; the image is float32."""
        if not has_values(spikes):  # memory is being counted: at most that of 32 bits
            return self.network.run(spikes)
        with torch.autocast(spikes.device.type, self._dtype):
            return Reconstruction(self.network.run(spikes).image.float())

    def along(self, stride: int) -> Reconstructor:
        """The network's own way, each of its computations in the precision."""
        return _AlongInPrecision(self.network.along(stride), self._dtype)


class _AlongInPrecision(Reconstructor):
    """A way along a stream in numbers of 16 bits."""

    def __init__(self, way: Reconstructor, dtype: torch.dtype) -> None:
        self._way = way
        self._dtype = dtype

    def images(self, key_readouts: Sequence[int], spikes: Spikes) -> Tensor:
        """See `Reconstructor.images`."""
        device = spikes.part(key_readouts[0], key_readouts[0] + 1).device
        with torch.autocast(device.type, self._dtype):
            return self._way.images(key_readouts, spikes).float()
