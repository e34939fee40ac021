"""TFP, TFI and TFSTP: networks without parameters, equal to the published methods."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from spikerec.configs import build
from spikerec.errors import ConfigError, WindowError
from tests.golden_cases import load_case

CLASSICAL = ["tfp", "tfi", "tfstp"]


def periodic(window: int, interval: int) -> Tensor:
    """A pixel for every phase of one interval: (1, window, 1, interval)."""
    times = torch.arange(window)[:, None] + torch.arange(interval)
    return (times % interval == 0).float()[None, :, None]


@pytest.mark.parametrize(
    ("name", "window", "output"),
    [("tfp", 41, "key_h20_raw"), ("tfp", 61, "key_h30_raw"), ("tfi", 41, "key_m20_raw")],
)
@pytest.mark.parametrize("edge", [False, True])
def test_image_is_the_published_one(name: str, window: int, output: str, edge: bool) -> None:
    case = load_case(name)
    spikes = case.spikes()
    if edge:
        spikes[:, :, :20] = 0
        spikes[:, :, 4:8] = 1
        spikes[:, 0, 8:12] = spikes[:, -1, 12:16] = spikes[:, 30, 16:20] = 1
    start = 30 - window // 2
    image = build("model", name, window=window)(spikes[:, start : start + window]).image
    expected = case.output(f"edge_{output}" if edge else output)[None, None]
    torch.testing.assert_close(image, expected, rtol=0, atol=1e-7)


def test_tfstp_image_is_the_published_rate_before_its_display() -> None:
    case = load_case("tfstp")
    image = build("model", "tfstp", window=150)(case.spikes()).image
    expected = case.output("offline_raw")[case.facts["frames_of_raw"].index(75)]
    torch.testing.assert_close(image, expected[None, None], rtol=0, atol=1e-5)


@pytest.mark.parametrize("interval", [1, 2, 5, 10])
@pytest.mark.parametrize(
    ("name", "arguments", "tolerance"),
    [
        ("tfp", {"window": 60}, 0),
        ("tfi", {"rule": "key"}, 0),
        ("tfi", {"rule": "sequence"}, 0),
        ("tfstp", {"window": 121, "exact": True}, 2e-3),
        ("tfstp", {"window": 121, "exact": False}, 0.034),
    ],
)
def test_periodic_pixel_has_its_rate(
    name: str, arguments: dict[str, Any], tolerance: float, interval: int
) -> None:
    network = build("model", name, **arguments)
    image = network(periodic(network.window, interval)).image
    expected = torch.full_like(image, 1 / interval)
    torch.testing.assert_close(image, expected, rtol=1e-6, atol=tolerance)


@pytest.mark.parametrize("name", CLASSICAL)
def test_intensity_is_the_rate_over_the_light_scale(name: str) -> None:
    network = build("model", name)
    spikes = periodic(network.window, 5)
    rate = network(spikes).image
    intensity = network.reconstruct(spikes, torch.tensor([0.4])).image
    torch.testing.assert_close(intensity, rate / 0.4)


@pytest.mark.parametrize("name", CLASSICAL)
def test_each_pixel_stands_alone(name: str) -> None:
    network = build("model", name)
    spikes = torch.rand(2, network.window, 9, 7) < 0.3
    whole = network(spikes.float()).image
    part = network(spikes[..., 2:7, 1:4].float()).image
    assert torch.equal(whole[..., 2:7, 1:4], part)
    assert whole.isfinite().all()


@pytest.mark.parametrize(("name", "dark"), [("tfp", 0.0), ("tfi", 1 / 40), ("tfstp", 0.0)])
def test_pixel_that_never_fires_is_dark(name: str, dark: float) -> None:
    network = build("model", name)
    image = network(torch.zeros(1, network.window, 2, 2)).image
    assert torch.equal(image, torch.full_like(image, dark))


@pytest.mark.parametrize("name", CLASSICAL)
def test_there_is_nothing_to_learn(name: str) -> None:
    assert not build("model", name).state_dict()


@pytest.mark.parametrize(("name", "before", "after"), [("tfp", 31, 31), ("tfstp", 31, 0)])
def test_readouts_that_reach_the_image(name: str, before: int, after: int) -> None:
    """TFP sees its whole window, TFSTP nothing after the key readout."""
    network = build("model", name, window=63)
    spikes = periodic(63, 2)
    image = network(spikes).image
    future = spikes.clone()
    future[:, 32:] = 1 - future[:, 32:]
    past = spikes.clone()
    past[:, :before] = 0
    assert torch.equal(network(future).image, image) == (after == 0)
    assert not torch.equal(network(past).image, image)


def test_wrong_arguments_and_windows_are_named() -> None:
    with pytest.raises(ConfigError, match=r"window must be at least 2"):
        build("model", "tfi", window=1)
    with pytest.raises(ConfigError, match=r"rule must be key or sequence"):
        build("model", "tfi", rule="both")
    with pytest.raises(WindowError, match="must hold 31 readouts"):
        build("model", "tfp")(torch.zeros(1, 30, 4, 4))


def test_a_notebook_shows_the_images_of_a_reconstruction() -> None:
    made = build("model", "tfp", window=3).reconstruct(periodic(3, 3).expand(2, 3, 5, 3))
    assert repr(made) == "Reconstruction(image 2 × 1 × 5 × 3 in [0.333, 0.333])"
    with Image.open(BytesIO(made._repr_png_())) as picture:
        assert picture.size == (6, 5)
        assert picture.getextrema() == (85, 85)
