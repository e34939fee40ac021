"""Networks in 8 bits: levels, ranges beside the weights, and images close to those of float32."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

import spikerec
from spikerec.apps import weights as command
from spikerec.configs import build, config_names
from spikerec.errors import ConfigError, DataError, WeightsError
from spikerec.inference import quantised as quantising
from spikerec.inference.engines import openvino as engine
from spikerec.inference.quantised import (
    QuantisedConv2d,
    measure_ranges,
    quantised,
    ranges_file,
    read_ranges,
    shipped_in_8_bits,
    write_ranges,
)
from spikerec.inference.ready import choose_precision, losses_db, ready
from spikerec.models import Fast, Network
from spikerec.simulation import Camera, RandomScene, bundled_images
from spikerec.weights.shipped import shipped_weights

CPU = torch.device("cpu")
SHIPPED = [name for name in config_names("model") if shipped_weights(build("model", name))]
#: Least PSNR of an image in 8 bits against that in float32. On the window of `scene` it was 70.5 dB
#: by `fast` and 66.6 by `fast_wide`.
CLOSE_DB = 60


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The shipped weights of `fast` and their ranges, in a folder of their own."""
    weights = shipped_weights(build("model", "fast"))
    assert weights is not None
    for path in (weights, ranges_file(weights)):
        shutil.copy(path, tmp_path / path.name)
    return tmp_path / weights.name


def scene() -> torch.Tensor:
    """A window (1, 61, 96, 96) of a moving photograph."""
    images = [one.image for one in bundled_images() if one.name == "coffee.png"]
    moving = RandomScene(images, height=96, width=96, seed=4)
    return Camera(0.6).expose(moving.frames(0, 61), seed=1)[None]


@torch.inference_mode()
def image(network: Network) -> torch.Tensor:
    return network.reconstruct(scene(), 0.6).image


def psnr(one: torch.Tensor, other: torch.Tensor) -> float:
    return -10 * float((one - other).square().mean().log10())


