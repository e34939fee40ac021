"""Measured exposure: few pixels are white, what is dark stays dark, and nothing flickers."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from spikerec import spikes
from spikerec.configs import build, config_names
from spikerec.models.base import Network, Reconstruction
from spikerec.simulation import Camera, RandomScene, SceneStyle, bundled_images
from spikerec.simulation.colour import BayerScene
from spikerec.simulation.images import read_colour
from spikerec.spikes import Geometry, SpikeStream
from spikerec.spikes.grey import grey_levels
from spikerec.streaming import Tone, reconstruct
from spikerec.streaming.video import Video
from tests.fakes import fake_spikes

METHODS = ("tfp", "tfi", "hann", "fast", "fast_wide")
#: Percent of a clip's pixels that may be white.
MOST_WHITE = 0.5
#: A copy of REDS_base as spikerec keeps it.
REDS = Path(__file__).parents[2] / "data" / "reds"


def percent_white(video: Video) -> float:
    pictures = np.stack([grey_levels(video.draw(frame)) for frame in video.frames()])
    brightest = pictures.max(-1) if pictures.ndim == 4 else pictures
    return float(np.mean(brightest == 255)) * 100


@cache
def scene(seed: int) -> NDArray[np.uint8]:
    """A simulated clip (150, 96, 128) of some camera, light and speed."""
    speed = (0.0, 0.1, 0.3)[seed % 3]
    style = SceneStyle(motion=(61 * speed, 61 * speed + 1e-6), objects=(0, 3))
    photographs = [photograph.image for photograph in bundled_images()]
    frames = RandomScene(photographs, height=96, width=128, seed=seed, style=style).frames(0, 150)
    camera = config_names("simulation")[seed % 3]
    light_scale = (0.1, 0.4, 0.6, 1.0)[seed % 4]
    made: Camera = build("simulation", camera, light_scale=light_scale)
    return made.expose(frames, seed=seed).numpy()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(6))
def test_few_pixels_of_a_usual_scene_are_white(seed: int, method: str) -> None:
    video = reconstruct(spikes.open(scene(seed)), method, stride=13, tone=Tone(gamma=2.2))
    assert percent_white(video) <= MOST_WHITE
    assert max(np.asarray(picture).max() for picture in video) > 240


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_few_pixels_of_reds_are_white(method: str) -> None:
    paths = sorted(REDS.rglob("*.dat"))
    if not paths:
        pytest.skip(f"{REDS} is not here")
    for path in paths:
        stream = spikes.open(path, geometry=Geometry(250, 400))
        assert percent_white(reconstruct(stream, method, stride=41)) <= MOST_WHITE, path


@pytest.mark.parametrize("method", ["tfp", "fast"])
def test_few_pixels_of_a_colour_scene_are_clipped(method: str, tmp_path: Path) -> None:
    from skimage.data import coffee

    Image.fromarray(coffee()).save(tmp_path / "coffee.png")
    photograph = read_colour(tmp_path / "coffee.png")
    channels = [RandomScene([light], height=96, width=128, seed=3) for light in photograph]
    frames = BayerScene(channels, "rggb").frames(0, 120)
    bits = Camera(light_scale=0.6).expose(frames, seed=1).numpy()
    spikes.save(tmp_path / "colour.npy", bits, bayer="rggb")
    video = reconstruct(spikes.open(tmp_path / "colour.npy"), method, stride=7)
    assert percent_white(video) <= MOST_WHITE


@pytest.mark.parametrize("name", config_names("model"))
def test_a_clip_without_spikes_is_black(name: str) -> None:
    network: Network = build("model", name)
    stream = spikes.open(np.zeros((4, 16, 16), np.uint8))
    (frame,) = reconstruct(stream, network, at=2, exposure="auto").frames()
    assert not frame.images.any()


@pytest.mark.parametrize("camera", config_names("simulation"))
@pytest.mark.parametrize("method", METHODS)
def test_noise_in_the_dark_stays_dark(method: str, camera: str) -> None:
    made: Camera = build("simulation", camera)
    stream = spikes.open(made.expose(torch.zeros(150, 48, 64), seed=0).numpy())
    video = reconstruct(stream, method, stride=7)
    assert percent_white(video) <= MOST_WHITE
    assert np.mean([np.asarray(picture) for picture in video]) < 100


class InUnit(Network):
    """The firing rate, in the unit of a network of some light scale; of None, in one of its own."""

    def __init__(self, output_scale: float | None) -> None:
        super().__init__(window=31, output_scale=output_scale)
        self.scale = nn.Parameter(torch.tensor(7.0 if output_scale is None else 1 / output_scale))

    def forward(self, spikes: Tensor) -> Reconstruction:
        return Reconstruction(self.scale * spikes.mean(1, keepdim=True))


def half_dark(rate: float) -> SpikeStream:
    values = fake_spikes(400, 32, 32, rate=rate)
    values[:, :, :16] = fake_spikes(400, 32, 16, seed=1, rate=rate / 4)
    return spikes.open(values)


@pytest.mark.parametrize("rate", [0.03, 0.3])
@pytest.mark.parametrize("output_scale", [1.0, 0.4, None])
def test_the_unit_of_a_network_does_not_matter(rate: float, output_scale: float | None) -> None:
    stream = half_dark(rate)
    image = next(reconstruct(stream, InUnit(output_scale)).frames()).images[0].numpy()
    expected = next(reconstruct(stream, "tfp").frames()).images[0].numpy()
    assert image == pytest.approx(expected, rel=0.1 if output_scale is None else 1e-4)
    assert image[:, :16].mean() / image[:, 16:].mean() == pytest.approx(1 / 4, rel=0.3)


def test_a_method_is_exposed_beside_others_as_alone() -> None:
    stream = half_dark(0.3)
    both = reconstruct(stream, "tfp", "tfi")
    (frame,) = both.frames(5, 6)
    for place, method in enumerate(("tfp", "tfi")):
        (alone,) = reconstruct(stream, method, stride=both.key_readouts.stride).frames(5, 6)
        torch.testing.assert_close(frame.images[place], alone.images[0])
    assert both.exposure.startswith("measured: white fires at ")
    assert "(tfp), " in both.exposure
    assert both.exposure.endswith("(tfi) per readout")


def test_the_white_that_was_found_gives_the_picture_again() -> None:
    values = scene(1)
    video = reconstruct(spikes.open(values), "tfp")
    white = float(video.exposure.split()[-3])
    again = reconstruct(spikes.open(values, light_scale=white), "tfp", exposure="light_scale")
    assert next(again.frames()).images.numpy() == pytest.approx(
        next(video.frames()).images.numpy(), rel=1e-3
    )
