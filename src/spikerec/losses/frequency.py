"""Terms in the Fourier domain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from spikerec.losses.base import Term
from spikerec.models.base import Reconstruction


class FourierL1(Term):
    """L1 between the spectra of image and target, over real and imaginary parts.

    The transform is orthonormal, so that the term does not grow with the picture. Fine detail, of
    little energy, weighs as much as coarse.

    Args:
        weight: factor in the sum.

    Source: Cho et al., ICCV 2021 (MIMO-UNet), equation 5, there at weight 0.1 and not normalised.
    """

    def __init__(self, weight: float = 0.1) -> None:
        super().__init__(weight)

    def forward(self, reconstruction: Reconstruction, batch: Mapping[str, Any]) -> Tensor:
        """See `Term.forward`."""
        difference = (reconstruction.image - batch["target"]).float()  # no half-precision FFT
        spectrum = torch.fft.rfft2(difference, norm="ortho")
        return torch.view_as_real(spectrum).abs().mean()
