"""Networks computed by other programs and in 16 bits give the images of the plain ones."""

from __future__ import annotations

import copy
import io
import os
import pickle  # noqa: TID251 (as processes that share a video's frames send networks)
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import spikerec
from spikerec.configs import build, config_names
from spikerec.data import REDS
from spikerec.errors import ConfigError
from spikerec.inference.engines import converted as kept
from spikerec.inference.engines.served import Served
from spikerec.inference.footprint import peak_memory
from spikerec.inference.ready import choose_precision, ready
from spikerec.models import Fast, Network
from spikerec.models.base import Reconstruction
from spikerec.streaming import fastest
from tests.fakes import fake_reds
from tests.inference.test_rearrangement import lively

pytest.importorskip("openvino")
#: Conversions take seconds each, and load the engines' own threads into the process.
pytestmark = pytest.mark.slow
ENGINES = ("openvino", "onnxruntime")


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Converted networks of a test lie in its own folder."""
    monkeypatch.setenv("SPIKEREC_ENGINES", str(tmp_path / "engines"))
    return tmp_path / "engines"


def window(network: Network, *size: int, batch: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    spikes = torch.rand((batch, network.window, *size), generator=generator) < 0.4
    return spikes.to(torch.uint8)


@torch.inference_mode()
def image(network: Network, spikes: torch.Tensor) -> torch.Tensor:
    return network.reconstruct(spikes, 1.0).image


def moving(readouts: int = 90) -> np.ndarray:
    """A stream of a bright bar that moves, (T, 20, 31)."""
    rate = np.full((readouts, 20, 31), 0.2)
    for t in range(readouts):
        rate[t, :, (t // 6) % 25 : (t // 6) % 25 + 5] = 0.8
    charge = rate.cumsum(0)
    return (np.floor(charge) > np.floor(charge - rate)).astype(np.uint8)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_gives_the_network_s_image(engine: str, batch: int) -> None:
    network = spikerec.load("fast")
    spikes = window(network, 21, 30, batch=batch)
    plain = image(network, spikes)
    assert plain.std() > 0.01
    torch.testing.assert_close(
        image(ready(network, engine=engine), spikes), plain, rtol=0, atol=2e-6
    )


@pytest.mark.parametrize("name", config_names("model"))
def test_openvino_gives_every_model_s_image(name: str) -> None:
    network = lively(name).eval()
    spikes = window(network, 33, 41)
    plain = image(network, spikes)
    most = float(plain.abs().max())
    assert plain.std() > 0.01 * most
    served = image(ready(network, engine="openvino"), spikes)
    # A rounding flips a neuron's spike: the others agree everywhere.
    differing = ((served - plain).abs() > 2e-5 * most).float().mean()
    assert differing <= (0 if network.is_continuous else 0.02)


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_16_bits_cost_little_and_something(engine: str) -> None:
    network = spikerec.load("fast")
    spikes = window(network, 24, 32, batch=2)
    try:
        half = image(ready(network, engine=engine, precision="bf16"), spikes)
    except ConfigError as error:
        pytest.skip(str(error))
    difference = (half - image(network, spikes)).abs()
    assert half.dtype == torch.float32
    assert 0 < difference.mean() < 5e-3


def test_a_block_network_keeps_its_way_along_a_stream_in_16_bits() -> None:
    torch.manual_seed(0)
    network = ready(build("model", "bsf"), precision="bf16")
    stream = spikerec.open(moving(), light_scale=1.0)
    frames = spikerec.reconstruct(
        stream, {"plain": network}, stride=4, precision="float32", optimise=False
    ).frames(9, 12)
    for frame in frames:
        first = frame.key_readout - network.key_readout
        alone = image(network, torch.from_numpy(stream[first : first + network.window])[None])
        torch.testing.assert_close(frame.images, alone[0], rtol=0, atol=0.02)


def test_a_video_by_an_engine_is_the_plain_one_and_says_so() -> None:
    stream = spikerec.open(moving(), light_scale=1.0)
    plain = spikerec.reconstruct(stream, "fast", stride=7)
    video = spikerec.reconstruct(stream, "fast", stride=7, engine="openvino", precision="float32")
    for one, other in zip(plain.frames(), video.frames(), strict=True):
        assert one.key_readout == other.key_readout
        torch.testing.assert_close(one.images, other.images, rtol=0, atol=2e-6)
    told, before = video.about(), plain.about()
    assert told["engine"] == "openvino"
    assert told["precision"] == {"fast": "float32"}
    assert told["methods"] == before["methods"], "the digest is that of the weights"


def test_a_video_takes_and_states_an_engine_by_itself(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fastest, "IMAGES_PER_TRIAL", 1)
    monkeypatch.setattr(fastest, "LEAST_SECONDS", 0)
    times = iter([3.0, 1.0, 2.0])
    timed = fastest._timed
    monkeypatch.setattr(fastest, "_timed", lambda *given: (next(times), timed(*given)[1]))
    stream = spikerec.open(moving(), light_scale=1.0)
    video, again = (
        spikerec.reconstruct(stream, "fast", stride=4, engine="auto", precision="float32")
        for _ in range(2)  # the second has no time left to measure with
    )
    assert [one.settings()["engine"] for one in (video, again)] == ["openvino", "openvino"]
    (choice,) = (one for one in (own_folder / "choices").iterdir() if one.name[0] != ".")
    assert choice.stat().st_size < 100
    plain = spikerec.reconstruct(stream, "fast", stride=4, precision="float32")
    for one, other in zip(plain.frames(), video.frames(), strict=True):
        torch.testing.assert_close(one.images, other.images, rtol=0, atol=2e-6)
    assert spikerec.reconstruct(stream, "tfp", engine="auto").engine == "torch"
    carrying = build("model", "ssir")
    carried = spikerec.reconstruct(stream, {"ssir": carrying}, engine="auto", carry=1)
    assert carried.engine == "torch"


def test_an_evaluation_in_16_bits_is_a_row_of_its_own(tmp_path: Path) -> None:
    fake_reds(tmp_path / "reds")
    network, reds = spikerec.load("fast"), REDS(tmp_path / "reds", height=24, width=40)
    costs = {"efficiency": None}
    plain = spikerec.evaluate(network, reds, **costs)
    half = spikerec.evaluate(network, reds, precision="bf16", **costs)
    assert (plain.precision, half.precision) == ("float32", "bf16")
    assert half.title.endswith(", bf16")
    pairs = zip(plain.samples.values["psnr"], half.samples.values["psnr"], strict=True)
    assert all(0 < abs(one - other) < 0.2 for one, other in pairs)


def test_the_digest_in_a_file_is_of_the_weights_not_of_their_rearrangement() -> None:
    torch.manual_seed(0)
    network = build("model", "wgse")
    stream = spikerec.open(moving(), light_scale=1.0)
    digests = {
        spikerec.reconstruct(stream, {"wgse": network}, optimise=optimise).about()["methods"][
            "wgse"
        ]["weights"]
        for optimise in (True, False)
    }
    assert len(digests) == 1


def test_a_converted_network_is_kept_and_damage_is_seen(own_folder: Path) -> None:
    network = spikerec.load("fast")
    spikes = window(network, 16, 16)
    first = image(ready(network, engine="openvino"), spikes)
    (folder,) = (one for one in own_folder.iterdir() if not one.name.startswith("."))
    again = ready(network, engine="openvino")
    assert isinstance(again, Served)
    again._write = refused  # type: ignore[attr-defined]  # it is read, not made
    assert torch.equal(image(again, spikes), first)
    file = folder / "model.bin"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0x40
    file.write_bytes(content)
    assert torch.equal(image(ready(network, engine="openvino"), spikes), first)
    assert bytes(content) != file.read_bytes()


def refused(*_: object) -> None:
    raise AssertionError("converted again")


def test_other_weights_and_sizes_are_other_networks(own_folder: Path) -> None:
    network = spikerec.load("fast")
    other = copy.deepcopy(network)
    with torch.no_grad():
        next(other.parameters()).mul_(1.5)
    for one, size in ((network, 16), (other, 16), (network, 18)):
        spikes = window(one, size, size)
        served = image(ready(one, engine="openvino"), spikes)
        torch.testing.assert_close(served, image(one, spikes), rtol=0, atol=2e-6)
    assert sum(not one.name.startswith(".") for one in own_folder.iterdir()) == 3


def test_the_least_recently_used_go_first(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "MOST_BYTES", 1)
    network = spikerec.load("fast")
    image(ready(network, engine="openvino"), window(network, 16, 16))
    assert not [one for one in own_folder.iterdir() if not one.name.startswith(".")]


def test_a_network_of_one_s_own_is_converted_and_not_kept(own_folder: Path) -> None:
    network = Doubled()
    spikes = window(network, 6, 5)
    served = image(ready(network, engine="openvino"), spikes)
    torch.testing.assert_close(served, image(network, spikes))
    assert not own_folder.exists()


class Doubled(Network):
    """The mean, twice over."""

    def __init__(self) -> None:
        super().__init__(4)
        self.gain = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, spikes: torch.Tensor) -> Reconstruction:
        return Reconstruction(self.gain * spikes.mean(1, keepdim=True))


class Data(Doubled):
    """A network whose operations depend on values, which no engine takes."""

    def forward(self, spikes: torch.Tensor) -> Reconstruction:
        mean = spikes.mean(1, keepdim=True)
        return Reconstruction(mean if spikes.sum().item() > 3 else -mean)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_network_that_an_engine_cannot_take_is_named(engine: str) -> None:
    network = Data()
    with pytest.raises(ConfigError, match=rf"^Data cannot run by {engine}: .*Set engine=torch\.$"):
        image(ready(network, engine=engine), window(network, 6, 5))


def test_a_served_network_goes_to_other_processes_and_is_counted() -> None:
    network = spikerec.load("fast")
    served = ready(network, engine="openvino")
    spikes = window(network, 16, 16)
    first = image(served, spikes)
    sent = pickle.load(io.BytesIO(pickle.dumps(served)))  # noqa: S301
    assert torch.equal(image(sent, spikes), first)
    assert torch.equal(image(copy.deepcopy(served), spikes), first)
    assert peak_memory(served, (64, 64)) == pytest.approx(peak_memory(network, (64, 64)), rel=0.5)


#: A forked process, as a DataLoader's, meets a program of its parent as garbage.
FORKED = """
import gc, os, signal, sys, torch
from spikerec.inference.ready import ready
from spikerec.models import Fast
torch.set_num_threads(2)
gc.disable()
network = ready(Fast(window=9), engine=sys.argv[1])
network.reconstruct(torch.ones((1, 9, 16, 20), dtype=torch.uint8), 1.0)
network.__dict__["itself"] = network
del network
process = os.fork()
if not process:
    signal.alarm(60)  # it would end by this if it hung
    gc.collect()
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
@pytest.mark.parametrize("engine", ENGINES)
def test_a_forked_process_does_not_end_by_freeing_what_it_inherited(engine: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED, engine],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "7\n", done.stderr


