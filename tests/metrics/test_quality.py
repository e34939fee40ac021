"""PSNR and SSIM against independent float64 references, and the laws of every metric."""

import math
import pickle  # noqa: TID251 (what DDP's spawn does to a metric)
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from spikerec import weights
from spikerec.errors import InputError, WeightsNotFoundError
from spikerec.metrics import BRISQUE, LPIPS, NIQE, PSNR, SSIM, ImageMetric


def pair(batch: int = 3, height: int = 40, width: int = 56) -> tuple[Tensor, Tensor]:
    """Smooth images and noisy copies of them, (B, 1, H, W) in [0, 1]."""
    coarse = torch.rand(batch, 1, height // 8, width // 8)
    target = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)
    noise = 0.02 * torch.arange(1, batch + 1).view(-1, 1, 1, 1) * torch.randn_like(target)
    return (target + noise).clamp(0, 1), target


def reference_ssim(x: np.ndarray, y: np.ndarray) -> float:
    """Wang et al., equation 13, written out for levels in [0, 255]."""
    weights = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    weights /= weights.sum()

    def local(values: np.ndarray) -> np.ndarray:
        blurred = correlate1d(correlate1d(values, weights, axis=0), weights, axis=1)
        return blurred[5:-5, 5:-5]

    mx, my = local(x), local(y)
    vx, vy, cov = local(x * x) - mx**2, local(y * y) - my**2, local(x * y) - mx * my
    c1, c2 = 6.5025, 58.5225
    return float(
        ((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean()
    )


def levels(image: Tensor) -> np.ndarray:
    return (image[0] * 255).double().numpy()


def test_psnr_equals_the_reference() -> None:
    image, target = pair()
    for found, x, y in zip(PSNR().score(image, target), image, target, strict=True):
        mse = np.mean((levels(x) - levels(y)) ** 2)
        assert found.item() == pytest.approx(20 * math.log10(255 / math.sqrt(mse)), abs=1e-9)
        library = peak_signal_noise_ratio(levels(y), levels(x), data_range=255)
        assert found.item() == pytest.approx(library, abs=1e-9)


def test_ssim_equals_the_reference() -> None:
    image, target = pair()
    for found, x, y in zip(SSIM().score(image, target), image, target, strict=True):
        assert found.item() == pytest.approx(reference_ssim(levels(x), levels(y)), abs=1e-9)
        library = structural_similarity(
            levels(x),
            levels(y),
            data_range=255,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        assert found.item() == pytest.approx(library, abs=1e-9)


def test_identical_images_have_the_best_values() -> None:
    _, target = pair()
    assert torch.isinf(PSNR().score(target, target)).all()
    torch.testing.assert_close(SSIM().score(target, target), torch.ones(3, dtype=torch.float64))


def test_psnr_of_a_known_error() -> None:
    black = torch.zeros(1, 1, 16, 16)
    assert PSNR().score(black + 0.1, black).item() == pytest.approx(20, abs=1e-5)


METRICS = (PSNR, SSIM)


@pytest.mark.parametrize("metric", METRICS)
def test_two_halves_merged_equal_the_whole(metric: type[ImageMetric]) -> None:
    image, target = pair(5)
    whole, first, second = metric(), metric(), metric()
    whole.update(image, target)
    first.update(image[:2], target[:2])
    second.update(image[2:], target[2:])
    first.merge_state(second)
    torch.testing.assert_close(first.compute(), whole.compute())
    torch.testing.assert_close(whole.compute(), metric().score(image, target).mean())


@pytest.mark.parametrize("metric", METRICS)
def test_value_of_an_image_does_not_depend_on_its_batch(metric: type[ImageMetric]) -> None:
    image, target = pair()
    together = metric().score(image, target)
    alone = torch.cat([metric().score(image[i : i + 1], target[i : i + 1]) for i in range(3)])
    assert torch.equal(together, alone)
    assert together.dtype == torch.float64


@pytest.mark.parametrize("metric", METRICS)
def test_metric_travels_to_another_process(metric: type[ImageMetric]) -> None:
    image, target = pair()
    copied = pickle.loads(pickle.dumps(metric()))  # noqa: S301 (our own object)
    assert torch.equal(copied.score(image, target), metric().score(image, target))


def test_wrong_images_are_named() -> None:
    image, target = pair()
    with pytest.raises(InputError, match=r"\(B, 1, H, W\)"):
        PSNR().score(image.expand(-1, 3, -1, -1), target)
    with pytest.raises(InputError, match="found no target"):
        PSNR().score(image)
    with pytest.raises(InputError, match="one shape"):
        PSNR().score(image, target[..., 1:])
    with pytest.raises(InputError, match="at least 11 × 11"):
        SSIM().score(image[..., :10], target[..., :10])


@pytest.mark.parametrize(
    ("build", "name"),
    [(lambda: LPIPS("unit"), "alexnet"), (NIQE, "niqe"), (BRISQUE, "brisque")],
)
def test_metric_without_its_weights_is_refused(
    build: type[ImageMetric], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPIKEREC_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsNotFoundError, match=f"spikerec weights fetch {name}"):
        build()


def fetched(name: str) -> None:
    if not any(listed.entry.name == name and listed.path for listed in weights.list_weights()):
        pytest.skip(f"`spikerec weights fetch {name}` was not run here")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of lpips and pyiqa, which these tests load whole
@pytest.mark.parametrize("name", ["niqe", "brisque", "alexnet", "vgg16"])
def test_stored_pair_scores_as_when_verified(name: str) -> None:
    from spikerec.metrics.calibration import check_score

    fetched(name)
    assert "as expected" in check_score(name)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of lpips, which is loaded whole
def test_lpips_ranges_differ_and_leave_the_random_state_alone() -> None:
    fetched("alexnet")
    image, target = pair(2, 64, 64)
    state = torch.get_rng_state()
    unit, symmetric = LPIPS("unit"), LPIPS("symmetric")
    assert (unit.score(image, target) != symmetric.score(image, target)).all()
    assert torch.equal(torch.get_rng_state(), state)
    # both hand the package values in [0, 1]
    torch.testing.assert_close(
        unit.score(image, target),
        symmetric.score((image + 1) / 2, (target + 1) / 2),
        atol=1e-5,
        rtol=1e-4,
    )
    assert (unit.score(target, target) == 0).all()
    assert not unit.state_dict()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of pyiqa, which is loaded whole
def test_pyiqa_gives_the_same_through_its_own_door(tmp_path: Path) -> None:
    fetched("niqe")
    fetched("brisque")
    import pyiqa
    from scipy.io import savemat

    from spikerec.metrics.calibration import calibration_pair

    image, _ = calibration_pair()
    niqe, brisque = weights.load("niqe"), weights.load("brisque")
    savemat(
        tmp_path / "niqe.mat",
        {"mu_prisparam": niqe["mean"].numpy(), "cov_prisparam": niqe["covariance"].numpy()},
    )
    torch.save((brisque["coefficients"], brisque["vectors"]), tmp_path / "brisque.pth")
    for name, file, metric in (("niqe", "niqe.mat", NIQE()), ("brisque", "brisque.pth", BRISQUE())):
        own = pyiqa.create_metric(
            name, device=torch.device("cpu"), pretrained_model_path=str(tmp_path / file)
        )
        assert metric.score(image).item() == pytest.approx(own(image).item(), rel=1e-6)


@pytest.mark.filterwarnings("ignore:cov")  # the very thing
@pytest.mark.parametrize("metric", [NIQE, BRISQUE])
@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_an_image_without_texture_has_no_blind_score(
    metric: type[NIQE | BRISQUE], level: float
) -> None:
    fetched(metric.name)
    built = metric()
    image = torch.stack([torch.full((1, 192, 192), level), torch.rand(1, 192, 192)])
    assert built.score(image).isfinite().tolist() == [False, True]
    built.update(image)
    torch.testing.assert_close(built.compute(), built.score(image[1:])[0])
    assert "images without texture" in built.why_missing()
