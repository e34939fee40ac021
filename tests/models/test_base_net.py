from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikerec.configs import build
from spikerec.errors import ConfigError, WeightsError
from spikerec.inference.rearrangement import optimised
from spikerec.models.base_net import BaseNet
from spikerec.weights import load_published
from tests.golden_cases import load_case


def random_spikes(*shape: int) -> Tensor:
    return (torch.rand(shape) < 0.4).float()


def test_image_is_the_published_networks() -> None:
    case = load_case("base")
    network = load_published("base", case.state())
    assert sum(p.numel() for p in network.parameters()) == case.facts["parameters"]
    with torch.no_grad():
        assert (network(case.spikes()).image - case.output("image")).abs().max() <= 1e-4


def test_published_weights_are_rates() -> None:
    assert load_published("base", load_case("base").state()).output_scale == 1.0


def test_a_name_that_does_not_fit_is_reported() -> None:
    state = load_case("base").state()
    with pytest.raises(WeightsError, match=r"left over \(seq\.5\.extra"):
        load_published("base", state | {"seq.5.extra": torch.zeros(1)})


@pytest.mark.parametrize("group", [1, 2, 4])
def test_channels_count_the_spikes_of_a_group(group: int) -> None:
    network = BaseNet(window=8, group=group)
    spikes = random_spikes(2, 8, 5, 6)
    counts = network.counts(spikes)
    assert counts.shape == (2, 8 // group, 5, 6)
    for channel in range(8 // group):
        expected = spikes[:, channel * group : (channel + 1) * group].sum(1)
        assert torch.equal(counts[:, channel], expected)


def test_a_pixel_sees_eleven_by_eleven() -> None:
    network = BaseNet()
    spikes = random_spikes(1, 41, 21, 21).requires_grad_()
    network(spikes).image[0, 0, 10, 10].backward()
    assert spikes.grad is not None
    seen = spikes.grad.abs().sum((0, 1)) > 0
    assert seen[5:16, 5:16].all()
    assert seen.sum() == 11 * 11


@pytest.mark.parametrize(("norm", "extra"), [("batch", 2 * (128 + 64 + 16)), ("instance", 0)])
def test_norms_stand_after_all_but_the_first_convolution(norm: str, extra: int) -> None:
    assert sum(p.numel() for p in build("model", "base", norm=norm).parameters()) == 180_705 + extra


def test_batch_norms_are_folded_for_inference() -> None:
    network = build("model", "base", norm="batch").train()
    network(random_spikes(2, 41, 16, 16))  # statistics that are not 0 and 1
    fast = optimised(network.eval())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fast.modules())
    spikes = random_spikes(1, 41, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(fast(spikes).image, network(spikes).image, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"group": 2}, "group must divide window=41.* found 2"),
        ({"group": 0}, "group must divide window=41.* found 0"),
        ({"channels": []}, "channels must name the widths"),
        ({"norm": "layer"}, "norm must be batch, instance or None, found the text 'layer'"),
    ],
)
def test_an_argument_out_of_range_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BaseNet(**arguments)
