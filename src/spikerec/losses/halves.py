"""Learning from spikes alone by splitting a window: each half of it predicts the other.

The network sees the readouts on one side of the key readout, and their mirror image on the other,
as at the end of a stream. Its image is held against the firing rate that the hidden side shows:
where the noise of one half says nothing of that of the other, the image that fits best on average
is the scene's (Noise2Noise, Lehtinen et al., ICML 2018, with two parts of one recording).

This holds for shot noise alone. A pixel that fires at even intervals tells from one half when it
will fire in the other, so that a count of few spikes can be predicted with its rounding: where
light is scarce and shot noise small, the network learns that rounding, and its images get worse. A
fixed pattern of the sensor is the same in both halves, and stays. `spikerec.losses.blind` has
neither weakness.
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


class OtherHalf(Term):
    """Mean squared difference between the image from one half and the firing rate of the other.

    The image is in intensity, so the rate is divided by the stream's light scale.

    Args:
        length: readouts of the hidden half that are averaged.
        gap: readouts between the key readout and these. A camera's charge at the end of one half
            is that at the start of the next, which makes their rounding errors opposite; some
            readouts apart they are not.
        weight: factor in the sum.

    Raises:
        ConfigError: a length below 1, or a gap below 0.
        InputError: (hide) the halves of the network's window are shorter than gap + length.
    """

    needs_target: ClassVar[bool] = False

    def __init__(self, length: int = 15, gap: int = 3, weight: float = 1.0) -> None:
        super().__init__(weight)
        if length < 1 or gap < 0:
            raise ConfigError(
                f"length must be at least 1 and gap at least 0, found {length} and {gap}."
            )
        self.length = length
        self.gap = gap

    def hide(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return the batch with one half of each window hidden from the network.

        In training the half is drawn for each sample; else samples take turns, so that a score
        repeats.

        Returns:
            The batch, with `spikes` as the network may see them, and `other_half`,
            (B, 1, H, W), the firing rate of the hidden part.
        """
        spikes: Tensor = batch["spikes"]
        key, first = spikes.shape[1] // 2, 1 + self.gap
        if key - self.gap - self.length < 0 or key + first + self.length > spikes.shape[1]:
            raise InputError(
                f"the halves of a window of {spikes.shape[1]} readouts are shorter than gap + "
                f"length, {self.gap} + {self.length}: shorten these, or set a longer window."
            )
        later = torch.arange(len(spikes), device=spikes.device) % 2 == 0
        if self.training:
            later = torch.rand(len(spikes), device=spikes.device) < 0.5
        seen, hidden = zip(
            *(
                self._split(one, key, hides_later=bool(is_later))
                for one, is_later in zip(spikes, later, strict=True)
            ),
            strict=True,
        )
        return {**batch, "spikes": torch.stack(seen), "other_half": torch.stack(hidden)}

    def _split(self, spikes: Tensor, key: int, *, hides_later: bool) -> tuple[Tensor, Tensor]:
        """A window (T, H, W) → what may be seen of it, and the rate (1, H, W) of the rest."""
        distance = torch.arange(len(spikes), device=spikes.device) - key
        first = 1 + self.gap
        if hides_later:
            seen = key - distance.abs()
            part = spikes[key + first : key + first + self.length]
        else:
            seen = (key + distance.abs()).clamp(max=len(spikes) - 1)
            part = spikes[key - self.gap - self.length : key - self.gap]
        return spikes[seen.clamp(min=0)], part.float().mean(0, keepdim=True)

    def forward(self, reconstruction: Reconstruction, batch: Mapping[str, Any]) -> Tensor:
        """See `Term.forward`; reads `other_half` (see `hide`) and `light_scale`."""
        image = reconstruction.image
        scale = batch["light_scale"].to(image).reshape(-1, 1, 1, 1)
        return F.mse_loss(image, batch["other_half"].to(image) / scale)
