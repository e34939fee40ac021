from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spikerec.configs import build, config_names
from spikerec.errors import ConfigError, InputError
from spikerec.simulation import Camera
from spikerec.simulation.camera import THETA

NOISY = Camera(
    light_scale=0.6,
    threshold=50.0,
    shot_noise=True,
    gain_spread=0.1,
    dark_current=0.01,
    dark_spread=0.5,
    threshold_spread=0.05,
    stray_rate=0.01,
)


def one_readout_at_a_time(intensity: Tensor, light_scale: float, charge: Tensor) -> Tensor:
    """The camera as its definition reads, in float64: add, compare, subtract."""
    charge = charge.clone().double()
    spikes = torch.empty(intensity.shape, dtype=torch.uint8)
    for t, light in enumerate(intensity):
        charge += light_scale * light.double()
        fires = charge >= 1
        charge[fires] -= 1
        spikes[t] = fires
    return spikes


def dyadic_scene(readouts: int, height: int, width: int) -> Tensor:
    """Intensities k / 256, whose sums are exact in any arithmetic; 0 and 1 among them."""
    scene = torch.randint(0, 257, (readouts, height, width)).float() / 256
    scene[:, 0, 0], scene[:, 0, 1] = 0, 1
    return scene


@pytest.mark.parametrize("light_scale", [0.5, 1.0])
def test_charge_in_integers_gives_the_spikes_of_the_definition(light_scale: float) -> None:
    scene = dyadic_scene(250, 7, 9)
    # The charge at the start is drawn inside: a dark first readout leaves it as it is.
    exposure = Camera(light_scale).start(seed=3)
    exposure.add(torch.zeros(1, 7, 9))
    start = exposure._charge.double() / THETA
    torch.testing.assert_close(
        exposure.add(scene), one_readout_at_a_time(scene, light_scale, start), rtol=0, atol=0
    )


@settings(max_examples=40)
@given(
    intensity=st.floats(0, 1, width=32),
    light_scale=st.floats(0.01, 1),
    readouts=st.integers(1, 700),
    seed=st.integers(0, 2**32),
)
def test_the_spikes_of_a_still_pixel_are_its_charge_to_within_one(
    intensity: float, light_scale: float, readouts: int, seed: int
) -> None:
    scene = torch.full((readouts, 3, 3), intensity)
    spikes = Camera(light_scale).expose(scene, seed=seed)
    count = spikes.sum(0, dtype=torch.float64)
    assert ((count - readouts * light_scale * intensity).abs() < 1 + 1e-3).all()
    assert spikes.max() <= 1


def test_the_rate_tends_to_light_scale_times_intensity() -> None:
    intensity = torch.linspace(0, 1, 64).view(8, 8)
    spikes = Camera(0.4).expose(intensity.expand(5000, 8, 8), seed=0)
    rate = spikes.double().mean(0)
    torch.testing.assert_close(rate, 0.4 * intensity.double(), rtol=0, atol=1 / 5000)


def test_charge_does_not_drift_over_a_long_stream() -> None:
    exposure = Camera(1.0).start(seed=0)
    chunk = torch.full((1000, 2, 2), 0.3)
    count = sum(int(exposure.add(chunk).sum()) for _ in range(30))
    assert abs(count - 4 * 30_000 * 0.3) <= 4 + 0.01


def test_initial_charge_is_uniform() -> None:
    # A pixel that gathers a tenth of the threshold fires within ten readouts, once, at any of them.
    spikes = Camera(1.0).expose(torch.full((10, 100, 100), 0.1), seed=0)
    shares = spikes.float().mean((1, 2))
    assert (shares - 0.1).abs().max() < 0.02
    assert spikes.sum(0).max() <= 2


