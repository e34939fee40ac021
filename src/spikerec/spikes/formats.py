"""Open and save spike streams: the format follows from the file's suffix."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from spikerec.errors import ConfigError, DataError, DataNotFoundError, GeometryError
from spikerec.kinds import checked
from spikerec.parsing import shown
from spikerec.spikes import sps100
from spikerec.spikes.bayer import BayerPattern, Flip
from spikerec.spikes.bits import as_spikes
from spikerec.spikes.concatenated import ConcatenatedStream
from spikerec.spikes.dat import DatWriter, misfit, open_dat
from spikerec.spikes.files import atomic_path, refuse_existing
from spikerec.spikes.folders import listed
from spikerec.spikes.geometry import (
    BITS_SUFFIXES,
    Geometry,
    Sidecar,
    check_sidecar,
    read_sidecar,
    sidecar_path,
    write_sidecar,
)
from spikerec.spikes.hdf5 import H5Stream, write_h5
from spikerec.spikes.memory import ArrayStream, as_array, is_tensor
from spikerec.spikes.numpy_files import NpyStream, NpzStream, write_npy, write_npz
from spikerec.spikes.stream import SpikeStream
from spikerec.spikes.turned import TurnedStream

if TYPE_CHECKING:
    from torch import Tensor

#: The kinds that open as a stream: a file, several, a folder, or spikes in memory.
Source: TypeAlias = "str | Path | Sequence[str | Path] | np.ndarray | Tensor"

#: The suffixes that can be saved, and those that can be opened.
SAVED_SUFFIXES = (*BITS_SUFFIXES, ".npy", ".npz", ".h5", ".hdf5")
SUFFIXES = (*SAVED_SUFFIXES, ".mat")
#: The suffixes of files that may hold several arrays, each with a name.
NAMING_SUFFIXES = tuple(one for one in SUFFIXES if one not in (*BITS_SUFFIXES, ".npy"))
#: Bytes of decoded spikes held at once while a stream is copied.
COPY_BYTES = 1 << 26


@checked
def open(
    path: Source | SpikeStream,
    *,
    geometry: Geometry | Mapping[str, Any] | Sequence[int] | np.ndarray | Tensor | None = None,
    rate_hz: float | None = None,
    light_scale: float | None = None,
    dataset: str | None = None,
    external: bool = False,
    rotate: int | None = None,
    flip: Flip | None = None,
    bayer: BayerPattern | None = None,
) -> SpikeStream:
    """Open a spike stream without reading it.

    Args:
        path: a `.dat` (also named `.raw` or `.bin`), `.npy`, `.npz`, `.h5` or MATLAB v7.3 `.mat`
            file; or several, or a folder of `.dat` files (by name, numbers in it by value; hidden
            ones do not count), joined in time. The folder that
            an SPS100's recorder writes (`FOLDER/{0,1,2,3}/K.dat`) is one of these. Or spikes in
            memory, an array or a tensor (T, H, W) of 0 and 1, top row first. A stream is returned
            as it is.
        geometry: layout of a `.dat`; None to take it from the sidecar (that of a folder is
            `FOLDER.yaml` beside it, and applies to all its files); a mapping of some of its keys,
            as `{"partial": "drop"}`, to take the others from there; a pair is height and width.
            Other formats know theirs; `partial` alone may be stated of any.
        rate_hz: readouts per second; None to take it from the sidecar, if that states it.
        light_scale: firing rate of a pixel of intensity 1; None as for the rate.
        dataset: name of the array in a `.npz` or `.h5` that holds several.
        external: let an `.h5` name other files that hold its values. Only for files from people
            whom you trust: it may name any file that you can read.
        rotate: degrees by which pictures are turned clockwise, 0, 90, 180 or 270; None as for the
            rate.
        flip: `none`, `horizontal` or `vertical`, after the rotation; None as for the rate.
        bayer: the colours that pixels see, `rggb`, `bggr`, `grbg` or `gbrg`, counted from the top
            left of the picture before it is turned; None as for the rate.

    Raises:
        DataNotFoundError: no such file or folder.
        ArgumentError: a `path` that is neither paths nor an array.
        DataError: not a format that is read, or content that is not of its format.
        GeometryError: no geometry for a `.dat`, one that does not fit, or an empty stream.
        ConfigError: a rate or light scale out of range, another turn or pattern, or a `dataset`
            in a file that holds one array without a name.
    """
    if isinstance(path, SpikeStream):
        stated_facts = (geometry, rate_hz, light_scale, dataset, rotate, flip, bayer)
        if external or any(fact is not None for fact in stated_facts):
            raise ConfigError(
                "path is a stream already, which states its own facts: leave the other "
                "arguments out."
            )
        return path
    if isinstance(path, np.ndarray) or is_tensor(path):
        if external or geometry is not None or dataset is not None:
            raise GeometryError(
                "an array states its own shape, top row first: expected no geometry, dataset or "
                "external, found arguments for files."
            )
        bayer = getattr(path, "bayer", None) if bayer is None else bayer
        stated = Sidecar(None, None, None, rotate, flip, bayer)
        rate_hz = getattr(path, "rate_hz", None) if rate_hz is None else rate_hz
        light_scale = getattr(path, "light_scale", None) if light_scale is None else light_scale
        return _turned(ArrayStream(path, rate_hz, light_scale), stated)
    if geometry is not None and not isinstance(geometry, Geometry | Mapping):
        geometry = _pair(geometry)
    partly = {} if geometry is None or isinstance(geometry, Geometry) else dict(geometry)
    whole = geometry if isinstance(geometry, Geometry) else None
    stated = Sidecar(whole, rate_hz, light_scale, rotate, flip, bayer)

    def opened(file: Path) -> SpikeStream:
        return _open_file(file, stated, partly, dataset, external=external)

    if not isinstance(path, str | Path):
        files = [Path(one) for one in path]
        folder = files[0].parent if files else Path()
        return ConcatenatedStream(folder, [opened(file) for file in files])
    path = Path(path)
    if path.is_dir():
        files = listed(path, (".dat",)) or clusters(path)
        if not files:
            told = f"{path} holds no .dat files: expected a stream in parts."
            if others := listed(path, SUFFIXES):
                more = f" and {len(others) - 1} more" if others[1:] else ""
                told += (
                    f" It holds {others[0].name}{more}: open a file by its name, or several that "
                    "follow one another in time as a list of names."
                )
            raise DataNotFoundError(told)
        stated = _merged(stated, read_sidecar(path))
        return ConcatenatedStream(path, [opened(file) for file in files])
    return opened(path)


@checked
def as_stream(source: Source | SpikeStream) -> SpikeStream:
    """A stream as it is, or what `open` makes of a path, several, an array or a tensor."""
    return open(source)


def _pair(geometry: Sequence[int] | np.ndarray | Tensor) -> Geometry:
    values = (
        geometry.tolist() if isinstance(geometry, np.ndarray) or is_tensor(geometry) else geometry
    )
    if not isinstance(values, Sequence) or isinstance(values, str | bytes) or len(values) != 2:
        found = tuple(values) if isinstance(values, list | tuple) else shown(values)
        raise GeometryError(
            f"geometry must be (height, width), or a Geometry with more keys, found {found}."
        )
    return Geometry(values[0], values[1])


@checked
def save(
    path: str | Path,
    spikes: np.ndarray | Tensor | SpikeStream,
    *,
    geometry: Geometry | None = None,
    rate_hz: float | None = None,
    light_scale: float | None = None,
    overwrite: bool = False,
    dataset: str = "spikes",
    bayer: BayerPattern | None = None,
) -> None:
    """Save spikes; the file appears whole or not at all.

    A sidecar of the file's own is written for a `.dat`, and for the others where rate, light scale
    or colours are stated; where they are not, an older one of its own goes.

    Args:
        path: file to make, with one of the suffixes that `open` reads.
        spikes: (T, H, W), 0 and 1, any dtype; or a stream, copied part by part, whose rate, light
            scale and colours are kept.
        geometry: layout of a `.dat`; None for one without gaps, bottom row first.
        rate_hz: readouts per second, None where unknown.
        light_scale: firing rate of a pixel of intensity 1, None where unknown.
        overwrite: replace a file that exists.
        dataset: name of the array in a `.npz` or `.h5`.
        bayer: the colours that pixels see, None for a grey camera.

    Raises:
        DataError: unknown suffix, or the file exists and `overwrite` is False.
        GeometryError: not (T, H, W) with T, H, W ≥ 1, values other than 0 and 1, another size than
            the geometry's, or a geometry for a format that has none.
    """
    if isinstance(spikes, SpikeStream):
        rate_hz = spikes.rate_hz if rate_hz is None else rate_hz
        light_scale = spikes.light_scale if light_scale is None else light_scale
        bayer = spikes.bayer if bayer is None else bayer
    else:
        spikes = as_array(Path(path), spikes)
    save_parts(
        path,
        spikes.shape,
        _blocks(spikes),
        geometry=geometry,
        rate_hz=rate_hz,
        light_scale=light_scale,
        overwrite=overwrite,
        dataset=dataset,
        bayer=bayer,
    )


@checked
def save_parts(
    path: str | Path,
    shape: tuple[int, int, int],
    parts: Iterable[np.ndarray],
    *,
    geometry: Geometry | None = None,
    rate_hz: float | None = None,
    light_scale: float | None = None,
    overwrite: bool = False,
    dataset: str = "spikes",
    bayer: BayerPattern | None = None,
) -> None:
    """Save spikes that come part by part, so that they need not fit in memory.

    Args:
        path: as of `save`, and all arguments after `parts`.
        shape: (T, H, W) of the whole.
        parts: (t, H, W) uint8, 0 and 1, in order, T readouts in all.
        geometry: see `save`.
        rate_hz: see `save`.
        light_scale: see `save`.
        overwrite: see `save`.
        dataset: see `save`.
        bayer: see `save`.

    Raises:
        DataError: see `save`.
        GeometryError: see `save`, and another number of readouts than T.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    _check_suffix(path, SAVED_SUFFIXES)
    _check_geometry_is_for_dat(path, geometry)
    refuse_existing(path, overwrite=overwrite)
    if suffix in BITS_SUFFIXES:
        geometry = geometry or Geometry(*shape[1:])
        with DatWriter(
            path,
            geometry,
            rate_hz=rate_hz,
            light_scale=light_scale,
            overwrite=overwrite,
            bayer=bayer,
        ) as writer:
            for part in parts:
                writer.append(part)
        return
    sidecar = Sidecar(None, rate_hz, light_scale, bayer=bayer)
    check_sidecar(path, sidecar, overwrite=overwrite)
    parts = _checked(path, shape, parts)
    with atomic_path(path) as temporary:
        if suffix == ".npy":
            write_npy(temporary, shape, parts)
        elif suffix == ".npz":
            write_npz(temporary, shape, parts, dataset)
        else:
            write_h5(temporary, shape, parts, dataset)
        write_sidecar(path, sidecar, overwrite=overwrite)


