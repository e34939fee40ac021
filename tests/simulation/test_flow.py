"""The pixels whose intensity moves along the flow: an independent look at what frames show."""

from __future__ import annotations

import pytest
import torch

from spikerec.simulation import LayeredScene, RandomScene, SceneStyle
from spikerec.simulation.flow import along, kept_pixels
from spikerec.simulation.layers import Layer, Turn, Wave
from tests.simulation.test_scenes import constant, path, smooth_image, wave

SIZE = 40
TIME = 7


def at_speed(speed: float) -> Wave:
    """A shift that grows by `speed` in the first readouts: a sine of a long period."""
    return wave(speed * 10_000 / (2 * torch.pi), 10_000)


def square() -> torch.Tensor:
    """An opaque square of 8 pixels in the middle of 16."""
    opacity = torch.zeros(16, 16)
    opacity[4:12, 4:12] = 1
    return torch.stack((torch.full((16, 16), 0.9), opacity))


def two_layers() -> LayeredScene:
    back = Layer(smooth_image(90, 90)[None], path())
    front = Layer(square(), path(x=at_speed(1.0)))
    return LayeredScene([back, front], height=SIZE, width=SIZE)


def test_what_is_kept_is_found_again_and_nothing_else_is_claimed() -> None:
    flow, is_kept = kept_pixels(two_layers(), 0, TIME)
    before, after = two_layers().frames(0, 1)[0], two_layers().frames(TIME, TIME + 1)[0]
    change = (along(after[None], flow, "bicubic")[0] - before).abs()
    assert change[is_kept].max() < 2 / 255
    middle = SIZE // 2
    assert is_kept[middle - 1 : middle + 1, middle - 1 : middle + 1].all()  # inside the square
    assert not is_kept[middle, middle + 8]  # the square will cover it
    assert not is_kept[middle, middle + 5]  # near its outline
    assert not is_kept[:2].any()  # at the border
    assert is_kept[4:8, 4:-4].all()  # the background far away


def test_nothing_is_kept_where_the_light_changes() -> None:
    layers = two_layers().layers
    flickering = LayeredScene(layers, height=SIZE, width=SIZE, brightness=wave(0.2, 40))
    assert not kept_pixels(flickering, 0, TIME)[1].any()
    turn = Turn(1.0, 0.5, 1.0, time=TIME / 2, duration=TIME)
    turning = LayeredScene(layers, height=SIZE, width=SIZE, brightness=turn)
    assert not kept_pixels(turning, 0, TIME)[1].any()
    assert kept_pixels(turning, TIME, TIME + 1)[1].any()
    steady = LayeredScene(layers, height=SIZE, width=SIZE, brightness=constant(0.5))
    assert kept_pixels(steady, 0, TIME)[1].any()


@pytest.mark.parametrize("seed", range(4))
def test_scenes_that_turn_zoom_bend_and_hang_together_find_their_intensities_again(
    seed: int,
) -> None:
    photographs = [smooth_image(180, 240), 1 - smooth_image(140, 140)]
    style = SceneStyle(motion=(20, 30), limbs=1.0, objects=(1, 3))
    scene = RandomScene(photographs, height=48, width=64, seed=seed, style=style)
    flow, is_kept = kept_pixels(scene, 10, 14)
    before, after = scene.frames(10, 11)[0], scene.frames(14, 15)[0]
    change = (along(after[None], flow, "bicubic")[0] - before).abs()[is_kept].mean()
    assert is_kept.float().mean() > 0.3
    assert change < 1.5 / 255
    assert change < 0.3 * (after - before).abs()[is_kept].mean()