@pytest.mark.parametrize("camera", [Camera(0.4), NOISY], ids=["ideal", "noisy"])
@pytest.mark.parametrize("cut", [1, 3, 64, 65, 100])
def test_chunks_do_not_change_the_spikes(camera: Camera, cut: int) -> None:
    scene = torch.rand(130, 5, 6)
    whole = camera.expose(scene, seed=1)
    parts = torch.cat(list(camera.stream(scene.split(cut), seed=1)))
    assert torch.equal(parts, whole)


def test_readouts_summed_at_once_fire_as_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    noisy = Camera(0.7, threshold=20, shot_noise=True, gain_spread=0.2, stray_rate=0.05)
    scene = torch.rand(130, 5, 6, generator=torch.Generator().manual_seed(1))
    one_by_one = noisy.expose(scene, seed=3)
    monkeypatch.setattr("spikerec.simulation.camera.at_once", lambda _, **sizes: sizes["in_bulk"])
    assert torch.equal(noisy.expose(scene, seed=3), one_by_one)
    assert Camera(1.0).expose(torch.ones_like(scene), seed=0).all()


def test_a_seed_repeats_and_another_differs() -> None:
    scene = torch.rand(60, 8, 8)
    assert torch.equal(NOISY.expose(scene, seed=5), NOISY.expose(scene, seed=5))
    assert not torch.equal(NOISY.expose(scene, seed=5), NOISY.expose(scene, seed=6))


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    NOISY.expose(torch.rand(4, 4, 4, generator=torch.Generator().manual_seed(0)), seed=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_saturated_pixel_fires_at_every_readout_and_recovers_at_once() -> None:
    camera = Camera(1.0, gain=3.0)
    scene = torch.ones(100, 2, 2)
    scene[50:] = 0
    spikes = camera.expose(scene, seed=0)
    assert spikes[:50].all()
    assert not spikes[50:].any()


def test_shot_noise_has_the_variance_of_poisson() -> None:
    electrons = 40.0
    camera = Camera(0.5, threshold=electrons, shot_noise=True)
    # Over n readouts n·α electrons·θ arrive on average; the count of spikes inherits their spread.
    counts = camera.expose(torch.ones(200, 60, 60), seed=0).sum(0).double()
    expected = 200 * 0.5 / electrons
    assert counts.mean() == pytest.approx(100, rel=2e-3)
    assert counts.var() == pytest.approx(expected + 1 / 6, rel=0.1)


def test_threshold_alone_changes_nothing() -> None:
    scene = torch.rand(50, 5, 5)
    assert torch.equal(Camera(0.4, 255.0).expose(scene, seed=0), Camera(0.4).expose(scene, seed=0))


def test_stray_spikes_appear_at_their_rate_in_the_dark() -> None:
    spikes = Camera(0.4, stray_rate=0.007).expose(torch.zeros(300, 50, 50), seed=0)
    assert spikes.float().mean() == pytest.approx(0.007, rel=0.05)


def test_gain_spread_is_a_fixed_pattern() -> None:
    camera = Camera(0.5, gain_spread=0.1)
    rate = camera.expose(torch.ones(1000, 40, 40), seed=0).double().mean(0) / 0.5
    again = camera.start(seed=0)
    again.add(torch.ones(1, 40, 40))
    assert rate.std() == pytest.approx(0.1, rel=0.1)
    assert rate.mean() == pytest.approx(1, abs=0.01)
    torch.testing.assert_close(rate, again._sensor.gain.double(), rtol=0, atol=3e-3)


def test_dark_current_fires_without_light() -> None:
    camera = Camera(0.4, dark_current=0.005, dark_spread=0.4)
    rate = camera.expose(torch.zeros(4000, 30, 30), seed=0).double().mean(0)
    assert rate.median() == pytest.approx(0.005, rel=0.05)
    assert rate.log().std() == pytest.approx(0.4, rel=0.1)


def test_a_sensor_seed_fixes_the_pattern_of_all_scenes() -> None:
    dark = torch.zeros(400, 10, 10)
    one_sensor = Camera(0.4, dark_current=0.1, dark_spread=1.0, sensor_seed=7)
    rates = [one_sensor.expose(dark, seed=seed).double().mean(0) for seed in (0, 1)]
    torch.testing.assert_close(*rates, rtol=0, atol=2 / 400)
    new_sensors = Camera(0.4, dark_current=0.1, dark_spread=1.0)
    rates = [new_sensors.expose(dark, seed=seed).double().mean(0) for seed in (0, 1)]
    assert (rates[0] - rates[1]).abs().max() > 0.05


def test_maps_of_a_file_are_used(tmp_path: Path) -> None:
    gain = np.ones((6, 8), np.float32)
    gain[:, :4] = 0.5
    np.savez(tmp_path / "sensor.npz", gain=gain)
    camera = Camera(1.0, maps=tmp_path / "sensor.npz")
    rate = camera.expose(torch.full((1000, 4, 8), 0.8), seed=0).double().mean(0)
    torch.testing.assert_close(rate[:, 0], torch.full((4,), 0.4).double(), rtol=0, atol=2e-3)
    torch.testing.assert_close(rate[:, 7], torch.full((4,), 0.8).double(), rtol=0, atol=2e-3)


@pytest.mark.parametrize("name", config_names("simulation"))
def test_every_preset_keeps_the_rate_law(name: str) -> None:
    camera = build("simulation", name)
    rate = camera.expose(torch.full((300, 30, 30), 0.5), seed=0).float().mean().item()
    assert rate == pytest.approx(0.5 * camera.light_scale, rel=0.05)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"light_scale": 0.0}, "light_scale"),
        ({"light_scale": 1.5}, "light_scale"),
        ({"light_scale": 0.4, "threshold": 0}, "threshold"),
        ({"light_scale": 0.4, "stray_rate": -0.1}, "stray_rate"),
        ({"light_scale": 0.4, "dark_current": float("nan")}, "dark_current"),
    ],
)
def test_a_value_out_of_range_is_named(values: dict[str, float], named: str) -> None:
    with pytest.raises(ConfigError, match=rf"\b{named} must"):
        Camera(**values)


