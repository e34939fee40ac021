from __future__ import annotations

import math
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
import torch

import spikerec
from spikerec import spikes
from spikerec.errors import ConfigError, GeometryError
from spikerec.models import Network
from spikerec.models.hann import Hann
from spikerec.simulation import Camera, bundled_images
from spikerec.spikes.defects import sample
from spikerec.streaming import FixedPattern, Tone, white_rate
from spikerec.streaming.key_readouts import KeyReadouts
from spikerec.streaming.light import mean_rate
from spikerec.streaming.video import Video
from tests.fakes import fake_spikes


def ramp_stream(path: Path, white: float, num_readouts: int = 400) -> Path:
    """Rates from 0 at the left to `white` at the right."""
    random = np.random.default_rng(0).random((num_readouts, 32, 64))
    spikes.save(path, (random < white * np.linspace(0, 1, 64)).astype(np.uint8))
    return path


@pytest.mark.parametrize("white", [0.03, 0.3, 0.9])
def test_white_is_nearly_the_brightest_rate(white: float, tmp_path: Path) -> None:
    stream = spikes.open(ramp_stream(tmp_path / "a.npy", white))
    assert white_rate(sample(stream)) == pytest.approx(white, rel=0.25)


def test_hot_pixels_do_not_move_white(tmp_path: Path) -> None:
    stream = np.array(spikes.open(ramp_stream(tmp_path / "a.npy", 0.1))[:])
    before = white_rate(sample(spikes.open(tmp_path / "a.npy")))
    stream[:, ::8, ::8] = 1
    spikes.save(tmp_path / "hot.npy", stream)
    broken = np.zeros((32, 64), bool)
    broken[::8, ::8] = True
    after = white_rate(sample(spikes.open(tmp_path / "hot.npy")), broken)
    assert after == pytest.approx(before, rel=0.1)


def test_darkness_has_a_white_above_zero(tmp_path: Path) -> None:
    spikes.save(tmp_path / "dark.npy", np.zeros((100, 9, 9), np.uint8))
    assert 0 < white_rate(sample(spikes.open(tmp_path / "dark.npy"))) < 1e-2


@pytest.mark.parametrize("curve", ["linear", "reinhard", "log"])
@pytest.mark.parametrize("gamma", [1.0, 2.2])
def test_tone_rises_from_black_to_white(curve: str, gamma: float) -> None:
    tone = Tone(curve, gamma, white=1.0 if curve == "linear" else 4.0)  # type: ignore[arg-type]
    grey = tone(np.linspace(0, tone.white, 100, dtype=np.float32))
    assert grey[0] == 0
    assert grey[-1] == pytest.approx(1)
    assert (np.diff(grey) > 0).all()
    assert grey.dtype == np.float32


def test_tone_clips_what_is_outside() -> None:
    assert Tone(gain=2)(np.array([-1, 0.25, 3], np.float32)).tolist() == [0, 0.5, 1]


def test_tone_keeps_apart_what_linear_clips() -> None:
    bright = np.array([1.5, 3.0], np.float32)
    assert np.ptp(Tone()(bright)) == 0
    assert np.ptp(Tone("reinhard")(bright)) > 0.1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"curve": "cubic"}, "curve must be linear, reinhard or log, found the text 'cubic'"),
        ({"gamma": 0}, "gamma must be above 0"),
        ({"white": float("nan")}, "white must be "),
    ],
)
def test_a_tone_that_cannot_be_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Tone(**settings)  # type: ignore[arg-type]


