from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from spikerec import spikes
from spikerec.apps.data import main
from spikerec.errors import ConfigError, DataNotFoundError, GeometryError
from spikerec.spikes import Geometry, defects
from spikerec.spikes.defects import Repair, find_defects, find_sure_defects, sample
from spikerec.spikes.inspection import inspect, rank_geometries, roughness
from spikerec.spikes.motion import phase_shift
from tests.fakes import fake_spikes, write_dat


def scene(height: int, width: int, num_readouts: int = 150, speed: int = 0) -> NDArray[np.uint8]:
    """Spikes of a smooth picture that moves to the right by `speed` pixels in 16 readouts."""
    random = np.random.default_rng(0)
    noise = random.random((height, width + 200))
    picture = gaussian_filter(noise, 4)
    picture = (picture - picture.min()) / np.ptp(picture) * 0.6
    readouts = []
    for t in range(num_readouts):
        left = 150 - speed * t // 16
        rate = picture[:, left : left + width]
        readouts.append(random.random((height, width)) < rate)
    return np.stack(readouts).astype(np.uint8)


@pytest.mark.parametrize(
    "geometry",
    [
        Geometry(100, 160),
        Geometry(250, 400, readout_width=416),
        Geometry(128, 180, bit_order="big"),
    ],
    ids=str,
)
def test_the_true_geometry_ranks_first(geometry: Geometry, tmp_path: Path) -> None:
    path = tmp_path / "car.dat"
    spikes.save(path, scene(geometry.height, geometry.width, 60), geometry=geometry)
    best, *others = rank_geometries(path)
    assert best.geometry == geometry
    assert best.num_readouts == 60
    assert others
    assert best.preview.shape == (geometry.height, geometry.width)


def test_rank_refuses_what_it_cannot_read(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match=r"none.dat does not exist"):
        rank_geometries(tmp_path / "none.dat")
    (tmp_path / "odd.dat").write_bytes(b"x" * 1009)
    with pytest.raises(GeometryError, match="1,009 bytes: no size that is tried divides it"):
        rank_geometries(tmp_path / "odd.dat")


def test_noise_is_rougher_than_a_picture() -> None:
    assert roughness(scene(64, 64).mean(0, dtype=np.float32)) < 0.5
    assert roughness(fake_spikes(50, 64, 64).mean(0, dtype=np.float32)) > 0.8


def test_broken_pixels_are_found_and_no_others() -> None:
    stream = scene(40, 60, 500)
    hot, dead = [(3, 5), (0, 0), (20, 31), (20, 32)], [(30, 30), (39, 59)]
    rate = stream.mean(0, dtype=np.float32)
    bright = [where for where in dead if rate[where] > 0.1]
    for where in hot:
        stream[:, *where] = 1
    for where in dead:
        stream[:, *where] = 0
    found = find_defects(stream.mean(0, dtype=np.float32), 500)
    assert set(map(tuple, np.argwhere(found.hot).tolist())) == set(hot)
    assert set(map(tuple, np.argwhere(found.dead).tolist())) == set(bright)


@pytest.mark.parametrize("share", [0.003, 0.03])
def test_pixels_that_always_fire_are_broken_beyond_doubt(share: float) -> None:
    rate = scene(100, 100).mean(0, dtype=np.float32) / 2  # of a stream of 300 readouts
    is_hot = np.random.default_rng(2).random((100, 100)) < share
    rate[is_hot] = 1
    found = find_sure_defects(rate, 300)
    assert not (found.broken & ~is_hot).any()
    assert found.hot.sum() > 0.9 * is_hot.sum()


@pytest.mark.parametrize("rate", [0.0, 0.02, 0.4, 1.0])
def test_a_sound_sensor_has_no_broken_pixels(rate: float) -> None:
    found = find_defects(fake_spikes(300, 50, 50, rate=rate).mean(0, dtype=np.float32), 300)
    assert not found.broken.any()


def test_repair_copies_the_nearest_whole_pixel() -> None:
    import torch

    broken = np.zeros((5, 6), bool)
    broken[2, 2:4] = True
    stream = torch.from_numpy(fake_spikes(9, 5, 6))
    before = stream.clone()
    repaired = Repair(broken)(stream)
    assert torch.equal(repaired[:, ~torch.from_numpy(broken)], before[:, ~torch.from_numpy(broken)])
    assert any(torch.equal(repaired[:, 2, 2], before[:, y, x]) for y, x in [(1, 2), (3, 2), (2, 1)])
    with pytest.raises(GeometryError, match="all 30 pixels"):
        Repair(np.ones((5, 6), bool))


