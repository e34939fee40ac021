"""A stored pair of images and the scores that verified weights reach on it.

The pair is a formula, so that no image needs to be shipped: texture at several scales, and the same
with noise and blur. A score that differs means that a library computes something else than the one
whose figures were checked against the authors' published scores.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from spikerec import weights
from spikerec.errors import WeightsError
from spikerec.metrics.brisque import BRISQUE
from spikerec.metrics.lpips import LPIPS, build_network
from spikerec.metrics.niqe import NIQE

#: Scores of the pair by weights: measured with pyiqa 0.1.16 and lpips 0.1.4 on a CPU, with the
#: files whose digests the catalogue holds.
EXPECTED = {"niqe": 12.56789, "brisque": 39.6897, "alexnet": 0.184645, "vgg16": 0.368079}

#: Processors round differently: this much of a score is no other metric.
TOLERANCE = 2e-3


def calibration_pair() -> tuple[Tensor, Tensor]:
    """A degraded image and its original, (1, 1, 192, 288) float32 in [0, 1]."""
    random = np.random.default_rng(0)
    scales = (0.7, 1.5, 3, 6, 12, 24)
    texture = sum(_texture(random, scale) * scale**0.5 for scale in scales)
    target = np.clip(0.5 + 0.12 * texture / np.std(texture), 0, 1)
    image = gaussian_filter(target, 0.8, mode="wrap") + 0.03 * random.standard_normal(target.shape)
    pair = np.stack([np.clip(image, 0, 1), target]).astype(np.float32)
    degraded, original = torch.from_numpy(pair)[:, None, None]
    return degraded, original


def check_score(name: str) -> str:
    """Check the score that weights of the cache reach on the stored pair.

    Args:
        name: an entry of the weights catalogue.

    Returns:
        A line that states the score, or that none is stored for these weights.

    Raises:
        WeightsNotFoundError: the weights are not in the cache.
        WeightsError: the score is another.
    """
    if name not in EXPECTED:
        return f"is in {weights.find(name).parent}; its digest is the published one"
    found, expected = measure_pair(name), EXPECTED[name]
    if not abs(found - expected) <= TOLERANCE * abs(expected):
        raise WeightsError(
            f"'{name}' scores the stored pair {found:.5f}, expected {expected:.5f}: the installed "
            "lpips or pyiqa computes something else. Install the versions of constraints.txt."
        )
    return f"scores the stored pair {found:.5f}, as expected"


def measure_pair(name: str) -> float:
    """The score of the stored pair by the metric that needs these weights."""
    image, target = calibration_pair()
    if name == "niqe":
        return NIQE().score(image).item()
    if name == "brisque":
        return BRISQUE().score(image).item()
    if name == "alexnet":
        return LPIPS(input_range="symmetric").score(image, target).item()
    network = build_network("vgg", weights.find(name), torch.device("cpu"))
    with torch.no_grad():
        return float(network(2 * image - 1, 2 * target - 1))


def _texture(random: np.random.Generator, scale: float) -> NDArray[np.float64]:
    """Smooth noise of unit deviation."""
    smooth = gaussian_filter(random.standard_normal((192, 288)), scale, mode="wrap")
    return np.asarray(smooth / smooth.std())
