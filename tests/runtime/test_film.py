from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import spikerec
from spikerec import spikes
from spikerec.errors import ConfigError, GeometryError
from spikerec.models.base import Network
from spikerec.runtime.exported import Exported
from spikerec.runtime.film import Film
from spikerec.spikes import SpikeStream
from spikerec.streaming import Tone
from spikerec.streaming.key_readouts import choose_key_readouts
from tests.runtime.conftest import SIZE

Pair = tuple[Network, Path]

CHOICES: dict[str, dict[str, Any]] = {
    "all": {},
    "a part": {"stride": 3, "start": 20, "stop": 60},
    "far apart": {"stride": 31},
    "whole windows": {"stride": 50, "ends": "drop"},
    "a list": {"at": "0, 7, 8, 199"},
}
LOOKS: dict[str, dict[str, Any]] = {
    "measured": {},
    "stated": {"exposure": 1.7},
    "all defects": {"mask_defects": True},
    "no defects": {"mask_defects": False, "exposure": "auto"},
}


def film(stream: SpikeStream, path: Path, choice: dict[str, Any], **look: Any) -> Film:
    network = Exported(path)
    return Film(stream, network, choose_key_readouts(stream, [network], **choice), **look)


@pytest.mark.filterwarnings("ignore")  # torch's and onnxscript's own deprecations
@pytest.mark.parametrize(
    ("choice", "look"),
    [*((one, "measured") for one in CHOICES), *(("a part", one) for one in LOOKS)],
)
def test_its_images_are_those_of_the_whole_package(
    small: Pair, stream: SpikeStream, choice: str, look: str, tmp_path: Path
) -> None:
    network, path = small
    made = film(stream, path, CHOICES[choice], **LOOKS[look])
    assert made.save(tmp_path / "a.npy") == len(made)
    video = spikerec.reconstruct(
        stream, network, engine="onnxruntime", precision="float32", **CHOICES[choice], **LOOKS[look]
    )
    video.save(tmp_path / "b.npy")
    found, expected = np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy")
    assert expected.std() > 0.01
    np.testing.assert_array_equal(found, expected)
    assert made.exposure == video.exposure


@pytest.mark.filterwarnings("ignore")  # torch's and onnxscript's own deprecations
def test_its_pictures_are_those_of_the_whole_package(
    small: Pair, stream: SpikeStream, tmp_path: Path
) -> None:
    network, path = small
    tone = Tone(curve="reinhard", gamma=2.2)
    film(stream, path, {"stride": 60}, tone=tone).save(tmp_path / "a", bits=16)
    spikerec.reconstruct(stream, network, engine="onnxruntime", stride=60, tone=tone).save(
        tmp_path / "b", bits=16
    )
    names = sorted(one.name for one in (tmp_path / "b").iterdir())
    assert len(names) == 4
    for name in names:
        found, expected = (np.asarray(Image.open(tmp_path / one / name)) for one in "ab")
        np.testing.assert_array_equal(found, expected)


def test_a_stream_that_states_its_light_is_shown_by_it(small: Pair, tmp_path: Path) -> None:
    _, path = small
    spikes.save(tmp_path / "a.npy", np.ones((9, *SIZE), np.uint8), light_scale=0.5)
    made = film(spikes.open(tmp_path / "a.npy"), path, {})
    assert made.exposure == "white fires at 0.5 per readout"


def test_the_same_again_is_done_before_and_another_is_refused(
    small: Pair, stream: SpikeStream, tmp_path: Path
) -> None:
    _, path = small
    made = film(stream, path, {"stride": 60})
    assert made.save(tmp_path / "a.mp4") == 4
    assert made.save(tmp_path / "a.mp4") == 0
    other = film(stream, path, {"stride": 50})
    with pytest.raises(spikerec.errors.DataError, match="made with other settings"):
        other.save(tmp_path / "a.mp4")
    assert other.save(tmp_path / "a.mp4", overwrite=True) == 4


def test_a_stream_of_another_camera_is_refused(small: Pair, tmp_path: Path) -> None:
    _, path = small
    spikes.save(tmp_path / "a.npy", np.ones((9, 8, 8), np.uint8))
    with pytest.raises(GeometryError, match=r"8 × 8, but .*pictures of 13 × 18: export .*\[8,8\]"):
        film(spikes.open(tmp_path / "a.npy"), path, {})
    spikes.save(tmp_path / "b.npy", np.ones((9, *SIZE), np.uint8), bayer="rggb")
    with pytest.raises(ConfigError, match=r"states colours \(bayer=rggb\)"):
        film(spikes.open(tmp_path / "b.npy"), path, {})
