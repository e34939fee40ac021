"""Published weights load whole or not at all, and import into self-describing files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

import spikerec
from spikerec.configs import build
from spikerec.errors import ConfigError, WeightsError
from spikerec.weights import (
    digest,
    import_weights,
    load_published,
    load_weights,
    read_metadata,
    read_state,
)
from tests.golden_cases import GoldenCase, load_case


@pytest.fixture(scope="module")
def case() -> GoldenCase:
    return load_case("stir")


@pytest.fixture
def state(case: GoldenCase) -> dict[str, Tensor]:
    return case.state()


def test_prefix_of_data_parallel_makes_no_difference(state: dict[str, Tensor]) -> None:
    wrapped = {f"module.{name}": tensor for name, tensor in state.items()}
    plain = load_published("stir", state)
    assert not plain.training
    assert digest(load_published("stir", wrapped).state_dict()) == digest(plain.state_dict())


def test_every_misfit_is_listed(state: dict[str, Tensor]) -> None:
    del state["encoder.conv0.net.0.bias"]
    state["resnet.bn9.weight"] = torch.ones(11)
    state["resnet.conv1.bias"] = torch.ones(12)
    with pytest.raises(WeightsError) as caught:
        load_published("stir", state)
    message = str(caught.value)
    assert "published state dict for model=stir does not fit STIR" in message
    assert "1 missing (encoder.stem.0.bias)" in message
    assert "1 left over (embedding.learned.bn9.weight)" in message
    assert "1 of another shape (embedding.learned.conv1.bias (12,), expected (11,))" in message
    assert "\n" not in message


def test_long_lists_of_misfits_are_counted(state: dict[str, Tensor]) -> None:
    with pytest.raises(WeightsError, match=r"138 missing \(.* and 133 more\)"):
        load_published("stir", dict(list(state.items())[:5]))


def test_arguments_choose_the_network_that_the_weights_fit(state: dict[str, Tensor]) -> None:
    with pytest.raises(WeightsError, match=r"left over \(decoders\.0\.extra_fields\.0\.weight"):
        load_published("stir", state, motion_fields=1)
    assert load_published("stir", state, output_scale=0.6).output_scale == 0.6


def test_unknown_model_and_unknown_argument_are_named(state: dict[str, Tensor]) -> None:
    with pytest.raises(ConfigError, match="there is no model named 'nonesuch'"):
        load_published("nonesuch", state)
    with pytest.raises(ConfigError, match="depth"):
        load_published("stir", state, depth=3)


def test_imported_file_rebuilds_the_network_alone(tmp_path: Path, case: GoldenCase) -> None:
    torch.save({"state_dict": case.state()}, tmp_path / "STIR.pth")
    output = tmp_path / "stir.safetensors"
    metadata = import_weights(tmp_path / "STIR.pth", "stir", output, output_scale=0.6)
    assert read_metadata(output) == metadata
    assert metadata["source"] == "STIR.pth"
    assert metadata["digest"] == digest(output)
    network = build("model", metadata["model"], **json.loads(metadata["arguments"])).eval()
    assert network.output_scale == 0.6
    load_weights(network, read_state(output), output.name)
    with torch.no_grad():
        image = network(case.spikes()).image
    torch.testing.assert_close(image, case.output("image"), rtol=0, atol=1e-4)


def test_import_keeps_a_file_that_is_there(tmp_path: Path, state: dict[str, Tensor]) -> None:
    torch.save(state, tmp_path / "STIR.pth")
    output = tmp_path / "stir.safetensors"
    output.write_bytes(b"precious")
    with pytest.raises(WeightsError, match="exists already"):
        import_weights(tmp_path / "STIR.pth", "stir", output)
    assert output.read_bytes() == b"precious"
    import_weights(tmp_path / "STIR.pth", "stir", output, overwrite=True)
    assert read_metadata(output)["model"] == "stir"


def test_misfit_on_import_names_the_file_and_writes_nothing(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(2)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"other\.pth does not fit STIR"):
        import_weights(tmp_path / "other.pth", "stir", tmp_path / "stir.safetensors")
    assert [entry.name for entry in tmp_path.iterdir()] == ["other.pth"]


def test_published_ssir_weights_import(tmp_path: Path, shared: Path) -> None:
    path = shared / "weights" / "SSIR_e80.pth"
    if not path.is_file():
        pytest.skip("the published SSIR weights are not here")
    metadata = import_weights(path, "ssir", tmp_path / "ssir.safetensors")
    assert metadata["source"] == "SSIR_e80.pth"
    expected = load_published("ssir", read_state(path)).state_dict()
    assert digest(tmp_path / "ssir.safetensors") == digest(expected)


def test_published_weights_know_the_output_scale_they_were_trained_at() -> None:
    state = build("model", "wgse").state_dict()
    assert load_published("wgse", state).output_scale == 0.6
    assert load_published("wgse", state, output_scale=0.4).output_scale == 0.4


def test_an_imported_file_brings_its_output_scale(tmp_path: Path) -> None:
    torch.save(build("model", "wgse").state_dict(), tmp_path / "WGSE.pth")
    import_weights(tmp_path / "WGSE.pth", "wgse", tmp_path / "wgse.safetensors")
    assert build("model", "wgse").output_scale == 1.0
    assert spikerec.load("wgse", tmp_path / "wgse.safetensors").output_scale == 0.6
