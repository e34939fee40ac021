"""Layout of the bits of a spike file, and the sidecar YAML that states it.

A `.dat` file has no header. What it holds is stated by the caller, or by a YAML file of the same
name beside it, its sidecar (`car.dat` → `car.yaml`):

    height: 250
    width: 400
    bottom_up: true
    bit_order: little
    rate_hz: 20000
    light_scale: 0.6

Every key but height and width may be left out; there are those of `Geometry` and `Sidecar`. The
sampling rate and the light scale are facts of the recording and are never assumed.

A sidecar has one owner. `car.yaml` belongs to `car.dat`; a file of another format has a sidecar
named after its whole name (`car.npy` → `car.npy.yaml`), and shares `car.yaml` only where it has
none of its own and there is no `car.dat`. What is written goes to a file's own sidecar alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeGuard

import numpy as np
import yaml

from spikerec.errors import ConfigError, DataError, GeometryError, SpikerecError
from spikerec.kinds import checked, checked_names
from spikerec.parsing import LARGEST_INTEGER, read_yaml, shown
from spikerec.spikes import sps100
from spikerec.spikes.bayer import BayerPattern, Flip, check_bayer, check_turn
from spikerec.spikes.files import atomic_path

BitOrder = Literal["little", "big"]
Layout = Literal["plain", "sps100"]
Partial = Literal["refuse", "drop"]

GEOMETRY_KEYS = (
    *("height", "width", "readout_width", "bottom_up", "bit_order"),
    *("layout", "skip_bytes", "partial"),
)
SIDECAR_KEYS = (*GEOMETRY_KEYS, "rate_hz", "light_scale", "rotate", "flip", "bayer")

#: Suffixes of files that hold bits alone, laid out as a geometry states.
BITS_SUFFIXES = (".dat", ".raw", ".bin")

#: Bounds of every stream, whatever its format: pixels stored for a readout (4096², sixteen times
#: those of any spike camera so far), and readouts (15 hours at 40,000 a second).
MAX_READOUT_PIXELS = 1 << 24
MAX_READOUTS = 1 << 31


@checked_names
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
        layout: `plain`, or `sps100` for the raw stream of that camera (`spikes.sps100`), which
            states row and bit order itself.
        skip_bytes: bytes of a header before the first readout.
        partial: what becomes of bytes after the last whole readout, as of a recording that was cut
            short or is still being written: `refuse` the file, or `drop` them with a warning.

    Raises:
        GeometryError: a size below 1, a readout width below the width, an unknown bit order or
            layout, a size that the layout cannot have, or more than `MAX_READOUT_PIXELS`.
    """

    height: int
    width: int
    readout_width: int | None = None
    bottom_up: bool = True
    bit_order: BitOrder = "little"
    layout: Layout = "plain"
    skip_bytes: int = 0
    partial: Partial = "refuse"

    def __post_init__(self) -> None:
        for name in ("height", "width", "readout_width"):
            value = getattr(self, name)
            if value is None and name == "readout_width":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise GeometryError(
                    f"geometry.{name} must be a whole number of at least 1, found {shown(value)}."
                )
        if self.height * max(self.width, self.row_bits) > MAX_READOUT_PIXELS:
            raise GeometryError(
                f"geometry states more than {MAX_READOUT_PIXELS:,} pixels, the most that a readout "
                "may have."
            )
        if self.row_bits < self.width:
            raise GeometryError(
                f"geometry.readout_width must be at least the width {self.width}, found "
                f"{self.readout_width}: it counts the bits stored for a row."
            )
        if not isinstance(self.bottom_up, bool):
            raise GeometryError(
                f"geometry.bottom_up must be true or false, found {shown(self.bottom_up)}."
            )
        for name, choices in (
            ("bit_order", ("little", "big")),
            ("layout", ("plain", "sps100")),
            ("partial", ("refuse", "drop")),
        ):
            if getattr(self, name) not in choices:
                raise GeometryError(
                    f"geometry.{name} must be {' or '.join(choices)}, found "
                    f"{shown(getattr(self, name))}."
                )
        skip = self.skip_bytes
        if isinstance(skip, bool) or not isinstance(skip, int) or not 0 <= skip <= LARGEST_INTEGER:
            raise GeometryError(
                f"skip_bytes must be a whole number of at least 0, found {shown(skip)}."
            )
        if self.layout == "sps100" and (
            self.width != sps100.WIDTH or self.height % 2 or self.readout_width is not None
        ):
            raise GeometryError(
                f"layout=sps100 has rows of {sps100.WIDTH} pixels and an even number of "
                f"them, found {self.height} × {self.width}"
                f"{'' if self.readout_width is None else f' stored {self.readout_width} wide'}."
            )

    @classmethod
    def stated(cls, given: Mapping[str, Any]) -> Geometry:
        """Build a geometry from some of its keys; an SPS100's is 1000 × 1000 unless stated.

        Raises:
            GeometryError: height or width is missing, an unknown key, or what cannot be.
        """
        if given.get("layout") == "sps100":
            given = {"height": sps100.HEIGHT, "width": sps100.WIDTH, **given}
        unknown = [key for key in given if key not in GEOMETRY_KEYS]
        if unknown:
            raise GeometryError(
                f"geometry has no {shown(unknown[0])}: expected any of {', '.join(GEOMETRY_KEYS)}."
            )
        missing = [key for key in ("height", "width") if given.get(key) is None]
        if missing:
            names = ", ".join(given)
            raise GeometryError(f"{' and '.join(missing)} missing; stated are {names}. Set both.")
        return cls(**given)

    @property
    def row_bits(self) -> int:
        """Bits stored for a row."""
        if self.layout == "sps100":
            return 8 * sps100.ROW_BYTES
        return self.width if self.readout_width is None else self.readout_width

    @property
    def readout_bytes(self) -> int:
        """Bytes stored for a readout; the last byte may be filled up with zeros."""
        return -(-self.height * self.row_bits // 8)

    def __str__(self) -> str:
        if self.layout == "sps100":
            return f"{self.height} × {self.width} of a raw SPS100 stream"
        stored = f" stored {self.row_bits} wide" if self.row_bits != self.width else ""
        return f"{self.height} × {self.width}{stored}"


@checked_names
@dataclass(frozen=True)
class Sidecar:
    """The values of a sidecar YAML; None for each key that it does not state.

    Args:
        geometry: layout of the file beside it.
        rate_hz: readouts per second, above 0.
        light_scale: firing rate of a pixel of intensity 1, in (0, 1].
        rotate: degrees by which pictures are to be turned clockwise: 0, 90, 180 or 270.
        flip: how they are to be flipped after that: `none`, `horizontal` or `vertical`.
        bayer: colours that the pixels see, counted from the top left before any turn.

    Raises:
        ConfigError: a rate, light scale, turn or pattern that cannot be.
    """

    geometry: Geometry | None = None
    rate_hz: float | None = None
    light_scale: float | None = None
    rotate: int | None = None
    flip: Flip | None = None
    bayer: BayerPattern | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.geometry, Geometry | None):
            raise ConfigError(f"geometry must be a Geometry, found {shown(self.geometry)}.")
        check_turn(
            0 if self.rotate is None else self.rotate, "none" if self.flip is None else self.flip
        )
        if self.bayer is not None:
            check_bayer(self.bayer)
        if self.rate_hz is not None and not (is_number(self.rate_hz) and self.rate_hz > 0):
            raise ConfigError(f"rate_hz must be a number above 0, found {shown(self.rate_hz)}.")
        if self.light_scale is not None:
            check_light_scale(self.light_scale)

    def to_mapping(self) -> dict[str, int | float | bool | str]:
        """The keys and values that the YAML holds: those that are stated."""
        stated: dict[str, Any] = {}
        if self.geometry is not None:
            stated = {key: getattr(self.geometry, key) for key in GEOMETRY_KEYS}
            usual = {"layout": "plain", "skip_bytes": 0, "partial": "refuse"}
            stated = {key: value for key, value in stated.items() if usual.get(key) != value}
            if self.geometry.layout == "sps100":
                del stated["bottom_up"], stated["bit_order"]
        names = ("rate_hz", "light_scale", "rotate", "flip", "bayer")
        stated |= {name: getattr(self, name) for name in names}
        return {key: value for key, value in stated.items() if value is not None}