def clusters(folder: Path) -> list[Path]:
    """The files of a recording that an SPS100's recorder wrote, in order; none if it is no such."""
    files = [
        file
        for number in range(4)
        for file in listed(folder / str(number), (".dat",))
        if file.stem.isdecimal()
    ]
    return sps100.clusters_in_order(folder, files) if files else []


def _open_file(
    path: Path,
    stated: Sidecar,
    partly: Mapping[str, Any],
    dataset: str | None,
    *,
    external: bool,
) -> SpikeStream:
    if not path.is_file():
        raise DataNotFoundError(f"{path} does not exist: expected a spike stream. Check the path.")
    _check_suffix(path, SUFFIXES)
    _check_geometry_is_for_dat(path, stated.geometry)
    others = partly.keys() - {"partial"}
    if others and path.suffix.lower() not in BITS_SUFFIXES:
        raise GeometryError(
            f"{path} states its own shape, top row first: expected no geometry, found "
            f"{', '.join(sorted(others))}. A geometry is for .dat files."
        )
    stated = _merged(stated, read_sidecar(path))
    stream = _plain(path, stated, partly, dataset, external=external)
    return _turned(stream, stated)


def _turned(stream: SpikeStream, stated: Sidecar) -> SpikeStream:
    """A stream with its colours stated, and turned where that is stated."""
    stream.bayer = stated.bayer
    if stated.rotate or stated.flip not in (None, "none"):
        return TurnedStream(stream, stated.rotate or 0, stated.flip or "none")
    return stream


