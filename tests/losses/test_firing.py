"""The self-supervised term: an image that explains the spikes costs nothing, another one does."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from spikerec.errors import ConfigError, InputError
from spikerec.losses.firing import FiringRate
from spikerec.models.base import Reconstruction

ALPHA = 0.6


def integrate_and_fire(image: Tensor, readouts: int) -> Tensor:
    """Spikes (B, T, H, W) of an ideal sensor under constant light, its charge anywhere at first."""
    charge = torch.rand_like(image)
    stream = []
    for _ in range(readouts):
        charge = charge + ALPHA * image
        stream.append((charge >= 1).to(torch.uint8))
        charge = charge - stream[-1]
    return torch.cat(stream, 1)


def cost(image: Tensor, spikes: Tensor, **arguments: float) -> Tensor:
    term = FiringRate(windows=[11, 41], tolerance=arguments.get("tolerance", 1.0))
    batch = {"spikes": spikes, "light_scale": torch.full((len(spikes),), ALPHA)}
    value: Tensor = term(Reconstruction(image), batch)
    return value


def test_the_scene_that_caused_the_spikes_costs_nothing() -> None:
    scene = torch.rand(2, 1, 9, 9)
    spikes = integrate_and_fire(scene, 61)
    assert cost(scene, spikes) == pytest.approx(0, abs=1e-7)
    assert cost(scene + 0.2, spikes) > 0.03
    assert cost(scene - 0.2, spikes) > 0.03


def test_descent_finds_the_scene_from_spikes_alone() -> None:
    scene = torch.rand(1, 1, 6, 6)
    spikes = integrate_and_fire(scene, 41)
    image = torch.full_like(scene, 0.5, requires_grad=True)
    optimizer = torch.optim.Adam([image], lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        cost(image, spikes).backward()
        optimizer.step()
    # 41 readouts bound the rate to ± 1/41, so the intensity to ± 1/(41·0.6)
    assert (image - scene).abs().max() < 2 / (41 * ALPHA) + 0.02


def test_without_tolerance_it_is_the_firing_rate() -> None:
    spikes = (torch.rand(1, 41, 5, 5) < 0.3).to(torch.uint8)
    term = FiringRate(windows=[21], tolerance=0)
    rate = spikes[:, 10:31].float().mean(1, keepdim=True)
    batch = {"spikes": spikes, "light_scale": torch.tensor([ALPHA])}
    assert term(Reconstruction(rate / ALPHA), batch) == pytest.approx(0, abs=1e-6)


def test_a_window_longer_than_the_networks_is_refused() -> None:
    with pytest.raises(InputError, match=r"looks at 41 readouts.*has 21"):
        cost(torch.rand(1, 1, 4, 4), torch.zeros(1, 21, 4, 4))


@pytest.mark.parametrize(("windows", "tolerance"), [([], 1), ([20], 1), ([21], -1)])
def test_arguments_out_of_range_are_refused(windows: list[int], tolerance: float) -> None:
    with pytest.raises(ConfigError, match="firing-rate term must be"):
        FiringRate(windows, tolerance)
