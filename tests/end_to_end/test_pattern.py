"""A sensor's fixed pattern, estimated and taken out by the commands that people type."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from spikerec import cli, spikes
from spikerec.simulation import Camera
from spikerec.streaming.about import read_about
from tests.fakes import moving_photograph

EVEN = Camera(0.4)
UNEVEN = Camera(0.4, gain_spread=0.1, sensor_seed=1)
KEY_READOUT = 80


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of recordings: of even and uneven sensors, of moving and still scenes."""
    folder = tmp_path_factory.mktemp("recordings")
    for scene, speed in (("moving", 0.4), ("still", 0.0)):
        light = moving_photograph(speed)
        for sensor, camera in (("even", EVEN), ("uneven", UNEVEN)):
            recorded = camera.expose(light, seed=2).numpy()
            spikes.save(folder / f"{scene}_{sensor}.dat", recorded, light_scale=0.4)
    return folder


def reconstructed(
    monkeypatch: pytest.MonkeyPatch, folder: Path, *words: str, model: str = "fast"
) -> Path:
    """The file that `spikerec reconstruct` makes of one readout."""
    output = folder / f"made{len(list(folder.iterdir()))}.npy"
    places = (words[0], str(output), f"at={KEY_READOUT}", f"model={model}")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["spikerec", "reconstruct", *places, *words[1:]])
    cli.main()
    return output


def error(made: Path) -> float:
    """Root mean square of what differs from the true picture."""
    true = moving_photograph(0.0)[KEY_READOUT].numpy()
    return float(np.sqrt(np.square(np.load(made)[0] - true).mean()))


@pytest.mark.parametrize("model", ["fast", "hann", "tfi"])
def test_the_pattern_of_a_moving_recording_is_taken_out(
    model: str,
    recordings: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    taken = reconstructed(monkeypatch, recordings, "moving_uneven.dat", model=model)
    assert "was estimated and taken out" in capsys.readouterr().out
    assert read_about(taken)["estimated_pattern"] == pytest.approx(0.1, rel=0.25)
    off = ("moving_uneven.dat", "estimate_pattern=false")
    kept = reconstructed(monkeypatch, recordings, *off, model=model)
    assert "fixed pattern" not in capsys.readouterr().out
    even = reconstructed(monkeypatch, recordings, "moving_even.dat", model=model)
    assert error(taken) < error(kept) - 0.2 * (error(kept) - error(even))


@pytest.mark.parametrize("name", ["still_uneven.dat", "still_even.dat", "moving_even.dat"])
def test_a_recording_without_evidence_of_a_pattern_stays_as_it_is(
    name: str,
    recordings: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plain = reconstructed(monkeypatch, recordings, name)
    assert "fixed pattern" not in capsys.readouterr().out
    assert "estimated_pattern" not in read_about(plain)
    off = reconstructed(monkeypatch, recordings, name, "estimate_pattern=false")
    assert np.array_equal(np.load(plain), np.load(off))


def test_a_moving_recording_calibrates_a_still_one(
    recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calibrated = reconstructed(
        monkeypatch, recordings, "still_uneven.dat", "calibration.moving=moving_uneven.dat"
    )
    plain = reconstructed(monkeypatch, recordings, "still_uneven.dat")
    assert error(calibrated) < 0.8 * error(plain)


def test_a_still_recording_calibrates_nothing(
    recordings: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        reconstructed(
            monkeypatch, recordings, "moving_uneven.dat", "calibration.moving=still_uneven.dat"
        )
    told = capsys.readouterr().err
    assert "calibration.moving=still_uneven.dat shows no fixed pattern, or its scene" in told
    assert told.count("\n") == 1


def test_another_calibration_is_another_result(
    recordings: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(recordings / "calibrated.npy")
    words = ["spikerec", "reconstruct", "still_uneven.dat", output, "at=80", "model=hann"]
    monkeypatch.chdir(recordings)
    for flat, answer in (("moving_even", "1 frame"), ("moving_even", "done before")):
        monkeypatch.setattr(sys, "argv", [*words, f"calibration.flat={flat}.dat"])
        cli.main()
        assert answer in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", [*words, "calibration.flat=moving_uneven.dat"])
    with pytest.raises(SystemExit):
        cli.main()
    assert "made with other settings (calibration)" in capsys.readouterr().err


def test_the_pattern_of_each_of_several_recordings_is_told(
    recordings: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(recordings)
    names = ("moving_even.dat", "moving_uneven.dat")
    words = ["spikerec", "reconstruct", *names, "videos", "at=80", "model=hann"]
    monkeypatch.setattr(sys, "argv", words)
    cli.main()
    even, uneven = (one for one in capsys.readouterr().out.splitlines() if " → " in one)
    assert even.endswith(": 1 frame")
    assert "1 frame; a fixed pattern of" in uneven
