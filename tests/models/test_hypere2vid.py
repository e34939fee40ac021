"""HyperE2VID: parity with the published network, and what must hold of any size of it."""

import math
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikerec.configs import build
from spikerec.errors import ConfigError, InputError
from spikerec.models.hypere2vid import (
    DynamicConv,
    HyperE2VID,
    fourier_bessel_bases,
)
from spikerec.weights.published import load_published
from tests.golden_cases import load_case

CASE = load_case("hypere2vid")
BASES = "unetrecurrent.decoders.0.dynamic_atom_generation.bases"
BOTH = pytest.mark.parametrize("name", ["hypere2vid", "hypere2vid_static"])


def tiny(name: str = "hypere2vid", **changes: object) -> HyperE2VID:
    arguments = {"window": 13, "num_bins": 5, "channels": 2} | changes
    return build("model", name, **arguments)


def random_spikes(*shape: int) -> Tensor:
    return (torch.rand(shape) < 0.4).float()


def images(network: HyperE2VID, blocks: Iterator[Tensor]) -> Iterator[Tensor]:
    state = None
    for block in blocks:
        reconstruction, state = network.call(block, state)
        yield reconstruction.image


@torch.no_grad()
@pytest.mark.parametrize("prefix", ["", "published_bases_"])
def test_a_sequence_matches_the_published_network(prefix: str) -> None:
    state = CASE.state()
    if prefix:
        state[BASES] = fourier_bessel_bases()
    network = load_published("hypere2vid", state, num_bins=5)
    for call, image in enumerate(images(network, CASE.spikes().split(5, dim=1))):
        name = f"{prefix}image_{call}"
        tolerance = CASE.facts["outputs"][name]["tolerance"]
        torch.testing.assert_close(image, CASE.output(name), atol=tolerance, rtol=0)


def test_bases_are_the_published_ones() -> None:
    torch.testing.assert_close(fourier_bessel_bases(), CASE.output("bases"), atol=1e-6, rtol=0)
    torch.testing.assert_close(
        tiny().core.decoders[0].atoms.bases, CASE.output("bases"), atol=1e-6, rtol=0
    )


def test_published_names_are_all_translated() -> None:
    ours = HyperE2VID.from_published(CASE.state())
    assert set(ours) == set(build("model", "hypere2vid", num_bins=5).state_dict())
    assert HyperE2VID.from_published({"unknown.weight": torch.zeros(1)}).keys() == {
        "unknown.weight"
    }


def test_published_names_of_the_static_decoder_are_translated() -> None:
    state = {name: value for name, value in CASE.state().items() if "decoders.0" not in name}
    state["unetrecurrent.decoders.0.conv2d.weight"] = torch.zeros(128, 256, 5, 5)
    state["unetrecurrent.decoders.0.conv2d.bias"] = torch.zeros(128)
    load_published("hypere2vid_static", state, num_bins=5)  # reports any name left over


@pytest.mark.parametrize(
    ("name", "num_bins", "millions"),
    [
        ("hypere2vid", 5, 10.150),
        ("hypere2vid", 21, 10.167),
        ("hypere2vid", 61, 10.211),
        ("hypere2vid_static", 5, 10.710),
        ("hypere2vid_static", 21, 10.723),
        ("hypere2vid_static", 61, 10.755),
    ],
)
def test_parameter_count_is_the_published_one(name: str, num_bins: int, millions: float) -> None:
    network = build("model", name, num_bins=num_bins, window=61)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert round(count / 1e6, 3) == millions
    if (name, num_bins) == ("hypere2vid", 5):
        assert count == CASE.facts["parameters"]


def unfolded(conv: DynamicConv, x: Tensor, atoms: Tensor) -> Tensor:
    """The dynamic convolution as published: neighbourhoods, six filters each, a 1 × 1 mix."""
    batch, channels, height, width = x.shape
    neighbours = F.unfold(x, 5, padding=2).reshape(batch, channels, 25, height, width)
    filtered = torch.einsum("ncohw,naohw->ncahw", neighbours, atoms).flatten(1, 2)
    return F.conv2d(filtered, conv.compositional_coefficients, conv.bias)


def test_dynamic_convolution_and_its_gradients_are_those_of_the_unfolded_one() -> None:
    conv = DynamicConv(3, 4)
    nn.init.normal_(conv.bias)
    x = torch.randn(2, 3, 6, 7, requires_grad=True)
    atoms = torch.randn(2, 6, 25, 6, 7, requires_grad=True)
    ours, expected = conv(x, atoms), unfolded(conv, x, atoms)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)
    weight = torch.randn_like(ours)
    inputs = (x, atoms, *conv.parameters())
    torch.testing.assert_close(
        torch.autograd.grad((ours * weight).sum(), inputs),
        torch.autograd.grad((expected * weight).sum(), inputs),
        atol=1e-4,
        rtol=1e-4,
    )


def test_equal_atoms_everywhere_make_an_ordinary_convolution() -> None:
    conv = DynamicConv(3, 4)
    atoms = torch.randn(6, 25)
    x = torch.randn(1, 3, 8, 8)
    coefficients = conv.compositional_coefficients.reshape(4, 3, 6)
    weight = torch.einsum("dca,ao->dco", coefficients, atoms).reshape(4, 3, 5, 5)
    dynamic = conv(x, atoms[None, :, :, None, None].expand(1, 6, 25, 8, 8))
    torch.testing.assert_close(dynamic, F.conv2d(x, weight, padding=2), atol=1e-5, rtol=1e-5)


