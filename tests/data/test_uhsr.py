"""UHSR: the class of each clip, and the split of the whole set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikerec.data import UHSR, Windows, uhsr
from spikerec.errors import DataError
from tests.fakes import fake_spikes


def write_clip(path: Path, **stated: Any) -> None:
    np.savez_compressed(path, spk=fake_spikes(30, 8, 8), **stated)


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        ("4144_helicopter.jpg", "helicopter"),
        ("0012_car_side.jpg", "car_side"),
        ("helicopter", "helicopter"),
        ("3_cat.png", "cat"),
    ],
)
def test_a_clip_states_the_class_that_its_picture_names(
    picture: str, expected: str, tmp_path: Path
) -> None:
    write_clip(tmp_path / "1.npz", label=np.int64(47), label_name=np.array(picture))
    windows = Windows(UHSR(tmp_path, key_stride=30).clips("test"), window=21, margin=0)
    assert windows.conditions(0)["label"] == expected


def test_a_clip_without_a_name_of_its_class_has_no_label(tmp_path: Path) -> None:
    write_clip(tmp_path / "1.npz", label=np.int64(47))
    (clip,) = UHSR(tmp_path).clips("test")
    assert "label" not in clip.conditions


@pytest.mark.parametrize(
    ("label_name", "told"),
    [
        (np.array("x" * 200), "expected one text of at most 100 characters"),
        (np.array(["a", "b"]), "expected one text"),
        (np.array(47), "expected one text"),
        (np.array({"a": 1}, dtype=object), "expected one text"),  # pickled: never loaded
        (np.array("../<b>"), "text of 6 characters: expected NUMBER_CLASS.jpg"),
    ],
)
def test_a_name_of_another_form_is_refused(label_name: Any, told: str, tmp_path: Path) -> None:
    write_clip(tmp_path / "1.npz", label_name=label_name)
    with pytest.raises(DataError, match=told):
        UHSR(tmp_path).clips("test")


def test_the_whole_set_is_split_by_its_sorted_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("10_a", "2_b", "1_c"):
        write_clip(tmp_path / f"{name}.npz")
    clips = UHSR(tmp_path)
    names = {split: [clip.name for clip in clips.clips(split)] for split in ("train", "test")}
    assert names == {"train": ["10_a", "1_c", "2_b"], "test": ["10_a", "1_c", "2_b"]}
    monkeypatch.setattr(uhsr, "TRAINING_CLIPS", 2)
    assert [clip.name for clip in clips.clips("train")] == ["10_a", "1_c"]
    assert [clip.name for clip in clips.clips("val")] == ["2_b"]
    assert [clip.name for clip in clips.clips("test")] == ["2_b"]
