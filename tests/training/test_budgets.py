"""The steps of a budget are kept with the run, and never guessed from a damaged file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from spikerec.errors import ConfigError
from spikerec.training.budgets import Budget, budget_path

BUDGET = Budget(60.0, 0.5, epochs=3, steps_per_epoch=40, batch=4, machine="here", clock="processor")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = budget_path(tmp_path)
    assert Budget.read(path) is None
    BUDGET.write(path)
    assert Budget.read(path) == BUDGET


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"steps_per_epoch": 0}, "steps_per_epoch must be above 0"),
        ({"seconds": float("nan")}, "seconds must be above 0|not finite"),
        ({"batch": "four"}, "batch"),
        ({"epochs": 2.5}, "epochs"),
        ({"clock": "sun"}, "clock"),
    ],
)
def test_a_damaged_file_is_refused_and_not_measured_anew(
    changed: dict[str, Any], told: str, tmp_path: Path
) -> None:
    path = budget_path(tmp_path)
    path.write_text(json.dumps(BUDGET.describe() | changed))
    with pytest.raises(ConfigError, match=rf"budget.json is damaged \(.*({told})"):
        Budget.read(path)


@pytest.mark.parametrize("content", ["", "{", "[1]", "{}", '{"seconds": 1.0}'])
def test_a_file_that_is_no_budget_is_refused(content: str, tmp_path: Path) -> None:
    path = budget_path(tmp_path)
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"budget\.json is damaged"):
        Budget.read(path)
