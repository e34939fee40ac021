"""Every parser of files, with seeds to mutate; the law is a result or one of our errors."""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import h5py
import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import save as save_safetensors
from scipy.io import savemat

from spikerec import spikes
from spikerec.errors import SpikerecError
from spikerec.inference.quantised import parse_ranges
from spikerec.packages import read_debian, read_member
from spikerec.parsing import Bounds, parse_json
from spikerec.results.reading import read_record
from spikerec.runtime.wire import check_own_data
from spikerec.simulation.cards import read_card
from spikerec.simulation.footage import Footage
from spikerec.simulation.images import image_size, read_grey
from spikerec.simulation.sensor import read_maps
from spikerec.streaming.about import read_about
from spikerec.streaming.key_readouts import parse_readouts
from spikerec.streaming.sinks.marks import ABOUT_TAG
from spikerec.sweeps.jobs import Job
from spikerec.training.curves import read_rows
from spikerec.training.runs import Run
from spikerec.weights.checkpoint import read_arguments, read_metadata, read_state
from spikerec.weights.convert import niqe_of_pyiqa
from tests.results.records import make_record

ARRAY = np.random.default_rng(0).integers(0, 2, (6, 5, 11), dtype=np.uint8)


@dataclass(frozen=True)
class Parser:
    """A parser under test.

    Attributes:
        name: of the target.
        file: the name that the content is written under.
        read: reads the file; raises one of our errors, or nothing.
        seeds: valid files, and those that found things.
        modules: of spikerec that this parser tries; a test holds that each is tried.
    """

    name: str
    file: str
    read: Callable[[Path], object]
    seeds: Callable[[], list[bytes]]
    modules: tuple[str, ...] = ()

    def try_on(self, content: bytes) -> str:
        """Read a file of this content, and tell what came of it: `read`, or the error's class.

        Raises:
            Exception: the parser let one out that is not ours, or an error of several lines.
        """
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            path = Path(folder) / self.file
            path.write_bytes(content)
            try:
                self.read(path)
            except SpikerecError as error:
                refusal = error
            else:
                return "read"
        assert "\n" not in str(refusal)
        assert len(str(refusal)) < 2_000
        return type(refusal).__name__


def _read_stream(path: Path) -> object:
    with spikes.open(path) as stream:
        last = stream.num_readouts - 1
        return stream[:2], stream[last:], stream.packed(last, last + 1).unpack()


def _read_sidecar(path: Path) -> object:
    path.with_suffix(".dat").write_bytes(bytes(100))
    return spikes.open(path.with_suffix(".dat"))


def _read_image(path: Path) -> object:
    return image_size(path), read_grey(path, 512)


def _read_video(path: Path) -> object:
    film = Footage(path, frames=None, size=(16, 16))
    return film.gaps(20), film[0], film[1]


def _read_weights(path: Path) -> object:
    return read_state(path), read_arguments(path)


def _read_safetensors(path: Path) -> object:
    return read_metadata(path), read_arguments(path), read_state(path)


def _read_dat(path: Path) -> object:
    """A `.dat` whose sidecar states a layout with gaps, a header and a rest."""
    sidecar = "height: 5\nwidth: 11\nreadout_width: 12\nskip_bytes: 3\npartial: drop\n"
    path.with_suffix(".yaml").write_text(sidecar)
    return _read_stream(path)


def _read_log(path: Path) -> object:
    return read_rows(path), Job((), path.parent)._logged("val/psnr", 30.0)


def _read_run(path: Path) -> object:
    run = Run(path.parent)
    return run.finished(), Job((), path.parent).scores()


def _read_readouts(path: Path) -> object:
    return parse_readouts(str(path), spikes.open(ARRAY))


def _read_package(path: Path) -> object:
    return read_member(path, "a")


def _read_debian(path: Path) -> object:
    return dict(read_debian(path, ["a"]))


def _packages() -> list[bytes]:
    found = []
    for mode in ("w", "w:gz", "w:xz"):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode=mode) as packed:
            entry = tarfile.TarInfo("a")
            entry.size = 3
            packed.addfile(entry, io.BytesIO(b"abc"))
        found.append(buffer.getvalue())
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", b"abc")
    return [*found, buffer.getvalue()]


