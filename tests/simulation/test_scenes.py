from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from spikerec.errors import ConfigError, InputError
from spikerec.simulation import LayeredScene, RandomScene, SceneStyle, SteadyScene
from spikerec.simulation.layers import JointedPath, Layer, Path, Wave, _sampled, pixel_centres
from spikerec.simulation.scenes import _seen_by_pixels
from spikerec.simulation.style import MOTION_SPAN

NOTHING = torch.zeros(1, dtype=torch.float64)
STILL = Wave(0.0, NOTHING, NOTHING + 1, NOTHING)


def wave(amplitude: float, period: float) -> Wave:
    return Wave(0.0, NOTHING + amplitude, NOTHING + period, NOTHING)


def constant(value: float) -> Wave:
    return Wave(value, NOTHING, NOTHING + 1, NOTHING)


def path(**waves: Wave) -> Path:
    names = ("x", "y", "angle", "zoom", "tilt_x", "tilt_y")
    return Path(**{name: waves.get(name, STILL) for name in names})


def smooth_image(height: int, width: int) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return 0.5 + 0.2 * torch.sin(0.3 * x) + 0.2 * torch.cos(0.2 * y)


def photographs() -> list[torch.Tensor]:
    noise = torch.rand(64, 64, generator=torch.Generator().manual_seed(0))
    return [smooth_image(90, 120), noise, 1 - smooth_image(70, 70)]


def scene(seed: int = 0, **style: Any) -> RandomScene:
    return RandomScene(photographs(), height=32, width=40, seed=seed, style=SceneStyle(**style))


def show(picture: torch.Tensor, motion: Path, time: int = 0, size: int = 20) -> torch.Tensor:
    return LayeredScene([Layer(picture[None], motion)], height=size, width=size).frames(
        time, time + 1
    )[0]


def test_a_still_layer_shows_the_middle_of_its_picture() -> None:
    picture = smooth_image(40, 60)
    torch.testing.assert_close(show(picture, path()), picture[10:30, 20:40], atol=1e-4, rtol=0)


def test_a_shift_moves_the_picture_right_and_down() -> None:
    picture = smooth_image(40, 60)
    moved = show(picture, path(x=constant(3.0), y=constant(-2.0)))
    torch.testing.assert_close(moved, picture[12:32, 17:37], atol=1e-4, rtol=0)


def test_a_quarter_turn_is_exact() -> None:
    picture = torch.rand(20, 20)
    turned = show(picture, path(angle=constant(math.pi / 2)))
    assert any(torch.allclose(turned, torch.rot90(picture, k), atol=1e-4) for k in (1, 3))


def test_zoom_magnifies_around_the_centre() -> None:
    picture = smooth_image(60, 60)
    zoomed = show(picture, path(zoom=constant(math.log(2))), size=20)
    expected = show(picture, path(), size=10)
    halves = zoomed.unfold(0, 2, 2).unfold(1, 2, 2).mean((2, 3))
    torch.testing.assert_close(halves, expected, atol=0.01, rtol=0)


def test_perspective_is_smaller_on_one_side() -> None:
    matrix = path(tilt_x=constant(0.01)).homographies(NOTHING)[0]
    left, right = (matrix @ torch.tensor([x, 10.0, 1.0]).double() for x in (-10.0, 10.0))
    assert right[1] / right[2] < 10 < left[1] / left[2]


def test_a_nearer_layer_hides_a_farther_one() -> None:
    far, near = torch.zeros(1, 30, 30), torch.ones(2, 10, 10)
    frame = LayeredScene([Layer(far, path()), Layer(near, path())], height=30, width=30).frames(
        0, 1
    )[0]
    assert (frame[12:18, 12:18] == 1).all()
    assert (frame[:8] == 0).all()  # a cut-out is transparent beyond its picture


@pytest.mark.parametrize("seed", range(4))
def test_frames_are_intensities_of_the_size_asked_for(seed: int) -> None:
    frames = scene(seed).frames(5, 25, torch.float64)
    assert frames.shape == (20, 32, 40)
    assert frames.dtype == torch.float64
    assert frames.min() >= 0
    assert frames.max() <= 1
    assert frames.std() > 0.01


def test_frames_do_not_depend_on_what_is_asked_with_them() -> None:
    one = scene(objects=(2, 2))
    assert torch.equal(one.frames(0, 40)[17:23], one.frames(17, 23))


def test_a_seed_repeats_and_another_differs() -> None:
    assert torch.equal(scene(1).frames(0, 3), scene(1).frames(0, 3))
    assert not torch.equal(scene(1).frames(0, 3), scene(2).frames(0, 3))


