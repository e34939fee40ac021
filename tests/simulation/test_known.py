from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from spikerec.configs import build, config_names
from spikerec.data.bounds import MOST_LABEL
from spikerec.errors import DataError
from spikerec.simulation import Camera
from spikerec.simulation.cards import write_card
from spikerec.simulation.known import LONGEST_LABEL, Known, noise_label, read_known


@pytest.mark.parametrize("name", config_names("simulation"))
def test_a_preset_is_named_whatever_its_light_and_sensor(name: str) -> None:
    camera = replace(build("simulation", name), light_scale=0.123, sensor_seed=7)
    assert noise_label(camera) == noise_label(asdict(camera)) == name


def test_another_camera_is_named_by_its_settings() -> None:
    assert noise_label(Camera(stray_rate=0.02, gain=0.9)) == "gain=0.9, stray_rate=0.02"


@pytest.mark.parametrize(
    "settings",
    [
        {f"key{i}": i for i in range(1000)},
        {"gain": "x" * 100_000},
        {"gain": "\x1b[2J\n", "k\x00ey": ["\u202e"] * 50},
    ],
)
def test_a_label_is_one_that_a_record_takes(settings: dict) -> None:
    label = noise_label(settings)
    assert len(label) <= LONGEST_LABEL <= MOST_LABEL
    assert label.isprintable()


@pytest.mark.parametrize(
    "path", ["/home/somebody/maps.npz", r"C:\lab\maps.npz", Path("lab/maps.npz")]
)
def test_maps_are_named_by_their_file_alone(path: str | Path) -> None:
    assert noise_label({"maps": path, "gain": 0.9}) == "maps=maps.npz, gain=0.9"


def test_a_card_that_is_written_again_is_read_again(tmp_path: Path) -> None:
    card = tmp_path / "simulation.yaml"
    for gain in (0.5, 0.75):
        write_card(card, {"camera": asdict(Camera(gain=gain))})
        assert read_known(card).noise == f"gain={gain}"


def test_a_card_of_too_many_values_is_refused_before_it_is_built(tmp_path: Path) -> None:
    card = tmp_path / "simulation.yaml"
    card.write_text(f"motion: [{'0, ' * 90_000}0]\n")
    with pytest.raises(DataError, match="20,000"):
        read_known(card)


def test_a_card_states_noise_and_motion_between_images(tmp_path: Path) -> None:
    card = tmp_path / "simulation.yaml"
    content = {"camera": asdict(Camera(0.3)), "readouts_per_image": 20, "motion": [0.0, 1.0]}
    write_card(card, content)
    known = read_known(card)
    assert known.noise == "ideal"
    assert [known.motion_at(readout) for readout in (-1, 0, 5, 20, 30)] == [0, 0, 0.25, 1, 1]


def test_an_older_card_leaves_unknown_what_it_does_not_state(tmp_path: Path) -> None:
    card = tmp_path / "simulation.yaml"
    write_card(card, {"seed": 3})
    assert read_known(card) == Known()
    assert read_known(card).noise == "unknown"
    assert read_known(card).motion_at(20) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"motion": "fast"},
            "motion must list up to 10,000 numbers from 0 to 1,000,000, found 'fast'",
        ),
        ({"motion": [0.1, -1]}, "motion must list up to 10,000 numbers from 0"),
        ({"motion": [1e300]}, "motion must list up to 10,000 numbers from 0"),
        ({"motion": [0] * 10_001}, "motion must list up to 10,000 numbers from 0"),
        (
            {"readouts_per_image": 0},
            "readouts_per_image must be a whole number from 1 to 1,000,000",
        ),
        ({"readouts_per_image": 2**62}, "readouts_per_image must be a whole number from 1 to"),
    ],
)
def test_a_broken_card_is_refused_by_name(tmp_path: Path, content: dict, message: str) -> None:
    card = tmp_path / "simulation.yaml"
    write_card(card, content)
    with pytest.raises(DataError, match=f"simulation.yaml: {message}"):
        read_known(card)
