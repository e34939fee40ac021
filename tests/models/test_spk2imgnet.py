"""Spk2ImgNet: parity with the published network, its windows, its switches."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from spikerec.configs import build
from spikerec.errors import ConfigError
from spikerec.models import Network
from spikerec.models.spk2imgnet import GuidedDeformConv2d, Spk2ImgNet
from spikerec.weights import load_published
from tests.golden_cases import GoldenCase, fill, load_case

TINY = {"channels": 8, "depth": 1, "deform_groups": 2}


def tiny(**arguments: Any) -> Spk2ImgNet:
    network: Spk2ImgNet = build("model", "spk2imgnet", **TINY | arguments)
    return network


@pytest.fixture(scope="module")
def case() -> GoldenCase:
    return load_case("spk2imgnet")


@pytest.fixture(scope="module")
def published(case: GoldenCase) -> Network:
    return load_published("spk2imgnet", case.state())


def test_matches_the_published_network(case: GoldenCase, published: Network) -> None:
    with torch.no_grad():
        evaluated = published.eval()(case.spikes())
        trained = published.train()(case.spikes())
    given = {f"est{k}": estimate for k, estimate in enumerate(trained.extras["estimates"])}
    for name, value in {"image": evaluated.image, **given}.items():
        tolerance = case.facts["outputs"][name]["tolerance"]
        torch.testing.assert_close(value, case.output(name), atol=tolerance, rtol=0)
    assert torch.equal(trained.image, evaluated.image)
    assert not evaluated.extras


def test_has_the_published_size(case: GoldenCase, published: Network) -> None:
    assert sum(p.numel() for p in published.parameters()) == case.facts["parameters"]
    assert published.window == 41


def test_starts_without_offsets_and_with_masks_of_a_half() -> None:
    network = tiny()
    layers = [module for module in network.modules() if isinstance(module, GuidedDeformConv2d)]
    assert len(layers) == 4
    for layer in layers:
        assert not any(p.any() for p in (*layer.guide.parameters(), layer.deform.bias))
        x, features = torch.randn(1, 8, 6, 7), torch.randn(1, 8, 6, 7)
        convolved = nn.functional.conv2d(x, layer.deform.weight, padding=1)
        torch.testing.assert_close(layer(x, features), convolved / 2)
    slopes = [module.weight for module in network.modules() if isinstance(module, nn.PReLU)]
    assert len(slopes) == 8
    assert all(slope == 0.25 for slope in slopes)


def test_blocks_may_be_encoded_once_for_the_windows_that_share_them() -> None:
    network = tiny().eval()
    stream = fill.fill_spikes((2, 41 + 7, 12, 8), 3)
    encoded = [network.encode(stream[:, 7 * k : 7 * k + 13]) for k in range(6)]
    with torch.no_grad():
        for start in (0, 1):
            window = stream[:, 7 * start : 7 * start + 41]
            joined = network.join(encoded[start : start + 5]).image
            torch.testing.assert_close(joined, network(window).image)


@pytest.mark.parametrize(
    ("windows", "window"),
    [({"num_windows": 3}, 27), ({"num_windows": 1}, 13), ({"win_r": 4, "win_step": 5}, 29)],
)
def test_windows_may_be_others(windows: dict[str, int], window: int) -> None:
    network = tiny(**windows).train()
    reconstruction = network(fill.fill_spikes((1, window, 8, 8), 0))
    assert network.window == window
    assert len(reconstruction.extras["estimates"]) == network.blocks.count
    centre = network.blocks.count // 2 * network.blocks.stride + network.blocks.length // 2
    assert network.key_readout == centre


@pytest.mark.parametrize(
    ("switch", "gone"),
    [
        ({"branches": 1}, "extractor.branches.1"),
        ({"gate": False}, "extractor.gate"),
        ({"depth": 0}, "extractor.trunk.0"),
        ({"align": False}, "align"),
        ({"align": False}, "pyramid"),
        ({"levels": 1}, "pyramid"),
        ({"levels": 2}, "align.levels.L3"),
        ({"cascade": False}, "align.cascade"),
        ({"mask_fusion": False}, "masks"),
    ],
)
def test_switches_leave_parts_out_and_no_parameter_idle(switch: dict[str, Any], gone: str) -> None:
    network = tiny(**switch).train()
    names = [name for name, _ in network.named_parameters()]
    assert any(name.startswith(gone) for name, _ in tiny().named_parameters())
    assert not any(name.startswith(gone) for name in names)
    network(fill.fill_spikes((1, 41, 8, 8), 0)).image.sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


def test_modulation_is_two_thirds_offsets() -> None:
    guide = "align.cascade.deform.guide.weight"
    assert tiny().state_dict()[guide].shape[0] == 54
    network = tiny(modulation=False)
    assert network.state_dict()[guide].shape[0] == 36
    assert network(fill.fill_spikes((1, 41, 8, 8), 0)).image.isfinite().all()


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ({"num_windows": 4}, "num_windows"),
        ({"win_step": 0}, "win_step"),
        ({"branches": 8}, "branches"),
        ({"branches": 0}, "branches"),
        ({"levels": 4}, "levels"),
        ({"deform_groups": 3}, "deform_groups"),
    ],
)
def test_impossible_arguments_are_refused_by_name(wrong: dict[str, int], key: str) -> None:
    with pytest.raises(ConfigError, match=rf"\b{key}\b"):
        tiny(**wrong)
