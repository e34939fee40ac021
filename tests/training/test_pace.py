"""The time that a whole run has left."""

from __future__ import annotations

import itertools
import re
import time
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
from lightning.pytorch.callbacks import Callback, Timer
from lightning.pytorch.demos.boring_classes import BoringModel

from spikerec.training.monitors import Progress
from spikerec.training.pace import Pace


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that a test sets."""
    made = SimpleNamespace(now=100.0)
    monkeypatch.setattr(time, "monotonic", lambda: made.now)
    return made


def trainer_of(total: float, step: int = 0, *callbacks: Callback) -> Any:
    return SimpleNamespace(
        estimated_stepping_batches=total, global_step=step, callbacks=list(callbacks)
    )


def test_steps_left_take_the_mean_of_those_taken(clock: SimpleNamespace) -> None:
    trainer, pace = trainer_of(1000), Pace()
    pace.begin(trainer)
    assert pace.seconds_left(trainer) is None
    trainer.global_step, clock.now = 250, 150.0
    assert pace.seconds_left(trainer) == pytest.approx(150)


def test_steps_before_a_continued_run_are_done_and_not_timed(clock: SimpleNamespace) -> None:
    trainer, pace = trainer_of(1000, 900), Pace()
    pace.begin(trainer)
    trainer.global_step, clock.now = 910, 101.0
    assert pace.seconds_left(trainer) == pytest.approx(9)


@pytest.mark.parametrize("total", [float("inf"), -1])
def test_a_training_without_end_has_no_time_left_to_tell(
    total: float, clock: SimpleNamespace
) -> None:
    trainer, pace = trainer_of(total), Pace()
    pace.begin(trainer)
    trainer.global_step, clock.now = 250, 150.0
    assert pace.seconds_left(trainer) is None


def test_the_first_limit_counts() -> None:
    timer = Timer(timedelta(seconds=60))
    endless, pace = trainer_of(float("inf"), 0, timer), Pace()
    pace.begin(endless)
    assert pace.seconds_left(endless) == pytest.approx(60, abs=1)
    assert Pace().seconds_left(trainer_of(10_000_000, 1, timer)) == pytest.approx(60, abs=1)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_log_has_a_line_of_progress_every_minute(
    is_terminal: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: is_terminal)
    monkeypatch.setattr(time, "monotonic", itertools.count(step=7.5).__next__)  # at each batch
    caplog.set_level("INFO", "spikerec")
    trainer = L.Trainer(
        **{"accelerator": "cpu", "limit_train_batches": 20, "limit_val_batches": 20},
        **{"logger": False, "enable_checkpointing": False, "max_epochs": 1},
        **{"enable_model_summary": False, "num_sanity_val_steps": 0},
        callbacks=[Progress()],
    )
    trainer.fit(BoringModel())
    lines = [record.message for record in caplog.records if " of 20" in record.message]
    assert bool(lines) is not is_terminal
    if lines:
        assert re.fullmatch(r"epoch 0: batch \d+ of 20; the run has 0:0\d:\d\d left", lines[0])
        assert re.match(r"epoch 0: validation batch \d+ of 20", lines[-1])
        assert len(lines) < 20


class Noted(Callback):
    """Notes what the bar shows after each batch."""

    def __init__(self) -> None:
        self.bar = Progress()
        self.shown: list[dict[str, Any]] = []

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.bar.on_train_start(trainer, pl_module)

    def on_train_batch_end(self, trainer: L.Trainer, *arguments: Any) -> None:
        self.shown.append(self.bar.get_metrics(trainer, arguments[0]))


@pytest.mark.filterwarnings("ignore")  # Lightning's, of a trainer of one's own
@pytest.mark.parametrize(
    ("limits", "steps"),
    [
        ({"max_epochs": 2}, 8),
        ({"max_steps": 6}, 6),
        ({"max_epochs": 5, "max_steps": 3}, 3),
        ({"max_epochs": 2, "accumulate_grad_batches": 2}, 8),
    ],
)
def test_the_bar_counts_down_to_the_end_of_the_run(limits: dict[str, int], steps: int) -> None:
    noted = Noted()
    trainer = L.Trainer(
        **limits,  # type: ignore[arg-type]
        **{"accelerator": "cpu", "limit_train_batches": 4, "limit_val_batches": 0},
        **{"logger": False, "enable_checkpointing": False, "enable_progress_bar": False},
        **{"enable_model_summary": False},
        callbacks=[noted],
    )
    trainer.fit(BoringModel())
    assert len(noted.shown) == steps
    assert noted.shown[-1]["run left"] == "0:00:00"
    assert "v_num" not in noted.shown[-1]
