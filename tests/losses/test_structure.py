"""SSIM and MS-SSIM against references, edges and smoothness against laws."""

from __future__ import annotations

import pytest
import torch
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from spikerec import metrics
from spikerec.errors import ConfigError, InputError
from spikerec.losses.base import Term
from spikerec.losses.structure import SSIM, Edges, MultiScaleSSIM, TotalVariation
from spikerec.models.base import Reconstruction


def value(term: Term, image: torch.Tensor, target: torch.Tensor) -> float:
    return float(term(Reconstruction(image), {"target": target}))


def test_ssim_is_one_minus_the_metric() -> None:
    target = torch.rand(2, 1, 20, 31)
    image = (target + 0.2 * torch.randn_like(target)).clamp(0, 1)
    expected = 1 - metrics.SSIM().score(image, target).mean()
    assert value(SSIM(), image, target) == pytest.approx(float(expected), abs=1e-5)


def test_five_scales_are_those_of_torchmetrics() -> None:
    target = torch.rand(2, 1, 180, 192)
    image = (target + 0.3 * torch.randn_like(target)).clamp(0, 1)
    reference = multiscale_structural_similarity_index_measure(image, target, data_range=1.0)
    # Theirs takes the coarsest SSIM over a mirrored border too, ours where the window fits.
    assert value(MultiScaleSSIM(5), image, target) == pytest.approx(1 - float(reference), abs=1e-3)


def test_one_scale_is_ssim() -> None:
    target = torch.rand(1, 1, 16, 16)
    image = (target + 0.1 * torch.randn_like(target)).clamp(0, 1)
    assert value(MultiScaleSSIM(1), image, target) == pytest.approx(value(SSIM(), image, target))


def test_opposite_images_leave_a_finite_gradient() -> None:
    target = torch.rand(1, 1, 48, 48)
    image = (1 - target).requires_grad_()
    MultiScaleSSIM(3)(Reconstruction(image), {"target": target}).backward()
    assert image.grad is not None
    assert image.grad.isfinite().all()


@pytest.mark.parametrize(("term", "least"), [(SSIM(), 11), (MultiScaleSSIM(3), 44)])
def test_small_crops_are_refused_with_the_size_that_would_do(term: Term, least: int) -> None:
    small = torch.rand(1, 1, least - 1, least)
    with pytest.raises(InputError, match=f"at least {least} × {least} .*enlarge the crop"):
        value(term, small, small)


def test_six_scales_are_refused() -> None:
    with pytest.raises(ConfigError, match="1 to 5, found 6"):
        MultiScaleSSIM(6)


def test_edges_and_smoothness_do_not_see_brightness() -> None:
    target = torch.rand(1, 1, 8, 8)
    assert value(Edges(), target + 0.3, target) == pytest.approx(0, abs=1e-6)
    assert value(TotalVariation(), torch.full((1, 1, 8, 8), 0.7), target) == 0


def test_variation_of_a_ramp_is_its_slope() -> None:
    ramp = torch.arange(8.0).div(10).expand(1, 1, 8, 8)
    assert value(TotalVariation(), ramp, ramp) == pytest.approx(0.1)
    assert value(Edges(), ramp, torch.zeros_like(ramp)) == pytest.approx(0.1)