@pytest.mark.parametrize(
    ("scene", "message"),
    [
        (torch.rand(4, 4), r"\(T, H, W\)"),
        (torch.ones(2, 4, 4, dtype=torch.uint8), "float"),
        (torch.full((2, 4, 4), 1.5), r"in \[0, 1\]"),
        (torch.full((2, 4, 4), float("nan")), r"in \[0, 1\]"),
        (torch.rand(0, 4, 4), "≥ 1"),
    ],
)
def test_what_is_not_an_intensity_is_refused(scene: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Camera(0.4).expose(scene, seed=0)


def test_the_size_stays_over_a_stream() -> None:
    exposure = Camera(0.4).start(seed=0)
    exposure.add(torch.rand(2, 4, 4))
    with pytest.raises(InputError, match="must stay"):
        exposure.add(torch.rand(2, 4, 5))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same_spikes_as_the_cpu() -> None:
    scene = torch.rand(200, 33, 47)
    for camera in (Camera(0.4), Camera(0.4, gain_spread=0.1, dark_current=0.01)):
        on_gpu = camera.expose(scene.cuda(), seed=0).cpu()
        assert torch.equal(on_gpu, camera.expose(scene, seed=0))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_noise_on_a_gpu_does_not_depend_on_chunks() -> None:
    scene = torch.rand(130, 5, 6, device="cuda")
    parts = torch.cat(list(NOISY.stream(scene.split(7), seed=1)))
    assert torch.equal(parts, NOISY.expose(scene, seed=1))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_any_float_type_is_exposed(dtype: torch.dtype) -> None:
    scene = dyadic_scene(40, 5, 5)
    for camera in (Camera(0.5), NOISY):
        assert torch.equal(camera.expose(scene.to(dtype), seed=0), camera.expose(scene, seed=0))
