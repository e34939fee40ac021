from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from spikerec.errors import DataError, DataNotFoundError, GeometryError, SpikerecError
from spikerec.simulation import read_maps


def test_a_calibration_becomes_gain_and_dark_current(tmp_path: Path) -> None:
    response = np.full((4, 6), 0.5)
    response[0, 0] = 1.0
    dark, interval = np.full((4, 6), 8.0), np.full((4, 6), 5.0)
    np.savez(tmp_path / "calibration.npz", Nl=response, Nd=dark, D_light=interval)
    maps = read_maps(tmp_path / "calibration.npz", 4, 6)
    assert maps.gain.mean() == pytest.approx(1)
    assert maps.gain[0, 0] == pytest.approx(2 * maps.gain[1, 1].item())
    torch.testing.assert_close(maps.dark_current, torch.full((4, 6), 8 / (5 * 343)))


def test_maps_are_cut_around_the_centre(tmp_path: Path) -> None:
    gain = np.arange(48.0).reshape(6, 8)
    np.savez(tmp_path / "maps.npz", gain=gain)
    maps = read_maps(tmp_path / "maps.npz", 2, 4)
    torch.testing.assert_close(maps.gain, torch.from_numpy(gain[2:4, 2:6]).float())
    assert not maps.dark_current.any()


def test_errors_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "maps.npz"
    with pytest.raises(DataNotFoundError, match=r"maps\.npz does not exist"):
        read_maps(path, 2, 2)
    np.savez(path, other=np.ones((4, 4)))
    with pytest.raises(DataError, match="holds none of the arrays expected: gain"):
        read_maps(path, 2, 2)
    np.savez(path, gain=np.ones((4, 4)))
    with pytest.raises(GeometryError, match="is 4 × 4: expected at least 5 × 4"):
        read_maps(path, 5, 4)
    path.write_bytes(b"not an archive")
    with pytest.raises(DataError, match=r"maps\.npz cannot be read as \.npz"):
        read_maps(path, 2, 2)


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        ({"gain": np.full((4, 4), np.nan)}, "maps.npz:gain holds values"),
        ({"gain": np.full((4, 4), -1.0)}, "maps.npz:gain holds values"),
        ({"threshold": np.zeros((4, 4))}, "maps.npz:threshold holds values"),
        ({"dark_current": np.full((4, 4), np.inf)}, "maps.npz:dark_current holds values"),
        ({"gain": np.array([["a"]])}, "expected at most 4,194,304 numbers"),
        ({"gain": np.array([[{}]], dtype=object)}, "expected at most 4,194,304 numbers"),
        ({"gain": np.array(1.0)}, "expected at least 4 × 4"),
        ({"Nl": np.ones(3), "Nd": np.ones(4), "D_light": np.ones(3)}, "maps of 2 sizes"),
        (
            {"Nl": np.zeros((4, 4)), "Nd": np.ones((4, 4)), "D_light": np.ones((4, 4))},
            "maps.npz:gain holds values",
        ),
    ],
)
def test_maps_that_are_none_are_refused(
    tmp_path: Path, maps: dict[str, np.ndarray], message: str
) -> None:
    np.savez(tmp_path / "maps.npz", **maps)
    with pytest.raises(SpikerecError, match=message):
        read_maps(tmp_path / "maps.npz", 4, 4)


def test_a_map_is_bounded(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "maps.npz", gain=np.zeros((1, (1 << 24) + 1), bool))
    with pytest.raises(DataError, match="expected at most 4,194,304 numbers"):
        read_maps(tmp_path / "maps.npz", 1, 1)


def test_the_published_calibration_is_read(shared: Path) -> None:
    maps = read_maps(shared / "data" / "sensor_calibration.npz", 250, 400)
    assert maps.gain.std() == pytest.approx(0.056, abs=0.001)
    assert maps.dark_current.median() == pytest.approx(0.0045, abs=0.0001)
