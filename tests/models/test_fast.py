"""Fast: what it starts from, and what its size promises."""

from __future__ import annotations

import pytest
import torch

from spikerec.configs import build
from spikerec.errors import ConfigError


def test_starts_as_a_smooth_window_that_is_exact_on_a_constant_rate() -> None:
    network = build("model", "fast").eval()
    spikes = torch.zeros(1, 61, 8, 8)
    spikes[:, ::3] = 1  # a rate of 1/3
    with torch.inference_mode():
        image = network.reconstruct(spikes, 1.0).image
    torch.testing.assert_close(image, torch.full_like(image, 1 / 3), atol=2e-3, rtol=0)


def test_fast_keeps_its_promise_of_size() -> None:
    network = build("model", "fast")
    assert sum(parameter.numel() for parameter in network.parameters()) <= 300_000


@pytest.mark.parametrize(
    "changes", [{"channels": [8]}, {"window": 7}, {"channels": [], "blocks": []}]
)
def test_wrong_arguments_are_named(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"model\.(channels|window)"):
        build("model", "fast", **changes)


def test_every_readout_reaches_the_image() -> None:
    network = build("model", "fast", channels=[8], blocks=[1], filters=6)
    torch.nn.init.normal_(network.tail.weight)
    spikes = torch.rand(1, 61, 16, 16, requires_grad=True)
    network(spikes).image.square().sum().backward()
    assert spikes.grad is not None
    assert (spikes.grad.abs().amax((0, 2, 3)) > 0).all()
