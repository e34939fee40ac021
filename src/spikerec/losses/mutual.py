"""Terms that learn from spikes alone, with a network that cannot see the pixel it predicts.

SSML (Chen et al., IJCAI 2022): a blind-spot network is fitted to a classical image of the window,
and the image to the blind-spot network's.

    L = d(blind, label) + 0.01 · MSE(image, blind)

The noise of a label at one pixel says nothing of the pixels around it, so a network that sees only
these predicts the label without its noise. All images are in intensity: labels, which are firing
rates, are divided by the stream's light scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from spikerec.errors import ConfigError, InputError
from spikerec.losses.base import Term
from spikerec.models.base import Reconstruction
from spikerec.models.ssml import inverse_interval


class BlindInterval(Term):
    """Mean squared difference of the blind-spot image to the inverse interval at the key readout.

    Args:
        search: readouts on either side that are searched for the interval's spikes.
        weight: factor in the sum.

    Raises:
        ConfigError: a search below 1.
        InputError: (forward) a search that leaves the network's window.
    """

    needs: ClassVar[tuple[str, ...]] = ("blind",)
    needs_target: ClassVar[bool] = False

    def __init__(self, search: int = 12, weight: float = 1.0) -> None:
        super().__init__(weight)
        if search < 1:
            raise ConfigError(f"search must be at least 1 readout, found {search}.")
        self.search = search

    def forward(self, reconstruction: Reconstruction, batch: Mapping[str, Any]) -> Tensor:
        """See `Term.forward`; reads `spikes` and `light_scale`."""
        blind: Tensor = reconstruction.extras["blind"]
        spikes: Tensor = batch["spikes"]
        rate = inverse_interval(spikes.to(blind.dtype), spikes.shape[1] // 2, self.search)
        return F.mse_loss(blind, as_intensity(rate, batch))


class BlindMean(Term):
    """Mean squared difference of the blind-spot image to the mean of readouts around the key one.

    Args:
        length: readouts averaged, odd.
        weight: factor in the sum.

    Raises:
        ConfigError: an even length, or one below 1.
        InputError: (forward) a length beyond the network's window.
    """

    needs: ClassVar[tuple[str, ...]] = ("blind",)
    needs_target: ClassVar[bool] = False

    def __init__(self, length: int = 7, weight: float = 1.0) -> None:
        super().__init__(weight)
        if length < 1 or length % 2 == 0:
            raise ConfigError(f"length must be odd and at least 1, found {length}.")
        self.length = length

    def forward(self, reconstruction: Reconstruction, batch: Mapping[str, Any]) -> Tensor:
        """See `Term.forward`; reads `spikes` and `light_scale`."""
        blind: Tensor = reconstruction.extras["blind"]
        spikes: Tensor = batch["spikes"]
        first = spikes.shape[1] // 2 - self.length // 2
        if first < 0 or first + self.length > spikes.shape[1]:
            raise InputError(
                f"the mean looks at {self.length} readouts, the network's window has "
                f"{spikes.shape[1]}: shorten its length, or set a longer window."
            )
        rate = spikes[:, first : first + self.length].to(blind.dtype).mean(1, keepdim=True)
        return F.mse_loss(blind, as_intensity(rate, batch))


class Mutual(Term):
    """Mean squared difference between the image and the blind-spot image.

    Args:
        weight: factor in the sum; 0.01 as published.
        detach: let the image learn from the blind-spot image alone, and not the other way round;
            the published code lets both.
    """

    needs: ClassVar[tuple[str, ...]] = ("blind",)
    needs_target: ClassVar[bool] = False

    def __init__(self, weight: float = 0.01, detach: bool = False) -> None:
        super().__init__(weight)
        self.detach = detach

    def forward(self, reconstruction: Reconstruction, batch: Mapping[str, Any]) -> Tensor:
        """See `Term.forward`."""
        del batch
        blind: Tensor = reconstruction.extras["blind"]
        return F.mse_loss(reconstruction.image, blind.detach() if self.detach else blind)


def as_intensity(rate: Tensor, batch: Mapping[str, Any]) -> Tensor:
    """Firing rates (B, 1, H, W) over each stream's light scale."""
    scale = torch.as_tensor(batch["light_scale"], dtype=rate.dtype, device=rate.device)
    return rate / scale.reshape(-1, 1, 1, 1)
