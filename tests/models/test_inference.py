"""A network rearranged for inference gives the images it gave."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from spikerec.configs import build, config_names
from spikerec.models import Network, load_published
from spikerec.models.deform import DeformConv2d
from spikerec.models.inference import WinogradConv2d, optimised
from spikerec.models.stir import MergedEmbedding
from tests.golden_cases import load_case


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


@pytest.mark.parametrize("name", config_names("model"))
def test_every_model_gives_the_same_image(name: str) -> None:
    network = shaken(build("model", name))
    fast, plain = images(network, copy.deepcopy(optimised(network)))  # as tiling copies it
    torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-5)


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
    spk2imgnet = optimised(build("model", "spk2imgnet"))
    deforms = [module for module in spk2imgnet.modules() if isinstance(module, DeformConv2d)]
    assert [module.use_operator for module in deforms] == [False] * 4
    wgse = optimised(build("model", "wgse", norm="batch"))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in wgse.modules())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (4, 4), (7, 13), (9, 70)])
def test_winograd_is_the_convolution(height: int, width: int, bias: bool) -> None:
    conv = nn.Conv2d(5, 3, 3, padding=1, bias=bias)
    x = torch.randn(2, 5, height, width)
    with torch.no_grad():
        found, expected = WinogradConv2d(conv)(x), conv(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("sixteen_bits", ["autocast", "weights"])
def test_winograd_leaves_sixteen_bits_to_the_plain_convolution(sixteen_bits: str) -> None:
    conv = nn.Conv2d(192, 192, 3, padding=1).requires_grad_(False)
    fast, x = WinogradConv2d(conv), torch.randn(1, 192, 8, 8)
    if sixteen_bits == "weights":
        fast, conv, x = fast.bfloat16(), conv.bfloat16(), x.bfloat16()
    with torch.autocast("cpu", torch.bfloat16, enabled=sixteen_bits == "autocast"):
        torch.testing.assert_close(fast(x), conv(x), rtol=0, atol=0.02)


def test_the_device_where_it_will_run_decides_its_operators() -> None:
    network = optimised(build("model", "spk2imgnet"), torch.device("cuda"))
    deformable = [m for m in network.modules() if isinstance(m, DeformConv2d)]
    assert all(module.use_operator is not False for module in deformable)
    assert not any(isinstance(module, WinogradConv2d) for module in network.modules())
