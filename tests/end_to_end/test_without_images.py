"""Training on real streams, which have no true images: learnt and judged by the spikes alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

from spikerec.training import sweep_score
from spikerec.training.curves import read_rows
from tests.fakes import fake_real
from tests.training.command import MODELS, TRAINING, call


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """A training of three epochs on two streams."""
    fake_real(tmp_path / "real")
    return [
        *("train", *MODELS["ssir"], *TRAINING),
        *("data=real", f"data.sets.real.root={tmp_path / 'real'}", "data.sets.real.key_stride=40"),
        *("data.sets.real.height=24", "data.sets.real.width=40", "trainer.accelerator=cpu"),
        *("loss=self_supervised", f"paths.outputs={tmp_path}", "name=run", "optimizer.lr=1e-3"),
    ]


def test_best_weights_are_those_of_the_lowest_loss(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call(monkeypatch, command)
    run = tmp_path / "train/run"
    report = json.loads((run / "finished.json").read_text())
    rows = read_rows(run / "metrics.csv").values()
    losses = [float(row["val/loss"]) for row in rows if "val/loss" in row]
    assert len(losses) == 3
    assert report["monitor"] == "val/loss"
    assert report["best"] == pytest.approx(min(losses))
    assert yaml.safe_load((run / "config.yaml").read_text())["monitor"]["mode"] == "min"
    best = torch.load(run / "checkpoints/best.ckpt", weights_only=True)  # noqa: TID251 (ours)
    assert best["epoch"] == losses.index(min(losses))
    log = (run / "train.log").read_text(encoding="utf-8")
    assert "validation has no true images for val/psnr: judged by val/loss" in log
    assert f"best val/loss {report['best']:.4g}: " in log
    assert "nan" not in log


@pytest.mark.parametrize(
    "words", [["+trainer.limit_val_batches=0", "callbacks.best=null"], ["trainer.max_steps=1"]]
)
def test_without_validation_the_last_weights_are_named(
    words: list[str], command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call(monkeypatch, [*command, *words])
    log = (tmp_path / "train/run/train.log").read_text(encoding="utf-8")
    assert "nothing was validated: the last weights are in" in log
    assert "nan" not in log


def test_a_loss_of_extras_judges_a_network_in_eval_mode(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SSML's losses need the image of its teacher, which it returns in training alone."""
    words = [word for word in command if not word.startswith(("model", "loss="))]
    call(monkeypatch, [*words, "model=ssml_lite", "loss=ssml", "data.crop=[24,24]"])
    rows = read_rows(tmp_path / "train/run/metrics.csv").values()
    assert len([row for row in rows if float(row.get("val/loss", "nan")) > 0]) == 3


def test_searches_see_a_score_that_is_better_when_higher() -> None:
    assert sweep_score({"best": 0.25, "mode": "min"}) == -0.25
    assert sweep_score({"best": 25.0, "mode": "max"}) == 25.0
    assert sweep_score({"best": None, "mode": "max"}) is None
