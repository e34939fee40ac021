"""Measure throughput on a GPU: python -m benchmarks.device [--only SECTION …] [--quick].

Networks have drawn weights, and every mode's image is compared with that of eager float32. Eager
modes run the network as published, the others as `spikerec.inference.rearrangement.optimised`
rearranges it. Only rows that say TF32 round float32 so, which PyTorch's convolutions do unless told
otherwise. Shares of a ceiling compare with what the same device reaches in the same run.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
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
from spikerec.kernels.devices import device_name, present_device
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
)


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
QUICK = Scale(names=("fast", "stir"), sizes=((250, 400),), stream=(30, 720, 1280))


def ceilings(bench: Bench, scale: Scale) -> Iterator[Row]:
    """Limits of the device: a large product, a large copy, a copy from the host."""
    for name, dtype in (("fp32", torch.float32), ("tf32", torch.float32), ("bf16", torch.bfloat16)):
        row = Row("ceilings", "matrix product", name, (scale.matmul,) * 2, "FLOP/s")
        measure = partial(_product, bench, scale.matmul, dtype, name == "tf32")
        yield _as_ceiling(bench, bench.attempt(row, measure, needs_cuda=name == "tf32"))
    row = Row("ceilings", "copy on the device", "copy", (scale.copied,), "B/s")
    yield _as_ceiling(bench, bench.attempt(row, partial(_copy, bench, scale.copied)))
    row = Row("ceilings", "copy from pinned memory", "host to device", (scale.copied,), "B/s")
    measure = partial(_copy, bench, scale.copied, pinned=True)
    yield _as_ceiling(bench, bench.attempt(row, measure, needs_cuda=True))


def _as_ceiling(bench: Bench, row: Row) -> Row:
    if row.rate:
        bench.ceilings[row.mode] = row.rate
    return row


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
    for group, compiled in itertools.product((pairs[:1], pairs[1:]), (False, True)):
        for (name, size), mode in itertools.product(group, scale.modes):
            if mode.compiled != compiled:
                continue
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
        for bf16 in (False, True):
            mode = "bf16-mixed" if bf16 else "fp32"
            row = Row("training", name, mode, (batch, side, side), "steps/s")
            with tensor_float(False):
                row = bench.attempt(row, partial(_steps, bench, name, scale, bf16, losses))
            yield row.against(reference)
            reference = reference or row
            if name == "stir" and row.rate:
                bench.consumed = batch * row.rate


def _steps(
    bench: Bench, name: str, scale: Scale, bf16: bool, losses: list[Tensor]
) -> dict[str, Any]:
    batch, side = scale.training
    plain = network(name)
    flop = 2 * TRAINING_PASSES * batch * macs(plain, (side, side))
    spikes = random_spikes(plain.window, side, side, batch).to(bench.device)
    trainer = Trainer(
        plain.to(bench.device), spikes, channels_last=True, fused=bench.is_cuda, bf16=bf16
    )
    losses.append(trainer.step())
    difference = relative_difference(losses[-1], losses[0])
    rate = bench.rate(trainer.step, work=flop, ceiling="bf16" if bf16 else "fp32")
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
#: Sections in order, with the seconds of each in a full run on a data-centre GPU.
SECTIONS: Mapping[str, tuple[Section, float]] = {
    "ceilings": (ceilings, 30),
    "training": (training, 60),
    "unpacking": (unpacking, 15),
    "loading": (loading, 35),
    "simulation": (simulation, 20),
    "networks": (networks, 320),
}
FULL_S = sum(seconds for _, seconds in SECTIONS.values())
QUICK_S = 100.0
#: Columns of the table, also where it is not written to a terminal.
WIDTH = 160


def measure(
    bench: Bench, scale: Scale, wanted: list[str], budget_s: float, output: Path, console: Console
) -> list[Row]:
    """All rows of the sections wanted, told and written as they come."""
    rows: list[Row] = []
    for name in wanted:
        section, seconds = SECTIONS[name]
        bench.until = time.perf_counter() + budget_s * seconds / FULL_S
        with console.status(name):
            for row in section(bench, scale):
                rows.append(row)
                console.print(*cells(row), sep="  ", highlight=False)
                content = json.dumps(report(bench.device, rows), indent=2) + "\n"
                write_atomically(output, content.encode())
    return rows


def cells(row: Row) -> tuple[str, ...]:
    """A row as people read it."""
    named = f"{row.what} [dim]{' × '.join(map(str, row.size))}[/]", row.mode
    if row.rate is None:
        return *named, f"[yellow]{row.reason}[/]"
    first, third = row.quartiles or (row.rate, row.rate)
    ratio = "" if row.ratio is None else f"{row.ratio:.3g} ×"
    if row.goal is not None:
        ratio += f" (goal {row.goal:g}: {'[green]met' if row.is_met else '[red]missed'}[/])"
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


def table(device: torch.device, rows: list[Row]) -> Table:
    """All figures."""
    headings = ("what", "how", "a second", "ratio", "work", "of ceiling", "differs", "memory")
    result = Table(*headings, title=device_name(device), title_justify="left", box=SIMPLE)
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        last = following is not None and following.section != row.section
        result.add_row(*cells(row), end_section=last)
    return result


def report(device: torch.device, rows: list[Row]) -> dict[str, Any]:
    """All figures, and where and when they were taken."""
    return {
        "machine": device_name(device),
        "host": device_name(torch.device("cpu")),
        "load": os.getloadavg()[0],
        "torch": torch.__version__,
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "rows": [asdict(row) | {"is_met": row.is_met} for row in rows],
    }


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the table, write the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.device", description=__doc__)
    parser.add_argument("--device", default="cuda", help="auto, cuda, cuda:1, cpu")
    parser.add_argument(
        "--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), metavar="SECTION"
    )
    parser.add_argument("--networks", nargs="+", choices=FULL.names, metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="two networks, less time")
    parser.add_argument("--budget", type=float, help="seconds for all sections together")
    parser.add_argument("--output", type=Path, default=Path("outputs/bench_device.json"))
    options = parser.parse_args(arguments)
    try:
        device = present_device(None if options.device == "auto" else options.device)
    except ConfigError as error:
        parser.error(str(error))
    scale = QUICK if options.quick else FULL
    if options.networks:
        scale = replace(scale, names=tuple(options.networks))
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.cuda.synchronize()  # starting CUDA is no row's time
    console = Console(width=max(WIDTH, Console().width))
    # Ceilings come with every run: shares are of what the device reaches today.
    wanted = [name for name in SECTIONS if name in ("ceilings", *options.only)]
    budget_s = options.budget or (QUICK_S if options.quick else FULL_S)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(device, Path(folder), row_s=0.3 if options.quick else 1.0)
        rows = measure(bench, scale, wanted, budget_s, options.output, console)
    console.print(table(device, rows))
    console.print(f"[dim]{options.output}[/]")


if __name__ == "__main__":
    main()