def _debians() -> list[bytes]:
    found = []
    for packed in _packages()[:3]:
        parts = {"debian-binary": b"2.0\n", "data.tar": packed}
        content = b"!<arch>\n"
        for name, part in parts.items():
            line = f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(part):<10}`\n"
            content += line.encode() + part + b"\n" * (len(part) % 2)
        found.append(content)
    return found


def _abouts() -> list[bytes]:
    about = PngInfo()
    about.add_text(ABOUT_TAG, json.dumps({"command": "spikerec reconstruct"}))
    found = []
    for kind in ("PNG", "GIF"):
        buffer = io.BytesIO()
        how = {"pnginfo": about} if kind == "PNG" else {}
        Image.new("L", (4, 4)).save(buffer, kind, **how)
        found.append(buffer.getvalue())
    return found


def _matlab() -> list[bytes]:
    found = []
    for compress in (False, True):
        buffer = io.BytesIO()
        arrays = {"mu_prisparam": np.ones((1, 36)), "cov_prisparam": np.ones((36, 36))}
        savemat(buffer, arrays, do_compression=compress)
        found.append(buffer.getvalue())
    return found


def _records() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        return [make_record().write(Path(folder)).read_bytes()]


def _read_json(path: Path) -> object:
    return parse_json(path.read_bytes(), path, Bounds(1 << 16, 12, 2_000))


def _streams(suffix: str) -> list[bytes]:
    found = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a.{suffix}"
        spikes.save(path, ARRAY)
        found.append(path.read_bytes())
        if suffix == "npy":
            np.save(path, np.asfortranarray(ARRAY.astype(bool)))
        elif suffix == "npz":
            np.savez(path, spk=np.asfortranarray(ARRAY), label=np.array("car"))
        elif suffix == "h5":
            with h5py.File(path, "w", libver="latest") as file:
                where = file.create_group("deep/er")
                where.create_dataset("spk", data=ARRAY, compression="gzip", shuffle=True)
                where["link"] = h5py.ExternalLink("other.h5", "/spk")
                where["spk"].attrs["MATLAB_class"] = "uint8"
        found.append(path.read_bytes())
    return found


def _images() -> list[bytes]:
    picture = Image.fromarray((ARRAY[0] * 200).astype(np.uint8))
    deep = Image.fromarray(ARRAY[0].astype(np.uint16) * 60_000)
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds: list[tuple[Image.Image, str, dict[str, Any]]] = [
        (picture, "PNG", {"exif": exif}),
        (deep, "PNG", {}),
        (picture.convert("P"), "PNG", {"transparency": bytes(9)}),
        (picture.convert("CMYK"), "JPEG", {}),
        (picture.convert("RGB"), "WEBP", {}),
        (picture.convert("1"), "BMP", {}),
        (picture.convert("F"), "TIFF", {}),
        (deep, "TIFF", {"compression": "tiff_deflate"}),
    ]
    found = []
    for image, kind, how in kinds:
        buffer = io.BytesIO()
        image.save(buffer, kind, **how)
        found.append(buffer.getvalue())
    return found


def _videos() -> list[bytes]:
    found = [b"ffconcat version 1.0\nfile other.mp4\n", b"#EXTM3U\n#EXTINF:1,\nother.mp4\n"]
    with tempfile.TemporaryDirectory() as folder:
        for suffix, codec in (("mp4", "mpeg4"), ("mkv", "mjpeg"), ("avi", "mpeg4")):
            path = Path(folder) / f"a.{suffix}"
            with av.open(str(path), "w") as container:
                stream = container.add_stream(codec, rate=25)
                stream.width, stream.height = 32, 16
                stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
                for level in (10, 90, 200):
                    image = np.full((16, 32), level, np.uint8)
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="gray")))
                container.mux(stream.encode())
            found.append(path.read_bytes())
    return found


def _maps() -> list[bytes]:
    found = []
    for names in (("gain", "dark_current", "threshold"), ("Nl", "Nd", "D_light")):
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **{name: np.ones((4, 5)) for name in names})
        found.append(buffer.getvalue())
    return found


def _checkpoints() -> list[bytes]:
    state = {"conv.weight": torch.ones(2, 1, 3, 3), "conv.bias": torch.zeros(2)}
    contents: list[dict[str, Any]] = [
        state,
        {"state_dict": state, "epoch": 3, "spikerec": {"model": {"window": 41}}},
        {"w": torch.zeros(1).expand(1 << 40)},
    ]
    found = []
    for content in contents:
        buffer = io.BytesIO()
        torch.save(content, buffer)
        found.append(buffer.getvalue())
    return found


def _safetensors() -> list[bytes]:
    state = {"weight": torch.ones(2, 3)}
    metadata = {"arguments": json.dumps({"window": 41, "rule": "key"}), "training": "{}"}
    return [save_safetensors(state, metadata), save_safetensors(state)]


SIDECARS = [
    b"height: 5\nwidth: 8\nreadout_width: 16\nbottom_up: false\nbit_order: big\nrate_hz: 2.0e+4\n",
    b"{height: 5, width: 4, light_scale: 0.4}",
    b"a: &a [x, x]\nb: &b [*a, *a]\n",
    b"height: &a {<<: [*a, *a]}",
    b"height: !!timestamp 2001-99-99\nlight_scale: .nan",
    b"light_scale: 1:30:00\nrate_hz: 0xffffffffffffffffffff",
    b"? [1, 2]\n: 3\n",
]
JSONS = [
    b'{"a": [1, 2.5, null, true, "\\ud83d\\ude00"], "b": {"c": -1e9}}',
    b'{"a": 1, "a": 2}',
    b"[[[[[[[[[[[[[[[[",
    b'["\\ud800", NaN, 1e999, 123456789012345678901234567890]',
]

ONNX = [
    b"\x08\x08\x3a\x06\x2a\x04\x08\x01\x42\x00",  # a graph with an initializer
    b"\x3a\x0c\x2a\x0a\x6a\x08\x0a\x01a\x12\x03b/c",  # one in another file
]
RUNS = [
    b'{"best": 30.5, "monitor": "val/psnr", "epoch": 3, "parameters": 5}',
    b'{"best": NaN, "monitor": 3}',
    b'{"best": "x", "monitor": {}}',
    b"[]",
]
LOGS = [
    b"step,loss,val/psnr\n1,0.5,\n2,0.25,30.0\n",
    b"step,val/psnr\n\xc2\xb2,1\n1,x\n",
    b"step\n" + b"1" * 200_000 + b"\n",
    b"step,val/psnr\n1,30.0,2\n",
]
READOUTS = [b"1, 2 3\n# 4\n5ms", b"1e99s", b"999999999999999999e99"]
RANGES = [
    b'{"weights": "ab", "loss_db": 0.01, "ranges": {"down.0": [-0.5, 1e3]}}',
    b'{"weights": "ab", "loss_db": null, "ranges": {"down.0": [0, 0]}}',
]
PYTORCH = ("weights.checkpoint", "weights.pickles", "weights.states")

PARSERS = [
    Parser("dat", "a.dat", _read_dat, lambda: [bytes(40), bytes(3)], ("spikes.dat",)),
    Parser("npy", "a.npy", _read_stream, lambda: _streams("npy"), ("spikes.numpy_files",)),
    Parser("npz", "a.npz", _read_stream, lambda: _streams("npz"), ("spikes.numpy_files",)),
    Parser("h5", "a.h5", _read_stream, lambda: _streams("h5"), ("spikes.hdf5",)),
    Parser("sidecar", "a.yaml", _read_sidecar, lambda: SIDECARS, ("parsing",)),
    Parser("card", "a.yaml", read_card, lambda: SIDECARS),
    Parser("json", "a.json", _read_json, lambda: JSONS, ("parsing",)),
    Parser("record", "a.json", read_record, _records),
    Parser("ranges", "a.ranges.json", parse_ranges, lambda: RANGES),
    Parser("onnx", "a.onnx", check_own_data, lambda: ONNX, ("runtime.wire",)),
    Parser("run", "finished.json", _read_run, lambda: RUNS),
    Parser(*("log", "metrics.csv", _read_log, lambda: LOGS), ("training.curves", "sweeps.jobs")),
    Parser("readouts", "a.txt", _read_readouts, lambda: READOUTS),
    Parser("about", "a.png", read_about, _abouts, ("streaming.about",)),
    Parser("about video", "a.mp4", read_about, _videos, ("streaming.about",)),
    Parser("about h5", "a.h5", read_about, lambda: _streams("h5"), ("streaming.about",)),
    Parser("image", "a.png", _read_image, _images, ("simulation.images", "simulation.opening")),
    Parser("video", "a.mp4", _read_video, _videos, ("simulation.footage", "simulation.opening")),
    Parser("maps", "a.npz", lambda path: read_maps(path, 2, 3), _maps),
    Parser("checkpoint", "a.pth", _read_weights, _checkpoints, PYTORCH),
    Parser("safetensors", "a.safetensors", _read_safetensors, _safetensors),
    Parser("niqe", "a.mat", niqe_of_pyiqa, _matlab, ("weights.convert", "weights.matlab")),
    Parser("package", "a.whl", _read_package, _packages, ("packages",)),
    Parser("debian", "a.deb", _read_debian, _debians, ("packages",)),
]
BY_NAME = {parser.name: parser for parser in PARSERS}
