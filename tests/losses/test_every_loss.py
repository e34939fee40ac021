"""Laws of every loss in conf/loss, on every network whose outputs it can read."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikerec.configs import build, config_names, load_config
from spikerec.errors import ConfigError, WeightsNotFoundError
from spikerec.losses import Loss, Term
from spikerec.models import Network, Reconstruction
from spikerec.training.rehearsal import rehearse

LOSSES = config_names("loss")
MODELS = [n for n in config_names("model") if any(True for _ in build("model", n).parameters())]

#: Sides that each loss takes and STIR's multiple divides: MS-SSIM at 4 scales needs the larger.
SIDES = {"ms_ssim": 96, "l1_ms_ssim": 96}
SMALL_SIDE = 32

#: Losses of a target that are not 0 where the image is the target: a smooth L1 has a floor.
NOT_ZERO_AT_TARGET = {"charbonnier"}


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@cache
def attempt(name: str) -> Loss | WeightsNotFoundError:
    try:
        loss: Loss = build("loss", name)
    except WeightsNotFoundError as error:
        return error
    return loss


def built(name: str) -> Loss:
    """The loss; the test skips, with the reason, where it needs weights that are not here."""
    loss = attempt(name)
    if isinstance(loss, WeightsNotFoundError):
        pytest.skip(str(loss))
    return loss


def needs_target(loss: Loss) -> bool:
    return any(term.needs_target for term in loss.named_terms().values())


@cache
def network(name: str) -> Network:
    built: Network = build("model", name)
    return built.train()


@cache
def outputs(name: str, side: int) -> tuple[Reconstruction, dict[str, Any]]:
    """Values of the kinds and shapes that a network returns in training, and a batch.

    The network runs where tensors have shapes and no values; the values are drawn here, below 0 and
    above 1 too, as those of an untrained network are.
    """
    torch.manual_seed(0)
    window = network(name).window
    spikes = (torch.rand(1, window, side, side) < 0.3).to(torch.uint8)
    shell = copy.deepcopy(network(name)).to("meta")
    with torch.no_grad():
        given = shell.reconstruct(spikes.to("meta"), 0.6, validate=False)
    batch = {
        "spikes": spikes,
        "light_scale": torch.tensor([0.6]),
        "target": torch.rand(1, 1, side, side),
    }
    extras = {key: drawn(value) for key, value in given.extras.items()}
    return Reconstruction(drawn(given.image), extras), batch


def drawn(value: Any) -> Any:
    """Nested tuples of shapes, filled with values around 0.5."""
    if isinstance(value, Tensor):
        return 0.5 + 0.5 * torch.randn(value.shape)
    return tuple(drawn(item) for item in value)


def as_leaves(value: Any) -> Any:
    """A copy of nested tuples of tensors that asks for gradients."""
    if isinstance(value, Tensor):
        return value.clone().requires_grad_()
    return tuple(as_leaves(item) for item in value)


def leaves(value: Any) -> list[Tensor]:
    return [value] if isinstance(value, Tensor) else [x for item in value for x in leaves(item)]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", LOSSES)
def test_gradient_is_finite_or_the_network_is_refused(name: str, model: str) -> None:
    loss = built(name)
    needs = {extra for term in loss.named_terms().values() for extra in term.needs}
    if needs - set(network(model).provides):
        with pytest.raises(ConfigError, match=r"terms\.\w+ needs \w+ of the network"):
            loss.check(network(model), has_target=True)
        return
    loss.check(network(model), has_target=True)
    given, batch = outputs(model, SIDES.get(name, SMALL_SIDE))
    image = given.image.clone().requires_grad_()
    extras = {key: as_leaves(value) for key, value in given.extras.items()}
    total, values = loss(Reconstruction(image, extras), loss.hide(batch))
    total.backward()
    assert total.isfinite()
    assert list(values) == list(loss.named_terms())
    gradients = [x.grad for x in [image, *leaves(list(extras.values()))] if x.grad is not None]
    assert gradients, "the loss does not depend on what the network gives"
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("model", MODELS)
def test_rehearsal_leaves_the_network_as_it_is(model: str) -> None:
    before = copy.deepcopy(network(model).state_dict())
    rehearse(network(model), built("l1"), (SMALL_SIDE, SMALL_SIDE))
    after = network(model).state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("name", LOSSES)
def test_rehearsal_passes_where_training_would(name: str) -> None:
    loss = built(name)
    needs = {extra for term in loss.named_terms().values() for extra in term.needs}
    model = next(m for m in MODELS if needs <= {*network(m).provides})
    side = SIDES.get(name, SMALL_SIDE)
    rehearse(network(model), loss, (side, side))


@pytest.mark.parametrize("name", LOSSES)
def test_true_image_costs_nothing_and_has_a_finite_gradient(name: str) -> None:
    loss = built(name)
    if name in NOT_ZERO_AT_TARGET or not needs_target(loss):
        pytest.skip("not a distance to the target")
    side = SIDES.get(name, SMALL_SIDE)
    target = torch.rand(1, 1, side, side)
    image = target.clone().requires_grad_()
    pyramid = [image]
    for _ in range(4):
        pyramid.append(nn.functional.avg_pool2d(pyramid[-1], 2))
    extras = {
        "pyramid": tuple(pyramid),
        "estimates": (image.expand(-1, 4, -1, -1),) * 5,
        "sides": (image, image),
    }
    total, _ = loss(Reconstruction(image, extras), {"target": target})
    total.backward()
    torch.testing.assert_close(total.detach(), torch.zeros(()), atol=2e-6, rtol=0)
    assert image.grad is not None
    assert image.grad.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("switch", [{"weight": 0.0}, None])
def test_any_term_can_be_dropped_and_then_needs_no_weights(
    name: str, switch: dict[str, float] | None, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPIKEREC_WEIGHTS", str(tmp_path))
    terms = load_config("loss", name)["terms"]
    for dropped in terms:
        changed = {
            key: (None if switch is None else node | switch) if key == dropped else node
            for key, node in terms.items()
        }
        rest = [key for key in terms if key != dropped]
        if not rest:
            with pytest.raises(ConfigError, match="no term with a weight above 0"):
                build("loss", name, terms=changed)
            continue
        try:
            loss = build("loss", name, terms=changed)
        except WeightsNotFoundError:
            assert {"perceptual", "lpips"} & set(rest)  # another term's weights
            continue
        assert list(loss.named_terms()) == rest


@pytest.mark.parametrize("name", LOSSES)
def test_data_without_images_are_refused_unless_no_term_needs_them(name: str) -> None:
    loss = built(name)
    needy = {extra for term in loss.named_terms().values() for extra in term.needs}
    model = next(m for m in MODELS if needy <= set(network(m).provides))
    if not needs_target(loss):
        loss.check(network(model), has_target=False)
        return
    with pytest.raises(ConfigError, match="needs true images, but the training data have none"):
        loss.check(network(model), has_target=False)


@pytest.mark.parametrize("name", ["l1_perceptual", "stir", "ssir", "stir_vgg16", "l1_lpips"])
def test_missing_weights_are_named_with_the_command_that_gets_them(
    name: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPIKEREC_WEIGHTS", str(tmp_path))
    trunk = "vgg16" if name in ("stir_vgg16", "l1_lpips") else "vgg19"
    with pytest.raises(WeightsNotFoundError, match=rf"weights '{trunk}'.*spikerec weights"):
        build("loss", name)


class Mine(Term):
    """A term of a user's that returns what a function makes of the image."""

    def __init__(self, make: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.make = make

    def forward(self, reconstruction: Reconstruction, batch: Mapping[str, Any]) -> Tensor:
        del batch
        value: Tensor = self.make(reconstruction.image)
        return value


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda image: image.mean((1, 2, 3)), r"a Tensor \(1,\) of torch.float32: return the mean"),
        (lambda image: image.mean().item(), "0.0"),
        (lambda image: image.mean().detach().numpy(), r"a ndarray \(\) of float32"),
        (lambda _: None, "None"),
        (lambda _: "x", "the text 'x'"),
        (lambda image: image.mean().detach(), "a tensor that has no gradient: compute it from"),
        (lambda _: torch.tensor(1.0, requires_grad=True), "a tensor that has no gradient"),
    ],
)
def test_a_value_that_nothing_can_be_learnt_from_is_refused_by_the_terms_name(
    make: Callable[[Tensor], Any], found: str
) -> None:
    rehearse(network("bsf"), Loss(mine=Mine(lambda image: image.mean())), (32, 32))
    told = rf"^terms.mine: Mine must return a floating scalar .* output, found {found}"
    with pytest.raises(ConfigError, match=told):
        rehearse(network("bsf"), Loss(mine=Mine(make)), (32, 32))


def test_a_value_without_gradient_is_one_where_nothing_learns() -> None:
    constant, images = Loss(mine=Mine(lambda _: torch.tensor(1.0))), torch.zeros(1, 1, 4, 4)
    assert constant(Reconstruction(images, {}), {})[0] == 1
    with torch.no_grad():
        assert constant(Reconstruction(images.requires_grad_(), {}), {})[0] == 1
