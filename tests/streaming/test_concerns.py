from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from spikerec import spikes
from spikerec.configs import build, config_names
from spikerec.errors import RecordingWarning
from spikerec.simulation import Camera, RandomScene, SceneStyle, bundled_images
from spikerec.simulation.colour import BayerScene
from spikerec.simulation.images import read_colour
from spikerec.spikes import Geometry
from spikerec.spikes.bayer import mosaic
from spikerec.spikes.dat import encode_readouts
from spikerec.spikes.geometry import BitOrder
from spikerec.spikes.plausibility import better_row
from spikerec.streaming import FixedPattern, reconstruct
from spikerec.streaming.viewer import Viewer
from spikerec.weights.trained import load
from tests.fakes import fake_spikes

READOUTS = 160


def told(source: NDArray[np.uint8] | Path, method: str = "tfi", **stated: object) -> str:
    stream = spikes.open(source, **stated)  # type: ignore[arg-type]
    return " ".join(reconstruct(stream, method).concerns)


@cache
def clip(
    speed: float = 0.1, light_scale: float = 0.5, seed: int = 0, camera: str = "ideal"
) -> NDArray[np.uint8]:
    """A simulated clip (160, 96, 128) that moves by so many pixels a readout at most."""
    style = SceneStyle(motion=(61 * speed, 61 * speed + 1e-6), objects=(0, 0))
    photographs = [photograph.image for photograph in bundled_images()]
    scene = RandomScene(photographs, height=96, width=128, seed=seed, style=style)
    made: Camera = build("simulation", camera, light_scale=light_scale)
    return made.expose(scene.frames(0, READOUTS), seed=seed).numpy()


def test_a_concern_is_a_warning_of_the_line_that_made_the_video() -> None:
    with pytest.warns(RecordingWarning, match="successive readouts .* axes time") as caught:
        reconstruct(np.moveaxis(clip(), 0, -1), "tfp")
    assert [Path(one.filename).name for one in caught] == [Path(__file__).name]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("camera", config_names("simulation"))
def test_a_usual_clip_raises_no_concern(camera: str, seed: int) -> None:
    assert told(clip(light_scale=(0.3, 0.5, 0.8, 0.6)[seed], seed=seed, camera=camera)) == ""


@pytest.mark.parametrize("light_scale", [0.05, 1.0])
@pytest.mark.parametrize("camera", config_names("simulation"))
def test_a_dark_or_bright_clip_is_not_taken_for_a_broken_one(
    camera: str, light_scale: float
) -> None:
    lines = told(clip(light_scale=light_scale, camera=camera, seed=5))
    assert not any(word in lines for word in ("axes", "Bayer", "blurred", "hot"))


@pytest.mark.parametrize(
    ("rate", "words"),
    [(0.0, "no pixel fires"), (0.02, "the pictures will be noisy"), (1.0, "it is saturated")],
)
def test_what_spoils_the_pictures_is_told(rate: float, words: str) -> None:
    assert words in told(fake_spikes(200, 20, 20, rate=rate))


def test_a_calibration_as_bright_as_the_recording_is_told() -> None:
    stream = spikes.open(clip())
    for dark, is_told in ((np.zeros_like(clip()), False), (clip(), True)):
        calibration = FixedPattern.measured(spikes.open(dark), None)
        told = reconstruct(stream, "tfi", calibration=calibration).concerns
        assert any("no more often than in calibration.dark" in one for one in told) is is_told


