from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from spikerec.configs import build
from spikerec.errors import ConfigError, InputError, WeightsError, WindowError
from spikerec.models.ssir import IF, LIF, PLIF, SSIR, SURROGATES, Fire, Potentials
from spikerec.weights import load_published, read_state
from tests.golden_cases import SHARED, GoldenCase, load_case

CHECKPOINT = SHARED / "weights" / "SSIR_e80.pth"


def small(**arguments: Any) -> SSIR:
    torch.manual_seed(0)
    network: SSIR = build("model", "ssir", **{"window": 5, "channels": 8} | arguments)
    return lively(network)


def lively(network: SSIR) -> SSIR:
    """Batch norms that make most layers fire; as initialised, the later ones stay silent."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.bias, 0.5, 2.5)
    return network


def random_spikes(*shape: int) -> Tensor:
    return (torch.rand(shape) < 0.4).float()


def twice(network: SSIR, spikes: Tensor) -> tuple[Tensor, Tensor]:
    """Images of the same window from neurons at rest, and from what that left."""
    first, state = network.step(spikes, network.initial_state(spikes))
    second, _ = network.step(spikes, state)
    return first.image, second.image


def assert_close_but_for_flips(image: Tensor, expected: Tensor, atol: float) -> None:
    """A potential within rounding of the threshold may flip a spike, and move a few pixels."""
    difference = (image - expected).abs()
    assert (difference <= atol).float().mean() >= 0.99
    assert difference.mean() <= atol


@pytest.fixture(scope="module")
def case() -> GoldenCase:
    return load_case("ssir")


def test_images_are_the_published_networks(case: GoldenCase) -> None:
    network = load_published("ssir", case.state())
    with torch.no_grad():
        image, carried = twice(network, case.spikes())
    for name, found in (("image", image), ("image_carried", carried)):
        assert_close_but_for_flips(found, case.output(name), case.facts["outputs"][name]["atol"])


def test_images_and_gradients_in_training_are_the_published_networks(case: GoldenCase) -> None:
    network = load_published("ssir", case.state()).train()
    images = twice(network, case.spikes("train_input"))
    for name, found in zip(("train_image", "train_image_carried"), images, strict=True):
        assert_close_but_for_flips(found, case.output(name), case.facts["outputs"][name]["atol"])
    sum(image.square().mean() for image in images).backward()
    parameters = dict(network.named_parameters())
    names = [name for name in case.outputs if name.startswith("grad_")]
    assert len(names) == 9
    for name in names:
        published = name.removeprefix("grad_")
        (own,) = SSIR.from_published({published: torch.zeros(())})
        expected = case.output(name)
        tolerance = case.facts["outputs"][name]["rtol_of_max"] * expected.abs().max()
        assert (parameters[own].grad - expected).abs().max() <= tolerance, published


@pytest.mark.usefixtures("shared")
def test_images_are_those_of_the_published_weights() -> None:
    case = load_case("ssir_official")
    network = load_published("ssir", read_state(CHECKPOINT))
    with torch.no_grad():
        image, carried = twice(network, case.spikes())
    for name, found in (("image", image), ("image_carried", carried)):
        assert_close_but_for_flips(found, case.output(name), case.facts["outputs"][name]["atol"])


def test_published_size(case: GoldenCase) -> None:
    network = build("model", "ssir")
    assert sum(p.numel() for p in network.parameters()) == case.facts["parameters"] == 381_542


def test_an_unknown_published_name_is_reported(case: GoldenCase) -> None:
    with pytest.raises(WeightsError, match="pred9"):
        load_published("ssir", case.state() | {"pred9.conv.weight": torch.zeros(1)})


def test_forward_starts_from_rest() -> None:
    network = small().eval()
    spikes = random_spikes(1, 5, 8, 6)
    first, second = twice(network, spikes)
    assert torch.equal(network(spikes).image, first)
    assert torch.equal(network(spikes).image, first)
    assert not torch.allclose(second, first)


def test_zero_potentials_are_rest() -> None:
    network = small().eval()
    spikes = random_spikes(1, 5, 8, 6)
    reconstruction, state = network.step(spikes, network.initial_state(spikes))
    zeros: Potentials = tuple(torch.zeros_like(v) for v in state if v is not None)
    assert len(zeros) == 6
    assert torch.equal(network.step(spikes, zeros)[0].image, reconstruction.image)


def test_a_state_of_another_size_is_refused() -> None:
    network = small()
    state = network.initial_state(random_spikes(1, 5, 8, 8))
    with pytest.raises(InputError, match="1 windows of 8 × 8, found 2 of 8 × 8"):
        network.step(random_spikes(2, 5, 8, 8), state)


@pytest.mark.parametrize(
    ("neuron", "expected"),
    [(IF, [0.6, 0.0, 0.6]), (LIF, [0.3, 0.45, 0.525]), (PLIF, [0.3, 0.45, 0.525])],
)
def test_potentials_follow_the_equations(neuron: type[IF], expected: list[float]) -> None:
    layer = neuron("arctan", "hard", True)
    x, potential, found = torch.tensor([0.6]), None, []
    for _ in range(3):
        _, potential = layer(x, potential)
        found.append(potential.item())
    assert found == pytest.approx(expected)


def test_a_potential_at_the_threshold_fires() -> None:
    spikes, potential = IF("arctan", "hard", True)(torch.tensor([0.999, 1.0, 1.5]), None)
    assert spikes.tolist() == [0, 1, 1]
    assert potential.tolist() == pytest.approx([0.999, 0, 0])


def test_a_soft_reset_keeps_the_excess() -> None:
    _, potential = IF("arctan", "soft", True)(torch.tensor([0.25, 1.5]), None)
    assert potential.tolist() == [0.25, 0.5]


def test_only_an_attached_reset_passes_a_gradient_to_the_spike() -> None:
    def gradient(detach_reset: bool) -> float:
        x = torch.tensor([1.5], requires_grad=True)
        IF("arctan", "soft", detach_reset)(x, None)[1].backward()
        assert x.grad is not None
        return x.grad.item()

    surrogate = SURROGATES["arctan"](torch.tensor([0.5])).item()
    assert gradient(True) == pytest.approx(1)
    assert gradient(False) == pytest.approx(1 - surrogate)


@pytest.mark.parametrize("name", SURROGATES)
def test_surrogates_stand_in_for_a_unit_step(name: str) -> None:
    u = torch.linspace(-400, 400, 800_001, dtype=torch.float64)
    values = SURROGATES[name](u)
    assert values[len(u) // 2] == pytest.approx(1)
    assert torch.allclose(values, values.flip(0))
    step = u[1] - u[0]
    assert values.sum() * step == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("name", SURROGATES)
def test_the_gradient_of_firing_is_the_surrogates(name: str) -> None:
    potential = torch.tensor([0.2, 1.0, 1.7], requires_grad=True)
    Fire.apply(potential, SURROGATES[name]).sum().backward()
    assert potential.grad is not None
    assert torch.allclose(potential.grad, SURROGATES[name](potential.detach() - 1))


@pytest.mark.parametrize("neuron", ["plif", "lif", "if", "relu"])
def test_gradients_reach_every_parameter_through_two_windows(neuron: str) -> None:
    network = small(neuron=neuron)
    _, carried = twice(network, random_spikes(2, 5, 8, 8))
    carried.square().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []
    assert ("stem.neuron.w" in dict(network.named_parameters())) == (neuron == "plif")


def test_the_twin_that_does_not_spike_has_no_memory() -> None:
    first, second = twice(small(neuron="relu").eval(), random_spikes(1, 5, 8, 8))
    assert torch.equal(first, second)


def test_any_size_is_reconstructed() -> None:
    network = small().eval()
    image = network.reconstruct(random_spikes(2, 5, 9, 13), 0.4).image
    assert image.shape == (2, 1, 9, 13)


@pytest.mark.parametrize("window", [4, 6])
def test_another_window_is_refused(window: int) -> None:
    with pytest.raises(WindowError, match=f"5 readouts.*found {window}"):
        small()(random_spikes(1, window, 8, 8))


def test_odd_sides_are_refused() -> None:
    with pytest.raises(InputError, match="multiples of 2, found 7 × 8"):
        small()(random_spikes(1, 5, 7, 8))


@pytest.mark.parametrize(
    ("argument", "value"),
    [("neuron", "lsnn"), ("surrogate", "step"), ("reset", "none"), ("channels", 6)],
)
def test_an_argument_out_of_range_is_named(argument: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"{argument} .*found (the text ')?{value}"):
        small(**{argument: value})


def test_channels_last_gives_the_same_image() -> None:
    network = small().eval()
    spikes = random_spikes(2, 5, 8, 8)
    image = network(spikes).image
    network.to(memory_format=torch.channels_last)
    assert_close_but_for_flips(
        network(spikes.to(memory_format=torch.channels_last)).image, image, 1e-4
    )


def test_autocast_carries_its_state_and_gives_float32() -> None:
    network = small()
    with torch.autocast("cpu", torch.bfloat16):
        image, carried = twice(network, random_spikes(2, 5, 8, 8))
    assert image.dtype == carried.dtype == torch.float32
    carried.mean().backward()
    assert network.stem.conv.weight.grad is not None
    assert network.stem.conv.weight.grad.isfinite().all()


@pytest.mark.slow
def test_compiled_and_exported_networks_give_the_same_image() -> None:
    network = small().eval()
    spikes = random_spikes(2, 5, 16, 12)
    with torch.no_grad():
        image = network(spikes).image
        assert_close_but_for_flips(torch.compile(network)(spikes).image, image, 1e-4)
    exported = torch.export.export(network, (spikes,)).module()
    assert_close_but_for_flips(exported(spikes).image, image, 1e-4)


@pytest.mark.slow
def test_overfits_one_sample() -> None:
    torch.manual_seed(0)
    network = build("model", "ssir", channels=64)
    spikes = load_case("ssir").spikes()[..., :32, :32]
    target = torch.nn.functional.avg_pool2d(spikes.mean(1, keepdim=True), 5, 1, 2)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(400):
        optimizer.zero_grad()
        error = (network(spikes).image - target).square().mean()
        if -10 * error.log10() > 30:  # dB
            return
        error.backward()
        optimizer.step()
    pytest.fail(f"{-10 * error.log10():.1f} dB after 400 steps")
