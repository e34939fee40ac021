"""The GPU's benchmark runs anywhere: true figures, or the reason why there is none."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import device
from benchmarks.device import MODES, SECTIONS, TINY, Mode, Scale
from benchmarks.references.camera import integrate_and_fire, integrate_and_fire_torch
from benchmarks.throughput import Bench, Row, relative_difference

CPU = torch.device("cpu")


def rows_of(scale: Scale, folder: Path, *sections: str) -> list[Row]:
    rows: list[Row] = []
    for name in sections:
        ceilings = device.ceilings_of(device.measured(folder, "ceilings"))
        bench = Bench(CPU, folder, row_s=0.0, ceilings=ceilings)
        rows += device.measure(bench, scale, name, folder)
    return rows


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Row], Path]:
    folder = tmp_path_factory.mktemp("bench")
    return rows_of(TINY, folder, *SECTIONS), folder


def test_every_row_has_a_rate_or_the_reason_why_not(measured: tuple[list[Row], Path]) -> None:
    rows, _ = measured
    assert {row.section for row in rows} == set(SECTIONS)
    lacking = {row.mode: row.reason for row in rows if row.rate is None}
    assert lacking == dict.fromkeys(
        ("tf32", "host to device", "TF32", "bf16, CUDA graph"), "needs CUDA"
    )
    for row in rows:
        assert row.reason or (row.rate > 0 and row.quartiles[0] <= row.rate <= row.quartiles[1])


def test_every_way_gives_the_same(measured: tuple[list[Row], Path]) -> None:
    differences = {
        (row.section, row.what, row.mode): row.difference
        for row in measured[0]
        if row.difference is not None
    }
    assert {section for section, *_ in differences} == set(SECTIONS) - {"ceilings", "loading"}
    for (section, _, mode), found in differences.items():
        assert found <= (0.05 if mode.startswith("bf16") else 0), (section, mode)


def test_work_is_told_as_a_share_of_the_ceiling(measured: tuple[list[Row], Path]) -> None:
    rows = [row for row in measured[0] if row.section == "networks" and row.rate]
    assert {(row.what, row.work_unit) for row in rows} == {("tfp", "B/s"), ("fast", "FLOP/s")}
    for row in rows:
        assert row.work > row.rate
        assert row.ceiling > 0
        assert row.mode == "fp32" or row.ratio > 0


def test_figures_are_written_and_told(measured: tuple[list[Row], Path]) -> None:
    rows, folder = measured
    written = [row for name in SECTIONS for row in device.measured(folder, name)]
    assert [replace(row, size=(), quartiles=None) for row in written] == [
        replace(row, size=(), quartiles=None) for row in rows
    ]
    told = [device.cells(row) for row in written]
    assert {len(cells) for cells in told} == {len(device.HEADINGS)}
    assert any("needs CUDA" in cells for cells in told)
    assert any("goal 20" in cells[3] for cells in told)


def test_data_must_keep_up_with_the_last_mode_of_stir() -> None:
    row = Row("training", "stir", "fp32", (8, 96, 96), "steps/s", rate=2.0)
    rows = [
        row,
        replace(row, rate=5.0),
        replace(row, what="fast", rate=9.0),
        replace(row, rate=None),
    ]
    assert device.consumed_by(rows) == 40
    assert device.consumed_by(rows[2:]) is None


def test_a_goal_is_met_by_the_ratio_if_the_result_is_right() -> None:
    row = Row("section", "what", "how", (1,), "images/s", rate=8.0, goal=4, difference=0.01)
    assert row.against(Row("section", "what", "fp32", (1,), "images/s", rate=2.0)).is_met
    assert not replace(row, ratio=4.0, difference=0.1).is_met
    assert not row.against(Row("section", "what", "fp32", (1,), "images/s", rate=3.0)).is_met
    assert not row.against(None).is_met


def test_a_failing_row_says_why_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = device._prepared

    def fails(plain: torch.nn.Module, size: tuple[int, int], mode: Mode, where: torch.device):  # noqa: ANN202
        if mode.bf16:
            raise torch.OutOfMemoryError("out of memory\nwith details")
        return built(plain, size, mode, where)

    monkeypatch.setattr(device, "_prepared", fails)
    rows = rows_of(TINY, tmp_path, "networks")
    reasons = {row.reason for row in rows if row.mode == "bf16"}
    assert reasons == {"OutOfMemoryError: out of memory"}
    assert all(row.rate for row in rows if row.mode == "fp32")


def test_what_the_time_does_not_suffice_for_is_named(tmp_path: Path) -> None:
    bench = Bench(CPU, tmp_path, until=-math.inf)
    rows = device.measure(bench, TINY, "simulation", tmp_path)
    assert {row.reason for row in rows} == {"no time left: see --only, --networks, --seconds"}


def test_values_that_are_not_finite_have_no_difference() -> None:
    with pytest.raises(ValueError, match="not finite"):
        relative_difference(torch.tensor([1.0, torch.nan]), torch.ones(2))


def test_both_loops_over_readouts_agree() -> None:
    scene, charge = torch.rand(20, 3, 4, dtype=torch.float64), torch.rand(3, 4).double()
    expected = integrate_and_fire(scene.numpy(), charge.numpy(), 0.7)
    np.testing.assert_array_equal(integrate_and_fire_torch(scene, charge, 0.7), expected)


@pytest.mark.slow
def test_workers_feed_and_compiled_networks_agree(tmp_path: Path) -> None:
    modes = (MODES[0], *(mode for mode in MODES if mode.compiled and not mode.tf32))
    scale = replace(TINY, names=("fast",), workers=(1,), modes=modes)
    rows = rows_of(scale, tmp_path, "loading", "networks")
    fed, plain, compiled, graph = rows
    assert fed.rate > 0
    assert plain.rate > 0
    assert compiled.difference < 0.05, compiled.reason
    assert graph.reason == "needs CUDA"
