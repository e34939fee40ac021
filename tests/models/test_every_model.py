"""Laws of every method in conf/model."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

import spikerec
from spikerec.configs import build, config_names
from spikerec.errors import ConfigError, InputError, WindowError
from spikerec.models import Network
from spikerec.simulation import Camera
from spikerec.weights import load_published

MODELS = config_names("model")
LEARNED = [name for name in MODELS if any(True for _ in build("model", name).parameters())]


def spikes_for(network: Network, height: int, width: int, batch: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    rate = torch.rand((batch, network.window, height, width), generator=generator)
    return (rate < 0.4).to(torch.uint8)


@pytest.mark.parametrize("name", MODELS)
def test_image_has_the_size_of_the_input(name: str) -> None:
    network: Network = build("model", name).eval()
    spikes = spikes_for(network, 17, 23)  # neither side a multiple of anything
    with torch.inference_mode():
        image = network.reconstruct(spikes, 0.6).image
    assert image.shape == (1, 1, 17, 23)
    assert image.isfinite().all()


@pytest.mark.parametrize("name", sorted(set(MODELS) - set(LEARNED)))
def test_a_method_that_works_pixel_by_pixel_may_be_cropped_before(name: str) -> None:
    network: Network = build("model", name).eval()
    assert network.is_per_pixel
    spikes = spikes_for(network, 24, 24)
    part = (..., slice(8, 16), slice(8, 16))
    with torch.inference_mode():
        whole = network.reconstruct(spikes, 0.6).image[part]
        assert torch.equal(whole, network.reconstruct(spikes[part], 0.6).image)


@pytest.mark.parametrize("name", MODELS)
def test_image_extras_are_scaled_and_cropped_with_the_image(name: str) -> None:
    network: Network = build("model", name).train()
    assert set(network.image_extras) <= set(network.provides)
    spikes = spikes_for(network, 17, 23)
    seeded = partial(torch.manual_seed, 0)  # the same units dropped each time
    seeded()
    once = network.reconstruct(spikes, 1.0)
    seeded()
    twice = network.reconstruct(spikes, 0.5)
    for extra in network.image_extras:
        one, two = (tree_leaves(given.extras.get(extra, ())) for given in (once, twice))
        for a, b in zip(one, two, strict=True):
            torch.testing.assert_close(b, 2 * a)
            assert a.shape[-2:] == (17, 23)


@pytest.mark.parametrize("name", MODELS)
def test_the_output_scale_is_set_once(name: str) -> None:
    network: Network = build("model", name)
    with pytest.raises(AttributeError):
        network.output_scale = 0.5  # type: ignore[misc]


@pytest.mark.parametrize("value", [float("nan"), 0, -1, 1.5, "text", torch.tensor([0.4, 0.0])])
def test_a_light_scale_that_cannot_be_is_refused(value: Any) -> None:
    network = build("model", "tfp")
    with pytest.raises(ConfigError, match=r"light_scale must be a "):
        network.reconstruct(torch.zeros(2, network.window, 4, 4), value)
    if not isinstance(value, torch.Tensor):
        with pytest.raises(ConfigError, match=r"light_scale must be a "):
            Camera(value)
        with pytest.raises(ConfigError, match="output_scale must be a "):
            build("model", "fast", output_scale=value)


@pytest.mark.parametrize("name", MODELS)
def test_a_window_without_spikes_is_black(name: str) -> None:
    network = build("model", name).eval()
    spikes = torch.zeros(2, network.window, 16, 23, dtype=torch.uint8)
    spikes[1, network.window // 3, 4, 5] = 1
    with torch.inference_mode():
        dark, lit = network.reconstruct(spikes, 0.4).image
        alone = network.reconstruct(spikes[1:], 0.4).image[0]
    assert not dark.any()
    torch.testing.assert_close(lit, alone, atol=1e-5, rtol=1e-5)  # left as the method has it


@pytest.mark.parametrize("name", MODELS)
def test_samples_of_a_batch_do_not_mix(name: str) -> None:
    network: Network = build("model", name).eval()
    spikes = spikes_for(network, 16, 16, batch=2)
    with torch.inference_mode():
        both = network.reconstruct(spikes, 0.6).image
        alone = network.reconstruct(spikes[1:], 0.6).image
    torch.testing.assert_close(both[1:], alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_wrong_window_says_expected_and_found(name: str) -> None:
    network: Network = build("model", name)
    spikes = spikes_for(network, 16, 16)[:, 1:]
    with pytest.raises(WindowError, match=rf"{network.window} readouts.*found {spikes.shape[1]}"):
        network.reconstruct(spikes, 1.0)


@pytest.mark.parametrize("name", MODELS)
def test_missing_axis_says_so(name: str) -> None:
    network: Network = build("model", name)
    with pytest.raises(InputError, match="found 2 dimensions"):
        network.reconstruct(spikes_for(network, 16, 16)[0, 0], 1.0)


@pytest.mark.parametrize("name", MODELS)
def test_a_window_is_taken_in_every_form(name: str) -> None:
    network: Network = build("model", name).eval()
    spikes = spikes_for(network, 16, 24)
    stream = spikerec.open(spikes[0], light_scale=0.5)
    with torch.no_grad():
        expected = network.reconstruct(spikes, 0.5).image
        unstated = network.reconstruct(spikes, 1.0).image
    array = spikes.numpy()
    for form in (stream, stream[:], spikerec.open(stream[:])):
        image = network.reconstruct(form).image
        assert torch.equal(image, expected)
        assert not image.requires_grad
    assert torch.equal(network.reconstruct(stream[:], 1).image, unstated)
    for form in (array, array[0], array.astype(bool), array.astype(float), spikes[0].bool()):
        with torch.no_grad():
            assert torch.equal(network.reconstruct(form).image, unstated)


def test_a_stream_longer_than_the_window_says_how_to_cut_it() -> None:
    network = build("model", "tfp")
    stream = spikerec.open(np.zeros((90, 8, 8), np.uint8))
    with pytest.raises(WindowError, match="31 readouts, found a stream of 90: cut a window"):
        network.reconstruct(stream)


@pytest.mark.parametrize("given", ["car.npy", None, [[0, 1]], np.array(["a"])])
def test_what_is_no_window_is_refused(given: Any) -> None:
    with pytest.raises(InputError, match="must be a tensor or an array of numbers, found"):
        build("model", "tfp").reconstruct(given)


@pytest.mark.parametrize("shape", [(61, 0, 64), (61, 64, 0), (0, 61, 8, 8)])
def test_a_window_without_pixels_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="at least one pixel"):
        build("model", "fast").reconstruct(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", ["f2", "f4", "f8", "u2", "u4", "u8", "i2", "i8"])
def test_a_window_may_be_of_any_numbers(kind: str, order: str) -> None:
    window = np.random.default_rng(0).integers(0, 2, (21, 6, 8))
    network = build("model", "tfp", window=21)
    image = network.reconstruct(window.astype(order + kind)).image
    assert torch.equal(image, network.reconstruct(window).image)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("value", [0.5, float("nan"), 255.0])
def test_values_that_are_no_spikes_are_named(name: str, value: float) -> None:
    network: Network = build("model", name)
    spikes = spikes_for(network, 16, 16).float()
    spikes[0, 3, 5, 7] = value
    with pytest.raises(InputError, match=f"only 0 and 1, found {value}"):
        network.reconstruct(spikes, 1.0)


@pytest.mark.parametrize("name", LEARNED)
def test_training_gives_the_extras_it_promises(name: str) -> None:
    network: Network = build("model", name).train()
    reconstruction = network.reconstruct(spikes_for(network, 16, 16, batch=2), 0.6)
    assert set(network.provides) <= set(reconstruction.extras)
    assert reconstruction.image.requires_grad


@pytest.mark.parametrize("name", LEARNED)
def test_every_parameter_gets_a_gradient(name: str) -> None:
    # One that does not would stop distributed training.
    torch.manual_seed(0)
    network: Network = build("model", name).train()
    reconstruction = network.reconstruct(spikes_for(network, 16, 16, batch=2), 0.6)
    loss = reconstruction.image.square().mean()
    for extra in reconstruction.extras.values():
        loss = loss + sum(item.square().mean() for item in extra if isinstance(item, Tensor))
    loss.backward()
    assert [n for n, p in network.named_parameters() if p.requires_grad and p.grad is None] == []


@pytest.mark.parametrize("name", LEARNED)
def test_own_weights_load_again_in_eval_mode(name: str) -> None:
    network: Network = build("model", name)
    again: Network = build("model", name)
    again.load_state_dict(network.state_dict())
    spikes = spikes_for(network, 16, 16)
    with torch.inference_mode():
        images = [one.eval().reconstruct(spikes, 1.0).image for one in (network, again)]
    assert torch.equal(*images)


@pytest.mark.parametrize("name", LEARNED)
def test_published_loading_lists_what_does_not_fit(name: str) -> None:
    with pytest.raises(ValueError, match="missing"):
        load_published(name, {"no.such.weight": torch.zeros(1)})


@pytest.mark.parametrize("name", LEARNED)
def test_runs_in_bfloat16_autocast(name: str) -> None:
    network: Network = build("model", name).eval()
    spikes = spikes_for(network, 16, 16)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        image = network.reconstruct(spikes, 0.6).image
    assert image.isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNED)
def test_one_step_lowers_the_loss(name: str) -> None:
    torch.manual_seed(0)
    network: Network = build("model", name).train()
    spikes = spikes_for(network, 16, 16, batch=2)
    target = spikes.float().mean(1, keepdim=True)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)

    def loss() -> Tensor:
        torch.manual_seed(1)  # the same units dropped each time
        return (network.reconstruct(spikes, 1.0).image - target).square().mean()

    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    assert losses[-1] < losses[0]
