from __future__ import annotations

import json
import multiprocessing
import tempfile
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikerec.errors import ResultsError
from spikerec.results import (
    ProtocolInfo,
    Record,
    Samples,
    Store,
    code_revision,
    environment,
    read_record,
)
from spikerec.results.boards import row_key
from spikerec.results.fields import MOST_CURVE_VALUES
from spikerec.results.parts import Curves
from spikerec.results.record import SCHEMA
from tests.results.records import make_record

#: The layout of today, as a file states it.
NOW = f'"schema": {SCHEMA}'

MOMENT = "2026-11-28T08:00:00.000001+00:00"

numbers = st.floats(-1e18, 1e18) | st.sampled_from([float("nan"), float("inf"), -float("inf")])
values = st.lists(st.none() | numbers, min_size=1, max_size=6)


@given(values)
def test_what_is_written_is_what_is_read(column: list[float | None]) -> None:
    keys = [f"s/{i}" for i in range(len(column))]
    record = make_record(samples=Samples(keys, {"psnr": column}, {"psnr": True}))
    again = _read(record.to_json())
    assert again.content == record.content
    assert again.id == record.id


def test_how_much_of_a_sample_was_mirrored_is_kept() -> None:
    samples = Samples(["a", "b"], {"psnr": [30.0, 31.0]}, {"psnr": True}, mirrored=[0, 25])
    record = make_record(samples=samples)
    again = _read(record.to_json())
    assert again.samples.mirrored == (0, 25)
    assert again.id == record.id
    with pytest.raises(
        ResultsError, match="mirrored must hold one value for each of 2 keys, found 1"
    ):
        Samples(["a", "b"], {"psnr": [30.0, 31.0]}, {"psnr": True}, mirrored=[0])
    with pytest.raises(ResultsError, match=r"mirrored\.0 must be greater than or equal to 0"):
        Samples(["a"], {"psnr": [30.0]}, {"psnr": True}, mirrored=[-1])


@pytest.mark.parametrize("schema", [1, 2])
def test_records_of_older_layouts_say_nothing_of_mirrored_readouts(schema: int) -> None:
    record = make_record(schema=schema)
    again = _read(record.to_json())
    assert (again.samples.mirrored, again.dataset.margin) == (None, None)
    assert again.id == record.id


def test_covariates_and_conditions_are_kept_and_shown() -> None:
    samples = Samples(
        ["a", "b"],
        {"psnr": [30.0, 31.0]},
        {"psnr": True},
        mirrored=[0, 25],
        covariates={"motion": [0.5, None]},
        conditions={"noise": ["ideal", "rsir"]},
    )
    record = make_record(samples=samples)
    again = _read(record.to_json())
    assert again.id == record.id
    frame = again.to_frame()
    assert list(frame) == ["psnr", "motion", "mirrored", "noise"]
    assert frame.loc["a"].tolist() == [30.0, 0.5, 0.0, "ideal"]
    assert np.isnan(frame.loc["b", "motion"])
    assert list(again.samples.all_covariates) == ["motion", "mirrored"]


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        (
            {"covariates": {"motion": [1.0]}},
            r"covariates\.motion must hold one value for each of 2",
        ),
        ({"conditions": {"noise": ["ideal"]}}, r"conditions\.noise must hold one value for each"),
        ({"conditions": {"noise": ["ideal", 3]}}, r"conditions\.noise\.1 must be text, found 3"),
        ({"covariates": {"psnr": [1.0, 2.0]}}, "column already, found 'psnr'"),
        ({"covariates": {"mirrored": [1.0, 2.0]}}, "column already, found 'mirrored'"),
        (
            {"covariates": {"level": [1.0, 2.0]}, "conditions": {"level": ["low", "high"]}},
            "conditions must not name what has a column already, found 'level'",
        ),
    ],
)
def test_covariates_that_cannot_be_are_refused(facts: dict[str, Any], message: str) -> None:
    with pytest.raises(ResultsError, match=message):
        Samples(["a", "b"], {"psnr": [30.0, 31.0]}, {"psnr": True}, **facts)


@pytest.mark.parametrize("schema", [1, 2, 3, 4])
def test_older_records_have_no_covariates(schema: int) -> None:
    record = make_record(schema=schema)
    assert '"covariates"' not in record.to_json()
    again = _read(record.to_json())
    assert (again.samples.covariates, again.samples.conditions) == ({}, {})
    assert again.to_json() == record.to_json()


