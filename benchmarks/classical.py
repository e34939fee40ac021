"""Intervals and plasticity over whole streams."""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.harness import Benchmark, Case
from benchmarks.references import intervals, plasticity
from spikerec.spikes import tfi_sequence, tfstp_sequence


def random_stream(size: tuple[int, ...], rate: float = 0.3) -> torch.Tensor:
    """Spikes (T, H, W) uint8, the same at every call."""
    return (torch.rand(size, generator=torch.Generator().manual_seed(0)) < rate).to(torch.uint8)


def tfi(size: tuple[int, ...], folder: Path) -> Case:
    """An image of every readout of (T, H, W)."""
    del folder
    stream = random_stream(size)
    return Case(
        ours=lambda: tfi_sequence(stream[None])[0],
        reference=lambda: intervals.tfi_sequence(stream),
    )


def tfstp(size: tuple[int, ...], folder: Path) -> Case:
    """An image of every readout of (T, H, W), the reference on a corner of it."""
    del folder
    *shape, side = size
    stream = random_stream(tuple(shape))
    corner = stream[:, :side, :side].numpy()
    share = side * side / (shape[1] * shape[2])
    return Case(
        ours=lambda: tfstp_sequence(stream[None])[0][0],
        reference=lambda: plasticity.tfstp_sequence(corner),
        share=share,
        of_ours=lambda images: images[:, :side, :side],
        note=f"reference on {side} × {side} pixels, its time scaled by {1 / share:.1f}",
    )


BENCHMARKS = (
    Benchmark(
        "tfi",
        "TFI of a whole stream",
        "loops over time, masked assignment",
        goal=10,
        tolerance=1e-7,
        sizes={"full": (300, 250, 400), "quick": (100, 125, 200), "tiny": (30, 8, 12)},
        prepare=tfi,
    ),
    Benchmark(
        "tfstp",
        "TFSTP of a whole stream",
        "intervals pixel by pixel",
        goal=100,
        # A logarithm near 1 in float32 divides a rounding by a small number.
        tolerance=2e-3,
        sizes={"full": (300, 250, 400, 50), "quick": (100, 125, 200, 25), "tiny": (30, 8, 12, 6)},
        prepare=tfstp,
    ),
)
