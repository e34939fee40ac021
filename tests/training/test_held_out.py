"""Weights are judged on the scenes that they never saw, or refused."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch

import spikerec
from spikerec.data import REDS, SpikeDataModule, make_folds, write_folds
from spikerec.errors import ConfigError
from spikerec.metrics import PSNR, Protocol
from spikerec.models.fast import Fast
from spikerec.results.evaluation import evaluate
from spikerec.training import Run, fit
from spikerec.training.held_out import check_held_out
from spikerec.weights import read_state
from spikerec.weights.writing import save_state
from tests.fakes import fake_reds

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


def network() -> Fast:
    return Fast(window=11, filters=2, channels=(4, 4), blocks=(1, 1))


def module(folder: Path, fold: int | None, *, deal: str = "folds.yaml") -> SpikeDataModule:
    data = REDS(folder / "reds", height=24, width=40)
    folds = None if fold is None else folder / deal
    return SpikeDataModule(
        data, window=11, batch_size=2, crop=(16, 16), folds=folds, fold=fold, samples_per_epoch=2
    )


def train(folder: Path, name: str, fold: int | None, start: Fast | None = None) -> Run:
    return fit(
        start or network(),
        module(folder, fold),
        folder=folder / "train" / name,
        optimizer=partial(torch.optim.Adam, lr=1e-3),
        max_epochs=1,
    )


def judge(folder: Path, weights: Path, fold: int, *, deal: str = "folds.yaml") -> None:
    loaded = spikerec.load(weights)
    protocol = Protocol("own", {"psnr": PSNR}, clip=True, border=0, rounding="none")
    evaluate(loaded, module(folder, fold, deal=deal), protocol, efficiency=None)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of five scenes in two deals, a run with fold 1 held out, and one without folds."""
    folder = tmp_path_factory.mktemp("place")
    fake_reds(folder / "reds")
    data = REDS(folder / "reds", height=24, width=40)
    write_folds(folder / "folds.yaml", make_folds(data, 3))
    write_folds(folder / "other.yaml", make_folds(data, 2, seed=1))
    train(folder, "one", 1)
    train(folder, "own_split", None)
    return folder


def test_weights_are_judged_on_the_fold_that_was_held_out_alone(place: Path) -> None:
    weights = Run(place / "train/one").checkpoint
    judge(place, weights, 1)
    with pytest.raises(
        ConfigError, match=r"fold must be 1 for .*, found 2: it was trained with fold 1 of 3 held"
    ):
        judge(place, weights, 2)


def test_a_copied_checkpoint_says_itself_what_it_was_trained_with(
    place: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.ckpt"
    shutil.copy(Run(place / "train/one").checkpoint, copy)
    judge(place, copy, 1)
    with pytest.raises(ConfigError, match=r"found 2: it was trained with fold 1 of 3 held"):
        judge(place, copy, 2)


def test_weights_of_the_sets_own_split_or_of_another_deal_are_refused(place: Path) -> None:
    with pytest.raises(ConfigError, match="on the train split of reds, whose scenes are in these"):
        judge(place, Run(place / "train/own_split").checkpoint, 1)
    with pytest.raises(ConfigError, match="on reds of another deal or other content"):
        judge(place, Run(place / "train/one").checkpoint, 1, deal="other.yaml")


def test_weights_that_were_packed_and_those_of_an_unfinished_run_are_known_too(
    place: Path, tmp_path: Path
) -> None:
    run, data = Run(place / "train/one"), module(place, 3)
    packed = tmp_path / "packed.safetensors"
    save_state(packed, read_state(run.checkpoint), {"training": json.dumps(run.budget())})
    with pytest.raises(ConfigError, match="fold must be 1 for"):
        check_held_out(data.sets, packed, data)
    shutil.copytree(run.folder, tmp_path / "unfinished")
    (tmp_path / "unfinished/finished.json").unlink()
    with pytest.raises(ConfigError, match="fold must be 1 for"):
        judge(place, Run(tmp_path / "unfinished").checkpoint, 3)


def test_a_training_does_not_start_from_weights_that_saw_its_fold(place: Path) -> None:
    start = spikerec.load(Run(place / "train/one").checkpoint)
    with pytest.raises(ConfigError, match="fold must be 1 for"):
        train(place, "two", 2, start)  # type: ignore[arg-type]
