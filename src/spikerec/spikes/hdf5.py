"""Spike streams kept in `.h5` files: arrays (T, H, W), top row first, plain or packed.

What a file states of itself is compared with the bounds below, and with what it holds, before
anything is allocated. Its own values are read alone, unless its user says otherwise.
"""

from __future__ import annotations

import itertools
import logging
import math
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from spikerec.errors import DataError, GeometryError
from spikerec.kinds import checked
from spikerec.parsing import parsing, shown
from spikerec.spikes.arrays import (
    SPIKE_NAMES,
    byte_columns,
    check_array,
    check_density,
    choose_dataset,
)
from spikerec.spikes.bits import PackedSpikes, as_spikes, pack_bits
from spikerec.spikes.geometry import Partial
from spikerec.spikes.stream import FileStream

_log = logging.getLogger(__name__)

#: Attribute of a dataset in `.h5` whose rows are packed, eight pixels to a byte: their width.
PACKED_WIDTH = "packed_width"
#: Attribute that MATLAB gives to every dataset of its v7.3 files, whose axes it stores in reverse.
MATLAB_CLASS = "MATLAB_class"
#: First bytes of a `.mat` before version 7.3, which is no HDF5.
OLDER_MATLAB = b"MATLAB 5.0"
#: Readouts per chunk of a `.h5` that we write: a window of 61 touches five of them at most.
CHUNK_READOUTS = 16

#: Bounds of what a file states.
MAX_H5_OBJECTS = 4_096
MAX_H5_DEPTH = 16
MAX_CHUNK_BYTES = 1 << 27
#: Filters of `.h5` whose decoders come with h5py; each may be used once.
H5_FILTERS = {
    h5py.h5z.FILTER_DEFLATE: "gzip",
    h5py.h5z.FILTER_SHUFFLE: "shuffle",
    h5py.h5z.FILTER_FLETCHER32: "fletcher32",
    h5py.h5z.FILTER_LZF: "lzf",
}
_HOW_EXTERNAL = (
    "A file's own values are read alone, unless external=true says that it may name others."
)


