"""Scenes that are interpolated between the frames of a video."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from spikerec.simulation import LayeredScene, RandomScene, SceneStyle
from spikerec.simulation.filmed import FLOW_STEP, Film, FilmedLayer, _knots, filmed
from spikerec.simulation.layers import Layer, Line, Path
from spikerec.simulation.scenes import FARTHEST, IMAGE_STEP

SIDE = 96


def noise() -> torch.Tensor:
    return torch.rand(400, 400, generator=torch.Generator().manual_seed(0))


def pan(speed: float) -> Path:
    """To the right, in pixels a readout."""
    still = Line(0.0)
    return Path(Line(0.0, speed), still, still, still, still, still)


def pair(speed: float, film: Film) -> tuple[LayeredScene, LayeredScene]:
    """A pan over noise: as it is, and filmed."""
    blurred = torch.nn.functional.avg_pool2d(noise()[None], 3, 1, 1)
    layer = Layer(blurred, pan(speed))
    shown = filmed(layer, film, torch.zeros(SIDE, SIDE))
    exact, interpolated = (LayeredScene([one], height=SIDE, width=SIDE) for one in (layer, shown))
    return exact, interpolated


def spectrum(image: torch.Tensor) -> torch.Tensor:
    """Power along x, by frequency; a window keeps each frequency's power where it is."""
    window = torch.hann_window(image.shape[1])
    return (torch.fft.rfft((image - image.mean()) * window, dim=1).abs() ** 2).sum(0)


def waves(frequency: float) -> torch.Tensor:
    """Smooth hills, of `frequency` radians a pixel of the photograph."""
    x = torch.arange(300)
    return 0.5 + 0.25 * torch.sin(frequency * x) + 0.25 * torch.cos(frequency * x)[:, None]


def styled(seed: int, images: list[torch.Tensor] | None = None, **style: object) -> RandomScene:
    given = {"motion": (10.0, 20.0), "object_motion": (10.0, 20.0), "objects": (1, 2)} | style
    return RandomScene(
        images or [noise(), 1 - noise()],
        height=48,
        width=56,
        seed=seed,
        style=SceneStyle(**given),
        key_readout=50,
    )


@pytest.mark.parametrize("phase", [0.0, 0.25, 0.5, 0.75])
def test_what_is_between_frames_loses_what_sampling_between_pixels_costs(phase: float) -> None:
    # A frame is 4 pixels from the next, so that both are read at one phase between their pixels.
    _, shown = pair(0.25, Film(key_readout=0, interval=16))
    readout = round(phase / 0.25)
    frame, seen = (spectrum(shown.frames(at, at + 1)[0]) for at in (0, readout))
    angle = math.pi * torch.fft.rfftfreq(SIDE)
    # The response of linear interpolation is 1 − phase + phase · exp(−2i · angle).
    kept = 1 - 4 * phase * (1 - phase) * torch.sin(angle) ** 2
    low, middle, high = (
        slice(round(k * SIDE / 2), round((k + 0.2) * SIDE / 2)) for k in (0.1, 0.4, 0.7)
    )
    for band in (low, middle, high):
        share = (kept * frame)[band].sum() / frame[band].sum()
        assert seen[band].sum() / frame[band].sum() == pytest.approx(float(share), abs=0.05)
    assert (kept[high].mean() < 0.6) == (phase > 0)


def test_whole_pixels_cost_nothing() -> None:
    exact, shown = pair(0.5, Film(key_readout=0, interval=20))
    for readout in (2, 10, 18):
        truth, seen = (one.frames(readout, readout + 1)[0] for one in (exact, shown))
        torch.testing.assert_close(seen, truth, atol=2e-3, rtol=0)


def test_what_one_frame_does_not_show_comes_from_the_other() -> None:
    exact, shown = pair(2.0, Film(key_readout=0, interval=20))
    truth, seen = (one.frames(10, 11)[0] for one in (exact, shown))
    # 20 pixels at the left come into view after the first frame, 20 leave it before the second.
    torch.testing.assert_close(seen, truth, atol=2e-3, rtol=0)


