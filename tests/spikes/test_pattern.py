from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from spikerec.errors import InputError
from spikerec.simulation import Camera, bundled_images
from spikerec.spikes.bayer import BayerPattern
from spikerec.spikes.formats import as_stream
from spikerec.spikes.pattern import FEWEST_READOUTS, Pattern, estimate_pattern, unfit
from tests.fakes import moving_photograph

HEIGHT, WIDTH = 96, 112
UNEVEN = Camera(0.4, gain_spread=0.056, sensor_seed=1)
RSIR = Camera(
    0.4,
    threshold=255,
    shot_noise=True,
    gain_spread=0.056,
    dark_current=0.0045,
    dark_spread=0.46,
    sensor_seed=1,
)


def estimated(camera: Camera, light: torch.Tensor) -> Pattern | None:
    return estimate_pattern(as_stream(camera.expose(light, seed=2).numpy()))


def true_response(camera: Camera, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.float32]:
    gain: NDArray[np.float32] = camera.sensor(height, width, torch.Generator()).gain.numpy()
    return gain


def agreement(found: Pattern | None, camera: Camera) -> float:
    """Correlation of the estimated with the true response."""
    assert found is not None
    true = np.log(true_response(camera, *found.response.shape)).ravel()
    return float(np.corrcoef(np.log(found.response).ravel(), true)[0, 1])


@pytest.mark.parametrize("camera", [UNEVEN, RSIR], ids=["gain", "rsir"])
@pytest.mark.parametrize(("name", "speed"), [("astronaut.png", 0.2), ("grass.png", 0.5)])
def test_the_pattern_of_a_moving_scene_is_the_sensors(
    camera: Camera, name: str, speed: float
) -> None:
    found = estimated(camera, moving_photograph(speed, name=name, height=160, width=192))
    assert agreement(found, camera) > 0.7
    assert found is not None
    assert found.spread == pytest.approx(0.056, rel=0.2)
    # taking the estimate out leaves less than there was, everywhere alike in the mean
    true = true_response(camera, *found.response.shape)
    left = true / found.response
    assert left.std() < 0.7 * true.std()
    assert left.mean() == pytest.approx(1, abs=0.01)


def test_more_readouts_find_more_of_the_pattern() -> None:
    few, many = (
        estimated(RSIR, moving_photograph(0.3, count, name="chelsea.png")) for count in (121, 401)
    )
    assert agreement(many, RSIR) > agreement(few, RSIR) + 0.03


@pytest.mark.parametrize("name", ["astronaut.png", "grass.png", "gravel.png"])
@pytest.mark.parametrize("camera", [Camera(0.4), RSIR], ids=["ideal", "rsir"])
def test_texture_that_stands_still_is_no_pattern(name: str, camera: Camera) -> None:
    still = moving_photograph(0.0, name=name)
    assert estimated(camera, still) is None
    flicker = 0.7 + 0.3 * torch.sin(torch.arange(len(still)) / 9)
    assert estimated(camera, still * flicker[:, None, None]) is None


def test_a_shadow_over_still_texture_finds_no_pattern() -> None:
    columns, times = torch.arange(WIDTH), torch.arange(161)[:, None]
    shade = 0.6 + 0.4 * torch.sin(columns / 8 - times / 5)
    assert estimated(Camera(0.4), moving_photograph(0.0, name="grass.png") * shade[:, None]) is None


@pytest.mark.parametrize("speed", [0.05, 0.2, 1.0])
@pytest.mark.parametrize("light_scale", [0.05, 0.4])
def test_an_even_sensor_has_no_pattern(speed: float, light_scale: float) -> None:
    for camera in (
        Camera(light_scale),
        Camera(light_scale, threshold=255, shot_noise=True, stray_rate=0.007),
    ):
        assert estimated(camera, moving_photograph(speed)) is None


def test_a_dark_still_scene_that_only_repeats_itself_has_no_pattern() -> None:
    images = {one.name: one.image for one in bundled_images()}
    sky = images["hubble_deep_field.jpg"][:HEIGHT, :WIDTH].expand(161, HEIGHT, WIDTH)
    assert estimated(Camera(0.6), sky) is None


def test_a_stream_too_short_or_too_small_has_none() -> None:
    light = moving_photograph(0.5, name="grass.png")
    assert estimated(UNEVEN, light[:FEWEST_READOUTS]) is not None
    assert estimated(UNEVEN, light[: FEWEST_READOUTS - 1]) is None
    assert estimated(UNEVEN, light[:, :31]) is None


@pytest.mark.parametrize(
    ("shape", "bayer", "told"),
    [
        ((112, 64, 64), None, None),
        ((111, 64, 64), None, "holds 111 readouts, expected 112 or more"),
        ((112, 31, 400), None, "is 31 × 400, expected pictures of 64 × 64 pixels or more"),
        ((112, 63, 64), None, "expected pictures of 64 × 64 pixels or more"),
        ((112, 63, 400), "rggb", "expected pictures of 128 × 128 pixels or more"),
        ((112, 128, 128), "rggb", None),
        ((112, 1700, 1700), None, "expected pictures of 2.8 million pixels at most"),
    ],
)
def test_a_stream_that_cannot_show_a_pattern_is_told_why(
    shape: tuple[int, int, int], bayer: BayerPattern | None, told: str | None
) -> None:
    stream = as_stream(np.broadcast_to(np.uint8(0), shape))
    stream.bayer = bayer
    reason = unfit(stream)
    assert reason is None if told is None else told in str(reason)


def test_a_dark_rate_of_another_size_is_refused() -> None:
    stream = as_stream(np.zeros((FEWEST_READOUTS, HEIGHT, WIDTH), np.uint8))
    with pytest.raises(InputError, match=r"dark must be 96 × 112 as the stream, found .* 3 × 4"):
        estimate_pattern(stream, np.zeros((3, 4), np.float32))


def test_hot_pixels_of_an_even_sensor_are_no_pattern() -> None:
    spikes = Camera(0.4).expose(moving_photograph(0.3), seed=2).numpy()
    hot = np.random.default_rng(0).random((HEIGHT, WIDTH)) < 0.003
    spikes[:, hot] = 1
    assert estimate_pattern(as_stream(spikes)) is None


def test_colours_of_a_mosaic_are_no_pattern() -> None:
    mosaic = moving_photograph(0.5, name="grass.png", height=192, width=224)
    mosaic[:, ::2, ::2] *= 0.5
    mosaic[:, 1::2, 1::2] *= 0.7
    found = {}
    for camera in (Camera(0.4), UNEVEN):
        stream = as_stream(camera.expose(mosaic, seed=2).numpy())
        stream.bayer = "rggb"
        found[camera] = estimate_pattern(stream)
    assert found[Camera(0.4)] is None
    assert agreement(found[UNEVEN], UNEVEN) > 0.5
