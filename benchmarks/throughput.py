"""Throughput of a device as rows; a row without a figure states the reason."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.harness import LEAST_PAIRS, SHORTEST_RUN_S

#: Timed repeats of a row, if its time allows.
REPEATS = 15
#: Largest relative difference with which a goal counts as met: bfloat16 keeps 8 bits a product.
TOLERANCE = 0.05


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        section: the part of the benchmark.
        what: is done.
        mode: how it is done.
        size: of the input.
        unit: of `rate`, a second.
        rate: median over the repeats; None where `reason` says why.
        quartiles: of the rate, first and third.
        repeats: how many were timed.
        work: operations (FLOP) or bytes a second, after the rate.
        work_unit: FLOP/s or B/s.
        ceiling: the share that `work` is of what the same device reached in the same run.
        difference: largest from the reference's result, as a share of its largest value.
        peak_bytes: most that PyTorch allocated on the CUDA device, weights and input included.
        ratio: of the rate to the reference's.
        goal: least ratio wanted.
        reason: one line that says why there is no rate.
    """

    section: str
    what: str
    mode: str
    size: tuple[int, ...]
    unit: str
    rate: float | None = None
    quartiles: tuple[float, float] | None = None
    repeats: int = 0
    work: float | None = None
    work_unit: str = ""
    ceiling: float | None = None
    difference: float | None = None
    peak_bytes: int | None = None
    ratio: float | None = None
    goal: float | None = None
    reason: str = ""

    @property
    def is_met(self) -> bool | None:
        """True if the ratio reaches the goal with the same result; None without a goal."""
        if self.goal is None:
            return None
        return (self.ratio or 0) >= self.goal and (self.difference or 0) <= TOLERANCE

    def against(self, reference: Row | None) -> Row:
        """This row with its ratio to another one, where both have a rate."""
        if reference is None or not reference.rate or not self.rate:
            return self
        return replace(self, ratio=self.rate / reference.rate)


@dataclass
class Bench:
    """Device and duration of a measurement, and results that later sections need.

    Attributes:
        device: the device.
        folder: for files.
        row_s: seconds of timing after which a row starts no further repeat.
        until: moment of `time.perf_counter` after which no further row starts.
        ceilings: FLOP/s of `fp32`, `tf32` and `bf16`, B/s of `copy` and `host to device`.
        consumed: samples a second that a training step of STIR takes.
    """

    device: torch.device
    folder: Path
    row_s: float = 1.0
    until: float = math.inf
    ceilings: dict[str, float] = field(default_factory=dict)
    consumed: float | None = None

    @property
    def is_cuda(self) -> bool:
        """True if CUDA's own modes can run."""
        return self.device.type == "cuda"

    def attempt(
        self, row: Row, measure: Callable[[], dict[str, Any]], *, needs_cuda: bool = False
    ) -> Row:
        """The row with the fields that `measure` gives, or with the reason why it gave none."""
        if needs_cuda and not self.is_cuda:
            return replace(row, reason="needs CUDA")
        if time.perf_counter() > self.until:
            return replace(row, reason="no time left: see --only, --networks, --seconds")
        if self.is_cuda:
            gc.collect()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
        try:
            found = replace(row, **measure())
        except Exception as error:  # noqa: BLE001 (whatever it is, the other rows are wanted)
            return replace(row, reason=one_line(error))
        peak = torch.cuda.max_memory_allocated(self.device) if self.is_cuda else None
        return replace(found, peak_bytes=peak)

    def rate(
        self, run: Callable[[], Any], per_run: float = 1, *, work: float = 0, ceiling: str = ""
    ) -> dict[str, Any]:
        """The fields of a row that state how fast it is.

        Args:
            run: what is timed; it may leave work queued on the device.
            per_run: units of the rate in a run.
            work: operations or bytes in a run; 0 for unknown.
            ceiling: a key of `ceilings`.
        """
        rates = self._rates(run)
        first, median, third = statistics.quantiles(rates, n=4, method="inclusive")
        most = self.ceilings.get(ceiling)
        return {
            "rate": median * per_run,
            "quartiles": (first * per_run, third * per_run),
            "repeats": len(rates),
            "work": median * work if work else None,
            "work_unit": "FLOP/s" if ceiling in ("fp32", "tf32", "bf16") else "B/s",
            "ceiling": median * work / most if work and most else None,
        }

    def _rates(self, run: Callable[[], Any]) -> list[float]:
        """Runs a second, in each repeat over enough runs that clock and waiting do not matter."""
        self._seconds(run, 1)  # compiles, allocates
        count = math.ceil(SHORTEST_RUN_S / self._seconds(run, 2))
        rates: list[float] = []
        until = time.perf_counter() + self.row_s
        while len(rates) < REPEATS and (len(rates) < LEAST_PAIRS or time.perf_counter() < until):
            rates.append(1 / self._seconds(run, count))
        return rates

    def _seconds(self, run: Callable[[], Any], count: int) -> float:
        """Seconds of a run, the mean of so many."""
        start = time.perf_counter()
        for _ in range(count):
            run()
        if self.is_cuda:
            torch.cuda.synchronize(self.device)
        return (time.perf_counter() - start) / count


def one_line(error: Exception) -> str:
    """The error's class and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:160]}" if lines else type(error).__name__


def relative_difference(result: Tensor, reference: Tensor) -> float:
    """Largest difference of two tensors, as a share of the reference's largest value.

    Raises:
        ValueError: the result holds values that are not finite, or has another shape.
    """
    if torch.equal(result.cpu(), reference.cpu()):  # whole streams, without doubles of them
        return 0.0
    result, reference = result.double().cpu(), reference.double().cpu()
    if result.shape != reference.shape or not result.isfinite().all():
        raise ValueError(f"the result {tuple(result.shape)} is misshapen or not finite.")
    most = float(reference.abs().max()) or 1.0
    return float((result - reference).abs().max()) / most


@contextmanager
def tensor_float(allowed: bool) -> Generator[None, None, None]:
    """Let float32 products and convolutions round their factors to TF32, or do not."""
    backends = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [backend.allow_tf32 for backend in backends]
    try:
        for backend in backends:
            backend.allow_tf32 = allowed
        yield
    finally:
        for backend, value in zip(backends, before, strict=True):
            backend.allow_tf32 = value


def captured(run: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """The run as a CUDA graph: its kernels launched at once, its result in the same memory."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # libraries make their workspaces before, as a capture may not
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = run()

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay
