import importlib
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from spikerec.configs import build, config_names
from spikerec.errors import ConfigError, InputError
from spikerec.metrics import (
    LPIPS,
    NIQE,
    PSNR,
    SSIM,
    ImageMetric,
    PairMetric,
    Protocol,
    Recording,
    RefiredRate,
)


def protocol(**changes: object) -> Protocol:
    settings = {"clip": True, "border": 0, "rounding": "none"} | changes
    return Protocol("test", {"psnr": PSNR, "ssim": SSIM}, {"frames": "all"}, **settings)  # type: ignore[arg-type]


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKEREC_WEIGHTS", str(tmp_path))


@pytest.mark.parametrize("name", config_names("protocol"))
@pytest.mark.usefixtures("empty_cache")
def test_without_weights_only_what_needs_none_gives_numbers(name: str) -> None:
    built = build("protocol", name)
    assert built.name == name
    need_weights = {"lpips", "niqe", "brisque", "tlpips", "recognition"} & set(built.names)
    assert set(built.unavailable) == need_weights
    made = "python -m spikerec.training.recognition"
    for metric, reason in built.unavailable.items():
        assert (made if metric == "recognition" else "spikerec weights fetch") in reason
    image, spikes = torch.rand(2, 1, 32, 32), torch.randint(2, (2, 31, 32, 32))
    rest = set(built.names) - need_weights
    recording = Recording(spikes, torch.ones(2), lambda change: change(spikes)[:, :1].float())
    of_pairs = {name for name, one in built.metrics.items() if isinstance(one, PairMetric)}
    assert set(built.score(image, image, recording=recording)) == rest - of_pairs
    assert set(built.higher_is_better) == set(built.provenance()) == rest


@pytest.mark.usefixtures("empty_cache")
def test_protocols_and_their_parts_have_digests_of_their_own() -> None:
    digests = {build("protocol", name).digest for name in config_names("protocol")}
    assert len(digests) == len(config_names("protocol"))
    assert protocol().digest == protocol().digest
    assert protocol().digest != protocol(border=1).digest