def check_light_scale(value: object, name: str = "light_scale") -> float:
    """The light scale, if it is one.

    Args:
        value: a number in (0, 1].
        name: the argument, for the error.

    Raises:
        ConfigError: anything else: text, NaN, 0, a negative number.
    """
    if is_number(value) and 0 < value <= 1:
        return float(value)
    raise ConfigError(f"{name} must be a number in (0, 1], found {shown(value)}.")


def is_number(value: object) -> TypeGuard[float]:
    """True for a finite real number that is no boolean and no integer beyond 64 bits."""
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return abs(value) <= LARGEST_INTEGER
    return isinstance(value, float | np.floating) and math.isfinite(value)


@checked
def sidecar_path(path: Path) -> Path:
    """The sidecar that a file, or a folder of files, owns.

    `car.dat` → `car.yaml`, `car.npy` → `car.npy.yaml`, the folder `car` → `car.yaml`.
    """
    if path.suffix.lower() == ".dat" and not path.is_dir():
        return path.with_suffix(".yaml")
    if path.name in ("", ".."):  # `.` and `..` have no name of their own
        path = path.resolve()
    return path.parent / f"{path.name}.yaml"


@checked
def read_sidecar(path: Path) -> Sidecar:
    """Read the sidecar of a spike file: its own, or the one that it may share with others.

    Args:
        path: the spike file, or a folder of them; not the sidecar itself.

    Returns:
        What is stated; an empty one where there is no sidecar.

    Raises:
        DataError: not a YAML mapping, beyond the bounds of one, or an unknown key.
        GeometryError: a geometry that cannot be; height without width, or the reverse.
        ConfigError: a rate or light scale out of range.
    """
    own, shared = sidecar_path(path), _shared_path(path)
    if own.is_file() or shared is None or not shared.is_file():
        return _read(own) if own.is_file() else Sidecar()
    return _read(shared)


