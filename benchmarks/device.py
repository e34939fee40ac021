"""Measure one section of a GPU's throughput: python -m benchmarks.device SECTION.

`python -m benchmarks.gpu` runs every section in a process of its own, in the order of `SECTIONS`:
later ones read what earlier ones left in the folder.

Networks have drawn weights, and every mode's image is compared with that of eager float32. Eager
modes run the network as published, the others as `spikerec.inference.rearrangement.optimised`
rearranges it. Only rows that say TF32 round float32 so, which PyTorch's convolutions do unless told
otherwise. Shares of a ceiling compare with what the same device reaches in the same run.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.data import BATCH, LIGHT_SCALE, write_random_dat
from benchmarks.networks import Trainer, network, random_spikes
from benchmarks.references.camera import integrate_and_fire_torch
from benchmarks.throughput import Bench, Row, captured, relative_difference, tensor_float
from spikerec.configs import config_names
from spikerec.data.clips import Clip
from spikerec.data.windows import Crop, Draw, Windows, decode
from spikerec.errors import ConfigError
from spikerec.fetch import write_atomically
from spikerec.inference.rearrangement import optimised
from spikerec.kernels.devices import present_device
from spikerec.metrics.efficiency import macs, random_window
from spikerec.metrics.sizes import LATENCY_SIZES
from spikerec.models.base import Network
from spikerec.simulation.camera import THETA, Camera
from spikerec.spikes import Geometry, pack_bits, unpack_bits

STIR_GOAL = 4
SIMULATION_GOAL = 20
#: A backward pass multiplies each activation's gradient by weights and by activations.
TRAINING_PASSES = 3


@dataclass(frozen=True)
class Mode:
    """A way of computing a network's image."""

    name: str
    bf16: bool = False
    tf32: bool = False
    compiled: bool = False
    graph: bool = False

    @property
    def ceiling(self) -> str:
        """The matrix product whose rate bounds it."""
        return "bf16" if self.bf16 else "tf32" if self.tf32 else "fp32"


MODES = (
    Mode("fp32"),
    Mode("TF32", tf32=True),
    Mode("bf16", bf16=True),
    Mode("bf16, CUDA graph", bf16=True, graph=True),
    Mode("bf16, compiled", bf16=True, compiled=True),
    Mode("bf16, compiled, CUDA graph", bf16=True, compiled=True, graph=True),
    Mode("TF32, compiled", tf32=True, compiled=True),
)
#: Those of a training step; the last is what data must keep up with.
TRAINING_MODES = (Mode("fp32"), Mode("TF32", tf32=True), Mode("bf16-mixed", bf16=True))


@dataclass(frozen=True)
class Scale:
    """Sizes of everything.

    Attributes:
        names: networks, as in `conf/model`.
        sizes: H, W of their images.
        training: batch and side of the training step's crops.
        stream: T, H, W of spikes to unpack.
        clip: T, H, W of the file that the loader cuts from.
        scene: T, H, W to simulate.
        matmul: rows and columns of a square matrix.
        copied: bytes of a copy.
        workers: processes that load.
        modes: of the networks.
    """

    names: tuple[str, ...] = tuple(config_names("model"))
    sizes: tuple[tuple[int, int], ...] = LATENCY_SIZES
    training: tuple[int, int] = (8, 96)
    stream: tuple[int, int, int] = (100, 720, 1280)
    clip: tuple[int, int, int] = (61, 720, 1280)
    scene: tuple[int, int, int] = (400, 250, 400)
    matmul: int = 8192
    copied: int = 1 << 30
    workers: tuple[int, ...] = (0, os.cpu_count() or 1)
    modes: tuple[Mode, ...] = MODES


