"""`engine=auto`: engines stand in for real ones here, and state what time their images take."""

from __future__ import annotations

import copy
import json
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from spikerec import spikes
from spikerec.errors import ConfigError
from spikerec.inference.ready import Engine
from spikerec.models import Fast, Network
from spikerec.streaming import fastest, make_frames
from spikerec.streaming.engine import Frame
from spikerec.streaming.fastest import fastest_engine
from spikerec.streaming.key_readouts import KeyReadouts
from tests.fakes import fake_spikes


@dataclass
class Engines:
    """Engines that compute with PyTorch, whose times are stated.

    Attributes:
        seconds: of an image, by the engine's name.
        fail: engines that refuse at the first image.
        differ: engines with images of their own.
        tried: those that made images.
    """

    folder: Path
    seconds: dict[Engine, float] = field(default_factory=lambda: {"torch": 2.0})
    fail: tuple[Engine, ...] = ()
    differ: tuple[Engine, ...] = ()
    tried: list[Engine] = field(default_factory=list)

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        self.network = Fast(window=9).eval()
        spikes.save(self.folder / "clip.npy", fake_spikes(120, 12, 16), light_scale=0.5)
        self.stream = spikes.open(self.folder / "clip.npy")

    def prepared(self, engine: Engine) -> list[Network]:
        if engine not in self.seconds:
            raise ConfigError(f"{engine} is not installed")
        network: Any = copy.deepcopy(self.network)
        network.engine = engine
        if engine in self.differ:
            with torch.no_grad():
                for one in network.parameters():
                    one.add_(0.05)
        return [network]

    def make_frames(
        self, stream: spikes.SpikeStream, ready: list[Any], trial: KeyReadouts, **settings: Any
    ) -> Generator[Frame, None, None]:
        engine = ready[0].engine
        self.tried.append(engine)
        if engine in self.fail:
            raise ConfigError(f"Fast cannot run by {engine}")
        yield from make_frames(stream, ready, trial, **settings)

    def timed(self, frames: Generator[Frame, None, None], _: int) -> tuple[float, Tensor]:
        images = torch.stack([frame.images for frame in frames])
        return self.seconds[self.tried[-1]], images

    def choose(self, count: int = 60, stride: int = 2) -> Engine:
        return fastest_engine(
            self.stream,
            [self.network],
            KeyReadouts(0, count * stride, stride),
            self.prepared,
            device=torch.device("cpu"),
            batch_size=1,
            tilings=[None],
            facts=[],
        )


@pytest.fixture
def engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engines:
    monkeypatch.setenv("SPIKEREC_ENGINES", str(tmp_path / "engines"))
    made = Engines(tmp_path)
    monkeypatch.setattr(fastest, "make_frames", made.make_frames)
    monkeypatch.setattr(fastest, "_timed", made.timed)
    return made


def kept(engines: Engines) -> list[Path]:
    return list((engines.folder / "engines" / "choices").glob("[!.]*"))


def test_the_fastest_is_taken_and_known_the_next_time(engines: Engines) -> None:
    engines.seconds |= {"openvino": 1.0, "onnxruntime": 1.5}
    assert engines.choose() == "openvino"
    assert engines.tried == ["torch", "openvino", "onnxruntime"]
    assert engines.choose() == "openvino"
    assert engines.choose(count=3) == "openvino", "also for a clip that is too short for a trial"
    assert len(engines.tried) == 3
    engines.choose(stride=1)
    assert len(engines.tried) == 6, "another stride is another computation"


def test_a_damaged_choice_is_measured_again(engines: Engines) -> None:
    engines.seconds |= {"openvino": 1.0}
    assert engines.choose() == "openvino"
    (file,) = kept(engines)
    whole = file.read_bytes()
    for damaged in (b"", b"{", b"[]", b'{"torch": -1.0}', b'{"torch": 2.0, "gpu": 1.0}', b"\xff"):
        file.write_bytes(damaged)
        engines.tried.clear()
        assert engines.choose() == "openvino"
        assert engines.tried == ["torch", "openvino"]
        assert file.read_bytes() == whole


def test_a_choice_of_an_engine_that_cannot_is_not_taken(engines: Engines) -> None:
    engines.seconds |= {"openvino": 1.0}
    assert engines.choose() == "openvino"
    (choice,) = kept(engines)
    choice.write_text(json.dumps({"onnxruntime": 0.1}), encoding="utf-8")
    assert engines.choose() == "openvino"
    assert engines.tried == 2 * ["torch", "openvino"]


def test_nothing_is_measured_for_a_few_images(engines: Engines) -> None:
    engines.seconds |= {"openvino": 1.0}
    assert engines.choose(count=39) == "torch"
    assert engines.tried == []
    assert kept(engines) == []


def test_no_engine_is_tried_for_what_pytorch_makes_at_once(engines: Engines) -> None:
    engines.seconds |= {"torch": 0.9, "openvino": 0.1}
    assert engines.choose() == "torch"
    assert engines.choose() == "torch"
    assert engines.tried == ["torch"], "its time is known the second time"
    assert engines.choose(count=120, stride=2) == "openvino", "but a longer clip gains by it"


def test_a_gain_within_the_noise_is_none(engines: Engines) -> None:
    engines.seconds |= {"openvino": 1.9}
    assert engines.choose() == "torch"


def test_an_engine_that_cannot_is_passed_over(
    engines: Engines, caplog: pytest.LogCaptureFixture
) -> None:
    engines.seconds |= {"openvino": 0.1, "onnxruntime": 1.0}
    engines.fail = ("openvino",)
    with caplog.at_level("DEBUG", "spikerec"):
        assert engines.choose() == "onnxruntime"
    assert "passes over openvino: Fast cannot run by openvino" in caplog.text
    assert "takes onnxruntime (ms an image: torch 2e+03, not openvino, onnxruntime 1e+03)" in (
        caplog.text
    )
    assert engines.choose() == "onnxruntime"
    assert engines.tried.count("openvino") == 1, "it is known that it cannot"


def test_an_engine_whose_images_are_wrong_is_passed_over(engines: Engines) -> None:
    engines.seconds |= {"openvino": 1.0, "onnxruntime": 1.5}
    engines.differ = ("openvino",)
    assert engines.choose() == "onnxruntime"


def test_the_only_engine_that_can_is_taken_unmeasured(engines: Engines) -> None:
    engines.seconds = {"openvino": 1.0}
    assert engines.choose(count=2) == "openvino"
    assert engines.tried == []


def test_a_folder_that_cannot_be_written_keeps_nothing(engines: Engines) -> None:
    engines.seconds |= {"openvino": 1.0}
    (engines.folder / "engines").write_text("in the way")
    assert engines.choose() == "openvino"


def test_times_are_those_between_batches() -> None:
    frame = Frame(0, torch.ones(1, 2, 2), torch.ones(2, 2))
    seconds, images = fastest._timed((frame for _ in range(8)), 2)
    assert 0 < seconds < 1
    assert images.shape == (8, 1, 2, 2)
