"""Every benchmark compares two ways to one result, and the harness says so when it does not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import engines
from benchmarks.__main__ import BENCHMARKS, report, table
from benchmarks.harness import Benchmark, Case, difference, measure
from benchmarks.networks import training_step
from benchmarks.startup import Startup, timed

#: Converting a network takes seconds, and loads an engine's own threads into the process.
CONVERTED = {benchmark.name for benchmark in engines.BENCHMARKS}


@pytest.mark.parametrize(
    "benchmark",
    [
        pytest.param(one, id=one.name, marks=[pytest.mark.slow] if one.name in CONVERTED else [])
        for one in BENCHMARKS
    ],
)
def test_reference_gives_what_ours_gives(benchmark: Benchmark, tmp_path: Path) -> None:
    case = benchmark.prepare(benchmark.sizes["tiny"], tmp_path)
    assert case.difference(trains=benchmark.trains) <= benchmark.tolerance


@pytest.mark.parametrize(("bf16", "tolerance"), [(False, 1e-3), (True, 2e-2)])
def test_a_faster_training_step_keeps_the_loss_curve(
    tmp_path: Path, bf16: bool, tolerance: float
) -> None:
    case = training_step("stir", bf16=bf16)((2, 16, 16), tmp_path)
    curves = [[step().item() for _ in range(6)] for step in (case.ours, case.reference)]
    assert curves[0][-1] < curves[0][0]
    np.testing.assert_allclose(*curves, rtol=tolerance)


def one_of(ours: float, reference: float) -> Benchmark:
    case = Case(ours=lambda: np.array(ours), reference=lambda: np.array(reference), note="n")
    return Benchmark("name", "what", "against", 1e-9, 0.1, {"tiny": (1,)}, lambda *_: case)


def test_another_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"name: the results differ by 0\.5"):
        measure(one_of(1.0, 1.5), "tiny", tmp_path, pairs=3, limit_s=0)


def test_ratio_is_scaled_by_the_references_share(tmp_path: Path) -> None:
    whole = one_of(1.0, 1.0)
    part = replace(whole, prepare=lambda *size: replace(whole.prepare(*size), share=1e-6))
    found = measure(part, "tiny", tmp_path, pairs=3, limit_s=0)
    assert found.ratio > 1e3  # a million, but for the noise of the clock
    assert found.pairs == 3


def test_a_row_says_its_threads_and_gives_them_back(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    whole = one_of(1.0, 1.0)
    two = replace(whole, prepare=lambda *size: replace(whole.prepare(*size), threads=before + 1))
    assert measure(whole, "tiny", tmp_path, pairs=3, limit_s=0).threads == before
    assert measure(two, "tiny", tmp_path, pairs=3, limit_s=0).threads == before + 1
    assert torch.get_num_threads() == before


def test_figures_are_told_and_written(tmp_path: Path) -> None:
    found = measure(one_of(1.0, 1.0), "tiny", tmp_path, pairs=4, limit_s=60)
    assert found.pairs == 4
    assert found.is_met
    started = Startup("spikerec --help", 0.3, median_s=1.0, cpu_s=0.2)
    assert table([found], [started]).row_count == 2
    assert started.is_met
    assert json.loads(json.dumps(report([found], [], "tiny")))["ratios"][0]["note"] == "n"


@pytest.mark.parametrize(
    ("ours", "reference", "expected"),
    [([1, 2], [1, 2], 0), ([1, 2], [1, 4], 2), ([1, 2], [1, 2, 3], float("inf"))],
)
def test_difference_is_the_largest(ours: list[int], reference: list[int], expected: float) -> None:
    assert difference(ours, reference) == expected


def test_a_command_that_fails_is_not_timed() -> None:
    with pytest.raises(Exception, match="non-zero exit status"):
        timed(["no-such-verb"])
