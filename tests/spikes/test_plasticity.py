"""TFSTP: published outputs and laws."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from spikerec.errors import ArgumentError, InputError, WindowError
from spikerec.spikes import (
    Plasticity,
    equalise_histogram,
    stretch_to_uint8,
    tfstp,
)
from spikerec.spikes.plasticity import PlasticityMode
from tests.golden_cases import load_case
from tests.spikes.edge import edge_input

MODES: tuple[PlasticityMode, ...] = ("offline", "online")


def periodic(interval: int, size: int) -> Tensor:
    spikes = torch.zeros(1, size, 1, 1)
    spikes[:, ::interval] = 1
    return spikes


def images_at(spikes: Tensor, readouts: Sequence[int], plasticity: Plasticity) -> Tensor:
    """(B, n, H, W), the image of each of these readouts."""
    images = [tfstp(spikes, key_readout=k, plasticity=plasticity) for k in readouts]
    return torch.cat(images, 1)


@pytest.mark.parametrize("prefix", ["", "edge_"])
@pytest.mark.parametrize("mode", MODES)
def test_images_are_the_published_ones(prefix: str, mode: PlasticityMode) -> None:
    case = load_case("tfstp")
    spikes = edge_input(case.spikes()) if prefix else case.spikes()
    images = images_at(spikes, case.facts["frames_of_raw"], Plasticity(mode=mode))
    torch.testing.assert_close(images[0], case.output(f"{prefix}{mode}_raw"), atol=1e-5, rtol=0)


@pytest.mark.parametrize("prefix", ["", "edge_"])
def test_states_are_the_published_ones(prefix: str) -> None:
    case = load_case("tfstp")
    spikes = edge_input(case.spikes()) if prefix else case.spikes()
    for index, readout in enumerate(case.facts["frames_of_raw"]):
        states = Plasticity().states(spikes[:, : readout + 1])
        for name, found in zip(("R", "u"), states, strict=True):
            expected = case.output(f"{prefix}offline_{name}")[index]
            torch.testing.assert_close(found[0], expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("mode", MODES)
def test_pictures_are_the_published_ones(mode: PlasticityMode) -> None:
    case = load_case("tfstp")
    spikes = case.spikes()
    images = images_at(spikes, range(spikes.shape[1]), Plasticity(mode=mode))
    stretched = stretch_to_uint8(images)[0]
    if mode == "offline":
        expected = case.output("offline_before_equalisation")
        assert (stretched.int() - expected.int()).abs().max() <= 1
    wrong = equalise_histogram(stretched) != case.output(mode)
    assert wrong.float().mean() <= 0.001  # the tolerance that the case states


@pytest.mark.parametrize("interval", [1, 2, 3, 5, 8])
def test_both_exact_inversions_give_the_rate(interval: int) -> None:
    image = tfstp(periodic(interval, 200), key_readout=199, plasticity=Plasticity(exact=True))
    assert image.item() == pytest.approx(2 / interval, rel=2e-3)


def test_always_firing_settles_where_the_equations_say() -> None:
    recovery, facilitation = Plasticity().states(periodic(1, 300))
    u = 0.15 / (1 - 0.85 * math.exp(-1 / 10))  # u = u0 + (u + f (1 − u) − u0) exp(−1 / F)
    r = (1 - math.exp(-1)) / (1 - (1 - u) * math.exp(-1))
    assert facilitation.item() == pytest.approx(u, abs=1e-4)
    assert recovery.item() == pytest.approx(r, abs=1e-4)


def test_later_readouts_do_not_matter() -> None:
    spikes = torch.rand(1, 30, 3, 4) < 0.3
    changed = spikes.clone()
    changed[:, 20:] = ~changed[:, 20:]
    assert torch.equal(tfstp(spikes, key_readout=19), tfstp(changed, key_readout=19))


def test_a_pixel_without_an_interval_is_black_offline() -> None:
    spikes = torch.zeros(1, 20, 1, 2)
    spikes[0, 7, 0, 1] = 1  # one pixel never fires, one fires once
    assert tfstp(spikes, key_readout=19).tolist() == [[[[0, 0]]]]
    online = tfstp(spikes, key_readout=19, plasticity=Plasticity(mode="online"))
    assert online[0, 0, 0, 0] == 0
    assert online[0, 0, 0, 1] > 0


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ArgumentError, match="offline or online, found the text 'live'"):
        Plasticity(mode="live")  # type: ignore[arg-type]
    with pytest.raises(WindowError, match="hold 20 readouts, expected key readout 20"):
        tfstp(periodic(2, 20), key_readout=20)
    with pytest.raises(InputError, match=r"must be \(B, T, H, W\)"):
        tfstp(torch.zeros(20, 4, 4), key_readout=0)


def test_a_flat_image_is_stretched_to_black() -> None:
    assert stretch_to_uint8(torch.full((2, 3, 4), 0.7)).unique().tolist() == [0]


def test_equalisation_treats_each_image_on_its_own() -> None:
    images = torch.randint(30, 60, (2, 3, 5, 7), dtype=torch.uint8)
    together = equalise_histogram(images)
    assert together.dtype == torch.uint8
    for b in range(2):
        for t in range(3):
            assert torch.equal(equalise_histogram(images[b, t]), together[b, t])


def test_equalisation_counts_the_pixels_above_the_darkest_level() -> None:
    image = torch.tensor([[10, 10, 20, 30, 30]], dtype=torch.uint8)
    assert equalise_histogram(image).tolist() == [[0, 0, 85, 255, 255]]
    flat = torch.full((2, 2), 9, dtype=torch.uint8)
    assert torch.equal(equalise_histogram(flat), flat)


@pytest.mark.parametrize("mode", MODES)
def test_a_long_silence_is_forgotten(mode: PlasticityMode) -> None:
    spikes = torch.zeros(1, 1500, 1, 1)  # more than a float32 remembers of 10 readouts' decay
    spikes[0, [3, 5, 1499]] = 1
    plasticity = Plasticity(mode=mode)
    image = tfstp(spikes, key_readout=1499, plasticity=plasticity)
    assert image.item() == 0
    recovery, facilitation = plasticity.states(spikes)
    assert recovery.item() == 1
    assert facilitation.item() == pytest.approx(0.15)


def test_an_exported_image_is_the_image() -> None:
    class Method(torch.nn.Module):
        def forward(self, spikes: Tensor) -> Tensor:
            return tfstp(spikes, key_readout=8)

    spikes = (torch.rand(1, 10, 3, 4) < 0.3).float()
    exported = torch.export.export(Method(), (spikes,)).module()
    assert torch.equal(exported(spikes), Method()(spikes))
