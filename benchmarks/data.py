"""Reading: whole files, random windows, training batches; and simulating."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader

from benchmarks.harness import Benchmark, Case
from benchmarks.references.camera import integrate_and_fire
from benchmarks.references.dat import crop_dat, decode_dat, unpack_dat
from benchmarks.references.training import DecodingWindows
from spikerec import spikes
from spikerec.data.clips import Clip
from spikerec.data.windows import Crop, Draw, Windows, decode
from spikerec.simulation.camera import THETA, Camera
from spikerec.spikes import Geometry

LIGHT_SCALE = 0.4
BATCH = 8


def write_random_dat(folder: Path, num_readouts: int, height: int, width: int) -> Path:
    """A `.dat` of random bits; what the bits are does not matter to whoever decodes them."""
    path = folder / f"{num_readouts}x{height}x{width}.dat"
    if not path.exists():
        octets = np.random.default_rng(0).bytes(num_readouts * height * width // 8)
        path.write_bytes(octets)
    return path


def decoding(size: tuple[int, ...], folder: Path) -> Case:
    """A whole file (T, H, W) against testing each pixel's bit."""
    path, height, width = write_random_dat(folder, *size), size[1], size[2]
    return Case(
        ours=lambda: spikes.open(path, geometry=Geometry(height, width))[:],
        reference=lambda: decode_dat(path, height, width),
    )


def unpacking(size: tuple[int, ...], folder: Path) -> Case:
    """A whole file (T, H, W) against one call that unpacks its bits, rows bottom up."""
    path, height, width = write_random_dat(folder, *size), size[1], size[2]
    return Case(
        ours=lambda: spikes.open(path, geometry=Geometry(height, width))[:],
        reference=lambda: unpack_dat(path),
        of_ours=lambda whole: whole[:, ::-1].reshape(-1),
    )


def random_window(size: tuple[int, ...], folder: Path) -> Case:
    """A crop (t, side, side) of a file (T, H, W)."""
    *shape, window, side = size
    path, (height, width) = write_random_dat(folder, *shape), shape[1:]
    stream = spikes.open(path, geometry=Geometry(height, width))
    rows, columns = slice(height // 3, height // 3 + side), slice(5, 5 + side)
    part = (slice(0, window), rows, columns)
    return Case(
        ours=lambda: stream.packed(
            0, window, rows.start, rows.stop, columns.start, columns.stop
        ).unpack(),
        reference=lambda: crop_dat(path, height, width, part),
    )


def loading(size: tuple[int, ...], folder: Path) -> Case:
    """A batch of crops (t, side, side) through the DataLoader, as float32 spikes.

    In one thread, as in the workers of a DataLoader: more would wait for each other at operations
    of a few microseconds, in ours alone, and the row would measure how busy the machine is.
    """
    *shape, window, side = size
    path, (height, width) = write_random_dat(folder, *shape), shape[1:]
    clip = Clip("clip", (path,), LIGHT_SCALE, Geometry(height, width), key_readouts=(window // 2,))
    windows = Windows(
        [clip], window=window, margin=0, crop=Crop(side, side, augment="none", seed=0)
    )
    draws = [Draw(0, 0, position) for position in range(BATCH)]
    ours = DataLoader(windows, batch_size=BATCH, sampler=draws)
    places = [windows._place(draw, windows.streams[0])[:2] for draw in draws]
    decoded = DecodingWindows(path, (height, width), window, places)
    reference = DataLoader(decoded, batch_size=BATCH)
    moved = next(iter(ours))["bits"].numel()
    least = BATCH * window * side * side / 8
    return Case(
        ours=lambda: decode(next(iter(ours)))["spikes"].float(),
        reference=lambda: next(iter(reference)),
        note=f"{moved / 1e3:.0f} kB a batch moved to the device, {least / 1e3:.0f} at least",
        threads=1,
    )


def simulating(size: tuple[int, ...], folder: Path) -> Case:
    """A scene (T, H, W), ideal camera; the reference in float64 on the same charges."""
    del folder
    # Sixteenths, and charges on their grid, so that float64 and our integers agree exactly.
    random = torch.Generator().manual_seed(0)
    scene = torch.randint(17, size, generator=random).float() / 16
    camera = Camera(light_scale=0.5)
    start = torch.randint(
        THETA, size[1:], generator=torch.Generator().manual_seed(0), dtype=torch.int32
    )
    charge, light = (start.double() / THETA).numpy(), scene.double().numpy()
    return Case(
        ours=lambda: camera.expose(scene, seed=0),
        reference=lambda: integrate_and_fire(light, charge, camera.light_scale),
    )


HD = (720, 1280)
BENCHMARKS = (
    Benchmark(
        "decode",
        "decode a whole .dat",
        "a bit test a pixel, readout by readout",
        goal=20,
        tolerance=0,
        sizes={"full": (500, *HD), "quick": (60, *HD), "tiny": (5, 24, 40)},
        prepare=decoding,
    ),
    Benchmark(
        "decode_bare",
        "decode a whole .dat",
        "one bare np.unpackbits",
        goal=1 / 1.3,
        tolerance=0,
        sizes={"full": (500, *HD), "quick": (60, *HD), "tiny": (5, 24, 40)},
        prepare=unpacking,
    ),
    Benchmark(
        "window",
        "random training window",
        "read the file, decode it, crop",
        goal=100,
        tolerance=0,
        sizes={"full": (61, *HD, 61, 96), "quick": (61, *HD, 61, 96), "tiny": (9, 48, 64, 7, 16)},
        prepare=random_window,
    ),
    Benchmark(
        "loader",
        f"DataLoader, a batch of {BATCH} windows",
        "read the file, decode it, crop",
        goal=30,
        tolerance=0,
        sizes={"full": (61, *HD, 61, 96), "quick": (61, *HD, 61, 96), "tiny": (9, 48, 64, 7, 16)},
        prepare=loading,
    ),
    Benchmark(
        "simulate",
        "simulate spikes of a scene",
        "a loop over readouts, masked assignment",
        goal=5,
        tolerance=0,
        sizes={"full": (400, 250, 400), "quick": (100, 250, 400), "tiny": (30, 8, 12)},
        prepare=simulating,
    ),
)