@torch.no_grad()
@BOTH
@pytest.mark.parametrize("window", [41, 61])
def test_a_window_gives_one_image_of_its_size(name: str, window: int) -> None:
    network = tiny(name, window=window, num_bins=21).eval()
    image = network.reconstruct(random_spikes(2, window, 17, 30), 1.0).image
    assert image.shape == (2, 1, 17, 30)


@torch.no_grad()
@BOTH
def test_a_window_is_its_blocks_step_by_step(name: str) -> None:
    network = tiny(name).eval()
    spikes = random_spikes(2, 13, 16, 24)
    *_, last = images(network, iter(network.blocks.split(spikes)))
    torch.testing.assert_close(network(spikes).image, last, atol=1e-6, rtol=0)


@torch.no_grad()
@BOTH
def test_samples_of_a_batch_do_not_mix(name: str) -> None:
    network = tiny(name).eval()
    spikes = random_spikes(3, 13, 16, 24)
    alone = torch.cat([network(sample[None]).image for sample in spikes])
    torch.testing.assert_close(network(spikes).image, alone, atol=1e-6, rtol=0)


@torch.no_grad()
def test_the_previous_image_matters_to_the_dynamic_decoder_alone() -> None:
    network = tiny().eval()
    block = random_spikes(1, 5, 16, 16)
    _, state = network.call(block)
    blank = state._replace(image=torch.zeros_like(state.image))
    dynamic = network.call(block, state)[0].image
    assert (dynamic - network.call(block, blank)[0].image).abs().max() > 1e-6
    assert tiny("hypere2vid_static").call(block)[1].image is None


def test_the_previous_image_carries_no_gradient_and_the_memory_does() -> None:
    network = tiny()
    _, state = network.call(random_spikes(1, 5, 16, 16))
    assert not state.image.requires_grad
    assert all(hidden.requires_grad and cell.requires_grad for hidden, cell in state.memory)


def test_a_state_of_another_size_is_refused() -> None:
    network = tiny().eval()
    _, state = network.call(random_spikes(1, 5, 16, 16))
    with pytest.raises(InputError, match=r"state must hold maps of \(1, 4, 12, 8\)"):
        network.call(random_spikes(1, 5, 24, 16), state)


@torch.no_grad()
@BOTH
def test_channels_last_changes_nothing(name: str) -> None:
    network = tiny(name).eval()
    spikes = random_spikes(2, 13, 16, 16)
    expected = network(spikes).image
    network = network.to(memory_format=torch.channels_last)
    image = network(spikes.to(memory_format=torch.channels_last)).image
    torch.testing.assert_close(image, expected, atol=1e-5, rtol=0)


@BOTH
def test_bfloat16_autocast_stays_close_and_trains(name: str) -> None:
    network = tiny(name).eval()
    spikes = random_spikes(1, 13, 16, 16)
    expected = network(spikes).image
    with torch.autocast("cpu", torch.bfloat16):
        image = network(spikes).image
    assert image.dtype == torch.float32
    torch.testing.assert_close(image, expected, atol=0.02, rtol=0)
    image.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


@BOTH
def test_gradients_reach_every_parameter(name: str) -> None:
    network = tiny(name, channels=4).train()
    network(random_spikes(2, 13, 32, 32)).image.square().sum().backward()
    dead = [
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    assert dead == []


def test_wrong_arguments_name_their_key() -> None:
    with pytest.raises(ConfigError, match=r"channels must be at least 1, found 0"):
        tiny(channels=0)
    with pytest.raises(ConfigError, match=r"residual_blocks must be at least 0, found -1"):
        tiny(residual_blocks=-1)


@pytest.mark.slow
@BOTH
def test_one_sample_is_learnt_past_30_db(name: str) -> None:
    network = tiny(name, window=41, num_bins=21, channels=8).train()
    spikes = random_spikes(1, 41, 32, 32)
    rows = torch.linspace(0, 3, 32)
    target = (0.5 + 0.4 * torch.outer(rows.sin(), rows.cos()))[None, None]
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(500):
        optimizer.zero_grad()
        loss = (network(spikes).image - target).square().mean()
        loss.backward()
        optimizer.step()
        if loss.item() < 1e-3:
            return
    pytest.fail(f"PSNR is {-10 * math.log10(loss.item()):.1f} dB after 500 steps")


@pytest.mark.slow
@torch.no_grad()
@BOTH
def test_export_gives_the_same_image(name: str) -> None:
    network = tiny(name).eval()
    spikes = random_spikes(1, 13, 16, 16)

    class Image(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, spikes: Tensor) -> Tensor:
            return self.network(spikes).image

    exported = torch.export.export(Image(), (spikes,)).module()
    torch.testing.assert_close(exported(spikes), network(spikes).image)


@pytest.mark.slow
@torch.no_grad()
@BOTH
def test_the_network_is_captured_as_one_graph_with_the_same_image(name: str) -> None:
    network = tiny(name).eval()
    spikes = random_spikes(1, 13, 16, 16)
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    image = compiled(spikes).image
    torch.testing.assert_close(image, network(spikes).image, atol=1e-5, rtol=0)