def change(path: Path, **entries: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def test_a_convolution_rounds_its_input_and_weights_to_levels() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 4, 3, stride=2, padding=1).requires_grad_(False)
    rounded = QuantisedConv2d(conv, -1.0, 1.55)  # levels 0.01 apart
    x = torch.randint(-100, 156, (1, 3, 9, 9)) / 100
    weight = torch.stack([(one / one.abs().max() * 127).round() for one in conv.weight])
    scale = conv.weight.abs().amax((1, 2, 3), keepdim=True) / 127
    expected = nn.functional.conv2d(x, weight * scale, conv.bias, 2, 1)
    torch.testing.assert_close(rounded(x), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(rounded(x + 0.004), rounded(x))
    torch.testing.assert_close(rounded(x.clamp(max=1.55) + 9), rounded(torch.full_like(x, 1.55)))


def test_shipped_networks_have_ranges() -> None:
    assert shipped_in_8_bits() == SHIPPED


@pytest.mark.parametrize("name", shipped_in_8_bits())
def test_what_adds_the_correction_stays_floating(name: str) -> None:
    network = spikerec.load(name)
    assert isinstance(network, Fast)
    made = quantised(network, read_ranges(network).ranges)
    assert isinstance(made, Fast)
    last = list(made.after[0])[-1]
    kept = [made.temporal, made.head, made.tail, last.first, last.second]
    kept += [block.first for block in list(made.before[0])[1:2]]
    count = sum(isinstance(one, QuantisedConv2d) for one in made.modules())
    assert count == sum(isinstance(one, nn.Conv2d) for one in network.modules()) - len(kept)
    assert all(type(one) is nn.Conv2d for one in kept)
    assert 0 < psnr(image(made), image(network)) - CLOSE_DB < 30


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped_in_8_bits())
def test_shipped_ranges_are_those_that_are_measured(name: str) -> None:
    network = spikerec.load(name)
    shipped, again = read_ranges(network).ranges, measure_ranges(network)
    assert shipped.keys() == again.keys()
    for conv, (low, high) in again.items():
        assert list(shipped[conv]) == pytest.approx([low, high], rel=0.01, abs=0.002)


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped_in_8_bits())
def test_openvino_computes_in_8_bits(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    if "int8" not in engine.supported():
        pytest.skip("the processor does not multiply bytes without saturation")
    monkeypatch.setenv("SPIKEREC_ENGINES", str(tmp_path))
    network = spikerec.load(name)
    served = image(ready(network, engine="openvino", precision="int8"))
    plain, levels = image(network), image(quantised(network, read_ranges(network).ranges))
    assert CLOSE_DB < psnr(served, plain) < CLOSE_DB + 30
    assert psnr(served, levels) > psnr(served, plain) - 3
    half = image(ready(network, engine="openvino", precision="bf16"))
    assert not torch.equal(served, half), "the two are kept apart"


@pytest.mark.parametrize("name", shipped_in_8_bits())
def test_auto_takes_8_bits_where_the_engine_has_them(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = spikerec.load(name)
    fast = ["float32", "bf16", "int8"]
    monkeypatch.setattr(engine, "supported", lambda: fast)
    assert choose_precision(network, CPU, "openvino") == "int8"
    assert choose_precision(network, CPU, "torch") != "int8"
    fast.remove("int8")
    assert choose_precision(network, CPU, "openvino") == "bf16"


def test_auto_keeps_to_what_is_known(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "supported", lambda: ["float32", "bf16", "int8"])
    network, path = spikerec.load(copied), ranges_file(copied)
    change(path, loss_db=None)
    assert choose_precision(network, CPU, "openvino") == "bf16"
    path.write_text("{")
    assert losses_db(network).keys() == {"bf16"}
    assert choose_precision(network, CPU, "openvino") == "bf16"


def test_ranges_that_are_not_there_are_named(copied: Path) -> None:
    network = spikerec.load(copied)
    path = ranges_file(copied)
    change(path, weights="other")
    with pytest.raises(ConfigError, match=r"other weights than .*ranges .* --overwrite"):
        read_ranges(network)
    stated = json.loads(path.read_text())
    change(path, weights=network.weights_file[1], ranges={"down.0": [0.0, 1.0]})  # type: ignore[index]
    with pytest.raises(DataError, match=r"not the convolutions .*bottom\.0\.first"):
        read_ranges(network)
    change(path, ranges=stated["ranges"] | {"down.0": [1.0, 2.0]})
    with pytest.raises(DataError, match="is no file of ranges"):
        read_ranges(network)
    path.unlink()
    with pytest.raises(ConfigError, match=r"finds no ranges for .* by `spikerec weights ranges "):
        read_ranges(network)
    changed = copy.deepcopy(network)
    with torch.no_grad():
        next(changed.parameters()).mul_(2)
    with pytest.raises(ConfigError, match="weights were drawn, or changed"):
        read_ranges(changed)


@pytest.mark.parametrize("pair", [(0, 0), (0, 5e-324), (0, 1e-40), (-1.7e308, 1.7e308), (1, -1)])
def test_a_range_has_levels_that_float32_can_hold(copied: Path, pair: tuple[float, float]) -> None:
    stated = json.loads(ranges_file(copied).read_text())["ranges"]
    change(ranges_file(copied), ranges=dict.fromkeys(stated, pair))
    with pytest.raises(DataError, match="is no file of ranges"):
        read_ranges(spikerec.load(copied))


def test_an_error_does_not_quote_the_names_in_a_file(copied: Path) -> None:
    change(ranges_file(copied), ranges={"a" * 10_000: [0.0, 1.0]})
    with pytest.raises(DataError, match=r"not the convolutions .*names 1 others") as caught:
        read_ranges(spikerec.load(copied))
    assert "a" * 100 not in str(caught.value)


@pytest.mark.parametrize("least", [0.0, float("nan")])
def test_a_network_without_ranges_has_no_file(
    copied: Path, monkeypatch: pytest.MonkeyPatch, least: float
) -> None:
    network, path = spikerec.load(copied), ranges_file(copied)
    path.unlink()
    monkeypatch.setattr(quantising, "measure_ranges", lambda _: {"down.0": (least, 0.0)})
    with pytest.raises(WeightsError, match=r"cannot be computed in 8 bits: the input of down\.0"):
        write_ranges(network, copied)
    assert not path.exists()


def test_networks_that_were_not_tried_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"STIR has not been tried in 8 bits; .*: fast, fast_large, fast_wide\."
    ):
        read_ranges(build("model", "stir"))
    with pytest.raises(ConfigError, match="STIR has not been tried"):
        measure_ranges(build("model", "stir"))


@pytest.mark.parametrize("by", ["torch", "compile"])
def test_pytorch_refuses_8_bits(by: str) -> None:
    with pytest.raises(ConfigError, match=f"int8 needs engine=openvino .* found engine={by}"):
        ready(Fast(), engine=by, precision="int8")


def test_the_command_measures_once(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = ranges_file(copied)
    shipped = path.read_text()
    command.main(["ranges", str(copied)])
    assert "done before" in capsys.readouterr().out
    assert path.read_text() == shipped
    change(path, weights="other")
    with pytest.raises(WeightsError, match="exists already with the ranges of other weights"):
        command.main(["ranges", str(copied)])


def test_ranges_of_one_s_own_weights_are_written(tmp_path: Path) -> None:
    own = tmp_path / "own.safetensors"
    shutil.copy(Path(__file__).parents[1] / "weights" / "older" / "fast.safetensors", own)
    network = spikerec.load(own)
    assert write_ranges(network, own) == tmp_path / "own.ranges.json"
    found = read_ranges(network)
    assert found.loss_db is None
    assert all(low <= 0 < high for low, high in found.ranges.values())
    assert write_ranges(network, own) is None
