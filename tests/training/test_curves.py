from __future__ import annotations

from pathlib import Path

from spikerec.training.curves import CurveLog, read_rows


def test_rows_of_a_step_are_one_and_columns_may_come_later(tmp_path: Path) -> None:
    log = CurveLog(tmp_path / "metrics.csv", flush_every=1)
    log.log_metrics({"train/loss": 0.5}, step=0)
    log.log_metrics({"train/loss": 0.25}, step=1)
    log.log_metrics({"val/psnr": 30.0}, step=1)
    assert read_rows(log.path) == {
        0: {"train/loss": "0.5"},
        1: {"train/loss": "0.25", "val/psnr": "30.0"},
    }


def test_continued_log_replaces_what_it_logs_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    killed = CurveLog(path, flush_every=1)
    for step in range(4):
        killed.log_metrics({"train/loss": 1.0 / (step + 1)}, step=step)
    with path.open("a") as file:
        file.write("4")  # a line that a kill cut short
    continued = CurveLog(path, flush_every=100)
    continued.log_metrics({"train/loss": 9.0}, step=3)
    continued.finalize("success")
    assert {step: row["train/loss"] for step, row in read_rows(path).items()} == {
        0: "1.0",
        1: "0.5",
        2: repr(1 / 3),
        3: "9.0",
    }


def test_values_are_kept_to_the_last_bit(tmp_path: Path) -> None:
    log = CurveLog(tmp_path / "metrics.csv", flush_every=1)
    log.log_metrics({"train/loss": 0.1 + 0.2}, step=0)
    assert float(read_rows(log.path)[0]["train/loss"]) == 0.1 + 0.2
