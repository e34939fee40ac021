from __future__ import annotations

import pytest
import torch

from spikerec.models.hann import Hann
from spikerec.models.tfp import TFP
from spikerec.simulation import Camera


def test_a_steady_light_is_its_rate() -> None:
    spikes = torch.ones(1, 41, 2, 3)
    torch.testing.assert_close(Hann(41)(spikes).image, torch.ones(1, 1, 2, 3))


def test_readouts_weigh_alike_on_both_sides_and_most_in_the_middle() -> None:
    weights = Hann(21).weights
    torch.testing.assert_close(weights, weights.flip(0))
    assert weights.argmax() == 10
    assert (weights > 0).all()


def test_a_still_scene_is_far_cleaner_than_by_the_mean() -> None:
    truth = torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(0))
    spikes = Camera(0.6).expose(truth.expand(61, -1, -1), seed=1)[None]
    errors = [
        (network.reconstruct(spikes, 0.6).image[0] - truth).square().mean()
        for network in (Hann(61), TFP(61))
    ]
    assert 10 * torch.log10(errors[1] / errors[0]) > 6  # dB


@pytest.mark.parametrize("window", [1, 2, 61])
def test_weights_sum_to_one(window: int) -> None:
    assert Hann(window).weights.sum() == pytest.approx(1.0)
