"""Learning from spikes alone: a pixel predicted from its neighbours cannot copy its own noise.

SSML (Chen et al., IJCAI 2022) fits a blind-spot network to a classical image of the window, and the
image to the blind-spot network's:

    L = d(blind, label) + 0.01 · MSE(image, blind)

`BlindInterval` or `BlindMean`, and `Mutual`, are its terms, for a network that returns `blind`.
`BlindPixels` makes any network blind, at a few pixels at a time (Krull et al., "Noise2Void",
CVPR 2019): their spikes are replaced by those of a neighbour, and the image there is held against
the pixel's own firing rate.

Both rest on noise that one pixel does not share with the next: shot noise, the rounding of a count,
and a sensor's fixed pattern, but not what all pixels share, such as the mean dark current. All
images are in intensity: labels, which are firing rates, are divided by the stream's light scale.
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
from spikerec.spikes.representations import inverse_interval


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


class BlindPixels(Term):
    """Mean squared difference of the image to the firing rate, at pixels hidden from the network.

    The rate is a mean of the window under a Hann window, whose tapered ends leave little of the
    rounding that a count of spikes has.

    Args:
        share: of the pixels that are hidden at a time, in (0, 1).
        reach: pixels from a hidden pixel to the neighbour that replaces it, at most.
        length: readouts of the label, odd.
        weight: factor in the sum.

    Raises:
        ConfigError: a value out of its range.
        InputError: (hide) a length beyond the network's window, or a picture within the reach.
    """

    needs_target: ClassVar[bool] = False

    def __init__(
        self, share: float = 0.06, reach: int = 2, length: int = 41, weight: float = 1.0
    ) -> None:
        super().__init__(weight)
        if not 0 < share < 1:
            raise ConfigError(f"share must be in (0, 1), found {share}.")
        if reach < 1:
            raise ConfigError(f"reach must be at least 1 pixel, found {reach}.")
        if length < 1 or length % 2 == 0:
            raise ConfigError(f"length must be odd and at least 1, found {length}.")
        self.share = share
        self.reach = reach
        self.length = length

    def hide(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return the batch with hidden pixels replaced by neighbours.

        They are drawn anew in training. Else the draw is the same each time, so that a score
        repeats.

        Returns:
            The batch, with `spikes` as the network may see them, `hidden`, (B, 1, H, W) bool, and
            `label`, (B, 1, H, W), the firing rates of all pixels.
        """
        spikes: Tensor = batch["spikes"]
        window, height, width = spikes.shape[1:]
        if self.length > window:
            raise InputError(
                f"blind pixels look at {self.length} readouts, the network's window has {window}: "
                "shorten their length, or set a longer window."
            )
        if min(height, width) <= self.reach:
            raise InputError(
                f"spikes must be larger than the reach of {self.reach} pixels, found {height} × "
                f"{width}."
            )
        generator = None if self.training else torch.Generator(spikes.device).manual_seed(0)
        shape = (len(spikes), height, width)
        hidden = torch.rand(shape, generator=generator, device=spikes.device) < self.share
        sources = self._neighbours(shape, generator, spikes.device)
        replaced = spikes.flatten(2).gather(2, sources[:, None].expand(-1, window, -1))
        seen = torch.where(hidden[:, None], replaced.view_as(spikes), spikes)
        return {**batch, "spikes": seen, "hidden": hidden[:, None], "label": self._label(spikes)}

    def _neighbours(
        self, shape: tuple[int, int, int], generator: torch.Generator | None, device: torch.device
    ) -> Tensor:
        """For each pixel, the index of another within reach: (B, H·W)."""
        batch, height, width = shape
        side = 2 * self.reach + 1
        # Any place in the square but the middle, which the largest number represents.
        place = torch.randint(side**2 - 1, shape, generator=generator, device=device)
        place = torch.where(place == side**2 // 2, side**2 - 1, place)
        rows = torch.arange(height, device=device)[:, None]
        columns = torch.arange(width, device=device)
        down, right = place // side - self.reach, place % side - self.reach
        down = torch.where((rows + down).clamp(0, height - 1) == rows + down, down, -down)
        right = torch.where((columns + right).clamp(0, width - 1) == columns + right, right, -right)
        return ((rows + down) * width + columns + right).view(batch, -1)

    def _label(self, spikes: Tensor) -> Tensor:
        taper = torch.hann_window(self.length + 2, periodic=False, device=spikes.device)[1:-1]
        first = spikes.shape[1] // 2 - self.length // 2
        part = spikes[:, first : first + self.length].to(taper.dtype)
        return torch.einsum("bthw,t->bhw", part, taper / taper.sum())[:, None]

    def forward(self, reconstruction: Reconstruction, batch: Mapping[str, Any]) -> Tensor:
        """See `Term.forward`; reads `hidden` and `label` (see `hide`), and `light_scale`."""
        image = reconstruction.image
        label = as_intensity(batch["label"].to(image), batch)
        hidden: Tensor = batch["hidden"]
        squared = (image - label).square() * hidden
        return squared.sum() / hidden.sum().clamp(min=1)


def as_intensity(rate: Tensor, batch: Mapping[str, Any]) -> Tensor:
    """Firing rates (B, 1, H, W) over each stream's light scale."""
    scale = torch.as_tensor(batch["light_scale"], dtype=rate.dtype, device=rate.device)
    return rate / scale.reshape(-1, 1, 1, 1)
