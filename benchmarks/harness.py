"""Two ways to one result, timed in turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

#: A run shorter than this is repeated until it is not, so that the clock does not matter.
SHORTEST_RUN_S = 0.02
#: Pairs of runs below which no median is stated.
LEAST_PAIRS = 3


@dataclass(frozen=True)
class Case:
    """One size of a benchmark, ready to run.

    Attributes:
        ours: what is measured.
        reference: what it is measured against.
        share: part of our work that the reference does, where all of it would take minutes; its
            time is divided by it.
        of_ours: the part of our result that the reference gives as well.
        note: a fact to state beside the ratio.
        threads: PyTorch's threads for both; None for as many as the process has.
        settles: run each once more, unmeasured, before it is timed: the other one leaves freed
            memory in another state than a series of its own runs would.
    """

    ours: Callable[[], Any]
    reference: Callable[[], Any]
    share: float = 1.0
    of_ours: Callable[[Any], Any] = lambda result: result
    note: str = ""
    threads: int | None = None
    settles: bool = False

    def difference(self, *, trains: bool = False) -> float:
        """Largest difference between both results (see `difference`)."""
        with torch.inference_mode(not trains):
            return difference(self.of_ours(self.ours()), self.reference())


@dataclass(frozen=True)
class Benchmark:
    """A claim: ours takes at most 1 / goal of the reference's time and gives the same.

    Attributes:
        name: what `--only` takes.
        what: what is done, in the words of the table.
        against: the reference, likewise.
        goal: least ratio of the reference's time to ours.
        tolerance: largest difference allowed between the results.
        sizes: `full`, `quick` and `tiny` (for tests) → what `prepare` takes.
        prepare: makes a case of a size, with a folder for files.
        trains: keep gradients while running.
    """

    name: str
    what: str
    against: str
    goal: float
    tolerance: float
    sizes: Mapping[str, tuple[int, ...]]
    prepare: Callable[[tuple[int, ...], Path], Case]
    trains: bool = False


@dataclass(frozen=True)
class Measured:
    """Result of a benchmark; ratios are the reference's time over ours, pair by pair.

    Attributes:
        ratio: median, by the clock.
        quartiles: of the ratio, first and third.
        cpu_ratio: median, by processor time, which other programs on the machine disturb less.
        ours_s: median seconds of ours.
        reference_s: median seconds of the reference, for all of our work.
        pairs: how many were run.
        difference: largest between the results.
        threads: PyTorch's, for both.
    """

    name: str
    what: str
    against: str
    goal: float
    ratio: float
    quartiles: tuple[float, float]
    cpu_ratio: float
    ours_s: float
    reference_s: float
    pairs: int
    difference: float
    size: tuple[int, ...]
    note: str
    threads: int

    @property
    def is_met(self) -> bool:
        """True if the median reaches the goal."""
        return self.ratio >= self.goal


def measure(
    benchmark: Benchmark, size: str, folder: Path, *, pairs: int, limit_s: float
) -> Measured:
    """Check that both give the same, then run them in turn.

    Args:
        benchmark: what to run.
        size: a key of its sizes.
        folder: for its files.
        pairs: runs of each.
        limit_s: seconds after which no further pair starts, once `LEAST_PAIRS` ran.

    Raises:
        ValueError: the results differ by more than the tolerance.
    """
    case = benchmark.prepare(benchmark.sizes[size], folder)
    with _threads(case.threads) as threads:
        found = case.difference(trains=benchmark.trains)  # also the warm-up of both
        if not found <= benchmark.tolerance:
            raise ValueError(
                f"{benchmark.name}: the results differ by {found:.3g}, expected at most "
                f"{benchmark.tolerance:g}."
            )
        with torch.inference_mode(not benchmark.trains):
            ours, reference = timed_in_turn(case, pairs, limit_s)
    ratios = [r.wall / o.wall for o, r in zip(ours, reference, strict=True)]
    cpu_ratios = [r.cpu / o.cpu for o, r in zip(ours, reference, strict=True)]
    first, median, third = statistics.quantiles(ratios, n=4, method="inclusive")
    return Measured(
        name=benchmark.name,
        what=benchmark.what,
        against=benchmark.against,
        goal=benchmark.goal,
        ratio=median,
        quartiles=(first, third),
        cpu_ratio=statistics.median(cpu_ratios),
        ours_s=statistics.median(run.wall for run in ours),
        reference_s=statistics.median(run.wall for run in reference),
        pairs=len(ratios),
        difference=found,
        size=benchmark.sizes[size],
        note=case.note,
        threads=threads,
    )


@contextmanager
def _threads(wanted: int | None) -> Generator[int, None, None]:
    """Run with that many threads of PyTorch; gives the number."""
    before = torch.get_num_threads()
    threads = wanted or before
    torch.set_num_threads(threads)
    try:
        yield threads
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class Timed:
    """Seconds of one run, by the clock and by the processor."""

    wall: float
    cpu: float


def timed_in_turn(case: Case, pairs: int, limit_s: float) -> tuple[list[Timed], list[Timed]]:
    """Times of ours and of the reference, pair by pair, the first of a pair by turns."""
    ours: list[Timed] = []
    reference: list[Timed] = []
    until = time.perf_counter() + limit_s
    while len(ours) < pairs and (len(ours) < LEAST_PAIRS or time.perf_counter() < until):
        order = [(case.ours, 1.0, ours), (case.reference, case.share, reference)]
        for run, share, times in order if len(ours) % 2 else reversed(order):
            if case.settles:
                run()
            times.append(timed(run, share))
    return ours, reference


def timed(run: Callable[[], Any], share: float = 1.0) -> Timed:
    """Mean over as many runs as the clock needs, divided by the share of the work done."""
    count, wall, cpu = 0, time.perf_counter(), time.process_time()
    while not count or time.perf_counter() - wall < SHORTEST_RUN_S:
        run()
        count += 1
    scale = 1 / (count * share)
    return Timed((time.perf_counter() - wall) * scale, (time.process_time() - cpu) * scale)


def difference(ours: ArrayLike, reference: ArrayLike) -> float:
    """Largest absolute difference of two arrays; infinite if their shapes differ."""
    a, b = np.asarray(ours), np.asarray(reference)
    if a.shape != b.shape:
        return float("inf")
    if np.array_equal(a, b):
        return 0.0
    return float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max())