def test_a_seed_s_scene_is_that_of_earlier_versions() -> None:
    """The brightness is drawn last but for the flicker; the figures are of November 2026."""
    drawn = scene(7, objects=(2, 2), limbs=1.0, still=0.2, parallax=0.5, brightness=(0.4, 1.0))
    assert len(drawn.layers) == 5
    assert drawn.brightness == pytest.approx(0.43628938)
    assert isinstance(last := drawn.layers[3].path, Path)
    assert last.x.offset == pytest.approx(-11.53087091)
    assert last.x.amplitudes.tolist() == pytest.approx([-9.01953496, -0.54117210])
    assert last.x.periods.tolist() == pytest.approx([335.26906461, 84.67220325])


def test_a_scene_changes_smoothly() -> None:
    frames = scene(0, objects=(1, 3)).frames(0, 120)
    steps = (frames[1:] - frames[:-1]).abs().mean((1, 2))
    assert steps.min() > 0
    assert steps.max() < 0.1
    assert steps.max() < 10 * steps.median()


@pytest.mark.parametrize("speed", [3.0, 30.0])
def test_the_background_moves_at_the_speed_asked_for(speed: float) -> None:
    for seed in range(5):
        motion = scene(seed, motion=(speed, speed), objects=(0, 0)).layers[0].path
        times = torch.arange(4000, dtype=torch.float64)
        shift = torch.hypot(motion.x(times).diff(), motion.y(times).diff())
        assert shift.max() * MOTION_SPAN == pytest.approx(speed, rel=0.35)


def test_more_motion_changes_more() -> None:
    slow, fast = (scene(3, motion=(v, v), objects=(0, 0), warp=0.0) for v in (2.0, 40.0))
    change = [one.frames(0, 60).diff(dim=0).abs().mean() for one in (slow, fast)]
    assert change[1] > 4 * change[0]


def test_what_is_still_does_not_move_at_all() -> None:
    frames = scene(0, still=1.0, objects=(2, 2), limbs=1.0).frames(0, 200)
    assert (frames[-1] - frames[0]).abs().max() < 0.02


def test_a_share_of_the_scenes_is_still() -> None:
    paths = [scene(k, objects=(0, 0), still=0.5, motion=(5, 5)).layers[0].path for k in range(200)]
    times = torch.arange(100, dtype=torch.float64)
    still = sum(
        one.x(times).diff().abs().max() + one.y(times).diff().abs().max() < 1e-4 for one in paths
    )
    assert 75 < still < 125


def test_speeds_are_as_often_slow_as_fast() -> None:
    speeds = []
    for seed in range(300):
        motion = scene(seed, objects=(0, 0), motion=(0.5, 50)).layers[0].path
        assert isinstance(motion, Path)
        reach = torch.hypot(motion.x.amplitudes[0], motion.y.amplitudes[0])
        speeds.append(2 * math.pi * reach / motion.x.periods[0] * MOTION_SPAN)
    below = sum(speed < 5 for speed in speeds)  # the middle of the range by its logarithm
    assert 120 < below < 180
    assert min(speeds) == pytest.approx(0.5, rel=0.2)
    assert max(speeds) == pytest.approx(50, rel=0.2)


def high_power(image: torch.Tensor) -> float:
    """Power between 0.4 and 0.5 cycles a pixel, along either axis."""
    spectrum = torch.fft.fft2(image - image.mean()).abs() ** 2
    y, x = (torch.fft.fftfreq(length).abs() for length in image.shape)
    return float(spectrum[(y[:, None] >= 0.4) | (x[None] >= 0.4)].sum())


def test_the_truth_is_as_sharp_at_any_part_of_a_pixel() -> None:
    noise = torch.rand(400, 400, generator=torch.Generator().manual_seed(0))
    still = RandomScene(
        [noise], height=96, width=96, seed=0, style=SceneStyle(objects=(0, 0), still=1.0)
    )
    background = still.layers[0]

    def shifted(x: float, y: float) -> float:
        motion = path(x=constant(x), y=constant(y))
        layer = replace(background, path=motion, warp=None)
        return high_power(LayeredScene([layer], height=96, width=96).frames(0, 1)[0])

    reference = shifted(0, 0)
    assert reference > 1
    for x, y in ((0.25, 0), (0.5, 0), (0.5, 0.5), (0.75, 0.25), (0, 0.5)):
        assert shifted(x, y) == pytest.approx(reference, rel=0.1)