def test_calibration_takes_the_fixed_pattern_out(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    dark_rate = random.uniform(0, 0.1, (16, 24))
    gain = random.uniform(0.5, 1.5, (16, 24))
    for name, light in (("dark", 0.0), ("flat", 0.4), ("scene", 0.2)):
        rate = dark_rate + gain * light
        spikes.save(
            tmp_path / f"{name}.npy", (random.random((3000, 16, 24)) < rate).astype(np.uint8)
        )
    streams = {name: spikes.open(tmp_path / f"{name}.npy") for name in ("dark", "flat", "scene")}
    pattern = FixedPattern.measured(streams["dark"], streams["flat"])
    rate = mean_rate(streams["scene"])
    corrected = pattern(rate / 0.5, light_scale=0.5)
    assert corrected.std() / corrected.mean() < 0.1 < 0.25 < rate.std() / rate.mean()
    assert corrected.mean() == pytest.approx(0.2 * gain.mean() / 0.5, rel=0.05)


#: Parts of photographs that stand still: the name, and the first row and column.
STILL = (("astronaut", 100, 180), ("camera", 60, 200), ("coffee", 100, 200))


def uneven_scenes(
    folder: Path,
) -> tuple[FixedPattern, list[tuple[spikes.SpikeStream, torch.Tensor]]]:
    """The pattern that a calibration finds of an uneven sensor, and scenes with their truth."""
    camera = Camera(0.6, gain_spread=0.056, dark_current=0.0045, dark_spread=0.46, sensor_seed=1)

    def record(name: str, light: torch.Tensor, count: int) -> spikes.SpikeStream:
        parts = camera.stream(
            [light.expand(min(count, 500), 64, 64)] * max(1, count // 500), seed=1
        )
        spikes.save(folder / f"{name}.npy", torch.cat(list(parts)).numpy(), light_scale=0.6)
        return spikes.open(folder / f"{name}.npy")

    images = {Path(one.name).stem: one.image for one in bundled_images()}
    truths = [images[name][top : top + 64, left : left + 64] for name, top, left in STILL]
    dark = record("dark", torch.zeros(64, 64), 20_000)
    flat = record("flat", torch.full((64, 64), 0.8), 4000)
    return FixedPattern.measured(dark, flat), [
        (record(f"scene{index}", truth, 61), truth) for index, truth in enumerate(truths)
    ]


def test_a_calibration_gives_a_network_the_pictures_of_an_even_sensor(tmp_path: Path) -> None:
    pattern, scenes = uneven_scenes(tmp_path)

    def psnr(calibration: FixedPattern | None, **networks: Network) -> float:
        found = []
        for scene, truth in scenes:
            video = Video(scene, networks, KeyReadouts(30, 31, 1), calibration=calibration)
            (frame,) = video.frames()
            assert frame.spikes.dtype == torch.uint8
            assert torch.equal(frame.spikes, torch.from_numpy(scene[30:31][0]))
            error = (frame.images[0].clamp(0, 1) - truth).square().mean().item()
            found.append(-10 * math.log10(error))
        return fmean(found)

    hann, tfp = Hann(61), spikerec.load("tfp", window=61)
    for network in (spikerec.load("fast"), spikerec.load("fast_wide")):
        assert psnr(pattern, own=network) > psnr(None, own=network) + 4
        # Beside a method that takes spikes alone, the pattern comes off the pictures.
        assert psnr(pattern, own=network) > psnr(pattern, own=network, tfp=tfp) + 1
    # For what is linear throughout, one is the other.
    alone, beside = psnr(pattern, hann=hann), psnr(pattern, hann=hann, tfp=tfp)
    assert alone == pytest.approx(beside, abs=0.01)


def test_calibration_of_another_camera_is_refused(tmp_path: Path) -> None:
    for name, width in (("a", 8), ("b", 9)):
        spikes.save(tmp_path / f"{name}.npy", fake_spikes(20, 8, width))
    a, b = (spikes.open(tmp_path / f"{name}.npy") for name in "ab")
    with pytest.raises(GeometryError, match=r"b.npy is 8 × 9, expected 8 × 8"):
        FixedPattern.measured(a, b)
    with pytest.raises(GeometryError, match="calibration is 8 × 8, but the stream is 8 × 9"):
        FixedPattern.measured(a, None)(np.ones((8, 9), np.float32), 1.0)
    with pytest.raises(ConfigError, match=r"calibration.dark, calibration.flat, or both"):
        FixedPattern.measured(None, None)


@pytest.mark.parametrize(
    ("dark", "flat", "told"),
    [
        (None, 0.0, "no brighter than without light in half of its pixels and more"),
        (0.4, 0.02, "no brighter than without light"),
        (None, 1.0, "is saturated in half of its pixels and more, found a median rate of 1,"),
    ],
)
def test_a_flat_field_that_shows_no_response_is_refused(
    dark: float | None, flat: float, told: str
) -> None:
    """Black, taken for the dark one, and overexposed."""
    random = np.random.default_rng(0)
    lit, covered = (
        None if rate is None else spikes.open((random.random((64, 8, 8)) < rate).astype(np.uint8))
        for rate in (flat, dark)
    )
    with pytest.raises(ConfigError, match=f"calibration.flat: .*{told}"):
        FixedPattern.measured(covered, lit)
