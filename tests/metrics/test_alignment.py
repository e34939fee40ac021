from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from spikerec.configs import build
from spikerec.data.real import Real
from spikerec.errors import ConfigError, InputError
from spikerec.metrics import PSNR, Protocol
from spikerec.metrics.alignment import Alignment, align
from spikerec.results import ProtocolInfo
from spikerec.results.evaluation import evaluate
from tests.fakes import fake_real
from tests.results.records import make_record

KINDS: list[Alignment] = ["gain", "affine", "matched", "equalised"]


def pair(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two images and their targets, which differ in brightness, contrast and noise."""
    random = torch.Generator().manual_seed(seed)
    target = torch.rand(2, 1, 24, 30, generator=random)
    noise = 0.05 * torch.randn(target.shape, generator=random)
    return 0.4 * target + 0.1 + noise, target


@pytest.mark.parametrize("index", [0, 1])
def test_gain_and_affine_are_least_squares_of_each_image(index: int) -> None:
    image, target = pair()
    x, y = (one[index].double().flatten().numpy() for one in (image, target))
    (gain,) = np.linalg.lstsq(x[:, None], y, rcond=None)[0]
    slope, offset = np.polyfit(x, y, 1)
    for kind, expected in (("gain", gain * x), ("affine", slope * x + offset)):
        aligned, same = align(image, target, kind)
        assert aligned[index].flatten().numpy() == pytest.approx(expected, abs=1e-6)
        assert same is target


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_that_is_right_but_for_its_brightness_is_right(kind: Alignment) -> None:
    target = pair()[1]
    image, target = align(0.3 * target, target, kind)
    assert target is not None
    torch.testing.assert_close(image, target, atol=5e-3, rtol=0)


def test_an_inverted_image_is_not_turned_round() -> None:
    _, target = pair()
    best_constant = target.mean((1, 2, 3), keepdim=True).expand_as(target)
    torch.testing.assert_close(align(1 - target, target, "affine")[0], best_constant)
    assert (align(-target, target, "gain")[0] == 0).all()


def test_an_equalised_image_is_the_same_after_any_stretch() -> None:
    image = pair()[0].clamp(0, 1)
    one, _ = align(image, None, "equalised")
    other, _ = align(0.5 * image + 0.2, None, "equalised")
    torch.testing.assert_close(one, other, atol=1e-2, rtol=0)
    assert one.quantile(torch.tensor([0.25, 0.5, 0.75])).tolist() == pytest.approx(
        [0.25, 0.5, 0.75], abs=0.02
    )


def test_a_matched_image_has_the_grey_levels_of_its_target() -> None:
    image, target = pair()
    matched, _ = align(image, target, "matched")
    for one, true in zip(matched, target, strict=True):
        torch.testing.assert_close(one.flatten().sort()[0], true.flatten().sort()[0])


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_without_contrast_stays_one(kind: Alignment) -> None:
    for level in (0.0, 0.5):
        aligned, _ = align(torch.full((1, 1, 8, 8), level), torch.rand(1, 1, 8, 8), kind)
        assert aligned.isfinite().all()
        assert aligned.std() < 1e-6


def test_the_border_is_left_out_of_the_fit_and_clipping_comes_after_it() -> None:
    target = pair()[1]
    image = 3 * target
    image[..., 0] = 100.0
    protocol = Protocol("p", {"psnr": PSNR}, border=1, alignment="gain")
    prepared, cut = protocol.prepare(image, target)
    assert cut is not None
    torch.testing.assert_close(prepared, cut)


def test_an_alignment_is_a_part_of_the_definition() -> None:
    protocols = {
        kind: Protocol("p", {"psnr": PSNR}, alignment=kind) for kind in ("none", "gain", "affine")
    }
    assert "alignment" not in protocols["none"].describe()
    assert "alignment=gain" in repr(protocols["gain"])
    assert protocols["gain"].only(["psnr"]).digest == protocols["gain"].digest
    record = make_record()
    definitions = {
        replace(record, protocol=ProtocolInfo("p", one.digest, one.describe())).definition("psnr")
        for one in protocols.values()
    }
    assert len({one.digest for one in definitions}) == 3
    assert sum("alignment gain" in one.text for one in definitions) == 1


@pytest.mark.parametrize("kind", ["gain", "affine", "matched"])
def test_without_a_true_image_there_is_nothing_to_align_with(
    kind: Alignment, tmp_path: Path
) -> None:
    protocol = Protocol("p", {"psnr": PSNR}, alignment=kind)
    with pytest.raises(InputError, match=f"alignment={kind} fits each image to its true one"):
        protocol.score(pair()[0])
    fake_real(tmp_path / "real")
    with pytest.raises(ConfigError, match=r"protocol p aligns each image .* real has no true"):
        evaluate(build("model", "tfp", window=11), Real(tmp_path / "real"), protocol)
