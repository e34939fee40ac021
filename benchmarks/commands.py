"""Commands that a user types, with the compiled kernels and with the PyTorch references alone.

A kernel stays only while one of these is at least 1.5 times as fast by it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.data import write_random_dat
from benchmarks.harness import Benchmark, Case
from benchmarks.networks import Held, as_video, network, trained
from spikerec import spikes
from spikerec.inference.rearrangement import optimised
from spikerec.kernels import switched
from spikerec.models.base import Network
from spikerec.spikes import Geometry
from spikerec.streaming import reconstruct


class Saving:
    """`reconstruct input=car.dat output=[car.mp4,car.npy]`: N images of H × W of random spikes.

    Args:
        method: what makes them.
        stride: readouts from one to the next.
        size: N, H and W.
        folder: for the files.
        **settings: of `spikerec.reconstruct`.
    """

    def __init__(
        self,
        method: Network,
        stride: int,
        size: tuple[int, ...],
        folder: Path,
        **settings: Any,  # noqa: ANN401 (those of `reconstruct`)
    ) -> None:
        count, height, width = size
        length = method.window + (count - 1) * stride
        path = write_random_dat(folder, length, height, width)
        self.stream = spikes.open(path, geometry=Geometry(height, width), light_scale=1.0)
        self.video = reconstruct(self.stream, method, stride=stride, **settings)
        self.outputs = [folder / "made.mp4", folder / "made.npy"]

    def __call__(self) -> np.ndarray:
        """Write both files anew, and return the images."""
        for output in self.outputs:
            output.unlink(missing_ok=True)
        self.video.save(self.outputs)
        return np.load(self.outputs[1])


def reconstructing(name: str, stride: int) -> Callable[[tuple[int, ...], Path], Case]:
    """N images of H × W from a .dat to a .mp4 and a .npy, with the kernels and without."""

    def prepare(size: tuple[int, ...], folder: Path) -> Case:
        save = Saving(network(name), stride, size, folder)
        note = f"{size[0]} images"
        return Case(ours=save, reference=by_references(save), note=note, settles=True)

    return prepare


def end_to_end(name: str, stride: int) -> Callable[[tuple[int, ...], Path], Case]:
    """N images of H × W from a .dat to a .mp4 and a .npy, and by the network alone from memory."""

    def prepare(size: tuple[int, ...], folder: Path) -> Case:
        method = trained(name)
        save = Saving(method, stride, size, folder, ends="drop", precision="float32")
        alone, held = optimised(method), Held(torch.from_numpy(save.stream[:]).float()[None])
        starts = range(0, size[0] * stride, stride)
        return Case(
            ours=save,
            reference=lambda: as_video(alone, held, starts)[:, 0],
            note=f"{size[0]} images",
            settles=True,
        )

    return prepare


def by_references(run: Callable[[], Any]) -> Callable[[], Any]:
    """Run with the kernels switched off."""

    def without() -> Any:  # noqa: ANN401
        with switched(False):
            return run()

    return without


BENCHMARKS = (
    Benchmark(
        "reconstruct_end_to_end",
        "reconstruct model=fast_wide stride=4, decoded and encoded",
        "the network alone, spikes in memory",
        goal=0.9,
        tolerance=1e-5,
        sizes={"full": (24, 250, 400), "quick": (12, 125, 200), "tiny": (3, 16, 24)},
        prepare=end_to_end("fast_wide", 4),
    ),
    Benchmark(
        "reconstruct_tfstp",
        "reconstruct model=tfstp stride=1",
        "SPIKEREC_KERNELS=0",
        goal=1.5,
        tolerance=0,
        sizes={"full": (60, 250, 400), "quick": (20, 125, 200), "tiny": (3, 16, 24)},
        prepare=reconstructing("tfstp", 1),
    ),
    Benchmark(
        "reconstruct_wgse",
        "reconstruct model=wgse",
        "SPIKEREC_KERNELS=0",
        goal=1.5,
        tolerance=1e-4,
        sizes={"full": (2, 250, 400), "quick": (2, 64, 104), "tiny": (2, 16, 24)},
        prepare=reconstructing("wgse", 20),
    ),
    Benchmark(
        "reconstruct_stir",
        "reconstruct model=stir",
        "SPIKEREC_KERNELS=0",
        goal=1,  # it has no kernel that is there for its sake
        tolerance=1e-4,
        sizes={"full": (4, 250, 400), "quick": (4, 128, 208), "tiny": (2, 16, 24)},
        prepare=reconstructing("stir", 20),
    ),
)
