"""Records of folds become one row, whose mean is over all of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spikerec.results import Problem, Record, Samples, Store, WeightsInfo, read_record
from spikerec.results.boards import gather
from spikerec.results.folds import KEY, Fold, fold_of, merge_folds, with_fold
from spikerec.results.parts import Curves
from tests.results.records import make_record

DEAL = "a" * 64


def fold(number: int, *, count: int = 3, deal: str = DEAL, **changes: object) -> Record:
    """The record of a fold: samples of its own, weights of its own."""
    record = make_record("STIR", scenes=2 + number)
    samples = record.samples
    own = Samples(
        [f"fold{number}/{key}" for key in samples.keys], samples.values, samples.higher_is_better
    )
    return replace(
        record,
        samples=own,
        dataset=replace(record.dataset, digest=f"{number:064x}", num_samples=len(own.keys)),
        config=with_fold(record.config, Fold(number, count, deal)),
        weights=WeightsInfo(f"{number:064x}", "run", "best.ckpt", "run"),
        **changes,  # type: ignore[arg-type]
    )


def test_all_folds_are_one_row_whose_mean_is_over_all_samples() -> None:
    folds = [fold(number) for number in (1, 2, 3)]
    boards, problems = gather([folds[2], folds[0], make_record("TFI"), folds[1]])
    assert [str(board.name) for board in boards] == ["sreds (3 folds)", "sreds (test)"]
    board = boards[0]
    (row,) = board.rows.values()
    everything = np.concatenate([record.samples.values["psnr"] for record in folds])
    assert row.record.mean("psnr") == pytest.approx(everything.mean())
    assert len(board.keys) == sum(len(record.samples.keys) for record in folds)
    assert row.record.config["folds"] == [record.file_name for record in folds]
    assert not problems


def test_a_missing_fold_is_said_and_no_mean_is_shown() -> None:
    boards, (problem,) = gather([fold(1), fold(3)])
    assert boards == []
    assert "fold 2 of 3 not evaluated" in problem.reason


def test_a_sample_in_two_folds_is_said_and_the_board_goes_on() -> None:
    twice = replace(fold(2), samples=replace(fold(1).samples))
    boards, (problem,) = gather([fold(1), twice, fold(3), make_record("TFI")])
    assert [str(board.name) for board in boards] == ["sreds (test)"]
    assert "keys must be unique" in problem.reason


def test_curves_of_all_folds_are_kept() -> None:
    folds = []
    for number in (1, 2, 3):
        one = fold(number)
        readouts = dict.fromkeys(one.samples.keys, (20, 40))
        values = {"psnr": {key: np.array([30.0, number]) for key in one.samples.keys}}
        folds.append(replace(one, curves=Curves(readouts, values)))
    (board,), problems = gather(folds)
    (row,) = board.rows.values()
    curves = row.record.curves
    assert curves is not None
    assert set(curves.readouts) == set(board.keys)
    assert {curve[1] for curve in curves.values["psnr"].values()} == {1, 2, 3}
    assert not problems


def test_two_recipes_of_one_name_are_not_mixed() -> None:
    other = replace(fold(2), weights=WeightsInfo("f" * 64, "run", "best.ckpt", "run"))
    boards, (problem,) = gather([fold(1), fold(2), other, fold(3)])
    assert boards == []
    assert "fold 2 has 2 sets of weights" in problem.reason
    labelled = replace(other, label="STIR, longer")
    boards, problems = gather([fold(1), fold(2), labelled, fold(3)])
    assert len(boards) == 1
    assert "folds 1, 3 of 3" in problems[0].reason


def test_the_newest_of_the_same_weights_counts() -> None:
    newer = fold(1, created="2027-01-01T00:00:00+00:00")
    better = replace(
        newer,
        samples=replace(
            newer.samples,
            values={**newer.samples.values, "psnr": newer.samples.values["psnr"] + 10},
        ),
    )
    merged = {
        next(iter(merge_folds(order))).mean("psnr")  # type: ignore[union-attr]
        for order in ([fold(1), better, fold(2), fold(3)], [better, fold(3), fold(2), fold(1)])
    }
    assert len(merged) == 1
    assert merged.pop() > make_record("STIR").mean("psnr")


def test_folds_of_different_files_never_share_a_board() -> None:
    one = [fold(number) for number in (1, 2, 3)]
    other = [replace(fold(number, deal="b" * 64), label="STIR 2") for number in (1, 2, 3)]
    boards, problems = gather([*one, *other])
    assert len(boards) == 1
    assert len(boards[0].rows) == 1
    assert "data digest" in problems[0].reason
    mixed = [fold(1), fold(2), fold(3, deal="b" * 64)]
    boards, problems = gather(mixed)
    assert boards == []
    assert all(isinstance(problem, Problem) for problem in problems)


def test_a_fold_is_kept_in_a_record(tmp_path: Path) -> None:
    assert fold_of(read_record(Store(tmp_path).write(fold(2)))) == Fold(2, 3, DEAL)
    assert fold_of(make_record("TFI")) is None


@pytest.mark.parametrize(
    "stated",
    [
        "1 of 3",
        {"number": 1},
        {"number": True, "total": 3, "digest": DEAL},
        {"number": 4, "total": 3, "digest": DEAL},
        {"number": 1, "total": 10**9, "digest": DEAL},
        {"number": 1, "total": 3, "digest": None},
    ],
)
def test_what_is_no_fold_is_read_as_none(stated: object) -> None:
    record = make_record("TFI")
    assert fold_of(replace(record, config={**record.config, KEY: stated})) is None