@checked
class H5Stream(FileStream[h5py.File]):
    """A dataset in an `.h5` file, read chunk by chunk.

    The dataset is (T, H, W), or (T, H, ceil(W / 8)) with rows packed as by `pack_bits` and their
    width in the attribute `packed_width`. One that MATLAB wrote (`MATLAB_class`) is an array
    (H, W, T) there; MATLAB stores its axes in reverse, so that the file has (T, W, H).

    Soft links are followed inside the file. A dataset may have its values in other files: by
    external storage, as a virtual dataset, or behind an external link. Those are read only with
    `external`.

    Args:
        path: the file.
        dataset: path of the dataset, as `rec/spikes` or `/rec/spikes`; None for the only one of
            three axes, or `spikes`, or `spk`.
        rate_hz: readouts per second, None where unknown.
        light_scale: firing rate of a pixel of intensity 1, None where unknown.
        external: let the file name other files that are read as part of it.
        partial: what becomes of a dataset that was not written to its end: `refuse` it, or `drop`
            the readouts from the first missing chunk on, with a warning.

    Raises:
        DataError: not an `.h5` file, one beyond the bounds, one whose values lie in other files, or
            it is not clear which dataset is meant; one that lacks values, unless its whole readouts
            are to be read and there is one.
        GeometryError: the dataset is not (T, H, W) of uint8 or bool, or empty.
    """

    def __init__(
        self,
        path: Path,
        dataset: str | None = None,
        rate_hz: float | None = None,
        light_scale: float | None = None,
        *,
        external: bool = False,
        partial: Partial = "refuse",
    ) -> None:
        self.path = path
        self.external = external
        _refuse_older_matlab(path)
        with parsing(path, ".h5"), h5py.File(path, "r") as file:
            shapes, others, soft = self._shapes(file)
            self.dataset = self._chosen(shapes, others, soft, dataset)
            found = file[self.dataset]
            check_array(path, found.shape, found.dtype)
            whole = self._whole_readouts(found, partial)
            self.is_packed = PACKED_WIDTH in found.attrs
            self.is_matlab = MATLAB_CLASS in found.attrs
            self._filters = self._checked_filters(found)
            shape = (whole, *found.shape[1:])
            if self.is_packed:
                shape = (*shape[:2], self._checked_width(found, shape[2]))
        if self.is_matlab:
            shape = (shape[0], shape[2], shape[1])
        self._checked: set[tuple[int, ...]] = set()
        shape = check_array(path, shape, np.dtype(np.uint8))
        if not external:
            check_density(path, shape)
        super().__init__(path, shape, rate_hz, light_scale)

    def _open(self) -> h5py.File:
        with parsing(self.path, ".h5"):
            return h5py.File(self.path, "r")

    def _shapes(
        self, file: h5py.File
    ) -> tuple[dict[str, tuple[int, ...]], list[str], dict[str, str]]:
        """Datasets' shapes, the names of links out of the file, and soft links with targets."""
        shapes: dict[str, tuple[int, ...]] = {}
        others: list[str] = []
        soft: dict[str, str] = {}
        for name, item in _walk(file, self.path):
            if isinstance(item, h5py.Dataset):
                shapes[name] = item.shape or ()
            elif isinstance(item, h5py.ExternalLink):
                target = file.get(name) if self.external else None
                if isinstance(target, h5py.Dataset):
                    shapes[name] = target.shape or ()
                else:
                    others.append(name)
            elif isinstance(item, h5py.SoftLink):
                folder = "" if item.path.startswith("/") else name.rpartition("/")[0]
                soft[name] = _plain_name(f"{folder}/{item.path}")
        return shapes, others, soft

    def _chosen(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        others: list[str],
        soft: Mapping[str, str],
        wanted: str | None,
    ) -> str:
        try:
            if wanted is not None:
                behind = _behind(_plain_name(wanted), shapes, soft)
                return choose_dataset(self.path, shapes, behind if behind in shapes else wanted)
            links = {name: _behind(name, shapes, soft) for name in SPIKE_NAMES if name in soft}
            if found := [target for target in links.values() if len(shapes.get(target, ())) == 3]:
                return found[0]
            return choose_dataset(self.path, shapes, None)
        except DataError as error:
            if others and not self.external:
                raise DataError(f"{error} {_HOW_EXTERNAL}") from error
            raise

    def _whole_readouts(self, dataset: h5py.Dataset, partial: Partial) -> int:
        """The readouts that are there; refuses values that lie elsewhere or could fill memory."""
        name = f"{self.path}: {shown(self.dataset)}"
        if math.prod(dataset.chunks or ()) > MAX_CHUNK_BYTES:
            raise DataError(
                f"{name} has chunks of {math.prod(dataset.chunks):,} bytes, expected at most "
                f"{MAX_CHUNK_BYTES:,}: repack it with smaller ones."
            )
        if dataset.is_virtual or dataset.external or dataset.file.filename != str(self.path):
            if not self.external:
                raise DataError(f"{name} has its values in other files. {_HOW_EXTERNAL}")
            return len(dataset)
        if dataset.chunks is None:
            if dataset.id.get_storage_size() < dataset.nbytes:
                raise DataError(f"{name} is cut short: the file lacks values. Get it again.")
            return len(dataset)
        pairs = zip(dataset.shape, dataset.chunks, strict=True)
        expected = math.prod(-(-size // step) for size, step in pairs)
        found = dataset.id.get_num_chunks()
        if found == expected:
            return len(dataset)
        whole = _leading_readouts(dataset)
        if partial == "refuse" or not whole:
            others = f", or read its {whole} whole readouts by geometry.partial=drop"
            raise DataError(
                f"{name} is cut short: it has {found:,} of {expected:,} chunks. Get it again"
                f"{others if whole else ''}."
            )
        _log.warning("%s is cut short: %d of its %d readouts are read.", name, whole, len(dataset))
        return whole

    def _checked_filters(self, dataset: h5py.Dataset) -> list[int]:
        """The filters of a dataset, by HDF5's numbers, in the order in which they are written.

        Raises:
            DataError: filters that are not read, or used twice, or an impossible setting.
        """
        plist = dataset.id.get_create_plist()
        filters = [plist.get_filter(index) for index in range(plist.get_nfilters())]
        codes = [code for code, *_ in filters]
        limits = [values[2] for code, _, values, _ in filters if code == h5py.h5z.FILTER_LZF]
        if not set(codes) <= H5_FILTERS.keys() or len(set(codes)) < len(codes):
            others = [code for code in codes if code not in H5_FILTERS]
            raise DataError(
                f"{self.path}: {shown(self.dataset)} is compressed by filters that are not read"
                f"{' (HDF5 number ' + ', '.join(map(str, others)) + ')' if others else ''}; "
                f"expected {', '.join(H5_FILTERS.values())}, each at most once. Repack it: "
                "h5repack -f GZIP=1 IN.h5 OUT.h5."
            )
        if any(limit > MAX_CHUNK_BYTES for limit in limits):
            raise DataError(f"{self.path}: {shown(self.dataset)} has chunks that are too large.")
        if h5py.h5z.FILTER_LZF in codes and PACKED_WIDTH in dataset.attrs:
            raise DataError(
                f"{self.path}: {shown(self.dataset)} is packed and compressed by lzf: expected one "
                "or the other. Repack it: h5repack -f NONE IN.h5 OUT.h5."
            )
        return codes

    def _checked_width(self, dataset: h5py.Dataset, row_bytes: int) -> int:
        stated = h5py.h5a.open(dataset.id, PACKED_WIDTH.encode())
        if stated.shape not in ((), (1,)) or stated.dtype.kind not in "iu":
            raise GeometryError(
                f"{self.path}: {shown(self.dataset)} has an attribute {PACKED_WIDTH} that is no "
                "whole number."
            )
        width = int(np.asarray(dataset.attrs[PACKED_WIDTH]).item())
        if width < 1 or -(-width // 8) != row_bytes:
            raise GeometryError(
                f"{self.path}: {self.dataset} has {row_bytes} bytes a row, expected "
                f"{-(-width // 8)} for its attribute {PACKED_WIDTH} = {width}."
            )
        if self.is_matlab:
            raise GeometryError(
                f"{self.path}: {shown(self.dataset)} is packed and written by MATLAB: expected one "
                "or the other. Save it unpacked."
            )
        return width

    def close(self) -> None:
        """Close the file; the next access opens it again."""
        if self._opened is not None:
            self._opened.close()
        super().close()

    def _decode(self, time: slice, rows: slice, columns: slice) -> np.ndarray:
        if self.is_packed:
            return np.ascontiguousarray(self._pack(time, rows, columns).unpack())
        if self.is_matlab:
            return as_spikes(self.path, self._read(time, columns, rows).transpose(0, 2, 1))
        return as_spikes(self.path, self._read(time, rows, columns))

    def _pack(self, time: slice, rows: slice, columns: slice) -> PackedSpikes:
        if not self.is_packed:
            return super()._pack(time, rows, columns)
        octets = self._read(time, rows, byte_columns(columns))
        return PackedSpikes(octets, columns.start % 8, columns.stop - columns.start)

    def _read(self, *part: slice) -> np.ndarray:
        with parsing(self.path, ".h5"):
            dataset = self._handle[self.dataset]
            if dataset.chunks is not None and not dataset.is_virtual:
                self._check_chunks(dataset, part)
            values: np.ndarray = dataset[part]
            return values

    def _check_chunks(self, dataset: h5py.Dataset, part: tuple[slice, ...]) -> None:
        """Refuse chunks that hold more or less than their size, in a part of a dataset.

        HDF5 takes both: it inflates a chunk to any size, and of one that is too short it gives what
        the memory behind it held.

        Raises:
            DataError: there is one.
        """
        if any(one.stop <= one.start for one in part):
            return  # nothing is read, and h5py knows no chunks of nothing
        for chunk in dataset.iter_chunks(tuple(slice(one.start, one.stop) for one in part)):
            place = tuple(
                one.start // step * step for one, step in zip(chunk, dataset.chunks, strict=True)
            )
            if place in self._checked:
                continue
            if not self._is_whole(dataset, place):
                raise DataError(f"{self.path} holds a chunk of more or fewer bytes than its size.")
            self._checked.add(place)

    def _is_whole(self, dataset: h5py.Dataset, place: tuple[int, ...]) -> bool:
        """True if a chunk holds as many bytes as its size says, as far as it can be read."""
        info = dataset.id.get_chunk_info_by_coord(place)
        used = [code for k, code in enumerate(self._filters) if not info.filter_mask >> k & 1]
        if h5py.h5z.FILTER_LZF in used:
            return True  # its decoder stops at the size, and what it gives is checked to be spikes
        sums = [4 * (code == h5py.h5z.FILTER_FLETCHER32) for code in used]
        size = math.prod(dataset.chunks)
        if h5py.h5z.FILTER_DEFLATE not in used:
            return bool(info.size == size + sum(sums))
        gzip = used.index(h5py.h5z.FILTER_DEFLATE)
        size += sum(sums[:gzip])
        _, stored = dataset.id.read_direct_chunk(place)
        inflater = zlib.decompressobj()
        inflated = inflater.decompress(stored[: len(stored) - sum(sums[gzip:])], size + 1)
        return len(inflated) == size and inflater.eof


def _leading_readouts(dataset: h5py.Dataset) -> int:
    """Readouts before the first chunk that is missing."""
    step, *sides = dataset.chunks
    every = math.prod(-(-size // side) for size, side in zip(dataset.shape[1:], sides, strict=True))
    counts: Counter[int] = Counter()

    def count(chunk: h5py.h5d.StoreInfo) -> None:
        counts[chunk.chunk_offset[0] // step] += 1

    dataset.id.chunk_iter(count)
    runs = itertools.takewhile(lambda index: counts[index] == every, itertools.count())
    return min(sum(1 for _ in runs) * int(step), len(dataset))


def _refuse_older_matlab(path: Path) -> None:
    """Refuse a `.mat` of MATLAB's own format.

    Raises:
        DataError: it is one.
    """
    with path.open("rb") as file:
        if file.read(len(OLDER_MATLAB)) == OLDER_MATLAB:
            raise DataError(
                f"{path} is a MATLAB file of version 5, expected version 7.3: in MATLAB, "
                "save('NAME.mat', 'spikes', '-v7.3')."
            )


def write_h5(
    path: Path, shape: tuple[int, int, int], blocks: Iterable[np.ndarray], dataset: str
) -> None:
    """Write blocks of readouts (t, H, W) uint8 as a dataset of packed rows in an `.h5`."""
    num_readouts, height, width = shape
    row_bytes = -(-width // 8)
    with h5py.File(path, "w") as file:
        packed = file.create_dataset(
            dataset,
            (num_readouts, height, row_bytes),
            np.uint8,
            chunks=(min(CHUNK_READOUTS, num_readouts), height, row_bytes),
        )
        packed.attrs[PACKED_WIDTH] = width
        first = 0
        for block in blocks:
            packed[first : first + len(block)] = pack_bits(block)
            first += len(block)


def _walk(file: h5py.File, path: Path) -> Iterator[tuple[str, Any]]:
    """Name and object of what hard links lead to in an `.h5`, and its external and soft links.

    Raises:
        DataError: more objects, or deeper ones, than the bounds.
    """
    seen = {h5py.h5o.get_info(file.id).addr}
    groups: list[tuple[str, h5py.Group, int]] = [("", file, 0)]
    count = 0
    while groups:
        prefix, group, depth = groups.pop()
        for name in group:
            count += 1
            if count > MAX_H5_OBJECTS or depth > MAX_H5_DEPTH:
                raise DataError(
                    f"{path} holds more than {MAX_H5_OBJECTS:,} objects, or groups more than "
                    f"{MAX_H5_DEPTH} levels deep."
                )
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink | h5py.SoftLink):
                yield prefix + name, link
            if not isinstance(link, h5py.HardLink):
                continue
            item = group[name]
            yield prefix + name, item
            address = h5py.h5o.get_info(item.id).addr
            if isinstance(item, h5py.Group) and address not in seen:
                groups.append((f"{prefix}{name}/", item, depth + 1))
            seen.add(address)


def _plain_name(name: str) -> str:
    """A path inside an `.h5` without slashes before, behind or in a row: `/rec/spikes`."""
    return "/".join(part for part in name.split("/") if part)


def _behind(name: str, shapes: Collection[str], soft: Mapping[str, str]) -> str:
    """The dataset that a name leads to by soft links; the last name on the way where there is none.

    By names alone: nothing is opened, so that no link leads out of the file.
    """
    for _ in range(MAX_H5_DEPTH):
        if name in shapes:
            break
        parts = name.split("/")
        heads = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
        link = next((head for head in heads if head in soft), None)
        if link is None:
            break
        name = _plain_name(soft[link] + name[len(link) :])
    return name
