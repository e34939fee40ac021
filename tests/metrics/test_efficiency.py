"""Counts against arithmetic on small networks, and against the papers' tables on the real ones."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikerec.configs import build
from spikerec.errors import ConfigError
from spikerec.metrics.efficiency import latency, macs, measure, parameters
from spikerec.models.base import Network, Reconstruction

PIXELS = 8 * 12


class Small(Network):
    """One convolution, one transposed convolution of stride 2, one matrix product."""

    def __init__(self) -> None:
        super().__init__(window=4)
        self.conv = nn.Conv2d(4, 6, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(6, 1, 4, stride=2, padding=1)

    def forward(self, spikes: Tensor) -> Reconstruction:
        image = self.up(self.conv(spikes))
        return Reconstruction(image @ torch.eye(image.shape[-1], device=image.device))


def test_executed_operations_are_counted_exactly() -> None:
    convolution = 6 * 4 * 9 * PIXELS // 4
    transposed = 6 * 1 * 16 * PIXELS // 4  # each input value meets the kernel once
    product = PIXELS * 12
    assert macs(Small(), (8, 12)) == convolution + transposed + product


def test_published_count_takes_transposed_convolutions_at_their_output() -> None:
    expected = 6 * 4 * 9 * PIXELS // 4 + 6 * 1 * 16 * PIXELS + PIXELS * 12
    assert macs(Small(), (8, 12), "published") == expected


def test_parameters_are_counted_once() -> None:
    network = Small()
    network.shared = network.conv
    assert parameters(network) == (6 * 4 * 9 + 6) + (6 * 16 + 1)


def test_latency_states_how_it_was_measured() -> None:
    result = latency(Small(), (8, 12), torch.device("cpu"), repeats=5, warmup=2)
    first, third = result.quartiles_ms
    assert 0 < first <= result.median_ms <= third
    assert (result.repeats, result.warmup) == (5, 2)
    assert "threads" in result.device
    hurried = latency(Small(), (8, 12), torch.device("cpu"), limit_s=0)
    assert (hurried.repeats, hurried.warmup) == (2, 1)
    with pytest.raises(ConfigError, match="2 timed runs"):
        latency(Small(), (8, 12), torch.device("cpu"), repeats=1)


def test_rearranged_network_is_timed_and_the_published_one_counted() -> None:
    network = Small()
    sizes: dict[str, Any] = {"size": (8, 12), "latency_sizes": [(8, 12)], "repeats": 2, "warmup": 1}
    plain = measure(network, **sizes)
    fast = measure(network, optimise=True, **sizes)
    assert (plain["optimised"], fast["optimised"]) == (False, True)
    assert all(plain[name] == fast[name] for name in ("params", "macs", "memory_bytes"))


def test_measured_network_keeps_its_values() -> None:
    network = Small()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    cost = measure(network, size=(8, 12), latency_sizes=[(8, 12)], repeats=2, warmup=1)
    counts = {"params", "macs", "macs_published", "memory_bytes"}
    assert set(cost) == {"size", "latency", "optimised", "engine", "precision"} | counts
    assert cost["latency"][0]["size"] == [8, 12]
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


def test_method_without_parameters_costs_no_products() -> None:
    assert macs(build("model", "tfp"), (16, 16)) == 0


def test_video_count_needs_a_state() -> None:
    with pytest.raises(ConfigError, match="carries no state"):
        macs(Small(), (8, 12), in_video=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "overrides", "in_video", "paper"),
    [
        ("stir", {}, False, 0.42e12),
        ("ssir", {}, False, 0.24e12),
        ("wgse", {"window": 61}, False, 3.93e12),  # the table shows a variant of 61 readouts
        ("spk2imgnet", {}, False, 9.17e12),
        ("etnet", {}, True, 0.52e12),
        ("hypere2vid_static", {}, True, 0.43e12),  # the table fits the static decoder
    ],
)
def test_operations_agree_with_the_papers_table(
    name: str, overrides: dict[str, int], in_video: bool, paper: float
) -> None:
    counted = macs(build("model", name, **overrides), (720, 1280), "published", in_video=in_video)
    assert counted == pytest.approx(paper, rel=0.03)


@pytest.mark.slow
def test_attention_of_etnet_is_in_the_full_count() -> None:
    network = build("model", "etnet")
    assert macs(network, (720, 1280), in_video=True) == pytest.approx(2.82e12, rel=0.01)
