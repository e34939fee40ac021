"""A program without `if __name__ == "__main__":` is run once, whatever starts processes in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import os
from pathlib import Path

import numpy as np
import spikerec
from spikerec.models.base import Network, Reconstruction
from spikerec.simulation import write_set

with open("runs", "a") as runs:
    runs.write("run\\n")


class Mean(Network):
    def __init__(self):
        super().__init__(window=5)

    def forward(self, spikes):
        return Reconstruction(spikes.mean(1, keepdim=True))


def write(split, index):
    Path(f"{split}-{index}").write_text(str(os.getpid()))


def has(split, index):
    return Path(f"{split}-{index}").exists()


write_set(Path("made"), {"seed": 0}, {"train": 4}, has, write, processes=2)
spikes = np.random.default_rng(0).integers(0, 2, (60, 8, 8), dtype=np.uint8)
settings = {"stride": 1, "device": "cpu", "batch_size": 1}
one, two = (
    spikerec.reconstruct(spikes, Mean(), devices=devices, **settings) for devices in (1, 2)
)
for frame, other in zip(one.frames(), two.frames(), strict=True):
    assert frame.images.equal(other.images)
print(os.getpid())
"""


def test_a_program_without_a_guard_is_run_once(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    ended = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "runs").read_text() == "run\n"
    writers = {(tmp_path / f"train-{index}").read_text() for index in range(4)}
    assert ended.stdout.strip() not in writers