#: Digests that published records hold: others would put new records into columns of their own.
PUBLISHED = {
    "corrected": "5f7ae6daf6a2df3ec4ee40d46e41066be344b7215e3ef98a540dbc72e1f18de1",
    "reds": "0f41e437d08101f9f1ad1b788f8341c91cb6c201ee70f22265c2b831ceb16dda",
    "stir": "eaf92759ea5e8272bbefd93b580db32b17e0df927b47da9c406d3927ed61dd78",
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_protocols_keep_their_digests(name: str) -> None:
    assert build("protocol", name).digest == PUBLISHED[name]


def test_digest_does_not_depend_on_which_weights_are_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = build("protocol", "stir")
    monkeypatch.setenv("SPIKEREC_WEIGHTS", str(tmp_path))
    assert build("protocol", "stir").digest == here.digest


def test_preparation_clips_rounds_and_cuts_the_reconstruction() -> None:
    image = torch.tensor([-0.5, 0.5, 100.7 / 255, 1.5]).repeat(4, 1)[None, None]
    prepared, _ = protocol().prepare(image, None)
    assert prepared[0, 0, 0].tolist() == pytest.approx([0, 0.5, 100.7 / 255, 1])
    down, _ = protocol(rounding="down").prepare(image, None)
    assert (down * 255)[0, 0, 0].tolist() == pytest.approx([0, 127, 100, 255])
    nearest, _ = protocol(rounding="nearest").prepare(image, None)
    assert (nearest * 255)[0, 0, 0, 2].item() == pytest.approx(101)
    cut, target = protocol(clip=False, border=1).prepare(image, image)
    assert target is not None
    assert torch.equal(cut, image[..., 1:3, 1:3])
    assert torch.equal(target, cut)
    with pytest.raises(InputError, match="nothing is left"):
        protocol(border=2).prepare(image, None)


def test_means_over_uneven_batches_count_each_image_once() -> None:
    image, target = torch.rand(5, 1, 16, 16), torch.rand(5, 1, 16, 16)
    running = protocol()
    for part in (slice(0, 2), slice(2, 5)):
        running.update(image[part], target[part])
    expected = {name: values.mean() for name, values in running.score(image, target).items()}
    torch.testing.assert_close(running.compute(), expected)
    running.reset()
    assert running.compute() == {}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_an_image_that_is_not_finite_is_refused_by_name(value: float) -> None:
    good, bad = torch.rand(2, 1, 16, 16), torch.rand(2, 1, 16, 16)
    bad[1, 0, 3, 4] = value  # clipping would turn infinity into white
    for rounding in ("none", "nearest", "down"):
        with pytest.raises(InputError, match=r"'b': 1 of the image's 256 pixels are not finite"):
            protocol(rounding=rounding).score(bad, good, ["a", "b"])
    with pytest.raises(InputError, match="image 1 of the batch: 1 of the target's 256"):
        protocol().score(good, bad)


def test_images_too_small_for_a_metric_have_no_value_by_it() -> None:
    image = torch.rand(2, 1, 8, 40)
    scores = protocol().score(image, torch.rand(2, 1, 8, 40))
    assert scores["psnr"].isfinite().all()
    assert scores["ssim"].isnan().all()
    assert protocol().why_missing()["ssim"] == (
        "ssim is not defined for images smaller than 11 × 11 pixels."
    )


def test_real_recordings_skip_what_compares() -> None:
    assert protocol().score(torch.rand(1, 1, 16, 16)) == {}


def test_description_is_plain_and_names_arguments() -> None:
    metrics = {"lpips": partial(LPIPS, input_range="unit"), "niqe": NIQE}
    described = Protocol("p", metrics, clip=True, border=0, rounding="none").describe()
    assert described["metrics"]["lpips"]["arguments"] == {"input_range": "unit"}
    assert described["metrics"]["niqe"]["needs_target"] is False


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^border"):
        protocol(border=-1)
    with pytest.raises(ConfigError, match="rounding must be"):
        protocol(rounding="up")
    with pytest.raises(ConfigError, match="alignment must be none, gain, affine, matched or"):
        protocol(alignment="best")
    with pytest.raises(ConfigError, match=r"^metrics"):
        Protocol("p", {}, clip=True, border=0, rounding="none")


class Error(ImageMetric):
    """A metric of a user's that returns what `reduce` makes of the differences."""

    name = "error"
    higher_is_better = False
    reduce: Callable[[Tensor], Any] = staticmethod(lambda difference: difference.mean((1, 2, 3)))

    def measure(self, image: Tensor, target: Tensor) -> Tensor:
        value: Tensor = type(self).reduce((image - target).abs())
        return value


def changed(**attributes: Any) -> type[Error]:
    return type("Mine", (Error,), attributes)


@pytest.mark.parametrize(
    ("reduce", "found"),
    [
        (lambda difference: difference.mean((0, 1, 2)), r"a Tensor \(20,\) of torch.float32"),
        (lambda difference: difference.mean(), r"a Tensor \(\) of"),
        (lambda difference: difference, r"a Tensor \(2, 1, 16, 20\) of"),
        (lambda difference: difference.mean((1, 2, 3)) > 0, r"a Tensor \(2,\) of torch.bool"),
        (lambda difference: difference.mean((1, 2, 3)).numpy(), r"a ndarray \(2,\) of float32"),
        (lambda difference: difference.mean((1, 2, 3)).tolist(), "a list"),
        (lambda difference: 0.5 * len(difference), "1.0"),
        (lambda _: "good", "the text 'good'"),
        (lambda _: None, "None"),
    ],
)
def test_what_is_no_value_of_each_image_is_refused_by_the_metrics_name(
    reduce: Callable[[Tensor], Any], found: str
) -> None:
    image, target = torch.rand(2, 1, 16, 20), torch.rand(2, 1, 16, 20)
    assert Protocol("p", {"error": Error}).score(image, target)["error"].shape == (2,)
    told = rf"^metric error: Mine.measure must return one value per image.*\(2,\), found {found}"
    with pytest.raises(ConfigError, match=told):
        Protocol("p", {"error": changed(reduce=staticmethod(reduce))}).score(image, target)


@pytest.mark.parametrize(
    ("key", "metric", "message"),
    [
        ("", Error, r"^metrics names ''"),
        ("my.error", Error, r"^metrics names 'my.error', which cannot be the key"),
        ("keys", Error, r"^metrics names 'keys'"),
        ("error", Error(), r"^metrics.error must be a class of metric, .* found an? Error"),
        (
            "error",
            lambda: Error(),
            r"^metrics.error must be a class of metric, .* found a function",
        ),
        ("error", partial(Tensor), r"^metrics.error must be .* found the class Tensor"),
        ("error", changed(name=None), r"^metrics.error: Mine.name must be a text, .* found None"),
        ("error", changed(higher_is_better=None), r"Mine.higher_is_better must be .* found None"),
        ("error", changed(higher_is_better="yes"), r"higher_is_better must be .* the text 'yes'"),
    ],
)
def test_a_metric_that_could_not_be_compared_is_refused_when_the_protocol_is_made(
    key: str, metric: Any, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Protocol("p", {key: metric})


def test_a_metric_of_the_recording_is_left_out_without_one_and_sees_the_spikes_cut() -> None:
    built = Protocol("test", {"psnr": PSNR, "refired_rate": RefiredRate}, border=2)
    random = torch.Generator().manual_seed(0)
    image, spikes = torch.rand(2, 1, 16, 16, generator=random), torch.zeros(2, 21, 16, 16)
    assert set(built.score(image, image)) == {"psnr"}
    assert built.score(image) == {}
    recording = Recording(spikes, torch.full((2,), 0.5))
    given = built.score(image, recording=recording)["refired_rate"]
    inner = Recording(spikes[..., 2:14, 2:14], torch.full((2,), 0.5))
    torch.testing.assert_close(given, RefiredRate().score(image[..., 2:14, 2:14], None, inner))


def test_a_metric_of_a_users_own_is_identified_by_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    source = "from spikerec.metrics import PSNR\nclass Mine(PSNR):\n    factor = {}\n"
    stated = []
    for factor in (1, 10):
        (tmp_path / "own_metric.py").write_text(source.format(factor))
        mine = Protocol("p", {"psnr": importlib.import_module("own_metric").Mine})
        about = mine.describe()["metrics"]["psnr"]
        assert about["implementation"] == "own_metric"
        assert mine.provenance()["psnr"] == {
            "package": "own_metric",
            "code": about["code"],
            "weights": {},
        }
        stated.append(about["code"])
        del sys.modules["own_metric"]
    assert stated[0] != stated[1]
    shipped = Protocol("p", {"psnr": PSNR})
    assert "code" not in shipped.describe()["metrics"]["psnr"]
    assert shipped.provenance()["psnr"]["package"] == "spikerec"
