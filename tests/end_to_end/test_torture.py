"""Some trials of `make torture`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [
        *("reconstruct a.h5", "reconstruct a.gif", "simulate s.npz", "evaluate", "export"),
        *("weights pack", "weights import", "bench", "leaderboard", "view", "data inspect"),
    ],
)
def test_nothing_is_lost(case: str) -> None:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    outcome = subprocess.run(
        [sys.executable, "-m", "tests.torture", "--trials", "1", "--case", case],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
