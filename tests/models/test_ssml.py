from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import spikerec
from spikerec.configs import build
from spikerec.errors import ConfigError, InputError, WeightsError
from spikerec.losses import Loss
from spikerec.models.ssml import SSML, FourWay, squared, turned, turned_back
from spikerec.spikes.representations import inverse_interval
from spikerec.weights import import_weights, load_published, read_state, save_state
from tests.golden_cases import GoldenCase, fill, load_case

#: Choices of conf/model and their golden cases.
CASES = {"ssml": "ssml_fin3g", "ssml_lite": "ssml_lite"}


@pytest.fixture(scope="module", params=CASES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def case(name: str) -> GoldenCase:
    return load_case(CASES[name])


@pytest.fixture
def published(shared: Path) -> Path:
    return shared / "weights" / "nbsn_83000_simple.pth"


def random_spikes(*shape: int) -> Tensor:
    return (torch.rand(shape) < 0.3).float()


def in_double(name: str, case: GoldenCase) -> SSML:
    network = load_published(name, case.state()).double()
    assert isinstance(network, SSML)
    return network


def test_images_are_the_published_networks(name: str, case: GoldenCase) -> None:
    network = load_published(name, case.state())
    assert isinstance(network, SSML)
    teacher = network.teacher
    assert teacher is not None
    if name == "ssml":
        teacher.border = "reflect"  # as published, which leaks
    odd = fill.fill_spikes((1, 41, 30, 45), 7)
    with torch.no_grad():
        for prefix, spikes in (("", case.spikes()), ("odd_", odd)):
            image, blind = network(spikes).image, teacher(spikes)
            assert (image - case.output(f"{prefix}image")).abs().max() <= 1e-4
            assert (blind - case.output(f"{prefix}bsn_image")).abs().max() <= 1e-4


def test_the_coarsest_features_are_the_published_networks(name: str, case: GoldenCase) -> None:
    network = load_published(name, case.state())
    unet = network.student.unet if name == "ssml" else network.student
    seen: list[Tensor] = []
    unet.enc3.register_forward_hook(lambda *_args: seen.append(_args[2]))
    with torch.no_grad():
        network(case.spikes())
    assert (seen[0][:1] - case.output("bottleneck")).abs().max() <= 1e-4


def test_published_sizes(name: str, case: GoldenCase) -> None:
    unused = {"ssml": 2 * 7 * 7 + 16 * 4 + 4 + 4 * 16 + 16, "ssml_lite": 0}[name]
    size = sum(p.numel() for p in build("model", name).parameters())
    assert size == case.facts["parameters"] - unused


def test_losses_and_gradients_are_the_published_ones(name: str, case: GoldenCase) -> None:
    network = load_published(name, case.state()).train()
    spikes = case.spikes("train_input")
    batch = {"spikes": spikes, "light_scale": torch.ones(len(spikes))}
    loss: Loss = build("loss", "ssml")
    reconstruction = network.reconstruct(spikes, 1.0)
    total, values = loss(reconstruction, batch)
    assert values["blind"] == pytest.approx(float(case.output("train_bsn_tfi")), rel=1e-3)
    assert values["mutual"] == pytest.approx(float(case.output("train_mutual")), rel=1e-3)
    total.backward()
    parameters = dict(network.named_parameters())
    names = [one for one in case.outputs if one.startswith("grad_")]
    assert len(names) >= 4
    for one in names:
        (own,) = SSML.from_published({one.removeprefix("grad_"): torch.zeros(())})
        expected = case.output(one)
        tolerance = case.facts["outputs"][one]["rtol_of_max"] * expected.abs().max()
        assert (parameters[own].grad - expected).abs().max() <= tolerance, one


def test_the_loss_on_the_mean_is_the_published_one(name: str, case: GoldenCase) -> None:
    network = load_published(name, case.state()).train()
    spikes = case.spikes("train_input")
    batch = {"spikes": spikes, "light_scale": torch.ones(len(spikes))}
    with torch.no_grad():
        _, values = build("loss", "ssml_mean")(network.reconstruct(spikes, 1.0), batch)
    assert values["blind"] == pytest.approx(float(case.output("train_bsn_tfp")), rel=1e-3)


def test_the_label_is_the_published_one() -> None:
    case = load_case("ssml_fin3g")
    label = inverse_interval(case.spikes(), 20, 12)
    torch.testing.assert_close(label, case.output("tfi12"), rtol=0, atol=1e-7)


@pytest.mark.parametrize("size", [(16, 16), (16, 24), (21, 16)])
def test_the_teacher_does_not_see_the_pixel_it_predicts(
    name: str, case: GoldenCase, size: tuple[int, int]
) -> None:
    teacher = in_double(name, case).teacher
    assert teacher is not None
    spikes = random_spikes(1, 41, *size).double()
    height, width = size
    with torch.no_grad():
        image = teacher(spikes)
        for row, column in [(0, 0), (height - 1, width - 1), (height // 2, 5), (1, width - 2)]:
            changed = spikes.clone()
            changed[..., row, column] = 1 - changed[..., row, column]
            moved = (teacher(changed) - image).abs()[0, 0]
            assert moved[row, column] == 0
            assert moved.max() > 0.01


def test_the_student_sees_the_pixel_it_predicts(name: str, case: GoldenCase) -> None:
    student = in_double(name, case).student
    spikes = random_spikes(1, 41, 16, 16).double()
    changed = spikes.clone()
    changed[..., 8, 8] = 1 - changed[..., 8, 8]
    with torch.no_grad():
        assert (student(changed) - student(spikes)).abs()[0, 0, 8, 8] > 0.01


def test_a_reflected_border_shows_the_pixel() -> None:
    teacher = in_double("ssml", load_case("ssml_fin3g")).teacher
    assert teacher is not None
    teacher.border = "reflect"
    spikes = random_spikes(1, 41, 16, 24).double()
    changed = spikes.clone()
    changed[..., 1, 8] = 1 - changed[..., 1, 8]
    with torch.no_grad():
        assert (teacher(changed) - teacher(spikes)).abs()[0, 0, 1, 8] > 0


def test_published_student_alone_gives_the_published_images(published: Path) -> None:
    case = load_case("ssml_lite_official")
    network = load_published("ssml_lite", read_state(published))
    assert sum(p.numel() for p in network.parameters()) == case.facts["parameters"]
    spikes = case.spikes()
    sparse = spikes.clone()
    sparse[:, 1::2] = 0
    with torch.no_grad():
        assert (network(spikes).image - case.output("image")).abs().max() <= 1e-4
        assert (network(sparse).image - case.output("image_sparse")).abs().max() <= 1e-4


def test_published_student_imports_by_either_word(published: Path, tmp_path: Path) -> None:
    first = import_weights(published, "ssml_lite", tmp_path / "a.safetensors")
    second = import_weights(published, "ssml", tmp_path / "b.safetensors", form="lite")
    assert first["digest"] == second["digest"]
    network = spikerec.load("ssml_lite", tmp_path / "a.safetensors")
    assert isinstance(network, SSML)
    assert network.teacher is None
    assert sum(p.numel() for p in network.parameters()) == 904_176


def test_weights_of_the_other_form_are_told_apart() -> None:
    for name, case in (("ssml", "ssml_lite"), ("ssml_lite", "ssml_fin3g")):
        with pytest.raises(WeightsError, match=r"weights of SSML's form .* ssml_lite for lite"):
            load_published(name, load_case(case).state())


def test_a_student_without_teacher_cannot_learn_by_its_loss(tmp_path: Path) -> None:
    whole = build("model", "ssml_lite")
    state = {k: v for k, v in whole.state_dict().items() if k.startswith("student.")}
    save_state(tmp_path / "student.safetensors", state, {})
    network = spikerec.load("ssml_lite", tmp_path / "student.safetensors").train()
    assert set(network.reconstruct(random_spikes(1, 41, 8, 8), 1.0).extras) == set()
    with pytest.raises(ConfigError, match=r"terms\.blind needs blind of the network"):
        build("loss", "ssml").check(network, has_target=False)


def test_half_a_teacher_is_reported() -> None:
    state = load_case("ssml_lite").state()
    del state["bsn.nin_A.weight"]
    with pytest.raises(WeightsError, match=r"1 missing \(teacher\.head\.0\.weight\)"):
        load_published("ssml_lite", state)


def test_only_training_computes_the_teacher(name: str) -> None:
    network = build("model", name)
    spikes = random_spikes(1, 41, 8, 8)
    assert set(network.train().reconstruct(spikes, 1.0).extras) == {"blind"}
    network.teacher.forward = None
    network.eval().reconstruct(spikes, 1.0)


def test_turning_back_undoes_turning() -> None:
    x = torch.rand(2, 3, 5, 5)
    assert torch.equal(turned_back(turned(x)), x.repeat(1, 4, 1, 1))
    assert turned(x)[2, 0, 0, -1] == x[0, 0, 0, 0]  # a quarter turn clockwise


@pytest.mark.parametrize("size", [(4, 6), (6, 4), (3, 20), (20, 3), (5, 5), (1, 4)])
def test_squares_hold_the_picture(size: tuple[int, int]) -> None:
    x = torch.rand(1, 1, *size)
    side, top, left = max(size), max(size[1] - size[0], 0) // 2, max(size[0] - size[1], 0) // 2
    for border in ("zeros", "reflect"):
        square = squared(x, border)  # type: ignore[arg-type]
        assert square.shape[-2:] == (side, side)
        assert torch.equal(square[..., top : top + size[0], left : left + size[1]], x)


def test_reflection_is_pytorchs() -> None:
    x = torch.rand(1, 2, 7, 12)
    expected = torch.nn.functional.pad(x, (0, 0, 2, 3), "reflect")
    assert torch.equal(squared(x, "reflect"), expected)


def test_wide_pictures_are_reconstructed() -> None:
    network = build("model", "ssml").eval()
    with torch.no_grad():
        assert network.reconstruct(random_spikes(1, 41, 8, 40), 1.0).image.shape == (1, 1, 8, 40)


def test_pictures_too_small_for_the_poolings_are_refused() -> None:
    with pytest.raises(InputError, match="at least 4 pixels, found 3 × 8"):
        build("model", "ssml_lite")(random_spikes(1, 41, 3, 8))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"form": "fin9g"}, "form must be fin3g or lite"), ({"window": 25}, "at least 27, found 25")],
)
def test_an_argument_out_of_range_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SSML(**arguments)


def test_a_blind_network_of_a_square_is_equal_under_either_border() -> None:
    spikes = random_spikes(1, 41, 16, 16)
    network = FourWay(41, motion=True, is_blind=True, border="zeros")
    with torch.no_grad():
        image = network(spikes)
        network.border = "reflect"
        assert torch.equal(network(spikes), image)
