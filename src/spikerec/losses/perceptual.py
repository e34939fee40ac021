"""Terms that compare deep features of a classification network (Johnson et al., ECCV 2016)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikerec import weights
from spikerec.errors import ConfigError
from spikerec.losses.base import Term, clipped
from spikerec.models.base import Reconstruction

#: Mean and standard deviation of ImageNet's colour channels, which the trunks were trained with.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

#: Index of the layer relu5_1 in torchvision's `features`.
RELU5_1 = {"vgg16": 25, "vgg19": 29}


class VGGPerceptual(Term):
    """Mean squared difference of a VGG network's features at relu5_1.

    The published term of STIR and SSIR: images clipped to [0, 1], the grey channel repeated to
    three, mapped by (v + 1) / 2 (a quirk of that code, kept), normalised by ImageNet's statistics.
    The trunk is fixed. VGG-19 is the published one; VGG-16 is a substitute that package registries
    carry, and its figures are not those of VGG-19.

    Args:
        trunk: `vgg19` or `vgg16`; its weights come from the weights cache.
        weight: factor in the sum.

    Raises:
        WeightsNotFoundError: the trunk's weights are not there; says how to get them.

    Source: STIR, code `losses.py`; torchvision's `features` up to relu5_1.
    """

    def __init__(self, trunk: str, weight: float = 1.0) -> None:
        super().__init__(weight)
        self.features = trunk_to_relu5_1(trunk)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, reconstruction: Reconstruction, batch: Mapping[str, Any]) -> Tensor:
        """See `Term.forward`."""
        features = self._features(clipped(reconstruction.image))
        with torch.no_grad():
            expected = self._features(batch["target"])
        return F.mse_loss(features, expected)

    def _features(self, image: Tensor) -> Tensor:
        colour = (image.expand(-1, 3, -1, -1) + 1) / 2
        features: Tensor = self.features((colour - self.mean) / self.std)
        return features


def trunk_to_relu5_1(name: str) -> nn.Module:
    """A VGG trunk's layers up to relu5_1, frozen, with its weights from the cache.

    Raises:
        ConfigError: a trunk other than VGG-16 and VGG-19.
        WeightsNotFoundError: its weights are not in the cache.
    """
    if name not in RELU5_1:
        raise ConfigError(
            f"loss.terms.perceptual.trunk must be one of {', '.join(RELU5_1)}, found {name!r}."
        )
    import torchvision

    state = weights.load(name)  # before the trunk is built: its absence should show at once
    features = getattr(torchvision.models, name)(weights=None).features
    features.load_state_dict(state)
    trunk: nn.Sequential = features[: RELU5_1[name] + 1]
    for layer in trunk.children():
        if isinstance(layer, nn.ReLU):
            layer.inplace = False  # in place it would overwrite what its gradient needs
    return trunk.requires_grad_(False).eval()
