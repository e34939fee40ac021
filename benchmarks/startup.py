"""Response times of commands, each in a process of its own."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

HELP = ("--help",)
WRONG = ("train", "optimizer.rate=0.1")
TWELVE_JOBS = ("seed=0,1,2,3", "optimizer.lr=1e-3,1e-4,1e-5")
#: One step of a small network on a few small pictures, made here: what is left is starting.
FIRST_STEP = (
    "train",
    *("model=ssir", "model.channels=4", "loss=l1", "data=synthetic", "data.crop=[16,16]"),
    *("data.batch_size=2", "data.samples_per_epoch=2", "data.num_workers=0"),
    *("data.sets.synthetic.scenes={train: 1, val: 1, test: 1}",),
    "data.sets.synthetic.images_per_scene=8",
    *("data.sets.synthetic.height=32", "data.sets.synthetic.width=32"),
    *("trainer.accelerator=cpu", "trainer.max_epochs=1", "+trainer.limit_val_batches=0"),
    *("trainer.enable_progress_bar=false", "callbacks.progress=null"),
)


@dataclass(frozen=True)
class Startup:
    """A command's time from start to end, median of a few.

    Attributes:
        what: the command.
        goal_s: most seconds of processor time.
        median_s: by the clock.
        cpu_s: by processor time, which other programs on the machine disturb less.
    """

    what: str
    goal_s: float
    median_s: float
    cpu_s: float

    @property
    def is_met(self) -> bool:
        """True if the processor time, all of it in one thread, meets the goal."""
        return self.cpu_s <= self.goal_s


def measure_startups(runs: int = 3) -> list[Startup]:
    """Help, words that are wrong, a sweep that is finished, and the first step of a training."""
    with tempfile.TemporaryDirectory() as folder:
        where = [f"paths.data={folder}/data", f"paths.outputs={folder}/outputs"]
        # Each run needs a name of its own: a finished one would be skipped.
        trainings = [[*FIRST_STEP, *where, f"name={run}"] for run in range(runs + 1)]
        timed(trainings.pop())  # makes the pictures
        sweep = [FIRST_STEP[0], "-m", *FIRST_STEP[1:], *where, *TWELVE_JOBS]
        for _ in range(2):  # trains, then finds all finished
            timed(sweep)
        return [
            startup("spikerec --help", 0.3, [list(HELP)] * runs),
            startup("spikerec train, an option it does not have", 1, [list(WRONG)] * runs),
            startup("spikerec train -m: 12 finished jobs", 5, [sweep] * runs),
            startup("spikerec train: to its first step", 12, trainings),
        ]


def startup(what: str, goal_s: float, commands: list[list[str]]) -> Startup:
    """Medians over commands that do the same."""
    times = [timed(words) for words in commands]
    wall, cpu = (statistics.median(column) for column in zip(*times, strict=True))
    return Startup(what, goal_s, wall, cpu)


def timed(words: list[str]) -> tuple[float, float]:
    """Seconds of `spikerec` with these words, by the clock and of one core.

    Raises:
        subprocess.CalledProcessError: it fails, for other words than the wrong ones.
    """
    program = Path(sys.executable).with_name("spikerec")
    before, start = os.times(), time.perf_counter()
    subprocess.run(
        [program, *words],
        check=words != list(WRONG),
        capture_output=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    wall, after = time.perf_counter() - start, os.times()
    user, system = (
        after.children_user - before.children_user,
        after.children_system - before.children_system,
    )
    return wall, user + system