def _plain(
    path: Path,
    stated: Sidecar,
    partly: Mapping[str, Any],
    dataset: str | None,
    *,
    external: bool,
) -> SpikeStream:
    """The stream as the file has it, its pictures not turned."""
    suffix = path.suffix.lower()
    if dataset is not None and suffix not in NAMING_SUFFIXES:
        raise ConfigError(
            f"dataset names an array inside {', '.join(NAMING_SUFFIXES)}: expected none for "
            f"{path}, found {dataset}. Leave it out."
        )
    if suffix in BITS_SUFFIXES:
        found = {} if stated.geometry is None else asdict(stated.geometry)
        if not {**found, **partly}:
            raise GeometryError(misfit(path, path.stat().st_size, None))
        try:
            geometry = Geometry.stated({**found, **partly}) if partly else stated.geometry
        except GeometryError as error:
            raise GeometryError(f"{path}: {error}") from error
        assert geometry is not None
        try:
            return open_dat(path, geometry, stated.rate_hz, stated.light_scale)
        except GeometryError as error:
            raise GeometryError(f"{error}{_origin(path, found, partly)}") from error
    partial = Geometry(1, 1, **partly).partial
    if suffix == ".npy":
        return NpyStream(path, stated.rate_hz, stated.light_scale, partial=partial)
    if suffix == ".npz":  # its directory is at the end: one that was cut short cannot be read
        return NpzStream(path, dataset, stated.rate_hz, stated.light_scale)
    return H5Stream(
        path, dataset, stated.rate_hz, stated.light_scale, external=external, partial=partial
    )


