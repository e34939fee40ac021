"""Hypothesis strategies of damaged and of made-up files, one for every parser."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from functools import cache
from typing import Any

import h5py
import yaml
from hypothesis import strategies as st

from tests.fuzz.parsers import BY_NAME, Parser

#: Bytes that mean something where sizes, counts and signs stand.
EXTREMES = [b"\x00" * 4, b"\xff" * 4, b"\x7f" + b"\xff" * 3, b"\x80\x00\x00\x00", b"\x01"]

words = st.text(st.characters(codec="utf-8"), max_size=12)
numbers = st.one_of(
    st.integers(-2, 20),
    st.sampled_from([2**31, 2**63, -(2**63), 10**30, 10**400]),
    st.floats(),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, words),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(words, inner, max_size=4)),
    max_leaves=12,
)
sizes = st.one_of(st.integers(-1, 12), st.sampled_from([2**31, 2**40, 2**62, 2**63, 10**25]))


@st.composite
def damaged(draw: st.DrawFn, name: str) -> bytes:
    """A seed with a few edits: bytes replaced, put in, taken out or repeated; or cut short."""
    seeds = seeds_of(name)
    content = bytearray(seeds[draw(st.integers(0, len(seeds) - 1))])
    for _ in range(draw(st.integers(0, 5))):
        first = draw(st.integers(0, len(content)))
        length = draw(st.sampled_from([0, 1, 1, 2, 4, 8, 64]))
        put = draw(st.one_of(st.sampled_from(EXTREMES), st.binary(max_size=8)))
        repeats = draw(st.sampled_from([1, 1, 1, 1, 40]))
        content[first : first + length] = put * repeats
    if draw(st.sampled_from([False, False, True])):
        del content[draw(st.integers(0, len(content))) :]
    return bytes(content)


@st.composite
def npy_files(draw: st.DrawFn) -> bytes:
    """A `.npy` with a head of any content, and some bytes."""
    head = {
        "descr": draw(st.sampled_from(["|u1", "|b1", "<f8", "|O", "|V9", "<U5", "x", ">u1"])),
        "fortran_order": draw(st.sampled_from([True, False, 1, "no"])),
        "shape": tuple(draw(st.lists(sizes, max_size=4))),
    }
    text = draw(st.one_of(st.just(repr(head)), values.map(repr), words)).encode()
    version = draw(st.sampled_from([1, 1, 2, 3, 9]))
    length = draw(st.sampled_from([len(text), len(text), 0, 65_535]))
    packed = struct.pack("<H" if version == 1 else "<I", length)
    content = draw(st.binary(max_size=40))
    return b"\x93NUMPY" + bytes([version, 0]) + packed + text + content


@st.composite
def npz_files(draw: st.DrawFn) -> bytes:
    """A `.npz` whose members are made up."""
    buffer = io.BytesIO()
    method = draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2]))
    names = draw(
        st.lists(st.sampled_from(["spikes", "spk", "gain", "Nl", "../a", "b/c"]), unique=True)
    )
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name in names:
            archive.writestr(f"{name}.npy", draw(npy_files()))
    return buffer.getvalue()


@st.composite
def h5_files(draw: st.DrawFn) -> bytes:
    """An `.h5` with a dataset of any shape, type, chunks, filters and attributes."""
    buffer = io.BytesIO()
    small = st.integers(1, 9)
    shape = tuple(draw(st.lists(st.one_of(small, st.just(10**9)), min_size=1, max_size=4)))
    kind = draw(st.sampled_from(["u1", "?", "f4", "S3", h5py.string_dtype()]))
    chunks = tuple(min(max(size, 1), 4) for size in shape)
    with h5py.File(buffer, "w") as file:
        how: dict[str, Any] = draw(
            st.sampled_from(
                [{}, {"compression": "gzip"}, {"compression": "lzf"}, {"fletcher32": True}]
            )
        )
        how = {} if kind not in ("u1", "?", "f4") else how  # text cannot be compressed
        hollow = max(shape) > 9 or draw(st.booleans())
        dataset = file.create_dataset(
            draw(st.sampled_from(["spikes", "a/b/c"])),
            shape,
            kind,
            chunks=chunks if hollow or how else None,
            **how,
        )
        if not hollow and kind in ("u1", "?"):
            dataset[...] = draw(st.integers(0, 2))
        for name in draw(st.sets(st.sampled_from(["packed_width", "MATLAB_class"]))):
            given = st.sampled_from([1, 8, 9, -1, 2**40, 1.5, "x", [1, 2]])
            dataset.attrs[name] = draw(given)
    return buffer.getvalue()


@st.composite
def png_files(draw: st.DrawFn) -> bytes:
    """A PNG that states any size, depth and colour type, with other chunks."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    side = st.one_of(st.integers(0, 9), st.sampled_from([13_300, 2**31 - 1, 2**32 - 1]))
    head = struct.pack(
        ">IIBBBBB",
        draw(side),
        draw(side),
        draw(st.sampled_from([1, 2, 4, 8, 16, 3])),
        draw(st.sampled_from([0, 2, 3, 4, 6, 5])),
        draw(st.sampled_from([0, 0, 1])),
        0,
        draw(st.sampled_from([0, 1, 7])),
    )
    kinds = st.sampled_from(
        [b"PLTE", b"tRNS", b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"acTL", b"fcTL"]
    )
    others = draw(st.lists(st.tuples(kinds, st.binary(max_size=20)), max_size=3))
    body = draw(st.binary(max_size=200))
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", head),
            *(chunk(kind, content) for kind, content in others),
            chunk(b"IDAT", zlib.compress(body)),
            chunk(b"IEND", b""),
        ]
    )


