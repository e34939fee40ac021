"""Seconds of training are those of its steps, without validation, continued runs included."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from spikerec.training import training_clock
from spikerec.training.training_clock import TrainingClock


class Training:
    """A training by hand, on a clock that is set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, state: Any = None, step: int = 0) -> None:
        self.now = 1000.0
        monkeypatch.setattr(training_clock, "CLOCKS", {"wall": lambda: self.now})
        self.logged: list[float] = []
        self.trainer: Any = SimpleNamespace(global_step=step, sanity_checking=True)
        self.module: Any = SimpleNamespace(device=torch.device("cpu"), log=self.log)
        self.clock = TrainingClock("wall")
        if state is not None:
            self.clock.load_state_dict(state)
        self.validate(50.0)
        self.trainer.sanity_checking = False
        self.now += 7
        self.clock.on_train_start(self.trainer, self.module)

    def log(self, name: str, value: float, *, sync_dist: bool) -> None:
        assert (name, sync_dist) == ("time/training", True)
        self.logged.append(value)

    def steps(self, *seconds: float) -> None:
        for one in seconds:
            self.now += one
            self.clock.on_train_batch_end(self.trainer, self.module, None, None, 0)

    def validate(self, seconds: float) -> None:
        self.clock.on_validation_start(self.trainer, self.module)
        self.now += seconds
        self.clock.on_validation_epoch_end(self.trainer, self.module)
        self.clock.on_validation_end(self.trainer, self.module)

    def begin_epoch(self) -> None:
        self.clock.on_train_epoch_start(self.trainer, self.module)


def test_steps_count_and_validations_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training(monkeypatch)
    training.begin_epoch()
    training.steps(1.0, 2.0)
    training.validate(100.0)  # within the epoch
    training.steps(4.0)
    training.validate(100.0)
    training.now += 30.0  # a checkpoint at the epoch's end
    training.begin_epoch()
    training.steps(8.0)
    training.validate(100.0)
    assert training.logged == [3.0, 7.0, 15.0]


def test_a_continued_run_goes_on_from_the_seconds_of_its_checkpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = Training(monkeypatch)
    first.begin_epoch()
    first.steps(1.0, 2.0)
    state = first.clock.state_dict()
    first.steps(4.0)  # lost
    second = Training(monkeypatch, state, step=2)
    second.begin_epoch()
    second.steps(8.0)
    second.validate(100.0)
    assert second.logged == [11.0]


def test_a_run_that_goes_on_within_an_epoch_counts_the_rest_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = Training(monkeypatch)
    first.begin_epoch()
    first.steps(1.0, 2.0)
    second = Training(monkeypatch, first.clock.state_dict(), step=2)
    second.steps(8.0)  # the trainer begins no epoch
    second.validate(100.0)
    second.begin_epoch()
    second.steps(16.0)
    second.validate(100.0)
    assert second.logged == [11.0, 27.0]


def test_a_run_whose_checkpoint_states_no_seconds_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training(monkeypatch, step=5)
    training.begin_epoch()
    training.steps(1.0)
    training.validate(1.0)
    assert training.logged == []
    again = Training(monkeypatch, training.clock.state_dict(), step=6)
    again.begin_epoch()
    again.steps(1.0)
    again.validate(1.0)
    assert again.logged == []