def _origin(path: Path, found: Mapping[str, Any], partly: Mapping[str, Any]) -> str:
    """A sentence on which part of a size was given, where the rest is the sidecar's."""
    sides = {"height", "width"}
    given, read = sides & partly.keys(), sides & found.keys() - partly.keys()
    if not given or not read:
        return ""
    return f" (Its {given.pop()} was given, its {read.pop()} is that of {sidecar_path(path).name}.)"


def _merged(stated: Sidecar, found: Sidecar) -> Sidecar:
    """Facts of the caller, completed by those of the sidecar."""
    values = {
        field.name: value
        for field in fields(Sidecar)
        for value in [getattr(stated, field.name)]
        if value is not None
    }
    return replace(found, **values)


def _check_suffix(path: Path, suffixes: Collection[str]) -> None:
    if path.suffix.lower() not in suffixes:
        raise DataError(
            f"{path}: unknown format {path.suffix!r}, expected one of {', '.join(suffixes)}."
        )


def _check_geometry_is_for_dat(path: Path, geometry: Geometry | None) -> None:
    if geometry is not None and path.suffix.lower() not in BITS_SUFFIXES:
        raise GeometryError(
            f"{path} states its own shape, top row first: expected no geometry, found {geometry}. "
            "A geometry is for .dat files."
        )


def _checked(
    path: Path, shape: tuple[int, int, int], parts: Iterable[np.ndarray]
) -> Iterator[np.ndarray]:
    """The parts, if they are spikes of this height and width, and T readouts together."""
    count = 0
    for part in parts:
        count += len(part)
        if part.shape[1:] != shape[1:] or count > shape[0]:
            raise GeometryError(f"{path}: expected parts of {shape}, found one of {part.shape}.")
        yield as_spikes(path, part)
    if count < shape[0]:
        raise GeometryError(f"{path}: expected {shape[0]} readouts, found {count}.")


def _blocks(spikes: np.ndarray | SpikeStream) -> Iterator[np.ndarray]:
    """Readouts a few at a time, so that a stream need not fit in memory."""
    num_readouts, height, width = spikes.shape
    count = max(1, COPY_BYTES // (height * width))
    return (spikes[first : first + count] for first in range(0, num_readouts, count))