@pytest.mark.parametrize("seed", range(3))
def test_a_random_scene_moves_as_the_exact_one_does(seed: int) -> None:
    exact, shown = styled(seed), styled(seed, interpolated=1.0)
    assert torch.equal(shown.frames(50, 51), exact.frames(50, 51))
    film = shown.layers[0].film
    assert [shown.is_seen(readout) for readout in (50, 51, 50 - film.interval)] == [
        True,
        False,
        True,
    ]
    assert torch.equal(exact.flow(50, 52), shown.flow(50, 52))


@pytest.mark.parametrize("seed", range(3))
def test_the_motion_between_frames_is_that_of_the_scene(seed: int) -> None:
    fast = {"motion": (40.0, 60.0), "object_motion": (40.0, 60.0), "warp": 3.0}
    smooth = {"images": [waves(0.05), waves(0.07)], **fast}
    exact, shown = styled(seed, **smooth), styled(seed, **smooth, interpolated=1.0)
    inside = (slice(12, -12), slice(12, -12))  # nearer to the rim neither frame may show it
    for readout in (44, 55, 60):
        truth, seen = (one.frames(readout, readout + 1)[0][inside] for one in (exact, shown))
        frame = exact.frames(50, 51)[0][inside]
        assert (seen - truth).square().mean() < 0.03 * (frame - truth).square().mean()


def test_frames_do_not_depend_on_what_is_asked_with_them() -> None:
    shown = styled(1, interpolated=1.0)
    whole = shown.frames(20, 80)
    torch.testing.assert_close(shown.frames(43, 58), whole[23:38], atol=1e-6, rtol=0)
    place = (slice(3, 40), slice(11, 31))
    torch.testing.assert_close(
        shown.frames(43, 58, place=place), whole[23:38, *place], atol=5e-3, rtol=0
    )


def test_intervals_are_those_of_the_field_and_short_where_things_are_fast() -> None:
    slow = [styled(k, motion=(1, 1), object_motion=(1, 1), interpolated=1.0) for k in range(60)]
    intervals = [one.layers[0].film.interval for one in slow]
    assert min(intervals) == 20
    assert max(intervals) > 120
    assert not any(interval % IMAGE_STEP for interval in intervals)
    below = sum(interval < math.sqrt(20 * 150) for interval in intervals)
    assert 20 < below < 40  # the middle of the range by its logarithm
    for seed in range(20):
        fast = styled(seed, motion=(60, 60), object_motion=(60, 60), interpolated=1.0)
        speed = fast.flow(50, 51).norm(dim=-1).max()
        interval = fast.layers[0].film.interval
        assert interval == 20 or interval <= FARTHEST / speed + IMAGE_STEP / 2


def test_a_share_of_the_scenes_is_interpolated_and_nothing_else_changes() -> None:
    count = 0
    for seed in range(40):
        plain, drawn = styled(seed, flicker=0.5), styled(seed, flicker=0.5, interpolated=0.5)
        is_filmed = isinstance(drawn.layers[0], FilmedLayer)
        count += is_filmed
        if not is_filmed:
            assert torch.equal(plain.frames(0, 2), drawn.frames(0, 2))
        else:
            assert torch.equal(plain.frames(50, 51), drawn.frames(50, 51))
    assert 10 < count < 30


def test_a_filmed_layer_goes_to_a_device_as_it_is() -> None:
    _, shown = pair(0.3, Film(key_readout=0, interval=20))
    moved = replace(shown.layers[0]).to("cpu")
    assert isinstance(moved, FilmedLayer)
    assert moved.film == Film(0, 20)


@pytest.mark.parametrize("length", [1, 2, 8, 9, 30, 256])
def test_knots_span_all_pixels(length: int) -> None:
    knots, weights = _knots(length)
    assert (knots[0], knots[-1]) == (0, length - 1)
    assert (knots.diff() <= FLOW_STEP).all()
    torch.testing.assert_close(weights @ knots.float(), torch.arange(length).float())
