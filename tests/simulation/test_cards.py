"""Cards of this version and of earlier ones say the same of the same set."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from spikerec.errors import DataError
from spikerec.simulation import Camera, SceneStyle
from spikerec.simulation.cards import is_card, read_card, write_card

#: Scenes and cameras as cards stated them when they stated everything, in November 2026.
WHOLE = """
seed: 0
cameras:
  ideal: {weight: 3, light_scale: 0.4, threshold: 1.0, shot_noise: false, gain: 1.0,
    gain_spread: 0.0, dark_current: 0.0, dark_spread: 0.0, threshold_spread: 0.0,
    stray_rate: 0.0, maps: null, sensor_seed: null}
  shot: {weight: 1, light_scale: 0.4, threshold: 255.0, shot_noise: true, gain: 1.0,
    gain_spread: 0.0, dark_current: 0.0, dark_spread: 0.0, threshold_spread: 0.0,
    stray_rate: 0.0, maps: null, sensor_seed: null}
style: {motion: [0.6, 122], object_motion: [0.6, 122], objects: [0, 3], warp: 3.0, limbs: 0.4,
  brightness: [0.4, 1.0], still: 0.2, parallax: 0.3, linear: 0.3, flicker: 0.1}
speeds: null
"""


def card(**style: Any) -> dict[str, Any]:
    """The card of `WHOLE` as sets make it now, which state whatever the classes have by now."""
    varied = SceneStyle(
        motion=(0.6, 122.0),
        object_motion=(0.6, 122.0),
        warp=3.0,
        limbs=0.4,
        brightness=(0.4, 1.0),
        still=0.2,
        parallax=0.3,
        linear=0.3,
        flicker=0.1,
    )
    return {
        "seed": 0,
        "cameras": {
            "ideal": {"weight": 3, **asdict(Camera())},
            "shot": {"weight": 1, **asdict(Camera(threshold=255.0, shot_noise=True))},
        },
        "style": asdict(varied) | style,
        "speeds": None,
    }


def test_a_card_that_states_everything_is_that_of_the_same_set(tmp_path: Path) -> None:
    path = tmp_path / "dataset.yaml"
    path.write_text(WHOLE)
    assert is_card(path, card())
    with pytest.raises(DataError, match=r"another set \(it differs in style\)"):
        is_card(path, card(still=0.3))
    with pytest.raises(DataError, match=r"another set \(it differs in seed\)"):
        is_card(path, card() | {"seed": 1})


def test_what_is_as_by_default_is_not_stated(tmp_path: Path) -> None:
    path = tmp_path / "dataset.yaml"
    write_card(path, card())
    stated = read_card(path)
    assert stated["cameras"] == {
        "ideal": {"weight": 3},
        "shot": {"weight": 1, "threshold": 255.0, "shot_noise": True},
    }
    assert stated["style"] == {
        key: value for key, value in yaml.safe_load(WHOLE)["style"].items() if key != "objects"
    }
    assert "speeds" not in stated
    assert is_card(path, card())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("style: {fog: 0.5}", "style states fog"),
        ("camera: {lens: wide}", "camera states lens"),
        ("cameras: {ideal: {weight: 1, lens: wide, heat: 1}}", "cameras.ideal states lens, heat"),
        ("source: {style: {fog: 0.5}}", "source.style states fog"),
    ],
)
def test_what_only_a_newer_version_can_state_is_named(
    tmp_path: Path, line: str, message: str
) -> None:
    path = tmp_path / "dataset.yaml"
    path.write_text(line)
    with pytest.raises(DataError, match=f"{message}, which this version .* made by a newer one"):
        is_card(path, {})


def test_a_scene_s_class_of_one_s_own_has_arguments_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "simulation.yaml"
    style = {"_target_": "mine.Style", "fog": 0.5}
    write_card(path, {"source": {"style": style | {"warp": 2.0}}})
    assert read_card(path) == {"source": {"style": style}}


def test_a_key_that_this_version_does_not_write_is_named(tmp_path: Path) -> None:
    path = tmp_path / "dataset.yaml"
    path.write_text("seed: 0\nweather: rain\n")
    with pytest.raises(DataError, match=r"another set \(it differs in weather\)"):
        is_card(path, {"seed": 0})
