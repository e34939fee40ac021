from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from spikerec import spikes
from spikerec.configs import build
from spikerec.errors import ConfigError, DataError
from spikerec.spikes import SpikeStream
from spikerec.streaming import KeyReadouts, Tone, reconstruct
from spikerec.streaming.about import read_about
from spikerec.streaming.key_readouts import parse_readouts
from tests.fakes import fake_spikes


@pytest.fixture
def stream(tmp_path: Path) -> SpikeStream:
    spikes.save(tmp_path / "car.npy", fake_spikes(60, 12, 16), rate_hz=1e4, light_scale=0.5)
    return spikes.open(tmp_path / "car.npy")


@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.gif", "a.npy", "a.h5", "frames", "A.MP4"])
def test_a_result_says_how_it_was_made(name: str, stream: SpikeStream, tmp_path: Path) -> None:
    video = reconstruct(stream, "tfp", stride=20)
    video.save(tmp_path / name, about={"command": "spikerec reconstruct ü.npy"})
    about = read_about(tmp_path / name)
    assert about["input"] == "car.npy"
    assert about["command"] == "spikerec reconstruct ü.npy"
    assert (about["frames"], about["stride"], about["slow_motion"]) == (3, 20, 20)
    assert about["methods"]["tfp"]["window"] == 31
    assert str(tmp_path) not in str(about)
    assert video.save(tmp_path / name) == 0  # it knows its own


def test_one_picture(stream: SpikeStream, tmp_path: Path) -> None:
    video = reconstruct(stream, "tfp", at="3ms")
    video.save(tmp_path / "one.png")
    assert read_about(tmp_path / "one.png")["at"] == [30]
    assert np.asarray(Image.open(tmp_path / "one.png")).shape == (12, 16)
    with pytest.raises(ConfigError, match=r"is one picture, but 2 frames.*at=READOUT"):
        reconstruct(stream, "tfp", at=[1, 2]).save(tmp_path / "two.png")


def test_a_list_gives_the_frames_that_the_whole_video_has(stream: SpikeStream) -> None:
    whole = list(reconstruct(stream, "tfp", stride=1))
    at = (0, 5, 10, 11, 40, 59)
    for readout, image in zip(at, reconstruct(stream, "tfp", at=at), strict=True):
        assert np.array_equal(image, whole[readout]), readout


@pytest.mark.parametrize("exposure", ["auto", 0.7])
def test_a_picture_made_in_python_is_made_again_by_what_it_states(
    exposure: Any, stream: SpikeStream, tmp_path: Path
) -> None:
    network = build("model", "tfi", window=21, rule="sequence")
    video = reconstruct(stream, network, at=30, exposure=exposure, tone=Tone("log", gamma=2.2))
    video.save(tmp_path / "one.png")
    about = read_about(tmp_path / "one.png")
    ((name, method),) = about["methods"].items()
    again = reconstruct(
        spikes.open(tmp_path / about["input"], light_scale=about["light_scale"]),
        build("model", method["class"].lower(), **method["arguments"]),
        at=about["at"],
        exposure=about["gains"][name],
        tone=Tone(**about["tone"]),
    )
    assert np.array_equal(np.asarray(again[0]), np.asarray(Image.open(tmp_path / "one.png")))


def test_a_list_has_a_speed_where_it_has_a_step(stream: SpikeStream) -> None:
    def speed(at: object) -> float | None:
        return reconstruct(stream, "tfp", at=at).slow_motion(25)

    assert speed([0, 20, 40]) == 20
    assert speed([0, 20, 50]) is None
    assert speed(20) is None


@pytest.mark.parametrize(
    ("num_readouts", "seconds"), [(41, 1.64), (100, 4), (400, 3.2), (2000, 5.36), (40_000, 106.68)]
)
def test_the_default_stride_gives_a_video_to_watch(num_readouts: int, seconds: float) -> None:
    stream = spikes.open(np.ones((num_readouts, 1, 1), np.uint8), light_scale=1.0)
    assert len(reconstruct(stream, "tfp")) / 25 == pytest.approx(seconds)


def test_a_list_falls_into_even_runs() -> None:
    runs = KeyReadouts(0, 60, 9, (0, 5, 10, 11, 40, 59)).runs()
    assert [list(run) for run in runs] == [[0, 5, 10], [11, 40], [59]]


def test_readouts_are_named_in_many_ways(stream: SpikeStream, tmp_path: Path) -> None:
    (tmp_path / "at.txt").write_text("# of the crash\n7, 1.2ms\n1e1 0.002s\n")
    assert parse_readouts("150", stream) == [150]
    assert parse_readouts("1, 2ms,300us", stream) == [1, 20, 3]
    assert parse_readouts([4, "0.5ms"], stream) == [4, 5]
    assert parse_readouts(str(tmp_path / "at.txt"), stream) == [7, 12, 10, 20]


def test_readouts_that_cannot_be(stream: SpikeStream, tmp_path: Path) -> None:
    (tmp_path / "at.txt").write_text("7 seven")
    with pytest.raises(ConfigError, match="at=soon is neither a readout"):
        parse_readouts("soon", stream)
    with pytest.raises(DataError, match=r"must hold readouts or times, found 'seven'"):
        parse_readouts(str(tmp_path / "at.txt"), stream)
    with pytest.raises(ConfigError, match=r"at=60 \(6ms\) is no .*: expected 0 to 59 \(5\.9ms\)"):
        reconstruct(stream, "tfp", at=60)
    with pytest.raises(ConfigError, match="at names readouts: leave out stride"):
        reconstruct(stream, "tfp", at=6, stride=2)


def test_a_short_clip_plays_for_some_seconds(stream: SpikeStream) -> None:
    assert len(reconstruct(stream, "tfp")) == 60


def test_a_file_of_others_says_nothing(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "x.png")
    assert read_about(tmp_path / "x.png") == {}
    (tmp_path / "y.npy").write_bytes(b'\nabout spikerec:{"a": [[[[[[[[[[1]]]]]]]]]]}\n')
    with pytest.raises(DataError, match="levels of mappings"):
        read_about(tmp_path / "y.npy")


@pytest.mark.parametrize(
    "text", ["ffconcat version 1.0\nfile other.mp4\n", "#EXTM3U\n#EXTINF:1,\nother.mp4\n"]
)
def test_a_result_names_no_other_file(text: str, stream: SpikeStream, tmp_path: Path) -> None:
    video = reconstruct(stream, "tfp", stride=20)
    video.save(tmp_path / "other.mp4")
    (tmp_path / "a.mp4").write_text(text)
    with pytest.raises(DataError, match=r"a\.mp4 cannot be read as \.mp4"):
        read_about(tmp_path / "a.mp4")
    with pytest.raises(DataError, match="exists already"):
        video.save(tmp_path / "a.mp4")
    Image.new("L", (9, 9)).save(tmp_path / "b.png", "GIF")
    with pytest.raises(DataError, match=r"b\.png cannot be read as an image"):
        read_about(tmp_path / "b.png")
