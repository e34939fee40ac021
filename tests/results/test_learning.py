"""Learning curves on a board: together only where comparable, and never a reason to fail."""

from __future__ import annotations

from typing import Any

import pytest

from spikerec.results.boards import gather
from spikerec.results.formats import board_tables, markdown
from spikerec.results.learning import learning, learning_tables
from spikerec.results.record import Record
from spikerec.results.tables import standings
from tests.results.records import make_record, trained_record


def groups(*records: Record) -> list[list[str]]:
    (board,), _ = gather(records)
    return [list(group.curves) for group in learning(board)]


def test_curves_of_one_budget_and_validation_set_are_together() -> None:
    assert groups(trained_record("STIR"), trained_record("WGSE")) == [["STIR", "WGSE"]]


@pytest.mark.parametrize(
    "changes",
    [
        {"budget": {"seconds": 60.0, "clock": "wall", "machine": "Test CPU"}},
        {"budget": {"seconds": 180.0, "clock": "wall", "machine": "Other CPU"}},
        {"budget": None},
        {"clock": "processor"},
        {"digest": "other"},
    ],
)
def test_curves_of_other_budgets_clocks_machines_and_validations_are_apart(
    changes: dict[str, Any],
) -> None:
    records = [trained_record("SSIR"), trained_record("STIR"), trained_record("WGSE", **changes)]
    assert groups(*records) == [["STIR", "SSIR"], ["WGSE"]]


def test_the_table_says_who_is_still_rising_and_who_has_no_curve() -> None:
    rising = trained_record("STIR", psnr=(20.0, 24.0, 28.0, 32.0))
    level = trained_record("SSIR", psnr=(29.0, 30.0, 30.0, 29.5), seconds=None)
    (board,), _ = gather([rising, level, make_record("WGSE"), make_record("TFI")])
    (table,) = learning_tables(board)
    assert table.title == (
        "sreds (test): while training, budget of 3 min, on Test CPU, validated on photos (8 of its "
        "samples)"
    )
    cells = {
        label: [row[column.key].plain(column.digits) for column in table.columns]
        for label, row in table.rows.items()
    }
    assert cells["STIR"] == [
        *("400 of 96×96", "3 min", "20.00", "24.00", "28.00", "32.00", "+4.00"),
    ]
    assert cells["SSIR"] == ["400 of 96×96", "–", "29.00", "30.00", "30.00", "29.50", "−0.50"]
    assert "Their time is not known, samples take its place: SSIR." in table.notes
    assert table.notes[-1] == "Their records state no curve: WGSE."
    text = markdown(board_tables([board], standings([board])))
    assert "| STIR | 400 of 96×96 |" in text


def test_times_by_the_budgets_rate_are_named() -> None:
    (board,), _ = gather([trained_record("STIR", is_measured=False), trained_record("WGSE")])
    (table,) = learning_tables(board)
    (said,) = (note for note in table.notes if "measured before" in note)
    assert said.endswith("of STIR.")


@pytest.mark.parametrize(
    "curve",
    [
        5,
        {},
        {"psnr": [1.0]},
        {"psnr": [20.0, None, 22.0, 23.0]},
        {"psnr": [20.0, 21.0]},
        {"psnr": [20.0, -1e308, 1e308, 23.0]},
        {"samples": [100, 50, 300, 400]},
        {"seconds": [-1.0, 2.0, 3.0, 4.0]},
        {"samples": list(range(100_000)), "psnr": [1.0] * 100_000, "seconds": None},
        {"clock": "sundial"},
        {"validation": None},
        {"validation": {"sets": "photos", "samples": "all", "digest": 5}},
    ],
)
def test_a_curve_that_makes_no_sense_is_no_curve(curve: Any) -> None:
    good = trained_record("WGSE")
    own = good.training["curve"]
    given = own | curve if isinstance(curve, dict) and curve else curve
    record = make_record("STIR", training=good.training | {"curve": given})
    (board,), problems = gather([record, good])
    assert [list(group.curves) for group in learning(board)] == [["WGSE"]]
    assert not problems