def test_a_calibration_of_half_the_light_is_told() -> None:
    stream = spikes.open(np.tile(clip(), (4, 1, 1)))
    for share, is_told in ((0.1, False), (0.8, True)):
        rate = share * stream[:].mean()
        dark = spikes.open(fake_spikes(2000, *stream.shape[1:], rate=rate))
        told = reconstruct(stream, "tfi", calibration=FixedPattern.measured(dark, None)).concerns
        assert any("calibration.dark fires at 80%" in one for one in told) is is_told


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("readouts", [40, 400])
def test_the_errors_of_a_calibration_are_those_of_counts(readouts: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rates, charge = rng.uniform(0.1, 0.3, (2, 64, 64)), rng.uniform(0, 1, (2, 64, 64))
    passed = np.arange(readouts + 1)[:, None, None, None] * rates + charge
    dark, flat = np.moveaxis(np.diff(np.floor(passed), axis=0).astype(np.uint8), 1, 0)
    measured = FixedPattern.measured(spikes.open(dark), None)
    assert np.std(measured.dark - rates[0]) == pytest.approx(measured.dark_error, rel=0.05)
    measured = FixedPattern.measured(None, spikes.open(flat))
    relative = measured.gain * rates[1] / np.mean(rates[1]) - 1
    assert np.std(relative) == pytest.approx(measured.gain_error, rel=0.3)


@pytest.mark.parametrize("kind", ["dark", "flat"])
def test_a_short_calibration_is_told(kind: str) -> None:
    stream = spikes.open(clip())
    for readouts, is_told in ((20, True), (20_000, False)):
        recording = spikes.open(fake_spikes(readouts, *stream.shape[1:], rate=0.3, seed=1))
        given = {"dark": None, "flat": None, kind: recording}
        told = reconstruct(
            stream, "tfi", calibration=FixedPattern.measured(given["dark"], given["flat"])
        ).concerns
        assert any(f"calibration.{kind} is short" in one for one in told) is is_told


def test_broken_pixels_are_counted() -> None:
    array = clip().copy()
    array[:, 7, 8] = 1
    array[:, 40:43, 60:63] = np.arange(READOUTS)[:, None, None] % 2
    array[:, 41, 61] = 0
    assert "1 hot and 1 dead pixels show a neighbour's spikes" in told(array)


@pytest.mark.parametrize(
    ("method", "speed", "is_told"),
    [("tfp", 0.1, False), ("tfp", 0.7, True), ("tfi", 0.3, False), ("fast", 0.3, False)],
)
def test_motion_beyond_what_the_method_bears_is_told(
    method: str, speed: float, is_told: bool
) -> None:
    assert ("they will be blurred" in told(clip(speed), method)) == is_told


def test_a_mosaic_is_told_unless_it_is_stated(tmp_path: Path) -> None:
    from skimage.data import coffee

    Image.fromarray(coffee()).save(tmp_path / "a.png")
    colours = read_colour(tmp_path / "a.png")
    style = SceneStyle(motion=(0, 1e-6), objects=(0, 0))
    channels = [RandomScene([one], height=96, width=128, seed=1, style=style) for one in colours]
    scene = BayerScene(channels, "rggb")
    array = Camera(0.5).expose(scene.frames(0, READOUTS), seed=0).numpy()
    assert "bayer=rggb or bayer=bggr" in told(array)
    assert "Bayer" not in told(array, bayer="rggb")


def dat(tmp_path: Path, array: NDArray[np.uint8], geometry: Geometry) -> Path:
    path = tmp_path / "clip.dat"
    path.write_bytes(encode_readouts(array, geometry).tobytes())
    return path


RIGHT = Geometry(96, 128)
WRONG = {
    "transposed": (Geometry(128, 96), "rows of 128 pixels fit together better, as 96 × 128"),
    "half as wide": (Geometry(192, 64), "rows of 128 pixels fit together better, as 96 × 128"),
    "twice as wide": (Geometry(48, 256), "rows of 128 pixels fit together better, as 96 × 128"),
    "twice as high": (Geometry(192, 128), "2 of the camera, one below the other"),
    "half as high": (Geometry(48, 128), "the geometry 48 × 128 (height × width) looks wrong"),
    "wider": (Geometry(96, 144), "the geometry 96 × 144 (height × width) looks wrong"),
    "by one": (Geometry(96, 127), "the geometry 96 × 127 (height × width) looks wrong"),
    "stored wider": (Geometry(96, 128, readout_width=144), "looks wrong"),
    "bit order": (Geometry(96, 128, bit_order="big"), "geometry.bit_order=big fits better"),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("bottom_up", [True, False])
def test_a_geometry_that_does_not_look_right_is_told(
    name: str, bottom_up: bool, tmp_path: Path
) -> None:
    wrong, words = WRONG[name]
    stored = dataclasses.replace(
        RIGHT, bit_order="big" if name == "bit order" else "little", bottom_up=bottom_up
    )
    path = dat(tmp_path, clip(), stored)
    stated = dataclasses.replace(wrong, bit_order="little", bottom_up=bottom_up, partial="drop")
    assert words in told(path, geometry=stated)
    assert told(path, geometry=stored) == ""
    assert told(path, geometry=stored, rotate=90, flip="horizontal") == ""


@pytest.mark.parametrize("start", [0, 90])
@pytest.mark.parametrize("order", ["little", "big"])
def test_each_of_several_files_is_looked_at_where_the_frames_are(
    start: int, order: BitOrder, tmp_path: Path
) -> None:
    stored = dataclasses.replace(RIGHT, bit_order=order)
    for part in range(4):
        array = clip()[40 * part : 40 * (part + 1)]
        (tmp_path / f"{part}.dat").write_bytes(encode_readouts(array, stored).tobytes())
    stream = spikes.open(sorted(tmp_path.iterdir()), geometry=RIGHT)
    lines = reconstruct(stream, "tfi", start=start, stop=start + 20).concerns
    assert any("bit_order=big fits better" in line for line in lines) == (order == "big")


@pytest.mark.parametrize("step", [1, 2, 8])
def test_stripes_are_not_taken_for_a_wrong_geometry(step: int, tmp_path: Path) -> None:
    """The test picture of a laboratory: stripes and squares that repeat."""
    y, x = np.mgrid[0:96, 0:128] // step
    for light in (y % 2, x % 2, (x + y) % 2):
        intensity = np.broadcast_to(0.1 + 0.5 * light, (READOUTS, 96, 128)).astype(np.float32)
        array = Camera(0.6).expose(torch.from_numpy(intensity.copy()), seed=0).numpy()
        lines = told(dat(tmp_path, array, RIGHT), geometry=RIGHT)
        assert "wrong" not in lines
        assert "reversed" not in lines


def test_swapped_axes_are_told() -> None:
    assert "are the axes time, rows and columns" in told(clip().transpose(1, 2, 0).copy())


def test_the_viewer_tells_them_too() -> None:
    stream = spikes.open(np.zeros((70, 8, 8), np.uint8))
    viewer = Viewer(stream, {"tfp": load("tfp"), "tfi": load("tfi")})
    assert viewer.facts()["concerns"] == [
        "no pixel fires in the part that was looked at: its pictures are black."
    ]


def test_patches_behind_a_mosaic_are_not_taken_for_another_width() -> None:
    y, x = np.mgrid[:200, :300]
    patch = (x + y / 6).astype(int) // 100 + 4 * (y // 100)
    colours = np.random.default_rng(3).uniform(0.05, 0.8, (8, 3))
    seen = mosaic("rggb", 200, 300)
    rate = np.select([seen == one for one in "rgb"], list(np.moveaxis(colours[patch], -1, 0)))
    assert better_row(rate, is_mosaic=True) is None
