from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from spikerec.errors import ResultsError
from spikerec.results import Samples, Store, long_frame, summary_frame
from tests.results.records import METRICS, make_record


def test_reads_what_was_written_and_names_what_is_broken(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(make_record("STIR"))
    store.write(make_record("WGSE"))
    (tmp_path / "broken.json").write_text('{"schema"')
    (tmp_path / ".unfinished.json").write_text('{"sch')  # another process is at it
    records, problems = store.read_all()
    assert sorted(record.label for record in records) == ["STIR", "WGSE"]
    assert [problem.name for problem in problems] == ["broken.json"]
    assert problems[0].reason.startswith("broken.json cannot be read as JSON")


def test_folders_merge_by_copying(tmp_path: Path) -> None:
    one, two = Store(tmp_path / "one"), Store(tmp_path / "two")
    one.write(make_record("STIR"))
    two.write(make_record("WGSE"))
    path = two.write(make_record("STIR"))
    shutil.copy(path, one.folder / "copy-under-another-name.json")
    shutil.copytree(two.folder, one.folder, dirs_exist_ok=True)
    assert [r.label for r in one.read_all().records] == sorted(["STIR", "WGSE"], key=_id)


def _id(label: str) -> str:
    return make_record(label).id


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"results: .*nowhere is not a folder"):
        Store(tmp_path / "nowhere").read_all()


def test_the_long_frame_holds_each_value_once() -> None:
    records = [make_record("STIR"), make_record("TFI", scenes=3)]
    frame = long_frame(records)
    assert len(frame) == 5 * (20 + 6)
    psnr = frame[(frame.label == "TFI") & (frame.metric == "psnr")]
    np.testing.assert_array_equal(psnr.value, records[1].column("psnr"))
    assert list(psnr["sample"]) == list(records[1].samples.keys)


def test_means_of_the_long_frame_are_the_summary() -> None:
    records = [make_record("STIR"), make_record("TFI")]
    means = long_frame(records).groupby(["record", "metric"], observed=True).value.mean().unstack()
    summary = summary_frame(records).set_index("record")
    for metric in METRICS:
        np.testing.assert_allclose(means[metric].loc[summary.index], summary[metric])


def test_frames_of_nothing_are_empty() -> None:
    assert len(long_frame([])) == 0
    assert len(summary_frame([])) == 0
    assert "label" in summary_frame([])


def test_missing_values_are_nan(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(make_record(samples=Samples(["a", "b"], {"niqe": [None, 3.0]}, {"niqe": False})))
    assert store.frame().value.isna().tolist() == [True, False]
    assert store.summary().niqe.tolist() == [3.0]
