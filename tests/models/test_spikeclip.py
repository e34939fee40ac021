from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import spikerec
from spikerec.models.spikeclip import SpikeCLIP
from spikerec.weights import import_weights, load_published, read_state
from tests.golden_cases import GoldenCase, load_case


@pytest.fixture(scope="module")
def case() -> GoldenCase:
    return load_case("spikeclip")


@pytest.fixture
def published(shared: Path) -> Path:
    return shared / "weights" / "LRN_CALTECH.pth"


def reflected(network: torch.nn.Module, spikes: Tensor) -> Tensor:
    """The image as Spike-Zoo evaluates it: the picture reflected 20 pixels on all sides."""
    image: Tensor = network(F.pad(spikes, (20, 20, 20, 20), "reflect")).image
    return image[..., 20:-20, 20:-20]


def test_images_are_the_published_networks(case: GoldenCase) -> None:
    network = load_published("spikeclip", case.state())
    assert isinstance(network, SpikeCLIP)
    assert sum(p.numel() for p in network.parameters()) == case.facts["parameters"]
    spikes = case.spikes()
    assert torch.equal(network.counts(spikes), case.output("counts").float())
    with torch.no_grad():
        assert (network(spikes).image - case.output("image")).abs().max() <= 1e-4
        difference = reflected(network, spikes) - case.output("image_reflect20")
        assert difference.abs().max() <= 1e-4


def test_images_are_those_of_the_published_weights(published: Path) -> None:
    case = load_case("spikeclip_official")
    network = load_published("spikeclip", read_state(published))
    spikes = case.spikes()
    sparse = torch.zeros_like(spikes)
    sparse[:, ::8] = spikes[:, ::8]
    with torch.no_grad():
        assert (network(spikes).image - case.output("image")).abs().max() <= 1e-4
        assert (network(sparse).image - case.output("image_sparse")).abs().max() <= 1e-4


def test_the_image_is_the_same_at_any_light_scale(case: GoldenCase) -> None:
    network = load_published("spikeclip", case.state())
    spikes = case.spikes()
    with torch.no_grad():
        images = [network.reconstruct(spikes, alpha).image for alpha in (0.2, 1.0)]
    assert torch.equal(*images)


def test_the_published_file_imports(published: Path, tmp_path: Path) -> None:
    output = tmp_path / "spikeclip.safetensors"
    metadata = import_weights(published, "spikeclip", output)
    assert metadata["source"] == "LRN_CALTECH.pth"
    case = load_case("spikeclip_official")
    network = spikerec.load("spikeclip", output)
    with torch.no_grad():
        assert (network(case.spikes()).image - case.output("image")).abs().max() <= 1e-4
