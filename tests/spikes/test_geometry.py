"""Layouts and sidecar files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikerec import spikes
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


def test_a_sidecar_has_one_owner(tmp_path: Path) -> None:
    array = np.eye(4, dtype=np.uint8)[None]
    spikes.save(tmp_path / "q.dat", array, rate_hz=20_000, light_scale=0.6)
    before = (tmp_path / "q.yaml").read_text()
    assert spikes.open(tmp_path / "q.dat").rate_hz == 20_000
    spikes.save(tmp_path / "q.h5", array, rate_hz=100.0, overwrite=True)
    assert (tmp_path / "q.yaml").read_text() == before
    np.testing.assert_array_equal(spikes.open(tmp_path / "q.dat")[:], array)
    found = spikes.open(tmp_path / "q.h5")
    assert (found.rate_hz, found.light_scale) == (100.0, None)


@pytest.mark.parametrize("suffix", ["npy", "npz", "h5", "dat"])
def test_a_file_saved_anew_inherits_nothing(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    array = np.eye(4, dtype=np.uint8)[None]
    spikes.save(path, array, rate_hz=100, light_scale=0.4)
    spikes.save(path, array, overwrite=True)
    found = spikes.open(path)
    assert (found.rate_hz, found.light_scale) == (None, None)


def test_a_sidecar_without_a_dat_is_shared_until_a_file_has_its_own(tmp_path: Path) -> None:
    array = np.eye(4, dtype=np.uint8)[None]
    np.save(tmp_path / "a.npy", array)
    (tmp_path / "a.yaml").write_text("light_scale: 0.4")
    assert spikes.open(tmp_path / "a.npy").light_scale == 0.4
    spikes.save(tmp_path / "a.npy", array, overwrite=True)
    assert spikes.open(tmp_path / "a.npy").light_scale is None
    assert (tmp_path / "a.yaml").read_text() == "light_scale: 0.4"


@pytest.mark.parametrize("value", [".nan", ".inf", "0", "-1", "text", "true", "[1]", "1" * 400])
def test_a_light_scale_is_a_number_between_0_and_1(tmp_path: Path, value: str) -> None:
    (tmp_path / "a.yaml").write_text(f"light_scale: {value}")
    with pytest.raises(SpikerecError, match=r"a\.yaml") as caught:
        read_sidecar(tmp_path / "a.npy")
    assert len(str(caught.value)) < 250 + len(str(tmp_path))
    for given in (float("nan"), 0, -1, "text", True, np.float32("inf")):
        with pytest.raises(ConfigError, match=r"light_scale must be a number in \(0, 1\]"):
            Sidecar(light_scale=given)  # type: ignore[arg-type]


BOMB = "a: &a [x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join(['*' + old] * 9)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (BOMB, "holds an alias"),
        ("a: &a {x: 1}\nheight: {<<: [*a, *a]}", "holds an alias"),
        ("# " + "x" * 50_000_000, "holds more than the 65,536 bytes"),
        ("[" * 30_000, "holds more than 12 levels"),
        ("- 1\n" * 3_000, "holds more than 2,000 keys and values"),
        ("height: !!python/object/apply:os.system [ls]", r"holds a tag \(!name\)"),
        ("height: !!timestamp x", r"holds a tag"),
        ("rate_hz: 2001-99-99", "rate_hz must be a number"),
        ("height: 1\nheight: 2", "not YAML that can be read here"),
        ("{[1]: 2}", "not YAML that can be read here"),
        ("height: 2\nwidth: 0x" + "f" * 9000, "not YAML that can be read here"),
        ("\0", "is not text"),
        ("--- 1\n--- 2", "not YAML that can be read here"),
    ],
)
def test_a_sidecar_is_bounded(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "car.yaml").write_text(content)
    with pytest.raises(SpikerecError, match=message):
        read_sidecar(tmp_path / "car.dat")


def test_a_readout_is_bounded() -> None:
    assert Geometry(4096, 4096).readout_bytes == 2 << 20
    for sizes in ((4096, 4097), (1, 1 << 60), (4096, 1, 4097)):
        with pytest.raises(GeometryError, match="more than 16,777,216 pixels"):
            Geometry(*sizes)


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (
            "height: 2\nwidth: 3\nfps: 20000",
            DataError,
            r"car\.yaml: unknown key 'fps'; expected any",
        ),
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
