"""Laws of Spk2ImgNet and BSF: precision, layout, sizes, gradients, compilation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from spikerec.configs import build
from spikerec.models import Network
from spikerec.weights import load_published
from tests.golden_cases import fill, load_case

TINY: dict[str, dict[str, Any]] = {
    "spk2imgnet": {"channels": 8, "depth": 1, "deform_groups": 2},
    "bsf": {"channels": 8, "deform_groups": 2},
}
each_network = pytest.mark.parametrize("name", TINY)


def tiny(name: str) -> Network:
    """A small network with weights of which every part matters."""
    network: Network = build("model", name, **TINY[name])
    for parameter in network.parameters():
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 25
        torch.nn.init.normal_(parameter, std=fan_in**-0.5)
    return network.eval()


def golden(name: str) -> tuple[Network, torch.Tensor, torch.Tensor]:
    """The published network's stand-in, its input, and its image."""
    case = load_case(name)
    return load_published(name, case.state()), case.spikes(), case.output("image")


@each_network
def test_channels_last_gives_the_same_image(name: str) -> None:
    network = tiny(name)
    spikes = fill.fill_spikes((2, network.window, 12, 16), 0)
    with torch.no_grad():
        image = network(spikes).image
        network.to(memory_format=torch.channels_last)
        given = network(spikes.to(memory_format=torch.channels_last)).image
    torch.testing.assert_close(given, image)


@each_network
def test_autocast_gives_float32_near_the_image(name: str) -> None:
    network: Network = build("model", name, **TINY[name])
    spikes = fill.fill_spikes((2, network.window, 16, 16), 0)
    with torch.no_grad():
        image = network(spikes).image
        with torch.autocast("cpu", torch.bfloat16):
            given = network(spikes).image
    assert given.dtype == torch.float32
    torch.testing.assert_close(given, image, atol=0.02, rtol=0.02)


@each_network
def test_samples_of_a_batch_do_not_meet(name: str) -> None:
    network = tiny(name)
    spikes = torch.cat([fill.fill_spikes((1, network.window, 12, 16), k) for k in range(3)])
    with torch.no_grad():
        together = network(spikes).image
        alone = torch.cat([network(spikes[k : k + 1]).image for k in range(3)])
    torch.testing.assert_close(together, alone)


@each_network
def test_odd_sizes_continue_by_mirror_below_and_to_the_right(name: str) -> None:
    network = tiny(name)
    spikes = fill.fill_spikes((1, network.window, 10, 15), 0)
    mirrored = torch.cat((spikes, spikes[..., -2:, :].flip(-2)), -2)
    mirrored = torch.cat((mirrored, mirrored[..., -1:]), -1)
    with torch.no_grad():
        image = network.reconstruct(spikes, 0.5).image
        torch.testing.assert_close(image, 2 * network(mirrored).image[..., :10, :15])


@each_network
def test_gradient_reaches_every_parameter(name: str) -> None:
    network = tiny(name).train()
    network(fill.fill_spikes((1, network.window, 16, 16), 0)).image.mean().backward()
    idle = [key for key, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


@pytest.mark.slow
@each_network
def test_compiles_in_one_piece_for_images_and_for_training(name: str) -> None:
    network, spikes, image = golden(name)
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(spikes).image, image, atol=5e-4, rtol=0)
    network(spikes).image.mean().backward()
    expected = [p.grad for p in network.parameters()]
    network.zero_grad()
    compiled(spikes).image.mean().backward()
    for parameter, gradient in zip(network.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, atol=1e-3, rtol=1e-2)


@pytest.mark.slow
@each_network
def test_exports_for_any_size_without_the_operator(name: str) -> None:
    network, spikes, image = golden(name)
    sides = {2: 4 * torch.export.Dim("rows", min=4, max=64), 3: torch.export.Dim.STATIC}
    program = torch.export.export(network, (spikes,), dynamic_shapes=(sides,))
    assert "torchvision" not in str(program.graph)
    exported = program.module()
    torch.testing.assert_close(exported(spikes).image, image, atol=5e-4, rtol=0)
    longer = fill.fill_spikes((1, network.window, 40, 48), 1)
    with torch.no_grad():
        torch.testing.assert_close(exported(longer).image, network(longer).image, atol=5e-4, rtol=0)


@pytest.mark.slow
@each_network
def test_learns_one_sample_past_30_db(name: str) -> None:
    network = build("model", name, **TINY[name] | {"channels": 16}).train()
    spikes = fill.fill_spikes((1, network.window, 32, 32), 0)
    target = F.avg_pool2d(spikes.mean(1, keepdim=True), 3, 1, 1)
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    psnr = torch.tensor(0.0)
    for _ in range(150):  # steps; it stops at the goal
        optimizer.zero_grad()
        loss = F.mse_loss(network(spikes).image, target)
        loss.backward()
        optimizer.step()
        psnr = -10 * loss.detach().log10()
        if psnr > 30:
            break
    assert psnr > 30
