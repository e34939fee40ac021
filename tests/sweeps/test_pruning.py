"""Pruning: the study's verdict ends training, and is kept in the run's folder."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest

from spikerec.sweeps import Job, Pruning
from spikerec.sweeps.pruning import link

optuna = pytest.importorskip("optuna")


def trainer(epoch: int, psnr: float) -> Any:
    return SimpleNamespace(
        sanity_checking=False,
        is_global_zero=True,
        callback_metrics={"val/psnr": psnr},
        current_epoch=epoch,
        should_stop=False,
        strategy=SimpleNamespace(broadcast=lambda value: value),
    )


def train(folder: Path, curve: list[float], mode: Literal["max", "min"] = "max") -> int:
    """Epochs run before the callback ends it."""
    pruner = optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=0)
    callback = Pruning(folder, "val/psnr", mode, pruner)
    for epoch, psnr in enumerate(curve):
        state = trainer(epoch, psnr)
        callback.on_validation_end(state, None)  # type: ignore[arg-type]
        if state.should_stop:
            return epoch + 1
    return len(curve)


@pytest.mark.parametrize(("mode", "sign"), [("max", 1), ("min", -1)])
def test_a_trial_worse_than_the_median_ends_early(
    mode: Literal["max", "min"], sign: int, tmp_path: Path
) -> None:
    journal = tmp_path / "study.journal"
    backend = optuna.storages.journal.JournalFileBackend(str(journal))
    study = optuna.create_study(
        study_name="search",
        storage=optuna.storages.JournalStorage(backend),
        direction="maximize",
    )
    good, bad = study.ask(), study.ask()
    link(tmp_path / "good", journal, "search", good.number)
    link(tmp_path / "bad", journal, "search", bad.number)
    assert train(tmp_path / "good", [sign * 20.0, sign * 25.0, sign * 30.0], mode) == 3
    study.tell(good, 30.0)
    assert train(tmp_path / "bad", [sign * 10.0, sign * 11.0, sign * 12.0], mode) < 3
    assert Job((), tmp_path / "bad").outcome() == "pruned"
    assert Job((), tmp_path / "good").outcome() == "unfinished"  # only training finishes a run


def test_a_run_that_is_no_trial_is_left_alone(tmp_path: Path) -> None:
    assert train(tmp_path, [30.0, 10.0, 0.0]) == 3
