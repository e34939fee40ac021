"""How long commands take to answer, each in a process of its own."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

HELP = "from spikerec.cli import main; import sys; sys.argv = ['spikerec', '--help']; main()"
IMPORT = "import spikerec.apps.train"


@dataclass(frozen=True)
class Startup:
    """A command's time from start to end, median of a few."""

    what: str
    goal_s: float
    median_s: float


def measure_startups(runs: int = 3) -> list[Startup]:
    """`spikerec --help`, and the imports of `spikerec train`, most of its time to a first step."""
    return [
        Startup("spikerec --help", 0.3, seconds(HELP, runs)),
        Startup("spikerec train: imports", 12, seconds(IMPORT, runs)),
    ]


def seconds(program: str, runs: int) -> float:
    """Median time of a Python program."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times)
