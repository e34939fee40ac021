"""How the bits of a spike file are laid out, and the sidecar YAML that says so.

A `.dat` file has no header. What it holds is stated by the caller, or by a YAML file of the same
name beside it (`car.dat` → `car.yaml`):

    height: 250
    width: 400
    bottom_up: true
    bit_order: little
    rate_hz: 20000
    light_scale: 0.6

Every key but height and width may be left out. The sampling rate and the light scale are facts of
the recording and are never assumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from spikerec.errors import ConfigError, DataError, GeometryError
from spikerec.spikes.files import atomic_path

BitOrder = Literal["little", "big"]

GEOMETRY_KEYS = ("height", "width", "readout_width", "bottom_up", "bit_order")
SIDECAR_KEYS = (*GEOMETRY_KEYS, "rate_hz", "light_scale")


@dataclass(frozen=True)
class Geometry:
    """Layout of one readout in a `.dat` file.

    Pixels are stored row after row, one bit each, without a gap between rows: pixel p of a readout
    is bit p % 8 of byte p // 8, and a readout begins on a byte of its own.

    Args:
        height: rows of the image.
        width: columns of the image.
        readout_width: bits stored for a row, where the sensor reads out more than the image (400
            columns stored as 416, 1000 as 1024); the image is their first `width`. None: `width`.
        bottom_up: the bottom row of the image is stored first, as most cameras do.
        bit_order: `little` has the first pixel in the least significant bit.

    Raises:
        GeometryError: a size below 1, a readout width below the width, an unknown bit order.
    """

    height: int
    width: int
    readout_width: int | None = None
    bottom_up: bool = True
    bit_order: BitOrder = "little"

    def __post_init__(self) -> None:
        for name in ("height", "width", "readout_width"):
            value = getattr(self, name)
            if value is None and name == "readout_width":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise GeometryError(
                    f"geometry.{name} must be a whole number of at least 1, found {value!r}."
                )
        if self.row_bits < self.width:
            raise GeometryError(
                f"geometry.readout_width must be at least the width {self.width}, found "
                f"{self.readout_width}: it counts the bits stored for a row."
            )
        if not isinstance(self.bottom_up, bool):
            raise GeometryError(
                f"geometry.bottom_up must be true or false, found {self.bottom_up!r}."
            )
        if self.bit_order not in ("little", "big"):
            raise GeometryError(
                f"geometry.bit_order must be little or big, found {self.bit_order!r}."
            )

    @property
    def row_bits(self) -> int:
        """Bits stored for a row."""
        return self.width if self.readout_width is None else self.readout_width

    @property
    def readout_bytes(self) -> int:
        """Bytes stored for a readout; the last byte may be filled up with zeros."""
        return -(-self.height * self.row_bits // 8)

    def __str__(self) -> str:
        stored = f" stored {self.row_bits} wide" if self.row_bits != self.width else ""
        return f"{self.height} × {self.width}{stored}"


@dataclass(frozen=True)
class Sidecar:
    """What a sidecar YAML states; None for what it leaves open.

    Args:
        geometry: layout of the file beside it.
        rate_hz: readouts per second, above 0.
        light_scale: firing rate of a pixel of intensity 1, in (0, 1].

    Raises:
        ConfigError: a rate or light scale out of range.
    """

    geometry: Geometry | None = None
    rate_hz: float | None = None
    light_scale: float | None = None

    def __post_init__(self) -> None:
        if self.rate_hz is not None and not (_is_number(self.rate_hz) and self.rate_hz > 0):
            raise ConfigError(f"rate_hz must be a number above 0, found {self.rate_hz!r}.")
        if self.light_scale is not None and not (
            _is_number(self.light_scale) and 0 < self.light_scale <= 1
        ):
            raise ConfigError(
                f"light_scale must be a number in (0, 1], found {self.light_scale!r}."
            )

    def to_mapping(self) -> dict[str, int | float | bool | str]:
        """The keys and values that the YAML holds: those that are stated."""
        stated: dict[str, Any] = {}
        if self.geometry is not None:
            stated = {key: getattr(self.geometry, key) for key in GEOMETRY_KEYS}
        stated |= {"rate_hz": self.rate_hz, "light_scale": self.light_scale}
        return {key: value for key, value in stated.items() if value is not None}


def sidecar_path(path: Path) -> Path:
    """Where the sidecar of a file or of a folder of files stands: `car.dat` → `car.yaml`."""
    return path.with_name(path.name + ".yaml") if path.is_dir() else path.with_suffix(".yaml")


def read_sidecar(path: Path) -> Sidecar:
    """What the sidecar of a spike file states; an empty one where there is none.

    Args:
        path: the spike file, or a folder of them; not the sidecar itself.

    Raises:
        DataError: not a YAML mapping, or an unknown key.
        GeometryError: a geometry that cannot be; height without width, or the reverse.
        ConfigError: a rate or light scale out of range.
    """
    file = sidecar_path(path)
    if not file.is_file():
        return Sidecar()
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{file} is not YAML: {reason}") from error
    if not isinstance(content, Mapping):
        raise DataError(
            f"{file} must map keys to values ({', '.join(SIDECAR_KEYS)}), found {content!r}."
        )
    unknown = [str(key) for key in content if key not in SIDECAR_KEYS]
    if unknown:
        raise DataError(
            f"{file}: unknown key {', '.join(unknown)}; expected any of {', '.join(SIDECAR_KEYS)}."
        )
    try:
        return Sidecar(
            _geometry_of(content, file), content.get("rate_hz"), content.get("light_scale")
        )
    except (GeometryError, ConfigError) as error:
        raise type(error)(f"{file}: {error}") from error


def write_sidecar(path: Path, sidecar: Sidecar, *, overwrite: bool = False) -> None:
    """Write the sidecar of a spike file atomically; nothing where it states nothing.

    A sidecar that says the same already is left alone.

    Raises:
        DataError: another one is there and `overwrite` is False.
    """
    content = sidecar.to_mapping()
    if not content:
        return
    check_sidecar(path, sidecar, overwrite=overwrite)
    with atomic_path(sidecar_path(path)) as temporary:
        temporary.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def check_sidecar(path: Path, sidecar: Sidecar, *, overwrite: bool) -> None:
    """Refuse to replace a sidecar that states something else.

    Raises:
        DataError: another one is there and `overwrite` is False.
    """
    file = sidecar_path(path)
    if file.exists() and not overwrite and read_sidecar(path) != sidecar:
        raise DataError(
            f"{file} exists and states something else: pass overwrite=True to replace it."
        )


def _geometry_of(content: Mapping[str, Any], file: Path) -> Geometry | None:
    given = {key: content[key] for key in GEOMETRY_KEYS if key in content}
    if not given:
        return None
    missing = [key for key in ("height", "width") if key not in given]
    if missing:
        raise GeometryError(f"{' and '.join(missing)} missing; {file.name} states {given}.")
    return Geometry(**given)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
