from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikerec.configs import build, config_names
from spikerec.errors import ConfigError, DataError, one_line
from spikerec.inference.export import export, run_exported
from spikerec.models.base import Network, Reconstruction
from tests.fakes import fake_spikes

#: Size of windows that a network must pad.
SIZE = (13, 18)
FEWER_CHANNELS: dict[str, dict[str, Any]] = {
    "base": {"channels": [8, 8, 8, 8]},
    "spikeclip": {"channels": [8, 8, 8, 8]},
    "swinsf": {"channels": 8, "depth": 2},
    "swinsf_1000": {"channels": 8, "depth": 2},
    "bsf": {"channels": 16},
    "etnet": {"channels": 8},
    "hypere2vid": {"channels": 8},
    "hypere2vid_static": {"channels": 8},
    "spk2imgnet": {"channels": 16},
    "ssir": {"channels": 8},
    "stir": {"channels": [8, 8, 8, 8, 8]},
    "wgse": {"channels": 16},
}


class Small(Network):
    """A network that must pad and crop."""

    multiple = 4

    def __init__(self) -> None:
        super().__init__(window=5, output_scale=0.4)
        self.conv = nn.Conv2d(5, 1, 3, padding=1, stride=2)

    def forward(self, spikes: Tensor) -> Reconstruction:
        up = nn.functional.interpolate(self.conv(spikes), scale_factor=2.0, mode="bilinear")
        return Reconstruction(up, {"pyramid": (up,)} if self.training else {})


def exported_image(network: Network, path: Path) -> tuple[Tensor, Tensor]:
    """Images of the file and of the network for a window that neither has seen."""
    spikes = torch.from_numpy(fake_spikes(network.window, *SIZE, seed=5))[None].float()
    with torch.no_grad():
        expected = network.reconstruct(spikes, network.output_scale or 1.0).image
    return run_exported(path, spikes), expected


# torch's and onnxscript's own deprecations
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", [".pt2", ".onnx"])
def test_the_file_gives_the_networks_image(suffix: str, tmp_path: Path) -> None:
    if suffix == ".onnx":
        pytest.importorskip("onnxscript")
        pytest.importorskip("onnxruntime")
    network, path = Small().eval(), tmp_path / f"small{suffix}"
    assert export(network, path, SIZE) <= 1e-5
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    found, expected = exported_image(network, path)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's and onnxscript's own deprecations
@pytest.mark.parametrize("suffix", [".pt2", ".onnx"])
@pytest.mark.parametrize("name", config_names("model"))
def test_every_method_can_be_exported(name: str, suffix: str, tmp_path: Path) -> None:
    if suffix == ".onnx":
        pytest.importorskip("onnxscript")
        pytest.importorskip("onnxruntime")
    network: Network = build("model", name, **FEWER_CHANNELS.get(name, {}))
    scramble(network, 1.0 if name == "ssir" else 0.05)  # its neurons fire from far more only
    export(network, tmp_path / f"x{suffix}", SIZE)
    found, expected = exported_image(network, tmp_path / f"x{suffix}")
    contrast = float(expected.std())
    assert contrast > 1e-3
    torch.testing.assert_close(found, expected, atol=1e-3 * contrast, rtol=1e-4)


def scramble(network: Network, noise: float) -> None:
    """Move the weights from where a fresh network gives an empty image, as two here do."""
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        parameter.data += noise * torch.randn(parameter.shape, generator=generator)


@pytest.mark.filterwarnings("ignore")  # torch's own deprecations
@pytest.mark.parametrize("suffix", [".pt2", ".onnx"])
def test_what_a_format_does_not_know_is_named_in_one_line(suffix: str, tmp_path: Path) -> None:
    class Odd(Network):
        def __init__(self) -> None:
            super().__init__(window=3)

        def forward(self, spikes: Tensor) -> Reconstruction:
            if suffix == ".pt2" and bool(spikes.sum() > 3):  # depends on values
                spikes = 1 - spikes
            return Reconstruction(spikes.cummax(1).values[:, -1:])

    with pytest.raises(ConfigError, match=f"^Odd has no {suffix} form: ") as raised:
        export(Odd(), tmp_path / f"x{suffix}", (8, 8))
    assert ("cummax" if suffix == ".onnx" else "data-dependent") in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected .pt2 or .onnx, found '.pth'"):
        export(Small(), tmp_path / "x.pth", (8, 8))


@pytest.mark.parametrize("suffix", [".pt2", ".onnx"])
def test_a_file_that_is_there_is_kept(suffix: str, tmp_path: Path) -> None:
    if suffix == ".onnx":
        pytest.importorskip("onnxscript")
        pytest.importorskip("onnxruntime")
    path = tmp_path / f"x{suffix}"
    path.write_bytes(b"mine")
    with pytest.raises(DataError, match=f"^{path} "):
        export(Small(), path, (8, 8))
    assert path.read_bytes() == b"mine"


@pytest.mark.filterwarnings("ignore")  # torch's and onnxscript's own deprecations
@pytest.mark.parametrize("suffix", [".pt2", ".onnx"])
def test_an_export_that_is_there_is_done_before(suffix: str, tmp_path: Path) -> None:
    if suffix == ".onnx":
        pytest.importorskip("onnxscript")
        pytest.importorskip("onnxruntime")
    network, path = Small(), tmp_path / f"x{suffix}"
    assert export(network, path, (8, 8)) is not None
    content = path.read_bytes()
    assert export(network, path, (8, 8)) is None
    with pytest.raises(DataError, match="exists already with another size: name another"):
        export(network, path, (8, 9))
    network.conv.weight.data += 1
    with pytest.raises(DataError, match="exists already with another weights"):
        export(network, path, (8, 8))
    assert path.read_bytes() == content
    assert export(network, path, (8, 8), overwrite=True) is not None
    assert export(network, path, (8, 8)) is None
    path.write_bytes(b"mine")
    with pytest.raises(DataError):
        export(network, path, (8, 8), overwrite=True)


def test_a_full_disk_is_no_fault_of_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(*_: object) -> None:
        raise RuntimeError("[enforce fail at inline_container.cc:671] . unexpected pos 64 vs 0")

    monkeypatch.setattr("spikerec.inference.export._write", fill)
    with pytest.raises(RuntimeError) as raised:
        export(Small(), tmp_path / "x.pt2", (8, 8))
    assert one_line(raised.value).startswith("no space is left on the disk. Files that were")
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore")  # torch's own deprecations
def test_an_export_without_a_statement_is_not_taken_for_this_one(tmp_path: Path) -> None:
    program = torch.export.export(nn.Conv2d(1, 1, 3), (torch.zeros(1, 1, 8, 8),))
    torch.export.save(program, tmp_path / "x.pt2")
    with pytest.raises(DataError, match="exists already with something else"):
        export(Small(), tmp_path / "x.pt2", (8, 8))


@pytest.mark.filterwarnings("ignore")  # torch's own deprecations
def test_an_image_that_differs_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "spikerec.inference.export.run_exported", lambda _, spikes: spikes.mean(1, keepdim=True) + 1
    )
    with pytest.raises(DataError, match="differs from the network's by"):
        export(build("model", "tfp"), tmp_path / "x.pt2", (8, 8))
    assert not list(tmp_path.iterdir())