def _yaml_text(value: object) -> bytes:
    return yaml.safe_dump(value, allow_unicode=True).encode()


keys = st.sampled_from(
    ["height", "width", "readout_width", "bottom_up", "bit_order", "rate_hz", "light_scale", "x"]
)
yaml_files = st.one_of(
    st.dictionaries(keys, values, max_size=5).map(_yaml_text),
    values.map(_yaml_text),
    st.text(st.characters(codec="utf-8"), max_size=60).map(str.encode),
)
csv_files = st.lists(st.lists(st.one_of(words, numbers.map(str)), max_size=4), max_size=6).map(
    lambda rows: "".join(",".join(row) + "\n" for row in [["step", "val/psnr"], *rows]).encode()
)
run_files = st.dictionaries(
    st.sampled_from(["best", "monitor", "epoch", "parameters", "macs"]), values, max_size=5
).map(lambda value: json.dumps(value).encode())
readout_files = st.lists(
    st.tuples(numbers.map(str), st.sampled_from(["", "s", "ms", "us", "x"])).map("".join)
).map(lambda parts: " ".join(parts).encode())
json_files = values.map(lambda value: json.dumps(value).encode())

#: Inputs invented for a parser, beside the damaged seeds.
MADE_UP: dict[str, st.SearchStrategy[bytes]] = {
    "npy": npy_files(),
    "npz": npz_files(),
    "maps": npz_files(),
    "h5": h5_files(),
    "sidecar": yaml_files,
    "card": yaml_files,
    "json": json_files,
    "image": png_files(),
    "about": png_files(),
    "about h5": h5_files(),
    "record": json_files,
    "run": run_files,
    "log": csv_files,
    "readouts": readout_files,
    "dat": st.binary(max_size=60),
}


def files(parser: Parser) -> st.SearchStrategy[bytes]:
    """Files to try a parser on: seeds as they are, damaged, and made up."""
    made_up = MADE_UP.get(parser.name)
    from_seeds = damaged(parser.name)
    return from_seeds if made_up is None else st.one_of(from_seeds, made_up)


@cache
def seeds_of(name: str) -> list[bytes]:
    """The seeds of a parser, made once."""
    return BY_NAME[name].seeds()