@checked
def write_sidecar(path: Path, sidecar: Sidecar, *, overwrite: bool = False) -> None:
    """Make a spike file's sidecar state this and nothing else; atomically.

    Nothing is written where nothing is stated, and nothing where the sidecar states this already.

    Raises:
        DataError: another one is there and `overwrite` is False.
    """
    own, shared = sidecar_path(path), _shared_path(path)
    check_sidecar(path, sidecar, overwrite=overwrite)
    if own.is_file() and _read_or_none(own) == sidecar:
        return
    is_hidden = shared is not None and shared.is_file()  # an empty one of its own hides the shared
    if sidecar == Sidecar() and not is_hidden:
        own.unlink(missing_ok=True)
        return
    with atomic_path(own) as temporary:
        text = yaml.safe_dump(sidecar.to_mapping(), sort_keys=False)
        temporary.write_text(text, encoding="utf-8")


def check_sidecar(path: Path, sidecar: Sidecar, *, overwrite: bool) -> None:
    """Refuse to replace a sidecar of the file's own that states something else.

    Raises:
        DataError: another one is there and `overwrite` is False.
    """
    own = sidecar_path(path)
    if own.exists() and not overwrite and _read_or_none(own) != sidecar:
        raise DataError(
            f"{own} exists and states something else: pass overwrite=True to replace it."
        )


def _shared_path(path: Path) -> Path | None:
    """The sidecar that a file shares where it has none of its own."""
    if path.is_dir() or path.suffix.lower() == ".dat":
        return None
    return None if path.with_suffix(".dat").exists() else path.with_suffix(".yaml")


def _read_or_none(file: Path) -> Sidecar | None:
    """Read a sidecar; None if it is broken."""
    try:
        return _read(file)
    except SpikerecError:
        return None


def _read(file: Path) -> Sidecar:
    content = read_yaml(file)
    if not isinstance(content, Mapping):
        raise DataError(
            f"{file} must map keys to values ({', '.join(SIDECAR_KEYS)}), found a "
            f"{type(content).__name__}."
        )
    unknown = [key for key in content if key not in SIDECAR_KEYS]
    if unknown:
        raise DataError(
            f"{file}: unknown key {shown(unknown[0])}; expected any of {', '.join(SIDECAR_KEYS)}."
        )
    try:
        given = {key: content[key] for key in GEOMETRY_KEYS if key in content}
        return Sidecar(
            Geometry.stated(given) if given else None,
            **{key: content[key] for key in SIDECAR_KEYS[len(GEOMETRY_KEYS) :] if key in content},
        )
    except (GeometryError, ConfigError) as error:
        raise type(error)(f"{file}: {error}") from error
