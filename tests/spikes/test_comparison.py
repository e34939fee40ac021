"""Histograms of how pixels fire, and how far two recordings lie apart."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from spikerec import spikes
from spikerec.apps.data import main
from spikerec.configs import build
from spikerec.errors import ConfigError, DataError
from spikerec.simulation import Camera
from spikerec.spikes import comparison
from spikerec.spikes.comparison import as_text, compare, histograms, picture


def stream(camera: Camera, light: float | torch.Tensor = 0.5, seed: int = 0) -> spikes.SpikeStream:
    scene = torch.full((16, 16), light) if isinstance(light, float) else light
    return spikes.open(camera.expose(scene.expand(600, -1, -1), seed=seed))


def test_histograms_of_an_even_stream_are_one_bin_each() -> None:
    even = np.zeros((64, 4, 6), np.uint8)
    even[::4] = 1
    found = histograms(spikes.open(even))
    assert found.mean_rate == 0.25
    assert found.rates[16 // found.rates_per_bin] == 1
    assert found.intervals[3] == 1
    assert found.changes[0] == 1


def test_shares_add_up_and_what_is_long_shares_the_last_bin() -> None:
    dark = np.zeros((250, 2, 2), np.uint8)
    dark[[0, 100, 240]] = 1  # intervals of 100 and 140, a change of 40
    found = histograms(spikes.open(dark))
    assert found.intervals[-1] == found.changes[-1] == 1
    for name in ("rates", "intervals", "changes"):
        assert getattr(found, name).sum() == pytest.approx(1)


@pytest.mark.parametrize("length", [16, 41, 60, 256])
def test_even_rates_fill_every_bin_evenly(length: int) -> None:
    """Pixel k fires k times: a comb of full and empty bins would be none of the recording."""
    pixels = np.arange(length + 1)
    spiked = np.arange(length)[:, None, None] < pixels
    rates = histograms(spikes.open(spiked.astype(np.uint8))).rates
    assert len(rates) <= comparison.MOST_RATE_BINS
    assert rates[:-1] == pytest.approx(rates[0])
    assert 0 < rates[-1] <= rates[0] * 1.001


def test_strips_and_pieces_do_not_move_a_histogram(monkeypatch: pytest.MonkeyPatch) -> None:
    noisy = stream(Camera(threshold=50.0, shot_noise=True))
    whole = histograms(noisy)
    monkeypatch.setattr(comparison, "STRIP_VALUES", 3 * 16 * whole.piece)
    np.testing.assert_allclose(histograms(noisy).intervals, whole.intervals)


def test_equal_recordings_are_nowhere_apart_and_streams_of_a_list_count_together() -> None:
    one, other = stream(Camera()), stream(Camera(), seed=1)
    assert set(compare(one, one).distances.values()) == {0}
    both = histograms([one, other])
    parts = [histograms(each) for each in (one, other)]
    assert both.mean_rate == pytest.approx(np.mean([part.mean_rate for part in parts]))
    np.testing.assert_allclose(both.rates, (parts[0].rates + parts[1].rates) / 2)


def test_noise_shows_in_the_changes_of_intervals_whatever_the_scene() -> None:
    random = torch.Generator().manual_seed(0)
    dim, bright = (low + 0.3 * torch.rand(16, 16, generator=random) for low in (0.4, 0.7))
    ideal, noisy = Camera(), Camera(threshold=20.0, shot_noise=True)
    same_camera = compare(stream(ideal, dim), stream(ideal, bright)).distances
    other_camera = compare(stream(ideal, dim), stream(noisy, bright)).distances
    assert same_camera["intervals"] > 1  # the scenes differ
    assert other_camera["changes"] > 5 * same_camera["changes"]


def test_both_are_read_in_pieces_of_one_length() -> None:
    long = stream(Camera())
    short = spikes.open(long[:40])
    compared = compare(long, short)
    assert compared.recording.piece == compared.simulation.piece == 40


def test_what_cannot_be_compared_is_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"holds 8 readouts.*at least 16"):
        histograms(spikes.open(np.ones((8, 4, 4), np.uint8)))
    with pytest.raises(DataError, match="no pixel fires twice"):
        histograms(spikes.open(np.zeros((32, 4, 4), np.uint8)))
    with pytest.raises(DataError, match="at least one stream"):
        histograms([])


@pytest.mark.parametrize("intensity", [0.05, 0.3, 0.6])
def test_scsim_fires_as_its_published_code_does(intensity: float) -> None:
    """Mean and deviation over pixels of SCSim's own arithmetic at this intensity."""
    expected = {0.05: (0.0551, 0.0041), 0.3: (0.3053, 0.0224), 0.6: (0.6055, 0.0447)}[intensity]
    light = torch.full((350, 100, 100), intensity)
    rate = build("simulation", "scsim").expose(light, seed=0).float().mean(0)
    assert rate.mean().item() == pytest.approx(expected[0], rel=0.01)
    assert rate.std().item() == pytest.approx(expected[1], rel=0.1)


def test_the_command_prints_a_table_and_draws_a_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    real, folder = tmp_path / "real.dat", tmp_path / "simulated"
    real.write_bytes(np.packbits(stream(Camera())[:200], bitorder="little").tobytes())
    for seed in range(2):
        made = stream(Camera(threshold=50.0, shot_noise=True), seed=seed)
        spikes.save(folder / f"{seed}.npy", made)
    main(["compare", str(real), str(folder), "--height=16", "--width=16"])
    printed = capsys.readouterr().out
    assert re.search(r"^ +real\.dat +simulated +distance", printed)
    assert re.search(r"streams +1 +2 +\n", printed)
    assert re.search(r"mean change of intervals, readouts +0\.\d\d +\d\.\d\d +\d", printed)
    assert (tmp_path / "real_simulated_comparison.png").stat().st_size > 1000


@pytest.mark.parametrize("verb", ["inspect", "compare"])
def test_nothing_but_an_earlier_picture_is_drawn_over(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("one.npy", "two.npy"):
        spikes.save(name, stream(Camera())[:64])
    files, default = {
        "inspect": (["one.npy"], "one_inspection.png"),
        "compare": (["one.npy", "two.npy"], "one_two_comparison.png"),
    }[verb]
    Image.new("L", (8, 8)).save("photo.png")
    before = {name: Path(name).read_bytes() for name in ("one.npy", "photo.png")}
    with pytest.raises(ConfigError, match=r"--output=one\.npy: the picture is a PNG"):
        main([verb, *files, "--output", "one.npy"])
    with pytest.raises(DataError, match=r"photo\.png exists and was not drawn by"):
        main([verb, *files, "--output", "photo.png"])
    assert {name: Path(name).read_bytes() for name in before} == before
    for _ in range(2):
        main([verb, *files])
    assert Path(default).is_file()
    Path(default).write_text("precious")
    with pytest.raises(DataError, match="was not drawn by"):
        main([verb, *files])
    assert Path(default).read_text() == "precious"


def test_changes_that_one_recording_lacks_have_no_distance() -> None:
    twice = np.zeros((64, 8, 8), np.uint8)
    twice[[5, 45]] = 1
    thrice = twice.copy()
    thrice[25] = 1
    none, some = spikes.open(twice), spikes.open(thrice)
    for one, other in ((none, some), (some, none), (none, none)):
        compared = compare(one, other)
        assert np.isnan(compared.distances["changes"])
        assert np.isfinite(compared.distances["intervals"])
        assert picture(compared, ("one", "other")).width
    assert np.isnan(histograms(none).mean_change)
    assert histograms(some).mean_change == 0
    assert as_text(histograms(none).mean_change, ".2f") == "n/a"
