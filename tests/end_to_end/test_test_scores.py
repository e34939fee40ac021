"""Test scores that a training or a sweep asks for become records."""

from __future__ import annotations

from pathlib import Path

import pytest

from spikerec.results import Store
from spikerec.results.boards import gather
from spikerec.results.trained import training_of
from tests.fakes import fake_reds
from tests.training.command import call, words

METRICS = tuple(f"~protocol.metrics.{name}" for name in ("lpips", "niqe", "brisque"))


def test_a_sweeps_runs_are_rows_of_the_board(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_reds(tmp_path / "reds")
    rates = "optimizer.lr=1e-2,1e-3"
    options = (rates, "trainer.max_epochs=1", "name=mine", *METRICS)
    verb, *rest = words("train", tmp_path / "reds", tmp_path, *options)
    command = [verb, "-m", *rest]
    call(monkeypatch, command)
    assert not (tmp_path / "results").exists()  # nobody asked
    for _ in range(2):  # finished runs are tested, and once
        call(monkeypatch, [*command, "test=true"])
        records, problems = Store(tmp_path / "results").read_all()
        assert not problems
        assert len(records) == 2
    (board,), _ = gather(records)
    assert len(board.rows) == 2
    assert all(label.startswith("SSIR (run ") for label in board.rows)
    for row in board.rows.values():
        training = training_of(row)
        assert training.data == "reds"
        assert training.samples == 12
        assert training.source.startswith("run mine_")
        assert row.record.dataset.split == "test"
        assert len(row.record.samples.keys) == 3
