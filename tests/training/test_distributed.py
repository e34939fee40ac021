from __future__ import annotations

import os
import sys

import pytest

from spikerec.errors import ConfigError
from spikerec.training.distributed import gather, job_processes, scaled_rate


@pytest.mark.parametrize(
    ("scaling", "expected"), [("none", 1e-4), ("linear", 4e-4), ("sqrt", 2e-4)]
)
def test_learning_rate_of_four_processes(scaling: str, expected: float) -> None:
    assert scaled_rate(1e-4, 4, scaling) == pytest.approx(expected)  # type: ignore[arg-type]


def test_unknown_scaling_is_refused() -> None:
    with pytest.raises(ConfigError, match="lr_scaling must be one of none, linear, sqrt"):
        scaled_rate(1e-4, 4, "cubic")  # type: ignore[arg-type]


def test_a_job_leaves_no_trace_of_its_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setenv("MASTER_PORT", "1234")
    arguments = sys.argv
    with job_processes(["spikerec", "train", "seed=1"]):
        assert sys.argv == ["spikerec", "train", "seed=1"]
        os.environ["LOCAL_RANK"] = "0"  # as Lightning does
        os.environ["MASTER_PORT"] = "5678"
    assert sys.argv is arguments
    assert "LOCAL_RANK" not in os.environ
    assert os.environ["MASTER_PORT"] == "1234"


def test_one_process_gathers_its_own() -> None:
    scores = {"reds": {"a/1": {"psnr": 30.0}}}
    assert gather(scores) == scores
