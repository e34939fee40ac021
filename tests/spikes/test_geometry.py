"""Layouts and sidecar files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from spikerec.errors import ConfigError, DataError, GeometryError, SpikerecError
from spikerec.spikes import Geometry, Sidecar, read_sidecar, sidecar_path, write_sidecar


@pytest.mark.parametrize(
    ("geometry", "readout_bytes"),
    [
        (Geometry(250, 400), 12_500),
        (Geometry(250, 400, readout_width=416), 13_000),
        (Geometry(250, 250), 7_813),  # 7812.5: the last byte is half used
        (Geometry(480, 854), 51_240),
        (Geometry(1000, 1000, readout_width=1024), 128_000),
    ],
)
def test_readouts_take_whole_bytes(geometry: Geometry, readout_bytes: int) -> None:
    assert geometry.readout_bytes == readout_bytes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"height": 0, "width": 4}, "geometry.height must be a whole number"),
        ({"height": 4, "width": 2.5}, "geometry.width must be a whole number .* found 2.5"),
        ({"height": 4, "width": True}, "geometry.width"),
        ({"height": 4, "width": 9, "readout_width": 8}, "at least the width 9, found 8"),
        ({"height": 4, "width": 9, "bit_order": "msb"}, "little or big, found 'msb'"),
        ({"height": 4, "width": 9, "bottom_up": "no"}, "true or false, found 'no'"),
    ],
)
def test_impossible_layouts_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(GeometryError, match=message):
        Geometry(**arguments)


def test_a_sidecar_comes_back_as_it_was_written(tmp_path: Path) -> None:
    sidecar = Sidecar(Geometry(250, 400, 416, bottom_up=False, bit_order="big"), 20_000, 0.6)
    write_sidecar(tmp_path / "car.dat", sidecar)
    assert [file.name for file in tmp_path.iterdir()] == ["car.yaml"]
    assert read_sidecar(tmp_path / "car.dat") == sidecar


def test_no_sidecar_states_nothing(tmp_path: Path) -> None:
    assert read_sidecar(tmp_path / "car.dat") == Sidecar()
    write_sidecar(tmp_path / "car.dat", Sidecar())
    assert not sidecar_path(tmp_path / "car.dat").exists()


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("height: 2\nwidth: 3\nfps: 20000", DataError, r"car\.yaml: unknown key fps; expected any"),
        ("- 250\n- 400", DataError, r"car\.yaml must map keys to values"),
        ("height: [", DataError, r"car\.yaml is not YAML"),
        ("height: 250", GeometryError, r"car\.yaml: width missing"),
        ("height: x\nwidth: 3", GeometryError, r"car\.yaml: geometry\.height .* found 'x'"),
        ("rate_hz: -1", ConfigError, r"car\.yaml: rate_hz must be a number above 0, found -1"),
        ("light_scale: 1.5", ConfigError, r"car\.yaml: light_scale must be a number in \(0, 1\]"),
    ],
)
def test_a_wrong_sidecar_is_named_with_its_key(
    tmp_path: Path, content: str, error: type[SpikerecError], message: str
) -> None:
    (tmp_path / "car.yaml").write_text(content)
    with pytest.raises(error, match=message) as caught:
        read_sidecar(tmp_path / "car.dat")
    assert "\n" not in str(caught.value)


def test_another_sidecar_is_not_replaced_unasked(tmp_path: Path) -> None:
    write_sidecar(tmp_path / "car.dat", Sidecar(rate_hz=20_000))
    write_sidecar(tmp_path / "car.dat", Sidecar(rate_hz=20_000))
    with pytest.raises(DataError, match="states something else"):
        write_sidecar(tmp_path / "car.dat", Sidecar(rate_hz=40_000))
    write_sidecar(tmp_path / "car.dat", Sidecar(rate_hz=40_000), overwrite=True)
    assert read_sidecar(tmp_path / "car.dat").rate_hz == 40_000
