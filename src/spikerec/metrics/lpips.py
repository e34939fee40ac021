"""Learned perceptual distance (Zhang et al., CVPR 2018), as the package `lpips` computes it."""

from __future__ import annotations

import warnings
from functools import lru_cache
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from spikerec import weights
from spikerec.extras import require
from spikerec.kinds import checked
from spikerec.metrics.base import ImageMetric, each

#: AlexNet's third pooling leaves nothing of smaller images.
SMALLEST = 32


@checked
class LPIPS(ImageMetric):
    """LPIPS 0.1 over AlexNet, by the package `lpips`.

    The package is made for three channels in [−1, 1]. The one channel is broadcast to three by its
    scaling layer.

    Args:
        input_range: `symmetric` maps [0, 1] to [−1, 1], as the package expects; `unit` hands over
            [0, 1] as it is, as the code of STIR does, which gives other, smaller figures.

    Raises:
        MissingPackageError: the package lpips is not installed.
        WeightsNotFoundError: AlexNet's weights are not in the cache; says how to get them.
    """

    name = "lpips"
    higher_is_better = False
    implementation = "lpips"
    needs_weights = ("alexnet",)
    smallest = SMALLEST

    def __init__(self, input_range: Literal["symmetric", "unit"] = "symmetric") -> None:
        super().__init__()
        require("lpips", "LPIPS")
        weights.find("alexnet")
        self.input_range = input_range

    def measure(self, image: Tensor, target: Tensor) -> Tensor:
        """See `ImageMetric.score`."""
        network = build_network("alex", weights.find("alexnet"), image.device)
        if self.input_range == "symmetric":
            image, target = 2 * image - 1, 2 * target - 1
        return each(network, image.float(), target.float())


@lru_cache(maxsize=2)
def build_network(trunk: Literal["alex", "vgg"], path: Path, device: torch.device) -> nn.Module:
    """The package's network with its own linear heads, and the trunk's weights from the cache.

    It is kept apart from the metric, so that no checkpoint holds it and all protocols share it.

    Args:
        trunk: the package's name of the trunk.
        path: the trunk's file in the cache; a file put elsewhere is another network.
        device: where it computes.
    """
    require("lpips", "LPIPS")
    import lpips

    # The package initialises a trunk at random before ours replaces it: the random numbers of a
    # training run must not depend on that. Its use of an old torchvision argument warns.
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network: nn.Module = lpips.LPIPS(net=trunk, pnet_rand=True, verbose=False)
    state = weights.load(path.stem)
    for name, layer in network.named_modules():
        index = name.rsplit(".", maxsplit=1)[-1]  # named as in torchvision's `features`
        if name.startswith("net.") and isinstance(layer, nn.Conv2d):
            layer.load_state_dict({part: state[f"{index}.{part}"] for part in ("weight", "bias")})
    return network.requires_grad_(False).eval().to(device)
