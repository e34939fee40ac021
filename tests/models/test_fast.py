"""Fast: what it starts from, and what its size promises."""

from __future__ import annotations

import pytest
import torch

from spikerec.configs import build
from spikerec.errors import ConfigError


def test_starts_as_a_smooth_window_that_is_exact_on_a_constant_rate() -> None:
    network = build("model", "fast", choice=False).eval()
    spikes = torch.zeros(1, 61, 8, 8)
    spikes[:, ::3] = 1  # a rate of 1/3
    with torch.inference_mode():
        image = network.reconstruct(spikes, 1.0).image
    torch.testing.assert_close(image, torch.full_like(image, 1 / 3), atol=2e-3, rtol=0)


def test_starts_as_the_mean_of_its_bank() -> None:
    network = build("model", "fast", choice=True).eval()
    spikes = torch.ones(1, 61, 8, 8)
    with torch.inference_mode():
        image = network(spikes).image
    torch.testing.assert_close(image, torch.ones_like(image))


@pytest.mark.parametrize("choice", [True, False])
def test_the_bank_makes_windows_of_sum_one(choice: bool) -> None:
    network = build("model", "fast", choice=choice)
    windows = network.bank[:, :, 0, 0].clone()
    assert len(windows) == (12 if choice else 0)
    windows[1:] += windows[:1]
    torch.testing.assert_close(windows.sum(1), torch.ones(len(windows)))
    assert (windows >= -1e-7).all()


@pytest.mark.parametrize("choice", [True, False])
def test_a_network_takes_the_design_of_its_weights(choice: bool) -> None:
    small = {"channels": [8], "blocks": [1], "filters": 3}
    one, other = (build("model", "fast", **small, choice=k) for k in (choice, not choice))
    torch.nn.init.normal_(one.tail.weight)
    other.prepare_for(one.state_dict())
    other.load_state_dict(one.state_dict())
    spikes = torch.randint(2, (1, 61, 8, 8), generator=torch.Generator().manual_seed(0)).float()
    with torch.inference_mode():
        assert torch.equal(one(spikes).image, other(spikes).image)


def test_each_window_of_the_bank_can_be_the_image() -> None:
    network = build("model", "fast", channels=[8], blocks=[1], choice=True).eval()
    spikes = torch.randint(2, (1, 61, 8, 8), generator=torch.Generator().manual_seed(0)).float()
    windows = network.bank[:, :, 0, 0].clone()
    windows[1:] += windows[:1]
    for index, weights in enumerate(windows):
        with torch.inference_mode():
            network.tail.bias.zero_()
            network.tail.bias[4 * (1 + index) : 4 * (2 + index)] = 30.0
            image = network(spikes).image
        expected = torch.einsum("t,bthw->bhw", weights, spikes)[:, None]
        torch.testing.assert_close(image, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("choice", [True, False])
def test_fast_keeps_its_promise_of_size(choice: bool) -> None:
    network = build("model", "fast", choice=choice)
    assert sum(parameter.numel() for parameter in network.parameters()) <= 300_000


def test_without_correction_the_image_is_a_mixture_of_the_banks_windows() -> None:
    network = build(
        "model", "fast", channels=[8], blocks=[1], centred=[61, 7], halved=[], correction=False
    )
    torch.nn.init.normal_(network.tail.weight)
    spikes = torch.randint(2, (1, 61, 16, 16), generator=torch.Generator().manual_seed(0)).float()
    windows = network.bank[:, :, 0, 0].clone()
    assert len(windows) == 2
    windows[1] += windows[0]
    long, short = torch.einsum("ct,bthw->cbhw", windows, spikes)[:, :, None]
    with torch.inference_mode():
        image = network(spikes).image
    assert (image >= torch.minimum(long, short) - 1e-5).all()
    assert (image <= torch.maximum(long, short) + 1e-5).all()
    assert not torch.allclose(image, long, atol=1e-2)


@pytest.mark.parametrize(
    "changes",
    [
        {"channels": [8]},
        {"window": 7},
        {"channels": [], "blocks": []},
        {"centred": []},
        {"halved": [0]},
        {"choice": False, "correction": False},
        {"centred": [61], "halved": [], "correction": False},
    ],
)
def test_wrong_arguments_are_named(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"(channels|window|centred|correction)"):
        build("model", "fast", **changes)


@pytest.mark.parametrize("choice", [True, False])
def test_every_readout_reaches_the_image(choice: bool) -> None:
    network = build("model", "fast", channels=[8], blocks=[1], filters=6, choice=choice)
    torch.nn.init.normal_(network.tail.weight)
    spikes = torch.rand(1, 61, 16, 16, requires_grad=True)
    network(spikes).image.square().sum().backward()
    assert spikes.grad is not None
    assert (spikes.grad.abs().amax((0, 2, 3)) > 0).all()