@pytest.mark.parametrize("carry", [None, 1, 20, "start"])
def test_how_a_state_was_carried_is_kept(carry: Any) -> None:
    record = make_record(carry=carry)
    again = _read(record.to_json())
    assert (again.carry, again.id) == (carry, record.id)
    assert ("state carried" in record.title) == (carry is not None)


def test_an_engine_and_a_precision_are_kept_and_told() -> None:
    plain, half = make_record(), make_record(engine="openvino", precision="bf16")
    assert half.title == f"{plain.label}, bf16, by openvino"
    assert (_read(half.to_json()).engine, _read(half.to_json()).precision) == ("openvino", "bf16")
    assert plain.title == plain.label
    assert row_key(plain) != row_key(half)


@pytest.mark.parametrize("carry", [0, -1, True, 1.5, "begin"])
def test_a_carry_that_cannot_be_is_refused(carry: Any) -> None:
    with pytest.raises(ResultsError, match="carry"):
        make_record(carry=carry)


def test_older_records_carried_no_state() -> None:
    record = make_record(schema=3)
    assert '"carry"' not in record.to_json()
    assert _read(record.to_json()).carry is None


def _curves(**changes: Any) -> Curves:
    """Curves of two clips, of two images and of one."""
    values = {"psnr": {"a": [30.0, 31.0], "b": [32.0]}, "flicker": {"a": [None, 2.5], "b": [None]}}
    return Curves(**{"readouts": {"a": (5, 9), "b": (7,)}, "values": values} | changes)


def _video_record(curves: Curves | None) -> Record:
    higher = {"psnr": True, "flicker": False}
    samples = Samples(["a", "b"], {"psnr": [30.5, 32.0], "flicker": [2.5, None]}, higher)
    return make_record(samples=samples, images={}, curves=curves)


def test_curves_are_kept_image_by_image() -> None:
    record = _video_record(_curves())
    again = _read(record.to_json())
    assert again.curves is not None
    assert again.curves.readouts == {"a": (5, 9), "b": (7,)}
    np.testing.assert_array_equal(again.curves.values["flicker"]["a"], [np.nan, 2.5])
    assert (again.id, again.to_json()) == (record.id, record.to_json())
    assert not again.curves.values["psnr"]["a"].flags.writeable


@pytest.mark.parametrize("schema", range(1, 6))
def test_older_records_have_no_curves(schema: int) -> None:
    record = make_record(schema=schema)
    assert '"curves"' not in record.to_json()
    assert _read(record.to_json()).curves is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"values": {"psnr": {"a": [1.0, 2.0]}}}, r"psnr must be of the clips of readouts"),
        (
            {"values": {"psnr": {"a": [1.0], "b": [2.0]}}},
            r"psnr must hold one value for each of 2 images of 'a', found 1",
        ),
        ({"readouts": {"a": (9, 5), "b": (7,)}}, r"readouts.a must rise from image to image"),
        ({"readouts": {"a": (5, 5), "b": (7,)}}, r"readouts.a must rise from image to image"),
        ({"readouts": {"a": (5, 9), "b": (-7,)}}, r"readouts.b.0 must be greater than or equal to"),
        ({"values": {"psnr": {"a": ["x", 2.0], "b": [2.0]}}}, r"psnr.a must be a list of numbers"),
    ],
)
def test_curves_that_contradict_themselves_are_refused(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ResultsError, match=message):
        _curves(**changes)