def test_filters_need_no_engine() -> None:
    tfp = spikerec.load("tfp")
    assert type(ready(tfp, engine="openvino")) is type(tfp)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"engine": "tensorflow"}, "engine must be one of torch, compile, openvino, onnxruntime"),
        ({"engine": "tensorrt"}, "engine=tensorrt is not offered: it computes on NVIDIA's GPUs"),
        ({"precision": "int4"}, "precision must be one of float32, bf16, fp16"),
        ({"engine": "onnxruntime", "precision": "bf16"}, "expected float32, or engine=openvino"),
    ],
)
def test_what_is_not_there_is_refused(settings: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        ready(Fast(), **settings)


def test_an_engine_of_the_cpu_refuses_another_device() -> None:
    with pytest.raises(ConfigError, match="computes on the CPU, but device is cuda: set"):
        ready(Fast(), torch.device("cuda"), engine="openvino")


def test_auto_keeps_float32_where_the_loss_is_not_known() -> None:
    for engine in ("torch", "openvino"):
        assert choose_precision(Fast(), torch.device("cpu"), engine) == "float32"
    assert choose_precision(Fast(), torch.device("cpu"), "torch", "bf16") == "bf16"


@pytest.mark.parametrize("precision", ["bf16", "int8"])
@pytest.mark.parametrize("name", ["tfp", "tfi", "hann"])
def test_a_filter_is_computed_and_stated_in_float32(name: str, precision: str) -> None:
    for engine in ("torch", "openvino"):
        found = choose_precision(spikerec.load(name), torch.device("cpu"), engine, precision)
        assert found == "float32"


def test_the_command_takes_an_engine(tmp_path: Path) -> None:
    np.save(tmp_path / "bar.npy", moving())
    command = [sys.executable, "-m", "spikerec", "reconstruct", "bar.npy", "bar.png", "at=45"]
    command += ["model=fast", "engine=openvino", "precision=float32"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    from spikerec.streaming.about import read_about

    assert read_about(tmp_path / "bar.png")["engine"] == "openvino"
