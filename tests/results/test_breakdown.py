"""Breakdowns of methods, and the curves behind them."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from spikerec.results import Record, Samples
from spikerec.results.boards import Board, Choice, gather
from spikerec.results.breakdown import breakdown_table, breakdowns, rule
from spikerec.results.curves import (
    BINS,
    MOST_AXES,
    MOST_LEVELS,
    covariates,
    curves,
    factors,
    means,
)
from spikerec.results.formats import board_tables, csv_rows, markdown
from spikerec.results.statistics import intervals, scenes
from spikerec.results.tables import Table, standings
from spikerec.results.terminal import terminal_breakdowns
from tests.results.records import LIGHT, NOISE, factor_record, make_record, protocol


def printed(table: Table, width: int = 80) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(terminal_breakdowns(table))
    return console.export_text()


FLAT = [30.0] * 6
QUIET = [30.0] * 3


def board_of(*records: Record) -> Board:
    (board,), problems = gather(records)
    assert not problems
    return board


def places(light: Sequence[float], noise: Sequence[float] = QUIET, *others: Record) -> list[str]:
    """The breakdowns of a method in light and noise, as the tables show them."""
    board = board_of(factor_record("STIR", light, noise), *others)
    table = breakdown_table(board)
    assert table is not None
    return [table.rows["STIR"][name].text for name in ("light_scale", "noise")]


def tfp(label: str, light: Sequence[float], noise: Sequence[float] = (20.0,) * 3) -> Record:
    return factor_record(label, light, noise, config={"model": {"window": len(label)}})


def test_a_method_that_keeps_its_quality_holds() -> None:
    assert places(FLAT) == ["none", "none"]


@pytest.mark.parametrize(
    ("light", "expected"),
    [
        ([20.0, 27.0, 30.0, 30.0, 30.0, 30.0], "0.1 (−3.0 dB)"),  # the first, not the worst
        ([30.0, 30.0, 27.1, 30.0, 30.0, 30.0], "none"),
        ([30.0, 30.0, 30.0, 30.0, 30.0, 26.0], "1 (−4.0 dB)"),
        ([30.0, 30.0, 26.5, 30.0, 26.0, 30.0], "0.2 (−3.5 dB), 0.7 (−4.0 dB)"),  # both sides
        ([39.0, 39.0, 39.0, 30.0, 39.0, 39.0], "none"),  # better than in the middle is no loss
    ],
)
def test_the_first_level_that_loses_3_db_is_where_it_breaks_down(
    light: list[float], expected: str
) -> None:
    assert places(light)[0] == expected


def test_noise_has_the_order_of_the_set() -> None:
    assert places(FLAT, [30.0, 30.0, 25.0])[1] == "rsir (−5.0 dB)"
    assert places(FLAT, [30.0, 24.0, 25.0])[1] == "shot (−6.0 dB)"


def test_below_the_best_window_of_tfp_is_broken_however_small_the_loss() -> None:
    short = tfp("TFP (7)", [10.0, 10.0, 10.0, 25.0, 31.0, 31.0])
    long = tfp("TFP (121)", [30.5, 29.0, 10.0, 25.0, 10.0, 10.0])
    assert places(FLAT, QUIET, short, long) == ["0.05 (< TFP), 0.7 (< TFP)", "none"]


def test_both_causes_are_named_where_both_hold() -> None:
    light = [30.0, 30.0, 26.0, 30.0, 30.0, 30.0]
    assert places(light, QUIET, tfp("TFP (31)", [28.0] * 6))[0] == "0.2 (< TFP, −4.0 dB)"


def test_below_tfp_in_the_middle_is_broken_there() -> None:
    assert places(FLAT, QUIET, tfp("TFP (31)", [30.1] * 6)) == ["middle (< TFP)"] * 2


def test_tfp_itself_is_judged_by_its_loss_alone() -> None:
    board = board_of(tfp("TFP (7)", [20.0] * 6), tfp("TFP (121)", [25.0] * 5 + [21.0], [20.0] * 3))
    found = breakdowns(board)["light_scale"]
    assert found["TFP (7)"] == []
    assert [str(one) for one in found["TFP (121)"]] == ["1 (−4.0 dB)"]


def test_the_rule_names_the_windows_that_were_compared() -> None:
    board = board_of(factor_record("STIR", FLAT, QUIET), tfp("TFP (31)", [20.0] * 6))
    table = breakdown_table(board)
    assert table is not None
    assert "below the best of TFP (31), or has lost 3 dB" in table.notes[0]
    alone = breakdown_table(board_of(factor_record("STIR", FLAT, QUIET)))
    assert alone is not None
    assert "TFP" not in alone.notes[0]


def test_the_middle_belongs_to_every_factor() -> None:
    board = board_of(factor_record("STIR", [1.0, 2, 3, 4, 5, 6], [4.0, 8, 9]))
    light, noise = factors(board)
    assert [point.text for point in light.points] == [f"{level:g}" for level in LIGHT]
    assert [point.text for point in noise.points] == list(NOISE)
    assert (light.middle, noise.middle) == (LIGHT.index(0.4), 0)
    metric = board.metrics["psnr"]
    assert means(board, light, metric)["STIR"] == pytest.approx([1, 2, 3, 4, 5, 6])
    assert means(board, noise, metric)["STIR"] == pytest.approx([4, 8, 9])


def test_the_interval_of_a_level_is_that_of_its_samples() -> None:
    record = factor_record("STIR", FLAT, QUIET)
    board = board_of(record)
    (light, _) = factors(board)
    mask = light.masks["STIR"][0]
    keys = [key for key, is_in in zip(board.keys, mask, strict=True) if is_in]
    alone = intervals({"STIR": record.column("psnr")[mask]}, keys)["STIR"]
    found = curves(board, light)["psnr"]["STIR"]
    assert found[0] == alone
    assert alone.low < alone.mean < alone.high


def test_recordings_of_one_scene_are_resampled_together() -> None:
    assert scenes(["03@middle/60", "03@motion=2/60", "04@middle/60", "@/1", "a/b/2"]) == [
        "03", "03", "04", "@", "a/b",
    ]  # fmt: skip
    assert scenes(["me@lab/a_part1/50", "me@lab/b/50"]) == ["me@lab/a", "me@lab/b"]
    (stand,) = standings([board_of(factor_record("STIR", FLAT, QUIET))]).popitem()[1].values()
    # Every recording of a scene has one value, so that the interval is that of four values.
    alone = intervals({"x": np.array([28.5, 29.5, 30.5, 31.5])}, ["0", "1", "2", "3"])["x"]
    assert stand.intervals["STIR"] == pytest.approx(alone)


def test_a_covariate_of_many_values_is_cut_into_bins_of_like_size() -> None:
    axes = {axis.name: axis for axis in covariates(board_of(factor_record("STIR", FLAT, QUIET)))}
    assert set(axes) == {"light_scale", "firing_rate", "factor", "noise"}
    assert len(axes["light_scale"].points) == len(LIGHT)
    masks = axes["firing_rate"].masks["STIR"]
    assert len(masks) == BINS
    assert (masks.sum(axis=0) == 1).all()  # every sample is in one bin
    assert np.ptp(masks.sum(axis=1)) <= 1


def test_what_does_not_differ_between_samples_is_no_axis() -> None:
    record = make_record()
    assert factors(board_of(record)) == covariates(board_of(record)) == []
    assert breakdown_table(board_of(record)) is None
    given = record.samples
    even = {"light_scale": np.full(len(given.keys), 0.4)}
    alike = Samples(given.keys, given.values, given.higher_is_better, covariates=even)
    assert covariates(board_of(replace(record, samples=alike))) == []


def factors_alone(count: int, levels: int) -> Board:
    """A board of one method whose samples vary `count` factors, at `levels` levels each."""
    names = ["middle", *(f"f{i}" for i in range(count) for _ in range(levels))]
    keys = [f"scene/{i}" for i in range(len(names))]
    numbers = np.arange(len(names)) % levels
    record = make_record(
        samples=Samples(
            keys,
            {"psnr": np.full(len(keys), 30.0)},
            {"psnr": True},
            covariates={name: numbers.astype(float) for name in dict.fromkeys(names[1:])},
            conditions={"factor": names},
        ),
        images={},
    )
    return board_of(record)


def test_factors_are_bounded_before_they_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(factors(factors_alone(count=1, levels=MOST_LEVELS))) == 1
    assert len(factors(factors_alone(count=MOST_AXES + 4, levels=3))) == MOST_AXES
    asked = []
    monkeypatch.setattr("spikerec.results.curves._masks", lambda *args: asked.append(args))
    assert factors(factors_alone(count=1, levels=MOST_LEVELS + 1)) == []
    assert factors(factors_alone(count=1, levels=20_000)) == []
    assert asked == []


def test_one_long_label_does_not_make_all_others_as_large() -> None:
    keys = [f"scene/{i}" for i in range(20_000)]
    labels = ["x" * 200, *["a"] * (len(keys) - 1)]
    samples = Samples(
        keys, {"psnr": np.ones(len(keys))}, {"psnr": True}, conditions={"weather": labels}
    )
    board = board_of(make_record(samples=samples, images={}))
    tracemalloc.start()
    (weather,) = covariates(board)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [point.text for point in weather.points] == ["x" * 200, "a"]
    assert most < 8_000_000  # bytes; an array of text takes 16 MB


def test_samples_of_unknown_covariates_belong_to_no_point() -> None:
    record = factor_record("STIR", FLAT, QUIET)
    known = {name: column.copy() for name, column in record.samples.covariates.items()}
    for column in known.values():
        column[0] = np.nan  # of a sample in the middle
    board = board_of(replace(record, samples=replace(record.samples, covariates=known)))
    (light, _) = factors(board)
    assert [point.text for point in light.points] == [f"{level:g}" for level in LIGHT]
    for axis in (light, *covariates(board)):
        assert axis.masks["STIR"][:, 0].any() == (axis.name in ("factor", "noise"))


def test_samples_without_a_value_are_left_out() -> None:
    record = factor_record("STIR", FLAT, QUIET)
    values = record.column("psnr").copy()
    board = board_of(record)
    (light, _) = factors(board)
    values[light.masks["STIR"][0]] = np.nan
    samples = replace(record.samples, values={"psnr": values})
    board = board_of(replace(record, samples=samples))
    assert curves(board, light)["psnr"]["STIR"][0] is None


def without(record: Record, level: float) -> Record:
    """The record without values at a level of light."""
    values = record.column("psnr").copy()
    values[record.samples.covariates["light_scale"] == level] = np.nan
    return replace(record, samples=replace(record.samples, values={"psnr": values}))


def test_a_level_without_a_value_is_not_held() -> None:
    record = factor_record("STIR", FLAT, QUIET)
    assert [
        str(one) for one in breakdowns(board_of(without(record, 0.1)))["light_scale"]["STIR"]
    ] == ["0.1 (no value)"]
    table = breakdown_table(board_of(without(record, 0.4), factor_record("TFI", FLAT, QUIET)))
    assert table is not None
    assert table.rows["STIR"]["light_scale"].plain(0) == "–"  # nothing to compare with


def test_the_baseline_counts_whether_or_not_it_is_shown() -> None:
    records = [factor_record("STIR", FLAT, QUIET), factor_record("TFI", [29.0] * 6, [29.0] * 3)]
    records.append(tfp("TFP (31)", [28.0] * 5 + [31.0], [28.0] * 3))
    whole = breakdowns(board_of(*records))
    for choice in (Choice(rows=1), Choice(methods=["stir"])):
        (board,), _ = gather(records, choice)
        assert list(board.rows) == ["STIR"]
        assert breakdowns(board)["light_scale"]["STIR"] == whole["light_scale"]["STIR"]
        assert "TFP (31)" in rule(board)
    assert [str(one) for one in whole["light_scale"]["STIR"]] == ["1 (< TFP)"]


def test_aligned_figures_take_no_part_in_breakdowns() -> None:
    gain = protocol("best_gain", ("psnr",), alignment="gain")
    aligned = replace(tfp("TFP (31)", [40.0] * 6, [40.0] * 3), protocol=gain)
    board = board_of(factor_record("STIR", FLAT, QUIET), aligned)
    assert breakdowns(board)["light_scale"] == {"STIR": []}
    assert "TFP" not in rule(board)
    assert breakdowns(board_of(aligned)) == {}


def test_what_one_record_states_otherwise_does_not_judge_the_rows() -> None:
    records = [factor_record(name, FLAT, QUIET) for name in ("STIR", "WGSE", "TFI")]
    scales = {"light_scale": records[0].samples.covariates["light_scale"] * 2}
    odd = replace(records[0], samples=replace(records[0].samples, covariates=scales))
    (board,), problems = gather([odd, *records[1:]])
    assert [point.text for point in factors(board)[0].points] == [f"{level:g}" for level in LIGHT]
    (problem,) = problems
    assert problem.name == odd.file_name
    assert "states light_scale 0.8, and" in problem.reason
    assert "states light_scale 0.4" not in problem.reason


def test_facts_come_from_the_records_that_have_them() -> None:
    old = factor_record("STIR", [35.0] * 6, [35.0] * 3)
    old = replace(old, schema=4, samples=replace(old.samples, covariates={}, conditions={}))
    board = board_of(old, factor_record("TFI", FLAT, QUIET))
    assert next(iter(board.rows)) == "STIR"
    assert set(breakdowns(board)["light_scale"]) == {"STIR", "TFI"}


def test_a_covariate_that_is_mostly_one_value_keeps_its_axis() -> None:
    record = make_record("STIR", scenes=20, frames=5)
    counts = [0] * 80 + list(range(1, 21))
    board = board_of(replace(record, samples=replace(record.samples, mirrored=counts)))
    (axis,) = covariates(board)
    assert axis.points[0].text == "0"
    assert axis.points[-1].high == 20
    assert [int(mask.sum()) for mask in axis.masks["STIR"]] == [80, 4, 4, 4, 4, 4]


def test_all_tables_say_where_methods_break_down() -> None:
    board = board_of(factor_record("STIR", [30.0] * 5 + [20.0], QUIET))
    stands = standings([board])
    (line,) = csv_rows([board], stands)
    assert line["robustness (test): breaks down at light_scale"] == "1 (−10.0 dB)"
    assert line["robustness (test): breaks down at noise"] == "none"
    text = markdown(board_tables([board], stands))
    assert "## robustness (test): breaks down at" in text
    assert "| STIR | 1 (−10.0 dB) | none |" in text
    table = breakdown_table(board)
    assert table is not None
    first, second = (line.split() for line in printed(table).splitlines() if "1" in line)
    assert (first, second) == (["STIR", "1", "none"], ["(−10.0", "dB)"])
