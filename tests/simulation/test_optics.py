"""Layers out of focus, with highlights and with lamps, and scenes that draw them."""

from __future__ import annotations

import math

import pytest
import torch

from spikerec.simulation import LayeredScene, RandomScene, SceneStyle
from spikerec.simulation.layers import Layer, Turn, Wave
from spikerec.simulation.optics import out_of_focus, with_highlights, with_lamp
from tests.simulation.test_scenes import constant, path, photographs, smooth_image, wave

SIDE = 41


def points() -> Layer:
    """One bright pixel in the middle."""
    picture = torch.zeros(1, SIDE, SIDE)
    picture[0, SIDE // 2, SIDE // 2] = 1
    return Layer(picture, path())


def scene(seed: int = 0, images: list[torch.Tensor] | None = None, **style: object) -> RandomScene:
    given = {"motion": (2.0, 4.0), "objects": (1, 2)} | style
    return RandomScene(
        images or photographs(),
        height=40,
        width=48,
        seed=seed,
        style=SceneStyle(**given),
        key_readout=50,
    )


@pytest.mark.parametrize("radius", [2.0, 3.0, 6.0])
def test_a_point_out_of_focus_is_a_disc(radius: float) -> None:
    disc = out_of_focus(points(), (radius, radius)).picture[0]
    assert disc.sum() == pytest.approx(1, abs=1e-4)
    assert 1 / disc.max() == pytest.approx(math.pi * radius**2, rel=0.06)  # its area, evenly lit
    inside = disc[SIDE // 2, SIDE // 2 - int(radius - 0.5) : SIDE // 2 + int(radius - 0.5) + 1]
    assert inside.min() == pytest.approx(float(disc.max()), abs=1e-5)
    assert disc[SIDE // 2, SIDE // 2 + int(radius + 2)] == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(disc, disc.T)


def test_the_radius_is_in_pixels_of_the_scene() -> None:
    fine = Layer(points().picture, path(), detail=2)
    torch.testing.assert_close(
        out_of_focus(fine, (2.0, 2.0)).picture, out_of_focus(points(), (4.0, 4.0)).picture
    )


def test_a_flat_layer_stays_flat_up_to_its_rim() -> None:
    flat = Layer(torch.full((2, 30, 20), 0.4), path())
    torch.testing.assert_close(out_of_focus(flat, (3.0, 3.0)).picture, flat.picture)


def test_a_focus_that_changes_goes_from_one_disc_to_the_other() -> None:
    focus = Wave(0.5, *(torch.tensor([x], dtype=torch.float64) for x in (0.5, 400.0, 0.0)))
    layer = out_of_focus(points(), (1.0, 3.0), focus)

    def seen(one: Layer, time: int) -> torch.Tensor:
        return LayeredScene([one], height=SIDE, width=SIDE).frames(time, time + 1)[0]

    sharp, soft = (seen(out_of_focus(points(), (r, r)), 0) for r in (1.0, 3.0))
    torch.testing.assert_close(seen(layer, 300), sharp)
    torch.testing.assert_close(seen(layer, 100), soft)
    torch.testing.assert_close(seen(layer, 0), (sharp + soft) / 2)
    torch.testing.assert_close(seen(layer.to("cpu"), 0), seen(layer, 0))


def test_highlights_change_the_brightest_part_alone() -> None:
    image = torch.linspace(0, 0.9, 10_000).view(100, 100).T[None]
    lit = with_highlights(Layer(image, path()), share=0.05, peak=4.0).picture
    changed = lit != image
    assert changed.float().mean() == pytest.approx(0.05, abs=0.03)  # of every fourth pixel
    assert lit.max() == pytest.approx(4.0)
    assert (lit[0].T.flatten().diff() > 0).all()
    flat = torch.full((1, 20, 20), 0.3)
    assert torch.equal(with_highlights(Layer(flat, path()), 0.05, 4.0).picture, flat)


def test_a_lamp_is_a_disc_with_a_glow() -> None:
    dark = Layer(torch.zeros(1, 80, 80), path(), detail=2)
    light = with_lamp(dark, (5.0, -3.0), radius=4.0, peak=3.0).picture[0]
    y, x = divmod(int(light.argmax()), 80)
    assert light.max() == 3
    assert (light == 3).sum() == pytest.approx(math.pi * 8**2, rel=0.15)
    where = (light == 3).nonzero().float().mean(0)
    assert (where - torch.tensor([39.5 - 6, 39.5 + 10])).abs().max() < 0.1
    assert 0 < light[y, x - 20] < 0.3


@pytest.mark.parametrize("name", ["defocus", "exposure", "saturation", "text"])
def test_each_option_is_drawn_as_often_as_asked_and_changes_nothing_else(name: str) -> None:
    changed = 0
    for seed in range(40):
        plain, drawn = (scene(seed, objects=(1, 1), **style) for style in ({}, {name: 0.5}))
        one, other = plain.frames(40, 140)[::33], drawn.frames(40, 140)[::33]
        changed += not torch.equal(one, other)
        assert plain.layers[0].path.x.offset == drawn.layers[0].path.x.offset
    # Of two things either may be out of focus; some lines of text are beyond the view.
    assert (20 if name == "defocus" else 8) < changed < (38 if name == "defocus" else 32)


def test_scenes_out_of_focus_are_smoother() -> None:
    sharp, soft = (scene(1, objects=(0, 0), defocus=share).frames(50, 51) for share in (0.0, 1.0))
    assert soft.diff(dim=2).square().mean() < 0.7 * sharp.diff(dim=2).square().mean()
    assert soft.mean() == pytest.approx(float(sharp.mean()), rel=0.03)


def test_the_light_changes_once_by_a_factor_of_up_to_two() -> None:
    factors, lengths = [], []
    for seed in range(30):
        steady = scene(seed, objects=(0, 0), still=1.0, brightness=(0.8, 0.8))
        changing = scene(seed, objects=(0, 0), still=1.0, brightness=(0.8, 0.8), exposure=1.0)
        light = changing.brightness
        assert isinstance(light, Turn)
        levels = light(torch.tensor([-400.0, 50.0, 500.0], dtype=torch.float64))
        assert max(levels[0], levels[2]) == pytest.approx(0.8)
        factors.append(float(levels[2] / levels[0]))
        lengths.append(light.duration)
        gain = changing.frames(50, 51) / steady.frames(50, 51).clamp(min=1e-3)
        assert gain.median() == pytest.approx(float(levels[1] / 0.8), abs=0.01)
    assert 0.5 <= min(factors) < 0.7 < 1.4 < max(factors) <= 2
    assert min(lengths) < 6
    assert max(lengths) > 60


def test_a_turn_is_smooth_and_upon_a_flicker() -> None:
    times = torch.arange(0, 100, dtype=torch.float64)
    turn = Turn(1.0, 0.5, 1.0, time=50, duration=40)(times)
    assert (turn[:31] == 0.5).all()
    assert (turn[70:] == 1.0).all()
    assert turn[50] == 0.75
    assert turn.diff().max() < 0.02
    flicker = wave(0.1, 30.0)
    torch.testing.assert_close(Turn(flicker, 0.5, 1.0, 50, 40)(times), turn * flicker(times))
    torch.testing.assert_close(Turn(constant(0.5), 1, 1, 50, 40)(times), 0 * times + 0.5)


def test_what_saturates_is_clipped_and_the_rest_stays() -> None:
    clipped, kept = 0, []
    for seed in range(20):
        images = [smooth_image(90, 120)]
        plain = scene(seed, images, objects=(0, 0), still=1.0)
        bright = scene(seed, images, objects=(0, 0), still=1.0, saturation=1.0)
        assert 1.5 <= bright.brightest <= 6
        one, other = plain.frames(50, 51)[0], bright.frames(50, 51)[0]
        assert other.max() <= 1
        clipped += bool((other == 1).float().mean() > 0.001)
        assert (other >= one - 0.01).float().mean() > 0.97  # but beside steep edges
        kept.append(float(((other - one).abs() < 0.05).float().mean()))
    assert clipped > 12
    assert sorted(kept)[10] > 0.6  # without the glow of large lamps


def test_the_brightest_intensity_counts_the_light() -> None:
    dim = scene(3, brightness=(0.5, 0.5), saturation=1.0)
    bright = scene(3, brightness=(1.0, 1.0), saturation=1.0)
    assert dim.brightest == pytest.approx(2 * bright.brightest)


@pytest.mark.parametrize("seed", range(3))
def test_all_options_go_together(seed: int) -> None:
    names = ("interpolated", "defocus", "exposure", "saturation", "text", "limbs", "flicker")
    one = scene(seed, **dict.fromkeys(names, 1.0))
    frames = one.frames(40, 61)
    assert 0 <= frames.min() < frames.max() <= 1
    assert torch.equal(one.frames(45, 55), frames[5:15])
    place = (slice(5, 30), slice(8, 41))
    torch.testing.assert_close(
        one.frames(50, 51, place=place), frames[10:11, *place], atol=1e-4, rtol=0
    )
