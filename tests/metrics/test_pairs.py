"""Flicker, warping error and tLPIPS, computed again by hand on small cases."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from spikerec.errors import InputError
from spikerec.metrics import LPIPS, PSNR, TLPIPS, Flicker, Protocol, WarpingError
from spikerec.metrics.pairs import Known, Pair
from spikerec.metrics.warping import estimated_flow
from tests.metrics.test_quality import fetched

SIZE = (40, 56)


def noise(seed: int = 0) -> Tensor:
    return torch.rand(1, *SIZE, generator=torch.Generator().manual_seed(seed))


def smooth() -> Tensor:
    y, x = torch.meshgrid(torch.arange(120.0), torch.arange(160.0), indexing="ij")
    return (0.5 + 0.2 * torch.sin(0.3 * x + 0.1 * y) + 0.2 * torch.cos(0.25 * y - 0.07 * x))[None]


def pair(first: Tensor, second: Tensor, targets: Tensor | None = None, **known: Tensor) -> Pair:
    images = torch.stack((first, second))
    nowhere = torch.zeros(first.shape[1:], dtype=torch.bool)
    facts = Known(steady=images, static=None, static_estimated=nowhere)
    return Pair(images, targets, replace(facts, **known))  # type: ignore[arg-type]


def everywhere() -> Tensor:
    return torch.ones(SIZE, dtype=torch.bool)


def shifted_by(right: float, down: float) -> Tensor:
    return torch.tensor((right, down)).expand(*SIZE, 2)


def test_flicker_is_the_swing_of_a_periodic_reconstruction_on_static_pixels_alone() -> None:
    static = everywhere()
    static[:, :20] = False
    first = noise() * 0.5
    second = first + 3 / 255
    second[..., :20] += 0.4  # something moves there
    value = Flicker().score(pair(first, second, static=static))
    assert value.item() == pytest.approx(3, abs=1e-4)
    assert Flicker().score(pair(first, first, static=static)).item() == 0
    apart = pair(first, second, static_estimated=static)
    assert Flicker("spikes").score(apart).item() == pytest.approx(3, abs=1e-4)


def test_flicker_has_no_value_where_too_little_is_static() -> None:
    few = torch.zeros(SIZE, dtype=torch.bool)
    few[0, :22] = True  # of 2,240 pixels
    assert Flicker().score(pair(noise(0), noise(1), static=few)).isnan()
    few[0, 22] = True
    assert Flicker().score(pair(noise(0), noise(1), static=few)).isfinite()
    assert Flicker().score(pair(noise(0), noise(1))).isnan()


@pytest.mark.parametrize(("right", "down"), [(3, -2), (0, 0), (-7, 5)])
def test_a_translation_by_whole_pixels_has_no_warping_error(right: int, down: int) -> None:
    first = noise()
    second = first.roll((down, right), (1, 2))
    moving = pair(first, second, displacement=shifted_by(right, down), is_kept=everywhere())
    assert WarpingError().score(moving).item() == pytest.approx(0, abs=1e-4)


def test_warping_error_is_the_mean_change_along_the_motion_over_what_is_kept() -> None:
    flow = torch.from_numpy(np.random.default_rng(0).integers(-3, 4, (*SIZE, 2))).float()
    is_kept = torch.rand(SIZE, generator=torch.Generator().manual_seed(2)) < 0.6
    first, second = noise(0), noise(1)
    found = WarpingError().score(pair(first, second, displacement=flow, is_kept=is_kept))
    changes = []
    for row in range(SIZE[0]):
        for column in range(SIZE[1]):
            right, down = flow[row, column].int().tolist()
            y, x = row + down, column + right
            if is_kept[row, column] and 2 <= y < SIZE[0] - 2 and 2 <= x < SIZE[1] - 2:
                changes.append(abs(second[0, y, x] - first[0, row, column]).item())
    assert found.item() == pytest.approx(255 * float(np.mean(changes)), rel=1e-6)


def test_between_pixels_the_image_is_read_by_cubic_interpolation() -> None:
    y, x = torch.meshgrid(torch.arange(SIZE[0]), torch.arange(SIZE[1]), indexing="ij")
    first, second = (0.3 + 0.01 * x + 0.002 * y)[None], (0.3 + 0.01 * (x - 0.5) + 0.002 * y)[None]
    moving = pair(first, second, displacement=shifted_by(0.5, 0), is_kept=everywhere())
    assert WarpingError().score(moving).item() == pytest.approx(0, abs=1e-3)


def test_warping_error_has_no_value_without_motion_or_where_little_is_kept() -> None:
    assert WarpingError().score(pair(noise(0), noise(1))).isnan()
    little = torch.zeros(SIZE, dtype=torch.bool)
    little[:4] = True
    hidden = pair(noise(0), noise(1), displacement=shifted_by(0, 0), is_kept=little)
    assert WarpingError().score(hidden).isnan()


def test_motion_is_estimated_from_the_steady_images_and_masked_where_it_is_not_sure() -> None:
    pytest.importorskip("cv2")
    first = smooth()
    second = first.roll((2, 3), (1, 2))
    flow, is_kept = estimated_flow(torch.stack((first, second)))
    inner = (slice(20, -20), slice(20, -20))
    expected = torch.tensor((3.0, 2.0)).expand_as(flow[inner])
    torch.testing.assert_close(flow[inner], expected, atol=0.1, rtol=0)
    assert is_kept[inner].float().mean() > 0.95
    still = pair(noise(0), noise(1), steady=torch.stack((first, second))[..., :40, :56])
    assert WarpingError("estimated").score(still).item() > 20  # of the images, not the steady ones


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of lpips, which is loaded whole
def test_tlpips_is_the_difference_of_two_changes() -> None:
    fetched("alexnet")
    targets = torch.stack((noise(0), noise(1)))
    assert TLPIPS().score(pair(*targets, targets=targets)).item() == 0
    frozen = pair(noise(2), noise(2), targets=targets)
    assert TLPIPS().score(frozen) == pytest.approx(
        LPIPS().score(targets[:1], targets[1:]).item(), rel=1e-5
    )
    assert TLPIPS().score(pair(noise(0), noise(1))).isnan()  # no true images


def test_a_pair_is_two_images() -> None:
    one = Pair(noise()[None], None, pair(noise(), noise()).known)
    with pytest.raises(InputError, match=r"flicker takes two images \(2, 1, H, W\), found \(1, 1"):
        Flicker().score(one)


def test_images_too_small_for_a_motion_to_be_estimated_are_refused() -> None:
    pytest.importorskip("cv2")
    small = pair(noise()[:, :15, :40], noise(1)[:, :15, :40])
    with pytest.raises(InputError, match="warping_error needs images of at least 16 × 16 pixels"):
        WarpingError("estimated").score(small)
    own = Protocol("own", {"error": partial(WarpingError, "estimated")})
    assert own.score_pair(small.images, None, small.known)["error"].isnan()
    least = pair(noise()[:, :16, :16], noise(1)[:, :16, :16])
    WarpingError("estimated").score(least)


def test_means_count_pairs_that_have_a_value() -> None:
    metric = Flicker()
    first = torch.zeros(1, *SIZE)
    for levels in (1, 3):
        metric.update(pair(first, first + levels / 255, static=everywhere()))
    metric.update(pair(first, first))
    assert metric.compute().item() == pytest.approx(2, abs=1e-5)


def test_a_protocol_prepares_both_images_and_what_is_known_of_them() -> None:
    own = Protocol("own", {"flicker": partial(Flicker), "psnr": PSNR}, border=4)
    assert own.scores_videos
    assert not Protocol("images", {"psnr": PSNR}).scores_videos
    first, second = torch.full((1, *SIZE), 0.9), torch.full((1, *SIZE), 1.4)  # clipped to white
    static = everywhere()
    static[:4] = static[-4:] = static[:, :4] = static[:, -4:] = False
    known = pair(first, second, static=static).known
    found = own.score_pair(torch.stack((first, second)), None, known)
    assert found["flicker"].item() == pytest.approx(25.5, abs=1e-3)
    assert set(found) == {"flicker"}
    assert set(own.score(first[None], first[None])) == {"psnr"}
    assert own.higher_is_better == {"flicker": False, "psnr": True}