def test_a_sample_is_spread_over_the_stream(tmp_path: Path) -> None:
    spikes.save(tmp_path / "long.npy", fake_spikes(1000, 4, 4))
    seen = sample(spikes.open(tmp_path / "long.npy"), 100, 900, pieces=5)
    assert seen.starts[0] == 100
    assert seen.starts[-1] + seen.length == 900
    assert seen.num_readouts == 320


@pytest.mark.parametrize(("down", "right"), [(0, 0), (3, -5), (-7, 2)])
def test_shift_of_a_picture_is_found(down: int, right: int) -> None:
    picture = gaussian_filter(np.random.default_rng(0).random((80, 120)), 3)
    before = picture[10:70, 10:110]
    after = picture[10 - down : 70 - down, 10 - right : 110 - right]
    assert phase_shift([(before, after)]) == pytest.approx((down, right), abs=0.6)


def test_a_blank_picture_has_no_motion() -> None:
    assert phase_shift([(np.ones((9, 9)), np.ones((9, 9)))]) is None


def test_inspection_tells_rate_and_motion(tmp_path: Path) -> None:
    spikes.save(tmp_path / "a.npy", scene(64, 96, 300, speed=4), rate_hz=20000)
    found = inspect(spikes.open(tmp_path / "a.npy"))
    assert found.duration_s == 0.015
    assert found.histogram.sum() == pytest.approx(1)
    assert found.motion is not None
    assert found.motion[1] == pytest.approx(250, rel=0.2)
    assert abs(found.motion[0]) < 50


def test_inspect_then_import_then_open(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "recordings/car.dat"
    path.parent.mkdir()
    write_dat(path, scene(100, 160, 60))
    main(["inspect", str(path)])
    assert "states no geometry" in capsys.readouterr().out
    assert list(path.parent.iterdir()) == [path]
    with Image.open("car_inspection.png") as picture:
        assert picture.width > 700
    main(["import", str(path), "--rank", "1", "--rate-hz", "20000", "--light-scale", "0.6"])
    stream = spikes.open(path)
    assert stream.shape == (60, 100, 160)
    assert (stream.rate_hz, stream.light_scale) == (20000, 0.6)
    main(["inspect", str(path)])
    text = capsys.readouterr().out
    assert "100 × 160" in text
    assert "60 (0.003 s)" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["import", "FILE"], "--height and --width, or by --rank"),
        (["import", "FILE", "--height", "4"], "state the geometry by --height and --width"),
        (["import", "FILE", "--rank", "99"], "--rank must be 1 to"),
        (["import", "x.npy", "--rank", "1"], r"only \.dat, \.raw, \.bin need a sidecar"),
    ],
)
def test_an_import_that_is_unclear_is_refused(
    words: list[str], message: str, tmp_path: Path
) -> None:
    write_dat(tmp_path / "car.dat", scene(100, 160, 20))
    with pytest.raises(ConfigError, match=message):
        main([word.replace("FILE", str(tmp_path / "car.dat")) for word in words])
    assert not (tmp_path / "car.yaml").exists()


def test_a_part_at_a_time_finds_what_the_whole_does(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = np.where(np.arange(23) < 11, 0.05, 0.6)
    values = np.random.default_rng(0).random((90, 17, 23)) < rates
    values[:, 4, 5], values[:, 9, 19] = True, False
    with spikes.open(values.astype(np.uint8)) as stream:
        whole = sample(stream)
        assert np.array_equal(whole.rates[0], values[:64].mean(0, dtype=np.float32))
        expected = find_defects(whole.rate, whole.num_readouts)
        assert expected.hot[4, 5]
        assert expected.dead[9, 19]
        monkeypatch.setattr(defects, "PIXELS_AT_ONCE", 5 * 17 * 23)
        assert np.array_equal(sample(stream).rates, whole.rates)
        monkeypatch.setattr(defects, "PIXELS_AT_ONCE", 3 * 23)
        found = find_defects(whole.rate, whole.num_readouts)
    assert np.array_equal(found.hot, expected.hot)
    assert np.array_equal(found.dead, expected.dead)