FULL = Scale()
#: Runs in seconds on a CPU, to try the command.
TINY = Scale(
    names=("tfp", "fast"),
    sizes=((17, 23),),
    training=(2, 16),
    stream=(5, 12, 17),
    clip=(61, 24, 40),
    scene=(30, 8, 12),
    matmul=32,
    copied=4096,
    workers=(0,),
    modes=tuple(mode for mode in MODES if not mode.compiled),
)


def ceilings(bench: Bench, scale: Scale) -> Iterator[Row]:
    """Limits of the device: a large product, a large copy, a copy from the host."""
    for name, dtype in (("fp32", torch.float32), ("tf32", torch.float32), ("bf16", torch.bfloat16)):
        row = Row("ceilings", "matrix product", name, (scale.matmul,) * 2, "FLOP/s")
        measure = partial(_product, bench, scale.matmul, dtype, name == "tf32")
        yield bench.attempt(row, measure, needs_cuda=name == "tf32")
    row = Row("ceilings", "copy on the device", "copy", (scale.copied,), "B/s")
    yield bench.attempt(row, partial(_copy, bench, scale.copied))
    row = Row("ceilings", "copy from pinned memory", "host to device", (scale.copied,), "B/s")
    measure = partial(_copy, bench, scale.copied, pinned=True)
    yield bench.attempt(row, measure, needs_cuda=True)


def _product(bench: Bench, side: int, dtype: torch.dtype, tf32: bool) -> dict[str, Any]:
    a = torch.randn(side, side, device=bench.device).to(dtype)
    with tensor_float(tf32):
        return bench.rate(lambda: a @ a, 2 * side**3)


def _copy(bench: Bench, size: int, *, pinned: bool = False) -> dict[str, Any]:
    target = torch.empty(size, dtype=torch.uint8, device=bench.device)
    if pinned:
        source = torch.empty(size, dtype=torch.uint8, pin_memory=True)
        return bench.rate(lambda: target.copy_(source, non_blocking=True), size)
    source = torch.zeros_like(target)
    return bench.rate(lambda: target.copy_(source), 2 * size)  # each byte is read and written


def networks(bench: Bench, scale: Scale) -> Iterator[Row]:
    """Images a second of every network: STIR first, compiling last, as it may take minutes."""
    plain: dict[tuple[str, tuple[int, int]], tuple[Row, Tensor | None]] = {}
    pairs = [(name, size) for size in scale.sizes for name in _by_cost(scale.names)]
    eager = [mode for mode in scale.modes if not mode.compiled]
    compiled = [mode for mode in scale.modes if mode.compiled]
    for (name, size), mode in (
        *itertools.product(pairs[:1], (*eager, *compiled)),
        *itertools.product(pairs[1:], eager),
        *((pair, mode) for mode in compiled for pair in pairs[1:]),
    ):
        reference, expected = plain.get((name, size), (None, None))
        row, image = _images(bench, name, size, mode, expected)
        if mode == MODES[0]:
            plain[name, size] = row, image
        yield row.against(reference)


def _by_cost(names: tuple[str, ...]) -> list[str]:
    """STIR, whose goal is stated, then the cheap before the dear."""
    return sorted(names, key=lambda name: name != "stir" and macs(network(name), (96, 96)))


def _images(
    bench: Bench, name: str, size: tuple[int, int], mode: Mode, expected: Tensor | None
) -> tuple[Row, Tensor | None]:
    """The row, and the image on the CPU if there is one."""
    images: list[Tensor] = []

    def measure() -> dict[str, Any]:
        plain = network(name)
        flop = 2 * macs(plain, size)
        moved = 4 * (plain.window + 1) * size[0] * size[1]  # the window and the image, in bytes
        run = _prepared(plain, size, mode, bench.device)
        images.append(run().float().cpu())
        found = {} if expected is None else {"difference": relative_difference(images[0], expected)}
        if flop:
            return found | bench.rate(run, work=flop, ceiling=mode.ceiling)
        return found | bench.rate(run, work=moved, ceiling="copy")

    is_goal = (name, mode.name) == ("stir", "bf16, compiled") and size == LATENCY_SIZES[0]
    row = Row("networks", name, mode.name, size, "images/s", goal=STIR_GOAL if is_goal else None)
    with tensor_float(mode.tf32):
        row = bench.attempt(row, measure, needs_cuda=mode.tf32 or mode.graph)
    if mode.compiled:
        torch.compiler.reset()
    return row, images[0] if images else None


