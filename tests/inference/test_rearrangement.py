"""A network rearranged for inference gives the images it gave."""

from __future__ import annotations

import copy
from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import nn

from spikerec.configs import build, config_names
from spikerec.errors import WeightsError
from spikerec.inference.rearrangement import optimised
from spikerec.inference.rewrites import MergedEmbedding
from spikerec.inference.winograd import WinogradConv2d
from spikerec.models import Network
from spikerec.models.base import Reconstruction
from spikerec.weights import load_published
from tests.golden_cases import GOLDEN, load_case


def images(
    network: Network, fast: Network, height: int = 17, width: int = 23
) -> list[torch.Tensor]:
    spikes = (torch.rand(2, network.window, height, width) < 0.4).to(torch.uint8)
    with torch.inference_mode():
        return [one.reconstruct(spikes, 1.0).image for one in (fast, network.eval())]


def shaken(network: Network) -> Network:
    """Statistics of the batch norms as training leaves them: neither 0 nor 1."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias)
    return network


def lively(name: str) -> Network:
    """A network whose image is not the same everywhere: of the golden weights where there are."""
    if (GOLDEN / name / "shapes.json").exists():
        with suppress(WeightsError):  # of another input than the configured one
            return load_published(name, load_case(name).state())
    return shaken(build("model", name))


@pytest.mark.parametrize("name", config_names("model"))
def test_every_model_gives_the_same_image(name: str) -> None:
    network = lively(name)
    fast, plain = images(network, copy.deepcopy(optimised(network)), 41, 47)  # as tiling copies it
    most = float(plain.abs().max())
    assert plain.std() > 0.01 * most
    torch.testing.assert_close(fast, plain, rtol=0, atol=2e-5 * most)


def test_a_network_of_spiking_neurons_is_left_as_published() -> None:
    network = lively("ssir").eval()
    fast = optimised(network)
    spikes = (torch.rand(1, network.window, 64, 96) < 0.4).float()
    with torch.inference_mode():
        expected = network(spikes).image
        assert expected.std() > 0.01
        assert torch.equal(fast(spikes).image, expected)
        # Potentials nearer to the threshold than a rounding are what rearranging would flip.
        nudged = copy.deepcopy(network)
        for parameter in nudged.parameters():
            parameter.mul_(1 + 2e-6)
        assert (nudged(spikes).image - expected).abs().max() > 2e-5 * expected.abs().max()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("stir", {"representation": "tfp"}),
        ("stir", {"representation": "learned"}),
        ("stir", {"window": 41}),
        ("wgse", {"norm": "batch", "channels": 8}),
        ("wgse", {"norm": "instance", "channels": 8}),
        ("wgse", {"wavelet": None, "channels": 8}),
    ],
)
def test_every_ablation_gives_the_same_image(name: str, arguments: dict[str, Any]) -> None:
    network = shaken(build("model", name, **arguments))
    fast, plain = images(network, optimised(network))
    torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["stir", "wgse", "spk2imgnet"])
def test_image_is_the_published_one(name: str) -> None:
    case = load_case(name)
    network = optimised(load_published(name, case.state()))
    with torch.inference_mode():
        image = network(case.spikes()).image
    assert (image - case.output("image")).abs().max() <= 1e-4


def test_the_network_itself_is_left_as_it_is() -> None:
    network: Network = build("model", "stir").train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fast = optimised(network)
    assert network.training
    assert not fast.training
    assert all(p.requires_grad for p in network.parameters())
    assert not any(p.requires_grad for p in fast.parameters())
    after = network.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_the_faster_forms_are_the_ones_in_use() -> None:
    def uses(name: str, kind: type[nn.Module]) -> bool:
        return any(isinstance(module, kind) for module in optimised(build("model", name)).modules())

    assert uses("stir", MergedEmbedding)
    assert uses("wgse", WinogradConv2d)
    wgse = optimised(build("model", "wgse", norm="batch"))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in wgse.modules())


def test_winograd_absorbs_the_activation_after_it() -> None:
    conv, activation = nn.Conv2d(80, 96, 3, padding=1), nn.PReLU(96)
    nn.init.normal_(activation.weight)
    sequence = nn.Sequential(conv, activation, nn.Conv2d(96, 5, 3, padding=1), nn.PReLU(5))
    fast = optimised(Holder(sequence))
    kinds = [type(module) for module in fast.body]
    assert kinds == [WinogradConv2d, nn.Identity, nn.Conv2d, nn.PReLU]
    x = torch.randn(1, 80, 64, 70)
    with torch.no_grad():
        torch.testing.assert_close(fast.body(x), sequence(x), rtol=0, atol=1e-4)


class Holder(Network):
    """A network of nothing but a module, which it never calls."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__(window=1)
        self.body = body

    def forward(self, spikes: torch.Tensor) -> Reconstruction:
        return Reconstruction(spikes[:, :1])


def test_the_device_where_it_will_run_decides_its_operators() -> None:
    network = optimised(build("model", "spk2imgnet"), torch.device("cuda"))
    assert not any(isinstance(module, WinogradConv2d) for module in network.modules())
