"""A frozen training: what 20 steps and an evaluation give must not drift.

`python -m tests.test_frozen_run` freezes it anew; do so where a change is meant to move figures,
and say in CHANGELOG.md by how much.
"""

from __future__ import annotations

import csv
import json
import os
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from spikerec import cli
from spikerec.results import Store
from tests.fakes import fake_reds
from tests.training.command import words

FROZEN = Path(__file__).with_name("frozen_run.json")

#: Dependencies that compute.
DEPENDENCIES = ("torch", "lightning", "torchmetrics", "numpy", "scikit-image", "pillow")

#: Largest relative difference of a loss, and absolute one of a metric (PSNR in dB), by processor.
#: Sums of float32 in another order move a loss by 1e-6 within 20 steps.
TOLERANCES = {"x86_64": (1e-4, 1e-3), "aarch64": (1e-3, 1e-2), "arm64": (1e-3, 1e-2)}


def measure(folder: Path) -> dict[str, Any]:
    """Train a tiny SSIR for 20 steps on fake data, and evaluate it; the figures."""
    reds, outputs = folder / "reds", folder / "outputs"
    fake_reds(reds)
    train = words(
        *("train", reds, outputs, "name=frozen", "seed=7", "trainer.max_epochs=1"),
        *("data.samples_per_epoch=40", "validation=[psnr,ssim]", "logger=csv"),
        "optimizer.lr=0.003",
    )
    run = outputs / "train" / "frozen"
    without = (f"~protocol.metrics.{name}" for name in ("lpips", "niqe", "brisque"))
    evaluate = words(
        *("evaluate", reds, outputs, f"checkpoint={run}/checkpoints/last.ckpt", "efficiency=null"),
        *("save_images=0", *without),
    )
    before = sys.argv
    for command in (train, evaluate):
        sys.argv = ["spikerec", *command]
        cli.main()
    sys.argv = before
    with (run / "metrics.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    ((record,), _) = Store(outputs / "results").read_all()
    return {
        "loss": [float(row["train/loss"]) for row in rows if row.get("train/loss")],
        "validation": {
            name: [float(row[f"val/{name}"]) for row in rows if row.get(f"val/{name}")]
            for name in ("psnr", "ssim")
        },
        "evaluation": {name: record.mean(name) for name in ("psnr", "ssim")},
        "versions": {name: version(name) for name in DEPENDENCIES}
        | {"python": platform.python_version(), "processor": platform.machine()},
    }


def moved(frozen: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """The figures that differ by more than they may."""
    of_loss, of_metric = TOLERANCES.get(platform.machine(), (1e-3, 1e-2))
    pairs = {
        **{f"loss of step {k}": pair for k, pair in enumerate(_pairs(frozen, found, "loss"), 1)},
        **{
            f"validation {name}": pair
            for name in ("psnr", "ssim")
            for pair in _pairs(frozen["validation"], found["validation"], name)
        },
        **{
            f"evaluation {name}": (frozen["evaluation"][name], found["evaluation"][name])
            for name in ("psnr", "ssim")
        },
    }
    return [
        f"{name}: {before} → {now}"
        for name, (before, now) in pairs.items()
        if abs(now - before) > (of_loss * abs(before) if "loss" in name else of_metric)
    ]


def _pairs(frozen: dict[str, Any], found: dict[str, Any], key: str) -> list[tuple[float, float]]:
    return list(zip(frozen[key], found[key], strict=True))


def suspects(frozen: dict[str, Any], found: dict[str, Any]) -> str:
    """The dependencies whose versions moved as well."""
    names = [
        f"{name} {before} → {found['versions'][name]}"
        for name, before in frozen["versions"].items()
        if found["versions"][name] != before
    ]
    return ", ".join(names) or "no dependency moved: the code did"


def test_figures_are_those_that_were_frozen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    frozen, found = json.loads(FROZEN.read_text(encoding="utf-8")), measure(tmp_path)
    assert len(found["loss"]) == 20
    assert not moved(frozen, found), f"{moved(frozen, found)}; {suspects(frozen, found)}"


def test_drift_and_its_suspects_are_named() -> None:
    frozen = json.loads(FROZEN.read_text(encoding="utf-8"))
    drifted = json.loads(FROZEN.read_text(encoding="utf-8"))
    assert moved(frozen, drifted) == []
    assert suspects(frozen, drifted) == "no dependency moved: the code did"
    drifted["loss"][3] *= 1.01
    drifted["evaluation"]["psnr"] += 0.1
    drifted["versions"]["torch"] = "9.9"
    assert [line.split(":")[0] for line in moved(frozen, drifted)] == [
        "loss of step 4",
        "evaluation psnr",
    ]
    assert suspects(frozen, drifted) == f"torch {frozen['versions']['torch']} → 9.9"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        figures = measure(Path(scratch))
    FROZEN.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