def test_an_edge_is_spread_over_the_pixel_that_it_crosses() -> None:
    step = torch.zeros(80, 80)
    step[:, 40:] = 1
    layer = _seen_by_pixels(Layer(step[None], path(x=constant(0.25)), detail=2))
    row = LayeredScene([layer], height=20, width=20).frames(0, 1)[0][10]
    # The edge moved a quarter of a pixel to the right: the pixel right of it is three quarters lit.
    assert row[9] == pytest.approx(0.0, abs=0.05)
    assert row[10] == pytest.approx(0.75, abs=0.05)
    assert row[11] == pytest.approx(1.0, abs=0.05)


def test_scenery_moves_with_the_background_and_farther() -> None:
    one = scene(3, objects=(1, 1), parallax=1.0, motion=(20, 20))
    behind, near = (layer.path for layer in one.layers[:2])
    times = torch.arange(0, 600, dtype=torch.float64)
    far, close = behind.x(times).diff(), near.x(times).diff()
    ratio = close / far
    assert ratio.max() - ratio.min() < 1e-6
    assert 1 <= ratio[0] <= 2.5


def test_a_lamp_changes_the_light_of_all_pixels_alike() -> None:
    steady = scene(5, still=1.0, objects=(0, 0)).frames(0, 400)
    lit = scene(5, still=1.0, objects=(0, 0), flicker=1.0).frames(0, 400)
    gain = lit.mean((1, 2)) / steady.mean((1, 2))
    assert gain.max() == pytest.approx(1.0, abs=0.01)
    assert 0.35 < gain.min() < 0.95
    torch.testing.assert_close(lit, steady * gain[:, None, None], atol=1e-3, rtol=0)


def test_linearised_photographs_are_light_to_the_display_s_power() -> None:
    flat = [torch.full((90, 90), 0.5)]
    style = SceneStyle(objects=(0, 0), linear=1.0)
    frame = RandomScene(flat, height=16, width=16, seed=0, style=style).frames(0, 1)
    torch.testing.assert_close(frame, torch.full_like(frame, 0.5**2.2), atol=1e-3, rtol=0)


def test_without_motion_nothing_moves() -> None:
    frames = scene(0, motion=(0, 0), objects=(0, 0), warp=0.0).frames(0, 200)
    assert (frames[-1] - frames[0]).abs().max() < 0.02


@pytest.mark.parametrize(
    ("style", "message"),
    [
        ({"motion": (5, 1)}, r"motion must be a range"),
        ({"objects": (-1, 1)}, r"objects must"),
        ({"warp": -1.0}, r"warp must"),
        ({"still": 1.5}, r"still must be in \[0, 1\], found 1.5"),
        ({"defocus": -0.1}, r"defocus must be in \[0, 1\], found -0.1"),
    ],
)
def test_an_impossible_style_is_named(style: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SceneStyle(**style)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "at least one image"),
        ([torch.rand(3, 32, 32)], r"images\[0\] must be a grey float image"),
        ([torch.rand(32, 32), 255 * torch.ones(32, 32)], r"images\[1\] must lie in \[0, 1\]"),
    ],
)
def test_images_that_a_scene_shows_are_checked(images: list[torch.Tensor], message: str) -> None:
    with pytest.raises(InputError, match=message):
        RandomScene(images, height=16, width=16, seed=0, style=SceneStyle(objects=(1, 1)))


def cut_out(grey: float) -> torch.Tensor:
    """A disc of one grey, black where it is transparent."""
    centres = pixel_centres(40, 50)
    opacity = (torch.hypot(centres[..., 0], centres[..., 1]) < 15).float()
    return torch.stack((grey * opacity, opacity))


@pytest.mark.parametrize("seed", range(4))
def test_a_cut_out_is_an_object_and_shows_what_is_opaque_alone(seed: int) -> None:
    images = [cut_out(0.8), torch.full((64, 64), 0.2), cut_out(0.8)]
    style = SceneStyle(objects=(2, 2), limbs=1.0, object_motion=(1, 5))
    found = RandomScene(images, height=32, width=40, seed=seed, style=style)
    assert len(found.layers) == 3  # no limb hangs on a cut-out
    frame = found.frames(0, 1)
    assert frame.min().item() == pytest.approx(0.2, abs=1e-3)
    assert frame.max().item() == pytest.approx(0.8, abs=1e-3)
    with pytest.raises(InputError, match=r"images\[0\] must be a grey float image"):
        RandomScene(images[:1], height=32, width=40, seed=seed)


