"""The command line on a tiny network and fake data, in this process or in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from spikerec import cli

ROOT = Path(__file__).resolve().parents[2]

#: Networks of a few thousand weights: with batch norm, without, with dropout; and one that ships.
MODELS = {
    "tfp": ("model=tfp", "model.window=11"),
    "fast": ("model=fast",),
    "ssir": ("model=ssir", "model.channels=4"),
    "wgse": ("model=wgse", "model.channels=4", "model.blocks=1", "model.levels=2"),
    "etnet": ("model=etnet", "model.channels=2", "model.window=21", "model.num_bins=3"),
}

#: Crops of 16 × 16 and three epochs of six steps.
TINY = (
    "data=reds",
    "data.sets.reds.height=24",
    "data.sets.reds.width=40",
    "data.margin=20",
    "trainer.accelerator=cpu",
)
TRAINING = (
    "loss=l1",
    "data.crop=[16,16]",
    "data.batch_size=2",
    "data.samples_per_epoch=12",
    "validation=[psnr]",
    "trainer.max_epochs=3",
    "trainer.log_every_n_steps=1",
    "trainer.enable_progress_bar=false",
    "callbacks.progress=null",
)


def words(verb: str, reds: Path, outputs: Path, *overrides: str, model: str = "ssir") -> list[str]:
    """The command's words."""
    training = TRAINING if verb == "train" else ()
    where = (f"data.sets.reds.root={reds}", f"paths.outputs={outputs}")
    return [verb, *MODELS[model], *TINY, *training, *where, *overrides]


def call(monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    """Run a command in this process."""
    monkeypatch.setattr(sys, "argv", [str(Path(sys.executable).with_name("spikerec")), *command])
    cli.main()


def start(command: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, warnings shown but not errors."""
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])  # of this tree, whatever is installed
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"} | variables
    program = Path(sys.executable).with_name("spikerec")
    return subprocess.run(
        [program, *command], env=environment, capture_output=True, text=True, check=False
    )
