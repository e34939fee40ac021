"""The learning curve of a run: honest in its times, comparable by its validation, and bounded."""

from __future__ import annotations

from typing import Any

import pytest

from spikerec.training.learning import MOST_POINTS, learning_curve

REPORT: dict[str, Any] = {"batch": 4, "budget": {"seconds_per_step": 0.5, "clock": "processor"}}
SETTINGS = {"data.val_samples": 8, "data.margin": 30, "protocol.clip": True, "optimizer.lr": 1e-3}
FACTS = {"data of photos": "abc", "learning rate of all processes": 1e-3}


def rows(*seconds: float | None, epoch: int = 10) -> dict[int, dict[str, str]]:
    """A validation after every `epoch` steps, of which PSNR rises by 1 dB; training in between."""
    found: dict[int, dict[str, str]] = {}
    for number, one in enumerate(seconds, 1):
        found[number * epoch - 5] = {"train/loss": "0.5"}
        timed = {} if one is None else {"time/training": repr(one)}
        found[number * epoch - 1] = {"val/psnr": str(20 + number)} | timed
    return found


def curve_of(**changes: Any) -> dict[str, Any]:
    given = {"rows": rows(3.0, 6.5), "report": REPORT, "settings": SETTINGS, "facts": FACTS}
    found = learning_curve(**given | changes)
    assert found is not None
    return found


def test_a_curve_has_the_samples_and_the_measured_seconds_of_each_validation() -> None:
    curve = curve_of()
    assert (curve["samples"], curve["seconds"], curve["psnr"]) == ((40, 80), (3.0, 6.5), (21, 22))
    assert (curve["clock"], curve["is_measured"]) == ("processor", True)
    assert curve["validation"]["sets"] == ("photos",)
    assert curve["validation"]["samples"] == 8


def test_seconds_that_were_not_logged_are_those_that_the_budget_counts() -> None:
    curve = curve_of(rows=rows(3.0, None))
    assert (curve["seconds"], curve["is_measured"]) == ((5.0, 10.0), False)


def test_without_a_budget_times_that_were_not_logged_are_unknown() -> None:
    curve = curve_of(rows=rows(None, None), report={"batch": 4})
    assert (curve["seconds"], curve["samples"], curve["clock"]) == (None, (40, 80), "wall")


def test_a_long_training_keeps_its_first_and_its_last_validation() -> None:
    curve = curve_of(rows=rows(*(float(k) for k in range(1, 901))))
    assert len(curve["psnr"]) == MOST_POINTS
    assert (curve["seconds"][0], curve["seconds"][-1]) == (1.0, 900.0)


@pytest.mark.parametrize(
    ("changes", "is_comparable"),
    [
        ({"settings": SETTINGS | {"optimizer.lr": 1.0}}, True),
        ({"settings": SETTINGS | {"data.val_samples": 4}}, False),
        ({"settings": SETTINGS | {"protocol.clip": False}}, False),
        ({"settings": SETTINGS | {"protocol.metrics.psnr.border": 4}}, False),
        ({"facts": FACTS | {"data of photos": "abd"}}, False),
    ],
)
def test_scores_are_comparable_where_data_and_protocol_are_the_same(
    changes: dict[str, Any], is_comparable: bool
) -> None:
    digests = [curve_of(**one)["validation"]["digest"] for one in ({}, changes)]
    assert (digests[0] == digests[1]) is is_comparable


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": {}},
        {"rows": {4: {"train/loss": "1.0"}}},
        {"rows": {4: {"val/psnr": "inf"}, 9: {"val/psnr": "?"}}},
        {"rows": rows(5.0, 4.0)},
        {"report": {}},
    ],
)
def test_a_run_without_scores_or_with_damaged_files_has_no_curve(changes: dict[str, Any]) -> None:
    given = {"rows": rows(3.0), "report": REPORT, "settings": SETTINGS, "facts": FACTS}
    assert learning_curve(**given | changes) is None