def _prepared(
    plain: Network, size: tuple[int, int], mode: Mode, device: torch.device
) -> Callable[[], Tensor]:
    """A function that computes one image (1, 1, H, W), window and weights on the device."""
    model = optimised(plain, device) if mode.compiled or mode.graph else plain
    model = model.to(device)
    if mode.compiled:
        model.compile()
    spikes = random_window(model, size, device)
    light_scale = torch.ones(1, device=device)  # there, as a graph copies nothing from the host
    precision = partial(torch.autocast, device.type, torch.bfloat16, enabled=mode.bf16)

    def run() -> Tensor:
        # Casts kept from one call to the next would be memory that a graph does not own.
        with torch.inference_mode(), precision(cache_enabled=not mode.graph):
            return model.reconstruct(spikes, light_scale, validate=False).image

    return captured(run) if mode.graph else run


def training(bench: Bench, scale: Scale) -> Iterator[Row]:
    """Training steps a second of every network with weights; the difference is the loss's."""
    batch, side = scale.training
    for name in _by_cost(scale.names):
        if not any(True for _ in network(name).parameters()):
            continue
        reference: Row | None = None
        losses: list[Tensor] = []
        for mode in TRAINING_MODES:
            row = Row("training", name, mode.name, (batch, side, side), "steps/s")
            measure = partial(_steps, bench, name, scale, mode, losses)
            with tensor_float(mode.tf32):
                row = bench.attempt(row, measure, needs_cuda=mode.tf32)
            yield row.against(reference)
            reference = reference or row


def _steps(
    bench: Bench, name: str, scale: Scale, mode: Mode, losses: list[Tensor]
) -> dict[str, Any]:
    batch, side = scale.training
    plain = network(name)
    flop = 2 * TRAINING_PASSES * batch * macs(plain, (side, side))
    spikes = random_spikes(plain.window, side, side, batch).to(bench.device)
    trainer = Trainer(
        plain.to(bench.device), spikes, channels_last=True, fused=bench.is_cuda, bf16=mode.bf16
    )
    losses.append(trainer.step())
    difference = relative_difference(losses[-1], losses[0])
    rate = bench.rate(trainer.step, work=flop, ceiling=mode.ceiling)
    return rate | {"difference": difference}


def unpacking(bench: Bench, scale: Scale) -> Iterator[Row]:
    """Spikes from packed bits in the host's memory to bytes on the device, both ways."""
    spikes = random_spikes(*scale.stream)[0].to(torch.uint8)
    bits, width = pack_bits(spikes), spikes.shape[-1]
    if bench.is_cuda:
        bits = bits.pin_memory()
    there = bits.to(bench.device)
    moved = bits.numel() + spikes.numel()
    ways: dict[str, tuple[Callable[[], Tensor], str]] = {
        "unpacked on the host, then moved": (
            lambda: unpack_bits(bits, width).to(bench.device),
            "",
        ),
        "moved, then unpacked on the device": (
            lambda: unpack_bits(bits.to(bench.device, non_blocking=True), width),
            "",
        ),
        "unpacked on the device, there already": (lambda: unpack_bits(there, width), "copy"),
    }
    reference = None
    for mode, (run, ceiling) in ways.items():
        row = Row("unpacking", "packed bits", mode, scale.stream, "spikes/s")
        row = bench.attempt(row, partial(_unpack, bench, run, spikes, moved, ceiling))
        yield row.against(reference)
        reference = reference or row


