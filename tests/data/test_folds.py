"""Folds of scenes: dealt once, frozen in a file, bound to the content of the set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from spikerec.apps.data import main
from spikerec.data import (
    REDS,
    Clip,
    FoldedSet,
    Real,
    SpikeDataModule,
    make_folds,
    read_folds,
    write_folds,
)
from spikerec.data.folds import all_clips
from spikerec.errors import ConfigError, DataError, DataNotFoundError
from tests.fakes import fake_image, fake_spikes, write_dat, write_image


@pytest.fixture
def data(tmp_path: Path) -> REDS:
    """Four scenes in two splits, one of them in two parts."""
    root = tmp_path / "reds"
    names = {"train": ("001_part1", "001_part2", "002_part1"), "test": ("003_part1", "004_part1")}
    for split, clips in names.items():
        for seed, name in enumerate(clips):
            stem = f"{name}_key_id21"
            write_dat(root / split / "spike" / f"{stem}.dat", fake_spikes(41, 24, 40, seed))
            write_image(root / split / "gt" / f"{stem}.png", fake_image(24, 40, seed))
    return REDS(root, height=24, width=40)


def test_every_scene_is_in_one_fold_and_its_parts_stay_together(data: REDS) -> None:
    folds = make_folds(data, 2, seed=3)
    assert sorted(scene for fold in folds.scenes for scene in fold) == ["001", "002", "003", "004"]
    assert [len(fold) for fold in folds.scenes] == [2, 2]
    assert make_folds(data, 2, seed=3) == folds
    assert {make_folds(data, 2, seed=seed) for seed in range(8)} != {folds}


def test_training_sees_all_but_the_fold_that_is_judged(data: REDS, tmp_path: Path) -> None:
    file = tmp_path / "folds.yaml"
    write_folds(file, make_folds(data, 2))
    names = {clip.name for clip in all_clips(data)}
    assert len(names) == 5
    judged: list[str] = []
    for fold in (1, 2):
        folded = FoldedSet(data, file, fold)
        train, test = ({clip.name for clip in folded.clips(split)} for split in ("train", "test"))
        assert train | test == names
        assert not {data.scene_name(c) for c in folded.clips("train")} & {
            data.scene_name(c) for c in folded.clips("val")
        }
        assert folded.scene("test", folded.clips("test")[0]) is None  # as of the set itself
        judged += test
    assert sorted(judged) == sorted(names)


def test_folds_of_other_content_are_refused(data: REDS, tmp_path: Path) -> None:
    file = tmp_path / "folds.yaml"
    write_folds(file, make_folds(data, 2))
    image = data.root / "train/gt/002_part1_key_id21.png"
    write_image(image, fake_image(24, 40, 9))
    with pytest.raises(DataError, match=r"folds\.yaml was made for other content of reds"):
        FoldedSet(data, file, 1).clips("train")
    with pytest.raises(DataError, match=r"holds other folds, .* another file by --output"):
        write_folds(file, make_folds(data, 2))


def test_a_deal_that_leaves_out_a_scene_is_refused(data: REDS, tmp_path: Path) -> None:
    file = tmp_path / "folds.yaml"
    folds = make_folds(data, 2)
    first = tuple("999" if scene == folds.scenes[0][0] else scene for scene in folds.scenes[0])
    write_folds(file, replace(folds, scenes=(first, folds.scenes[1])))
    with pytest.raises(DataError, match=r"must deal each scene of reds, and no other: .*999"):
        FoldedSet(data, file, 1).clips("train")


def test_recordings_of_one_scene_stay_together(tmp_path: Path) -> None:
    data = Real(tmp_path, height=24, width=40)
    clip = Clip("00@motion=2", (tmp_path / "a.dat",), 1.0, None)
    assert data.scene_name(clip) == "00"


def test_a_data_module_holds_a_fold_out(data: REDS, tmp_path: Path) -> None:
    file = tmp_path / "folds.yaml"
    write_folds(file, make_folds(data, 2))
    module = SpikeDataModule(data, window=11, crop=(16, 16), folds=file, fold=2)
    module.setup("fit")
    held_out = set(read_folds(file).scenes[1])
    assert {data.scene_name(clip) for clip in module.val_windows["reds"].clips} == held_out
    with pytest.raises(ConfigError, match="fold must be from 1 to 2"):
        SpikeDataModule(data, window=11, folds=file, fold=3)
    with pytest.raises(ConfigError, match="belong together: state fold=1"):
        SpikeDataModule(data, window=11, folds=file)
    other = REDS(data.root, name="other")
    with pytest.raises(ConfigError, match="deals reds, and the data are other"):
        SpikeDataModule(other, window=11, folds=file, fold=1)
    with pytest.raises(ConfigError, match="folds are of one set, found 2"):
        SpikeDataModule([data, other], window=11, folds=file, fold=1)


def test_files_that_are_none_and_counts_that_cannot_be_are_refused(
    data: REDS, tmp_path: Path
) -> None:
    with pytest.raises(DataNotFoundError, match="spikerec data folds"):
        read_folds(tmp_path / "none.yaml")
    with pytest.raises(DataError, match="is a folder: expected the file of a deal"):
        read_folds(tmp_path)
    for folds in ("[[a], [a]]", "abc", "[[0010], [b]]", "[[true], [b]]", "[ab, c]"):
        (tmp_path / "other.yaml").write_text(f"dataset: reds\ncontent: x\nfolds: {folds}\n")
        with pytest.raises(DataError, match="holds no folds"):
            read_folds(tmp_path / "other.yaml")
    with pytest.raises(ConfigError, match="from 2 to 4, the scenes of reds, found 5"):
        make_folds(data, 5)


def test_the_command_writes_the_file_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("001_part1", "002_part1", "003_part1")):
        stem = f"{name}_key_id21"
        write_dat(tmp_path / f"set/train/spike/{stem}.dat", fake_spikes(41, 250, 400, seed))
        write_image(tmp_path / f"set/train/gt/{stem}.png", fake_image(250, 400, seed))
    main(["folds", "reds", f"--root={tmp_path / 'set'}", "--count=3"])
    assert "folds of 1, 1, 1 scenes" in capsys.readouterr().out
    written = (tmp_path / "reds_folds.yaml").read_text()
    main(["folds", "reds", f"--root={tmp_path / 'set'}", "--count=3"])
    assert (tmp_path / "reds_folds.yaml").read_text() == written
    with pytest.raises(ConfigError, match="did you mean reds"):
        main(["folds", "redz"])
