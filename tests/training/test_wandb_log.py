from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from spikerec.training.wandb_log import log_table
from tests.fakes import fake_reds
from tests.training.command import call, words
from tests.training.wandb_files import read_runs

OPTIONS = (
    "name=run",
    "logger=wandb",
    "logger.wandb.artifact=best",
    "callbacks.last.every_n_steps=2",
    "callbacks.video.every_n_epochs=1",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that was told to end in its second epoch, and continued."""
    reds, outputs = tmp_path_factory.mktemp("reds"), tmp_path_factory.mktemp("outputs")
    fake_reds(reds)
    command = words("train", reds, outputs, *OPTIONS)
    target = "_target_:tests.training.interruptions.SendSignal"
    told = f"{{{target},signum:SIGTERM,hook:on_train_batch_start,step:8}}"
    with pytest.MonkeyPatch.context() as patch:
        with pytest.raises(SystemExit):
            call(patch, [*command, f"callbacks.progress={told}"])
        call(patch, command)
    return outputs / "train/run"


def test_continued_training_is_one_wandb_run(run: Path) -> None:
    first, second = read_runs(run)
    assert first.about["id"] == second.about["id"] == (run / "wandb_id.txt").read_text().strip()
    assert max(first.values("trainer/global_step")) <= max(second.values("trainer/global_step"))


def test_run_is_described(run: Path) -> None:
    [_, written] = read_runs(run)
    assert written.about["project"] == "spikerec"
    assert written.about["job_type"] == "train"
    assert written.about["tags"] == ["ssir", "l1"]
    assert written.config["model"]["channels"] == 4
    assert written.config["optimizer"]["lr"] == pytest.approx(1e-4)


def test_everything_of_a_run_is_logged(run: Path) -> None:
    first, second = read_runs(run)
    expected = {
        *("train/loss", "train/loss/l1", "train/gradient_norm", "lr-Adam", "val/psnr"),
        *("model/parameters", "model/gmacs", "time/data", "time/samples_per_second"),
    }
    logged = first.logged() | second.logged()
    assert expected <= logged
    report = json.loads((run / "finished.json").read_text(encoding="utf-8"))
    assert second.summary["best/val/psnr"] == pytest.approx(report["best"])
    assert len(second.artifacts) == 1


def test_pictures_are_not_black(run: Path) -> None:
    pictures = list((run / "wandb").glob("*/files/media/images/**/*.png"))
    assert pictures
    for path in pictures:
        with Image.open(path) as picture:
            assert np.asarray(picture).max() > 50
    assert list((run / "wandb").glob("*/files/media/videos/**/*.gif"))


def test_online_without_a_key_goes_on_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    table = pd.DataFrame({"psnr": [38.8]})
    with caplog.at_level(logging.WARNING):
        log_table("ablation", table, tmp_path, mode="online", project="spikerec")
    assert "wandb sync" in caplog.text
    assert len(read_runs(tmp_path)) == 1


def test_table_is_written(tmp_path: Path) -> None:
    table = pd.DataFrame({"method": ["STIR", "WGSE"], "psnr": [38.8, 37.7]})
    log_table("leaderboard", table, tmp_path, project="spikerec", job_type="table")
    [run] = read_runs(tmp_path)
    assert run.about["job_type"] == "table"
    [file] = tmp_path.rglob("leaderboard*.table.json")
    content = json.loads(file.read_text(encoding="utf-8"))
    assert content["columns"] == ["method", "psnr"]
    assert content["data"] == [["STIR", 38.8], ["WGSE", 37.7]]