def _unpack(
    bench: Bench, run: Callable[[], Tensor], spikes: Tensor, moved: int, ceiling: str
) -> dict[str, Any]:
    found = {"difference": relative_difference(run(), spikes)}
    return found | bench.rate(run, spikes.numel(), work=moved if ceiling else 0, ceiling=ceiling)


def loading(bench: Bench, scale: Scale) -> Iterator[Row]:
    """Samples a second on the device; the ratio is to what STIR's bf16 training step takes."""
    for workers in scale.workers:
        mode = f"{workers} workers"
        row = Row("loading", "training windows", mode, scale.clip, "samples/s")
        row = bench.attempt(row, partial(_load, bench, scale, workers))
        yield replace(row, ratio=row.rate and bench.consumed and row.rate / bench.consumed)


def _load(bench: Bench, scale: Scale, workers: int) -> dict[str, Any]:
    (num_readouts, height, width), side = scale.clip, scale.training[1]
    path, middle = write_random_dat(bench.folder, *scale.clip), num_readouts // 2
    clip = Clip("clip", (path,), LIGHT_SCALE, Geometry(height, width), key_readouts=(middle,))
    crop = Crop(side, side, augment="dihedral", seed=0)
    loader = DataLoader(
        Windows([clip], window=2 * middle + 1, margin=0, crop=crop),
        batch_size=BATCH,
        sampler=(Draw(0, 0, position) for position in itertools.count()),  # without an end
        num_workers=workers,
        pin_memory=bench.is_cuda,
        multiprocessing_context="spawn" if workers else None,  # CUDA does not survive a fork
    )
    batches = iter(loader)

    def run() -> Tensor:
        batch = {
            key: value.to(bench.device, non_blocking=True) if isinstance(value, Tensor) else value
            for key, value in next(batches).items()
        }
        return decode(batch)["spikes"].float()

    for _ in range(4 * workers):  # until all have started and their store is used up
        run()
    return bench.rate(lambda: [run() for _ in range(1 + 2 * workers)], (1 + 2 * workers) * BATCH)


def simulation(bench: Bench, scale: Scale) -> Iterator[Row]:
    """The ideal camera, readout by readout and as it is here."""
    random = torch.Generator().manual_seed(0)
    # Sixteenths, and charges on their grid, so that float64 and our integers agree exactly.
    scene = (torch.randint(17, scale.scene, generator=random).float() / 16).to(bench.device)
    camera = Camera(light_scale=0.5)
    drawn = torch.Generator().manual_seed(0)
    charge = torch.randint(THETA, scale.scene[1:], generator=drawn, dtype=torch.int32)
    start = charge.to(bench.device).double() / THETA
    loop = partial(integrate_and_fire_torch, scene, start, camera.light_scale)
    ours = partial(camera.expose, scene, seed=0)
    moved = 5 * scene.numel()  # four bytes of light, one of spikes
    row = Row("simulation", "ideal camera", "readout by readout", scale.scene, "readouts/s")
    reference = bench.attempt(row, lambda: bench.rate(loop, len(scene), work=moved, ceiling="copy"))
    yield reference

    def measure() -> dict[str, Any]:
        found = {"difference": relative_difference(ours(), loop())}
        return found | bench.rate(ours, len(scene), work=moved, ceiling="copy")

    row = replace(row, mode="spikerec", goal=SIMULATION_GOAL)
    yield bench.attempt(row, measure).against(reference)


Section = Callable[[Bench, Scale], Iterator[Row]]
SECTIONS: Mapping[str, Section] = {
    "ceilings": ceilings,
    "training": training,
    "unpacking": unpacking,
    "loading": loading,
    "simulation": simulation,
    "networks": networks,
}
HEADINGS = ("what", "how", "a second", "ratio", "work", "of ceiling", "differs", "memory")


