"""Blind pixels: hidden from the network, and held against their own rate."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from spikerec.errors import ConfigError, InputError
from spikerec.losses.blind import BlindMean, BlindPixels, Mutual
from spikerec.models.base import Reconstruction


def batch_of(spikes: Tensor, light_scale: float = 0.5) -> dict[str, Any]:
    return {"spikes": spikes, "light_scale": torch.full((len(spikes),), light_scale)}


def random_spikes(*shape: int) -> Tensor:
    return (torch.rand(shape) < 0.3).to(torch.uint8)


def each_its_place(height: int, width: int) -> Tensor:
    """A window whose pixels fire as the bits of their own index say."""
    index = torch.arange(height * width).view(height, width)
    return torch.stack([(index >> bit) & 1 for bit in range(41)])[None].to(torch.uint8)


def test_hidden_pixels_show_another_pixel_within_reach() -> None:
    spikes = each_its_place(16, 20)
    hidden = BlindPixels(share=0.5, reach=2).hide(batch_of(spikes))
    bits = 1 << torch.arange(41)
    source = (hidden["spikes"][0].long() * bits[:, None, None]).sum(0)
    own = torch.arange(16 * 20).view(16, 20)
    is_hidden = hidden["hidden"][0, 0]
    assert torch.equal(source[~is_hidden], own[~is_hidden])
    assert (source[is_hidden] != own[is_hidden]).all()
    assert ((source // 20 - own // 20).abs() <= 2).all()
    assert ((source % 20 - own % 20).abs() <= 2).all()


def test_the_share_is_hidden_and_drawn_anew_in_training_alone() -> None:
    term, batch = BlindPixels(share=0.1), batch_of(random_spikes(1, 41, 100, 100))
    first, second = (term.train().hide(batch)["hidden"] for _ in range(2))
    assert first.float().mean() == pytest.approx(0.1, abs=0.02)
    assert not torch.equal(first, second)
    first, second = (term.eval().hide(batch)["hidden"] for _ in range(2))
    assert torch.equal(first, second)


def test_only_hidden_pixels_count_and_their_own_rate_is_right() -> None:
    term = BlindPixels()
    batch = term.hide(batch_of(random_spikes(2, 61, 12, 12)))
    image = batch["label"] / 0.5
    assert term(Reconstruction(image), batch) == pytest.approx(0, abs=1e-10)
    elsewhere = image + 3 * ~batch["hidden"]
    assert term(Reconstruction(elsewhere), batch) == pytest.approx(0, abs=1e-10)
    assert term(Reconstruction(image + 3 * batch["hidden"]), batch) == pytest.approx(9)


def test_the_label_of_an_even_rhythm_is_its_rate() -> None:
    spikes = torch.zeros(1, 61, 4, 4, dtype=torch.uint8)
    for phase in range(4):
        spikes[0, phase::4, phase] = 1  # each row in another phase
    label = BlindPixels(length=41).hide(batch_of(spikes))["label"]
    torch.testing.assert_close(label, torch.full_like(label, 0.25), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"share": 0.0}, r"share must be in \(0, 1\), found 0"),
        ({"reach": 0}, "reach must be at least 1 pixel, found 0"),
        ({"length": 20}, "length must be odd and at least 1, found 20"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BlindPixels(**arguments)


def test_windows_and_pictures_too_small_are_refused() -> None:
    with pytest.raises(InputError, match="look at 41 readouts, the network's window has 21"):
        BlindPixels().hide(batch_of(random_spikes(1, 21, 8, 8)))
    with pytest.raises(InputError, match="larger than the reach of 2 pixels, found 2 × 8"):
        BlindPixels().hide(batch_of(random_spikes(1, 41, 2, 8)))


def test_a_mean_beyond_the_window_is_refused() -> None:
    given = Reconstruction(torch.zeros(1, 1, 4, 4), {"blind": torch.zeros(1, 1, 4, 4)})
    with pytest.raises(InputError, match="looks at 43 readouts, the network's window has 41"):
        BlindMean(43)(given, batch_of(random_spikes(1, 41, 4, 4)))


@pytest.mark.parametrize("detach", [True, False])
def test_a_detached_image_teaches_nothing_to_the_blind_one(detach: bool) -> None:
    image, blind = (torch.rand(1, 1, 4, 4, requires_grad=True) for _ in range(2))
    Mutual(detach=detach)(Reconstruction(image, {"blind": blind}), {}).backward()
    assert image.grad is not None
    assert (blind.grad is None) == detach
