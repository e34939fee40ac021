"""Metrics of pyiqa by name, those without weights against computations that share no code."""

from __future__ import annotations

import socket
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.ndimage import correlate

from spikerec.configs import build, config_names
from spikerec.errors import ConfigError, MissingPackageError, WeightsError, WeightsNotFoundError
from spikerec.losses.structure import SCALE_WEIGHTS
from spikerec.metrics import PSNR, ImageMetric, Protocol, PyIQA
from spikerec.metrics.calibration import calibration_pair
from spikerec.metrics.pyiqa import build_network

pytestmark = pytest.mark.filterwarnings("ignore")  # of pyiqa, which is loaded whole

Array = NDArray[np.float64]


@pytest.fixture
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which no weights are, and from which none may be asked for."""
    build_network.cache_clear()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))

    def ask(*args: Any, **kwargs: Any) -> None:
        pytest.fail(f"the network was asked for {args} {kwargs}")

    monkeypatch.setattr(socket, "getaddrinfo", ask)


def gaussian(side: int, sigma: float) -> Array:
    offsets = np.arange(side) - side // 2
    line = np.exp(-(offsets**2) / (2 * sigma**2))
    kernel = np.outer(line, line)
    return kernel / kernel.sum()


def ms_ssim(image: Array, target: Array) -> float:
    """MS-SSIM after Wang et al., 2003, equation 7, of whole grey levels in [0, 255]."""
    window = gaussian(11, 1.5)

    def local(values: Array) -> Array:
        return (sliding_window_view(values, (11, 11)) * window).sum((2, 3))

    product = 1.0
    for scale, exponent in enumerate(SCALE_WEIGHTS, start=1):
        mean_x, mean_y = local(image), local(target)
        var_x, var_y = local(image**2) - mean_x**2, local(target**2) - mean_y**2
        covariance = local(image * target) - mean_x * mean_y
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        structure = np.maximum((2 * covariance + c2) / (var_x + var_y + c2), 0)
        luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
        factor = luminance * structure if scale == len(SCALE_WEIGHTS) else structure
        product *= factor.mean() ** exponent
        image, target = (
            one[: len(one) // 2 * 2, : one.shape[1] // 2 * 2]
            .reshape(len(one) // 2, 2, one.shape[1] // 2, 2)
            .mean((1, 3))
            for one in (image, target)
        )
    return product


def piqe(image: Array) -> float:
    """PIQE after Venkatanath et al., 2015, of an image whose sides are multiples of 16."""
    levels = np.round(255 * image / image.max())
    window = gaussian(7, 7 / 6)
    mean = correlate(levels, window, mode="nearest")
    spread = np.sqrt(np.abs(correlate(levels**2, window, mode="nearest") - mean**2))
    normal = (levels - mean) / (spread + 1)
    blocks = normal.reshape(len(levels) // 16, 16, -1, 16).swapaxes(1, 2).reshape(-1, 16, 16)
    total, active = 0.0, 0
    for block in blocks:
        variance = block.var(ddof=1)
        if variance <= 0.1:
            continue
        active += 1
        edges = (block[0], block[-1], block[:, 0], block[:, -1])
        if any(edge[start : start + 6].std(ddof=1) < 0.1 for edge in edges for start in range(11)):
            total += 1 - variance
        sigma = np.sqrt(variance)
        ratio = block[:, 7:9].std(ddof=1) / np.delete(block, [7, 9], axis=1).std(ddof=1)
        if sigma > 2 * abs(sigma - ratio) / max(sigma, ratio):
            total += variance
    return 100 * (total + 1) / (active + 1)


def test_ms_ssim_is_that_of_its_paper() -> None:
    image, target = calibration_pair()
    levels = [(255 * one[0, 0]).round().double().numpy() for one in (image, target)]
    expected = ms_ssim(*levels)
    assert PyIQA("ms_ssim").score(image, target).item() == pytest.approx(expected, abs=1e-5)


def test_piqe_is_that_of_its_paper() -> None:
    for image in calibration_pair():
        found = PyIQA("piqe").score(image).item()
        assert found == pytest.approx(piqe(image[0, 0].double().numpy()), abs=0.1)


def test_directions_and_references_are_those_of_the_package() -> None:
    metrics = {name: PyIQA(name) for name in ("ms_ssim", "gmsd", "piqe")}
    assert [one.higher_is_better for one in metrics.values()] == [True, False, False]
    assert [one.needs_target for one in metrics.values()] == [True, True, False]
    assert [one.name for one in metrics.values()] == list(metrics)


@pytest.mark.parametrize("name", config_names("metric"))
def test_a_choice_is_named_as_its_metric(name: str) -> None:
    content = Path(f"conf/metric/{name}.yaml").read_text(encoding="utf-8")
    assert content.startswith(f"# @package protocol.metrics.{name}\n# ")
    try:
        made: ImageMetric = build("metric", name)()
    except WeightsNotFoundError:
        return
    assert made.name == name


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize("name", ["dists", "topiq_fr"])  # by torch.hub, by the Hugging Face hub
def test_missing_weights_are_named_and_not_downloaded(name: str) -> None:
    message = f"{name} needs weights that are not on this machine. Let pyiqa download them: python"
    with pytest.raises(WeightsNotFoundError, match=message):
        PyIQA(name)
    protocol = Protocol("p", {"psnr": PSNR, name: partial(PyIQA, name)})
    assert message in protocol.unavailable[name]
    assert set(protocol.score(torch.rand(1, 1, 48, 48), torch.rand(1, 1, 48, 48))) == {"psnr"}


@pytest.mark.usefixtures("no_weights")
def test_weights_that_run_code_are_not_read(tmp_path: Path) -> None:
    class Code:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    (tmp_path / "pyiqa").mkdir()
    file = tmp_path / "pyiqa" / "code.pth"
    torch.save(Code(), file)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("pyiqa.archs.brisque_arch.load_file_from_url", lambda *_: str(file))
        with pytest.raises(WeightsError, match="brisque has weights that hold more than numbers"):
            PyIQA("brisque")
    assert not (tmp_path / "ran").exists()


def test_making_a_metric_leaves_the_random_numbers_alone() -> None:
    build_network.cache_clear()
    torch.manual_seed(0)
    PyIQA("gmsd")
    drawn = torch.rand(3)
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.rand(3))


@pytest.mark.parametrize("name", config_names("metric"))
def test_a_definition_does_not_depend_on_what_is_installed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = Protocol("p", {name: build("metric", name)}).digest
    by_name = Protocol("p", {name: partial(PyIQA, name)}).digest

    def require(package: str, purpose: str) -> None:
        raise MissingPackageError(f"{purpose} needs {package}.")

    monkeypatch.setattr("spikerec.metrics.pyiqa.require", require)
    bare = Protocol("p", {name: build("metric", name)})
    assert list(bare.unavailable) == [name]
    assert bare.digest == installed == by_name


def test_what_is_stated_is_checked_against_the_package() -> None:
    with pytest.raises(ConfigError, match="higher_is_better of gmsd is False by pyiqa, found True"):
        PyIQA("gmsd", higher_is_better=True)
    with pytest.raises(ConfigError, match="needs_target of gmsd is True by pyiqa, found False"):
        PyIQA("gmsd", needs_target=False)


def test_a_refusal_is_forgotten_with_the_images() -> None:
    metric = PyIQA("ms_ssim")
    image = torch.rand(1, 1, 40, 40)
    metric.update(image, image)
    metric.reset()
    assert metric.why_missing() == "ms_ssim has no value for images that pyiqa refuses."


def test_an_image_that_the_package_refuses_has_no_value_and_a_reason() -> None:
    metric = PyIQA("ms_ssim")
    image = torch.rand(1, 1, 40, 40)
    assert metric.score(image, image).isnan().all()
    assert metric.why_missing().startswith("ms_ssim has no value for images that pyiqa refuses (")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dist", "metric: pyiqa has no metric named 'dist': did you mean dists"),
        ("fid", "metric: fid compares sets of images"),
    ],
)
def test_a_name_that_is_no_metric_of_images_is_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PyIQA(name)


def test_a_metric_is_described_by_its_name_however_it_was_given() -> None:
    by_place, by_name = (
        Protocol("p", {"piqe": factory})
        for factory in (partial(PyIQA, "piqe"), build("metric", "piqe"))
    )
    assert by_place.digest == by_name.digest
    described = by_place.describe()["metrics"]["piqe"]
    assert described["arguments"] == {"metric": "piqe"}
    assert described["higher_is_better"] is False