def measure(bench: Bench, scale: Scale, name: str, folder: Path) -> list[Row]:
    """All rows of a section, logged and written into the folder as they come."""
    console = Console()
    rows: list[Row] = []
    for row in SECTIONS[name](bench, scale):
        rows.append(row)
        line = "  ".join(filter(None, cells(row)))
        console.print(line, soft_wrap=True, markup=False, highlight=False)
        content = json.dumps([asdict(row) | {"is_met": row.is_met} for row in rows], indent=2)
        write_atomically(folder / f"{name}.json", content.encode())
    return rows


def measured(folder: Path, name: str) -> list[Row]:
    """The rows of a section that a folder holds; none where it was not measured."""
    path = folder / f"{name}.json"
    found = json.loads(path.read_bytes()) if path.exists() else []
    names = [one.name for one in fields(Row)]
    return [Row(**{key: row[key] for key in names}) for row in found]


def ceilings_of(rows: Iterable[Row]) -> dict[str, float]:
    """Mode → the rate that the device reached in it."""
    return {row.mode: row.rate for row in rows if row.rate}


def consumed_by(rows: Iterable[Row]) -> float | None:
    """Samples a second that STIR's step takes in the last mode measured."""
    rates = [row.size[0] * row.rate for row in rows if row.what == "stir" and row.rate]
    return rates[-1] if rates else None


def cells(row: Row) -> tuple[str, ...]:
    """A row as people read it, under `HEADINGS`."""
    named = f"{row.what} {' × '.join(map(str, row.size))}", row.mode
    if row.rate is None:
        return *named, row.reason, *[""] * (len(HEADINGS) - 3)
    first, third = row.quartiles or (row.rate, row.rate)
    ratio = "" if row.ratio is None else f"{row.ratio:.3g} ×"
    if row.goal is not None:
        ratio += f" (goal {row.goal:g}: {'met' if row.is_met else 'missed'})"
    return (
        *named,
        f"{short(row.rate, row.unit)} ({short(first)} to {short(third)})",
        ratio,
        "" if row.work is None else short(row.work, row.work_unit),
        "" if row.ceiling is None else f"{row.ceiling:.1%}",
        "" if row.difference is None else f"{row.difference:.1e}",
        "" if row.peak_bytes is None else f"{row.peak_bytes / 1e9:.2f} GB",
    )


def short(value: float, unit: str = "") -> str:
    """Three digits, and a prefix before the unit: `1.23 TFLOP/s`."""
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if value >= factor:
            return f"{value / factor:.3g} {prefix}{unit}"
    number = f"{value:.0f}" if value >= 1000 else f"{value:.3g}"
    return f"{number} {unit}".rstrip()


def main(arguments: list[str] | None = None) -> None:
    """Measure a section, and write its rows into a folder."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.device", description=__doc__)
    parser.add_argument("section", choices=SECTIONS)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, cpu")
    parser.add_argument("--networks", nargs="+", choices=FULL.names, metavar="NAME")
    parser.add_argument("--tiny", action="store_true", help="pictures of a few pixels")
    parser.add_argument("--seconds", type=float, default=math.inf, help="no row starts after them")
    parser.add_argument("--folder", type=Path, default=Path("outputs/gpu"))
    options = parser.parse_args(arguments)
    try:
        device = present_device(options.device)
    except ConfigError as error:
        parser.error(str(error))
    scale = TINY if options.tiny else FULL
    if options.networks:
        scale = replace(scale, names=tuple(options.networks))
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.cuda.synchronize()  # starting CUDA is no row's time
    with tempfile.TemporaryDirectory() as files:
        bench = Bench(
            device,
            Path(files),
            row_s=0.0 if options.tiny else 1.0,
            until=time.perf_counter() + options.seconds,
            ceilings=ceilings_of(measured(options.folder, "ceilings")),
            consumed=consumed_by(measured(options.folder, "training")),
        )
        measure(bench, scale, options.section, options.folder)


if __name__ == "__main__":
    main()