def test_a_cut_out_is_linearised_without_its_outline() -> None:
    images = [cut_out(0.5), torch.full((64, 64), 0.5)]
    style = SceneStyle(objects=(1, 1), still=1.0, linear=1.0)
    frame = RandomScene(images, height=32, width=40, seed=0, style=style).frames(0, 1)
    torch.testing.assert_close(frame, torch.full_like(frame, 0.5**2.2), atol=1e-3, rtol=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_renders_the_same_scene() -> None:
    on_gpu = RandomScene(photographs(), height=32, width=40, seed=0, device="cuda")
    on_cpu = RandomScene(photographs(), height=32, width=40, seed=0)
    torch.testing.assert_close(on_gpu.frames(0, 8).cpu(), on_cpu.frames(0, 8), atol=1e-3, rtol=0)


def test_a_limb_hangs_on_its_joint() -> None:
    body = path(x=constant(3.0), y=constant(-2.0))
    limb = JointedPath(body, joint=(4.0, 1.0), reach=6.0, swing=wave(0.8, 50.0))
    times = torch.arange(40, dtype=torch.float64)
    matrices = limb.homographies(times)
    joint_in_scene = torch.tensor([3.0 + 4.0, -2.0 + 1.0, 1.0], dtype=torch.float64)
    # The joint stays at one end of the part however it swings.
    expected = torch.tensor([-6.0, 0.0, 1.0], dtype=torch.float64).expand(40, 3)
    torch.testing.assert_close(matrices @ joint_in_scene, expected)
    assert (matrices[10] - matrices[0]).abs().max() > 0.1


def test_brightness_dims_the_scene() -> None:
    bright = scene(seed=3).frames(0, 2)
    dim = scene(seed=3, brightness=(0.5, 0.5)).frames(0, 2)
    torch.testing.assert_close(dim, 0.5 * bright)


def test_the_flow_of_a_pan_is_its_shift() -> None:
    drift = path(x=wave(40.0, 400.0), y=constant(2.0))
    one = LayeredScene([Layer(smooth_image(60, 60)[None], drift)], height=20, width=24)
    shift = drift.x(torch.tensor([3.0, 9.0], dtype=torch.float64)).diff().float()
    flow = one.flow(3, 9)
    assert flow.shape == (20, 24, 2)
    torch.testing.assert_close(flow[..., 0], shift.expand(20, 24), atol=1e-4, rtol=0)
    torch.testing.assert_close(flow[..., 1], torch.zeros(20, 24), atol=1e-4, rtol=0)


@pytest.mark.parametrize("seed", range(4))
def test_the_flow_says_where_each_point_is_seen_later(seed: int) -> None:
    style = SceneStyle(motion=(60, 60), objects=(0, 0), warp=3.0)
    one = RandomScene(photographs(), height=48, width=56, seed=seed, style=style)
    flow, back = one.flow(10, 14).double(), one.flow(14, 10).double()
    points = pixel_centres(48, 56)[..., :2].double()
    inside = (slice(10, -10), slice(10, -10))
    # There and back again; `back` is bilinear between pixels.
    returned = (flow + _sampled(back, points + flow))[inside].norm(dim=-1)
    assert flow.norm(dim=-1).mean() > 0.5
    assert returned.max() < 0.03


def test_the_flow_is_of_the_layer_in_front() -> None:
    still, moving = path(), path(x=wave(40.0, 400.0))
    near = Layer(torch.ones(2, 10, 10), moving)
    one = LayeredScene([Layer(torch.zeros(1, 30, 30), still), near], height=30, width=30)
    flow = one.flow(0, 1).norm(dim=-1)
    assert (flow[13:17, 13:17] > 0.5).all()
    assert (flow[:8] == 0).all()


def steady(speed: float, count: int = 2) -> SteadyScene:
    images = photographs()[:count]
    return SteadyScene(images, height=32, width=40, seed=5, speed=speed, key_readout=10)


@pytest.mark.parametrize("speed", [0.0, 0.2, 2.0])
def test_all_of_a_steady_scene_moves_at_its_speed(speed: float) -> None:
    length = steady(speed).flow(12, 13).norm(dim=-1)
    torch.testing.assert_close(length, torch.full((32, 40), speed), atol=1e-4, rtol=0)


def test_steady_scenes_differ_in_speed_alone() -> None:
    slow, fast = steady(0.2).frames(0, 21), steady(2.0).frames(0, 21)
    assert torch.equal(slow[10], fast[10])
    assert not torch.equal(slow[11], fast[11])
    # Ten readouts at 0.2 are one at 2.
    torch.testing.assert_close(slow[20], fast[11], atol=1e-5, rtol=0)


def test_steady_scenes_refuse_what_they_cannot_show() -> None:
    with pytest.raises(InputError, match="two images, found 3"):
        steady(1.0, count=3)
    with pytest.raises(ConfigError, match="speed must be 0 or above"):
        steady(-1.0)
