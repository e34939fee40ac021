"""One trial of each kind of `make torture`, over every command that it knows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.torture.cases import Case, cases
from tests.torture.faults import DEAD_CHILD, KINDS, TWO_AT_ONCE

ROOT = Path(__file__).parents[2]

#: Kinds that a command of many seconds is tried with.
SOME = ("SIGKILL", "SIGTERM", DEAD_CHILD, TWO_AT_ONCE, "full disk", "no memory")


@pytest.mark.slow
@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_nothing_is_lost(case: Case) -> None:
    kinds = [word for kind in (SOME if case.is_slow else KINDS) for word in ("--fault", kind)]
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")])
    outcome = subprocess.run(
        [sys.executable, "-m", "tests.torture", "--trials", "1", "--case", case.name, *kinds],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
