"""Terms on the coarse images that a network returns for each part of its window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from spikerec.errors import InputError
from spikerec.losses.base import Term
from spikerec.losses.pixel import SmoothL1
from spikerec.models.base import Reconstruction


class WindowEstimates(Term):
    """L1 of every estimate of every short window to the true image at that window's centre.

        Σ_k Σ_b mean |estimates[k][:, b] − targets[:, k]|

    A sum over windows k and branches b, as published with Spk2ImgNet (CVPR 2021) at weight 0.02.
    True images at every centre come with simulated clips only. Where the batch has no `targets`,
    the image of the key readout alone is known, and the term is the sum over the branches of the
    middle window: the other windows' estimates are trained through the image.

    Args:
        weight: factor in the sum.

    Raises:
        InputError: (forward) `targets` holds another number of images than there are windows.
    """

    needs: ClassVar[tuple[str, ...]] = ("estimates",)

    def __init__(self, weight: float = 0.02) -> None:
        super().__init__(weight)

    def forward(self, reconstruction: Reconstruction, batch: Mapping[str, Any]) -> Tensor:
        """See `Term.forward`; reads `targets` (B, N, H, W) where the batch has it."""
        estimates: tuple[Tensor, ...] = reconstruction.extras["estimates"]
        targets: Tensor | None = batch.get("targets")
        if targets is None:
            middle = len(estimates) // 2
            return _sum_of_l1(estimates[middle], batch["target"])
        if targets.shape[1] != len(estimates):
            raise InputError(
                f"batch['targets'] must hold one image for each of {len(estimates)} windows, "
                f"found {targets.shape[1]}: {tuple(targets.shape)}. Drop it, or take a "
                "network of so many windows (num_windows)."
            )
        stacked = torch.stack(estimates, 1)  # (B, N, E, H, W)
        return _sum_of_l1(stacked, targets[:, :, None])


class SideImages(SmoothL1):
    """Smooth L1 of the images of an earlier and of a later readout, summed over the two.

    As published with SwinSF (ICVRV 2024) at a tenth of the image's weight. True images of these
    readouts come with few data sets. Where the batch has no `targets`, both are held against the
    true image of the key readout: of a scene in motion it shows where things are 7 readouts before
    or after.

    Arguments are those of `SmoothL1`.

    Raises:
        InputError: (forward) `targets` holds another number of images than two.
    """

    needs: ClassVar[tuple[str, ...]] = ("sides",)

    def __init__(self, weight: float = 25.5, beta: float = 1 / 255, clip: bool = True) -> None:
        super().__init__(weight, beta, clip)

    def forward(self, reconstruction: Reconstruction, batch: Mapping[str, Any]) -> Tensor:
        """See `Term.forward`; reads `targets` (B, 2, H, W) where the batch has it."""
        sides: tuple[Tensor, Tensor] = reconstruction.extras["sides"]
        targets: Tensor = batch.get("targets", batch["target"].expand(-1, 2, -1, -1))
        if targets.shape[1] != len(sides):
            raise InputError(
                f"batch['targets'] must hold an image for each of {len(sides)} sides, found "
                f"{targets.shape[1]}: {tuple(targets.shape)}. Drop it."
            )
        earlier, later = (
            self.difference(side, targets[:, index : index + 1]) for index, side in enumerate(sides)
        )
        return earlier + later


def _sum_of_l1(estimates: Tensor, targets: Tensor) -> Tensor:
    """Sum over all axes but B, H and W, mean over these, of (B, …, H, W) that broadcast."""
    return (estimates - targets).abs().mean(dim=(0, -2, -1)).sum()