def test_curves_are_bounded() -> None:
    length = 100_000
    values = {f"m{i}": {"a": np.zeros(length)} for i in range(MOST_CURVE_VALUES // length + 1)}
    with pytest.raises(ResultsError, match="at most 1,000,000 numbers, found 1,100,000"):
        Curves({"a": tuple(range(length))}, values)


def test_curves_without_values_are_bounded_too() -> None:
    readouts = {f"clip{i}": tuple(range(100_000)) for i in range(11)}
    with pytest.raises(ResultsError, match="at most 1,000,000 numbers, found 1,100,000"):
        Curves(readouts, {})


@pytest.mark.parametrize(
    ("schema", "changes", "message"),
    [
        (5, {"curves": True}, "schema must be at least 6 with curves, found 5"),
        (4, {"covariates": {"light": [1.0]}}, "schema must be at least 5 with covariates, found 4"),
        (4, {"conditions": {"noise": ["ideal"]}}, "schema must be at least 5 with conditions"),
        (3, {"carry": "start"}, "schema must be at least 4 with carry, found 3"),
        (3, {"engine": "openvino"}, "schema must be at least 4 with engine, found 3"),
        (3, {"precision": "bf16"}, "schema must be at least 4 with precision, found 3"),
        (2, {"mirrored": [3]}, "schema must be at least 3 with mirrored, found 2"),
    ],
)
def test_a_layout_without_room_for_a_part_is_refused(
    schema: int, changes: dict[str, Any], message: str
) -> None:
    of_samples = {"covariates", "conditions", "mirrored"}
    own = {name: value for name, value in changes.items() if name in of_samples}
    other = {name: value for name, value in changes.items() if name not in of_samples}
    if "curves" in other:
        other["curves"] = Curves({"a": (5,)}, {})
    samples = Samples(["a"], {"psnr": [30.0]}, {"psnr": True}, **own)
    make_record(samples=samples, images={}, **other)
    with pytest.raises(ResultsError, match=message):
        make_record(samples=samples, images={}, schema=schema, **other)


def test_curves_are_of_the_samples_and_their_metrics() -> None:
    other = _curves(readouts={"a": (5, 9)}, values={"psnr": {"a": [1.0, 2.0]}})
    with pytest.raises(ResultsError, match="curves must be of the samples"):
        _video_record(other)
    unknown = {"ssim": {"a": [1.0, 2.0], "b": [1.0]}}
    with pytest.raises(ResultsError, match="metrics of the samples, not of 'ssim'"):
        _video_record(_curves(values=unknown))


def _read(text: str) -> Record:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "record.json"
        path.write_text(text, encoding="utf-8", newline="")
        return read_record(path)


def test_values_that_are_not_finite_are_null_in_the_file() -> None:
    samples = Samples(["a", "b", "c"], {"psnr": [float("inf"), None, 3.0]}, {"psnr": True})
    record = make_record(samples=samples, config={"bound": float("nan")})
    content = json.loads(record.to_json())
    assert content["samples"]["values"]["psnr"] == [None, None, 3.0]
    assert content["config"]["bound"] is None
    assert record.mean("psnr") == 3.0


def test_a_metric_without_values_has_no_mean() -> None:
    samples = Samples(["a"], {"niqe": [None]}, {"niqe": False})
    assert make_record(samples=samples).mean("niqe") is None
    assert make_record(samples=samples).mean("psnr") is None


def test_the_file_is_named_by_what_it_is_of(tmp_path: Path) -> None:
    path = make_record("TFP (31)").write(tmp_path)
    assert path.name.startswith("tfp-sreds-stir-20260102T030405")
    assert list(tmp_path.iterdir()) == [path]  # no draft is left behind


def test_the_longest_names_fit_a_file_s(tmp_path: Path) -> None:
    long = "x" * 100
    record = make_record(method=long, protocol=ProtocolInfo(long, "", {}))
    record = replace(record, dataset=replace(record.dataset, name=long))
    store = Store(tmp_path)
    path = store.write(record)
    assert read_record(path).method == long
    later = replace(record, created="2999-01-01T00:00:00+00:00")
    store.write(later)
    assert store.now(long, long) > later.created


def _write_at_once(folder: Path, writer: int, barrier: Barrier) -> None:
    for number in range(20):
        shared = make_record(created=MOMENT, config={"number": number})
        own = replace(shared, config={"number": number, "writer": writer})
        barrier.wait()
        assert read_record(shared.write(folder)).content == shared.content
        assert read_record(own.write(folder)).content == own.content


def test_records_of_one_microsecond_stay_apart_and_equal_ones_are_one(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(6)
    writers = [
        context.Process(target=_write_at_once, args=(tmp_path, writer, barrier))
        for writer in range(6)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 6
    records, problems = Store(tmp_path).read_all()
    assert not problems
    configs = [(record.config["number"], record.config.get("writer", -1)) for record in records]
    assert sorted(configs) == [(number, writer) for number in range(20) for writer in range(-1, 6)]
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json"] * 140


def test_an_existing_record_is_never_overwritten(tmp_path: Path) -> None:
    path = make_record().write(tmp_path)
    before = path.stat()
    make_record().write(tmp_path)
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert path.stat().st_ino == before.st_ino


def test_line_ends_of_another_system_do_not_matter(tmp_path: Path) -> None:
    path = make_record().write(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_record(path).label == "STIR"


@given(st.integers(0, 3000))
def test_every_truncation_is_refused(cut: int) -> None:
    text = make_record().to_json()
    with pytest.raises(ResultsError):
        _read(text[: min(cut, len(text) - 3)])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (NOW, f'"schema": {SCHEMA + 1}', f"schema {SCHEMA + 1}.*reads up to {SCHEMA}.*Update"),
        (NOW, '"schema": 0', "schema must be greater than or equal to 1, found 0"),
        (NOW, '"schema": true', "whole number `schema`"),
        ('"label": "STIR"', '"label": "Better"', "changed after it was written"),
        ('"label": "STIR"', '"label": 3', "label must be text, found 3"),
        ('"split":"test",', "", "dataset.split is missing"),
        ('"keys":["scene00/0",', '"keys":[', "one value for each of 19 keys, found 20"),
        ('"keys":["scene00/0","scene00/1"', '"keys":["scene00/0","scene00/0"', "'scene00/0' more"),
        ('"keys":["scene00/0"', '"keys":[7', "samples.keys.0 must be text, found 7"),
        ('"ssim":true', '"other":true', "higher_is_better must name the metrics of values"),
        ('"ssim":true', '"ssim":1', "samples.higher_is_better.ssim must be true or false, found 1"),
        (
            '"params":5110000',
            '"params":-1',
            "efficiency.params must be greater than or equal to 0, found -1",
        ),
        (
            '"median_ms":18.7',
            '"mean_ms":18.7',
            r"efficiency.latency.0.median_ms is missing",
        ),
        ("2026-01-02T03:04:05.000000+00:00", "yesterday", "ISO 8601 time with its zone"),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = make_record().write(tmp_path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(ResultsError, match=f"{path.name}: .*{message}"):
        read_record(path)


def test_images_stay_inside_the_folder() -> None:
    for path in ("/etc/passwd", "../secret.png"):
        with pytest.raises(
            ResultsError,
            match=r"images\.scene00/0\.prediction must be a path inside the results folder",
        ):
            make_record(images={"scene00/0": {"prediction": path}})


def test_images_of_unknown_samples_are_refused() -> None:
    with pytest.raises(
        ResultsError, match="images must be of samples, but 'nowhere' was not evaluated"
    ):
        make_record(images={"nowhere": {"prediction": "a.png"}})


def test_a_metric_cannot_be_both_measured_and_unavailable() -> None:
    with pytest.raises(ResultsError, match="have values: psnr"):
        make_record(unavailable={"psnr": "no reason"})


def test_config_must_be_plain() -> None:
    with pytest.raises(ResultsError, match=r"config\.model\.activation must be a plain value"):
        _ = make_record(config={"model": {"activation": object()}}).id


def test_times_of_any_zone_sort_as_text() -> None:
    early = make_record(created="2026-01-01T01:00:00+02:00")
    late = make_record(created="2026-01-01T00:00:00+00:00")
    assert early.created == "2025-12-31T23:00:00.000000+00:00"
    assert early.id < late.id


def test_numpy_numbers_are_plain() -> None:
    record = make_record(config={"a": np.int64(3), "b": np.float32(0.5)})
    assert record.content["config"] == {"a": 3, "b": 0.5}


def test_columns_are_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        make_record().column("psnr")[0] = 99


def test_the_id_depends_on_every_part() -> None:
    record = make_record()
    changed = [replace(record, label="x"), replace(record, config={}), replace(record, code={})]
    assert len({record.id, *(other.id for other in changed)}) == 4


def test_environment_and_code_are_plain_and_named() -> None:
    facts = environment()
    assert facts["packages"]["torch"]
    assert set(code_revision()) == {"version", "revision", "dirty"}
    assert make_record(environment=facts, code=code_revision()).id


def test_a_notebook_shows_the_metrics_of_a_record() -> None:
    samples = Samples(["a", "b"], {"psnr": [30.0, None]}, {"psnr": True})
    record = make_record(samples=samples, label="<b>", unavailable={"niqe": "no weights & no way"})
    shown = record._repr_html_()
    assert "&lt;b&gt;" in shown
    assert "<td>psnr ↑</td><td>30.00</td><td>1</td>" in shown
    assert "<td>niqe</td><td>n/a</td><td>no weights &amp; no way</td>" in shown
