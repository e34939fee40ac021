"""Terms that compare deep features of a classification network (Johnson et al., ECCV 2016)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikerec import weights
from spikerec.errors import ConfigError, InputError
from spikerec.losses.base import Term, clipped
from spikerec.metrics.lpips import SMALLEST, build_network
from spikerec.models.base import Reconstruction

#: Mean and standard deviation of ImageNet's colour channels, which the trunks were trained with.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

#: Index of the layer relu5_1 in torchvision's `features`.
RELU5_1 = {"vgg16": 25, "vgg19": 29}

#: Name of LPIPS's trunk in its package → in the weights cache.
LPIPS_WEIGHTS: dict[str, str] = {"vgg": "vgg16", "alex": "alexnet"}


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

    def __init__(self, trunk: str = "vgg19", weight: float = 0.2) -> None:
        super().__init__(weight)
        # A term that is left out needs no weights.
        self.features = trunk_to_relu5_1(trunk) if weight > 0 else nn.Identity()
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


class LPIPS(Term):
    """Learned perceptual distance (Zhang et al., CVPR 2018), as the package `lpips` computes it.

    Images are mapped from [0, 1] to [−1, 1], as that package expects. The network is fixed, and no
    checkpoint holds it.

    Args:
        trunk: `vgg`, better for training, or `alex`, that of the metric; the weights of VGG-16 or
            AlexNet come from the weights cache.
        weight: factor in the sum.

    Raises:
        ConfigError: another trunk.
        WeightsNotFoundError: the trunk's weights are not there; says how to get them.
        InputError: (forward) images of fewer than 32 pixels a side.
    """

    def __init__(self, trunk: Literal["vgg", "alex"] = "vgg", weight: float = 0.1) -> None:
        super().__init__(weight)
        if trunk not in LPIPS_WEIGHTS:
            raise ConfigError(f"trunk must be one of {', '.join(LPIPS_WEIGHTS)}, found {trunk!r}.")
        self.trunk = trunk
        if weight > 0:
            weights.find(LPIPS_WEIGHTS[trunk])

    def forward(self, reconstruction: Reconstruction, batch: Mapping[str, Any]) -> Tensor:
        """See `Term.forward`."""
        image = reconstruction.image
        if min(image.shape[-2:]) < SMALLEST:
            raise InputError(
                f"LPIPS needs images of at least {SMALLEST} × {SMALLEST} pixels, found "
                f"{image.shape[-2]} × {image.shape[-1]}: enlarge the crop."
            )
        network = build_network(self.trunk, weights.find(LPIPS_WEIGHTS[self.trunk]), image.device)
        distance: Tensor = network(2 * image - 1, 2 * batch["target"] - 1).mean()
        return distance


def trunk_to_relu5_1(name: str) -> nn.Module:
    """A VGG trunk's layers up to relu5_1, frozen, with its weights from the cache.

    Raises:
        ConfigError: a trunk other than VGG-16 and VGG-19.
        WeightsNotFoundError: its weights are not in the cache.
    """
    if name not in RELU5_1:
        raise ConfigError(f"trunk must be one of {', '.join(RELU5_1)}, found {name!r}.")
    import torchvision

    state = weights.load(name)  # before the trunk is built: its absence should show at once
    features = getattr(torchvision.models, name)(weights=None).features
    features.load_state_dict(state)
    trunk: nn.Sequential = features[: RELU5_1[name] + 1]
    for layer in trunk.children():
        if isinstance(layer, nn.ReLU):
            layer.inplace = False  # in place it would overwrite what its gradient needs
    return trunk.requires_grad_(False)  # no layer of it knows training from evaluation
