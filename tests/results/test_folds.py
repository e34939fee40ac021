"""Records of folds become one row, whose mean is over all of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spikerec.results import Problem, Record, Samples, Store, WeightsInfo, read_record
from spikerec.results.boards import Board, gather
from spikerec.results.folds import KEY, Fold, fold_of, merge_folds, weights_digests, with_fold
from spikerec.results.formats import csv_rows
from spikerec.results.page import render
from spikerec.results.parts import Curves
from spikerec.results.tables import standings
from spikerec.results.trained import training_of
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


def trained(number: int, **changes: object) -> Record:
    """The record of a fold whose network was trained with it held out."""
    record = fold(number)
    facts = {
        "data": {"sreds": f"{number:016x}"}, "batch": 8, "samples": 32, "seconds": 2.5,
        "recipe": "a" * 16, **changes,
    }  # fmt: skip
    weights = replace(record.weights, source=f"fold-{number}")
    return replace(record, training=facts, weights=weights)


def with_weights(record: Record, digest: str) -> Record:
    return replace(record, weights=replace(record.weights, digest=digest * 64))


def refused(folds: list[Record]) -> str:
    """The reason why records are no row; a method that is none of theirs stays on its board."""
    boards, (problem,) = gather([*folds, make_record("TFI")])
    assert [str(board.name) for board in boards] == ["sreds (test)"]
    return problem.reason


def test_weights_that_saw_a_fold_are_no_cross_validation() -> None:
    one = {"data": {"sreds": "1" * 16}}
    leaked = [with_weights(trained(number, **one), "e") for number in (1, 2, 3)]
    reason = refused(leaked)
    assert "folds 1, 2, 3 were judged by weights that were trained on the same scenes" in reason
    assert "folds 2, 3 were judged by weights" in refused([trained(1), *leaked[1:]])
    named = [with_weights(trained(number, data=["sreds"]), "e") for number in (1, 2, 3)]
    assert "trained on the same scenes of sreds" in refused(named)


def test_weights_of_other_data_may_be_the_same_in_all_folds_or_in_none() -> None:
    shipped = [with_weights(trained(k, data={"photos": "1"}), "e") for k in (1, 2, 3)]
    (board,), problems = gather(shipped)
    (row,) = board.rows.values()
    assert weights_digests(row.record) == "e" * 64
    assert training_of(row).short == "photos · 32 samples · 2 s"
    assert not problems
    own = trained(1, data={"photos": "1"})
    assert "folds 2, 3 are of the same weights, and the others are not" in refused(
        [own, *shipped[1:]]
    )


@pytest.mark.parametrize(
    ("changes", "differing"),
    [
        ({"recipe": "b" * 16}, "differ in recipe"),
        ({"batch": 16}, "differ in batch"),
        ({"data": {"reds": "2"}}, "differ in data"),
    ],
)
def test_folds_of_different_recipes_are_not_mixed(
    changes: dict[str, object], differing: str
) -> None:
    reason = refused([trained(1), trained(2, **changes), trained(3)])
    assert differing in reason
    assert "from fold-1, fold-2, fold-3" in reason


def test_records_without_a_recipe_are_compared_by_what_they_state() -> None:
    def before(number: int, **changes: object) -> Record:
        record = trained(number, **changes)
        return replace(record, training={k: v for k, v in record.training.items() if k != "recipe"})

    assert "differ in samples" in refused([before(1), before(2, samples=900_000), before(3)])
    assert not gather([before(1), before(2, samples=40), trained(3)])[1]
    loss = before(2)
    other = [replace(before(k), config=before(k).config | {"loss": {"l1": 1}}) for k in (1, 3)]
    loss = replace(loss, config=loss.config | {"loss": {"l1": 2}})
    assert "differ in loss" in refused([*other, loss])
    unknown = replace(trained(2), training={})
    assert "differ in what is known of it" in refused([trained(1), unknown, trained(3)])


def test_folds_of_different_margins_or_of_other_data_are_not_mixed() -> None:
    folds = [trained(number) for number in (1, 2, 3)]
    margins = [
        replace(one, dataset=replace(one.dataset, margin=margin))
        for one, margin in zip(folds, (40, 0, 0), strict=True)
    ]
    assert "different margins (fold 1: 40, fold 2: 0, fold 3: 0)" in refused(margins)
    foreign = replace(folds[1], dataset=replace(folds[1].dataset, digest="f" * 64), label="TFP")
    foreign = replace(foreign, protocol=folds[1].protocol)
    again = [replace(one, label="TFP") for one in (folds[0], folds[2])]
    boards, problems = gather([*folds, again[0], foreign, again[1], replace(folds[1], label="X")])
    assert len(boards) == 1
    assert any("fold 2 was evaluated on other data (ffffffffffff" in p.reason for p in problems)
    twice = replace(folds[2], dataset=replace(folds[2].dataset, digest=folds[1].dataset.digest))
    assert "folds 2, 3 are of the same data" in refused([*folds[:2], twice])


def test_a_row_names_the_records_weights_and_trainings_of_all_folds() -> None:
    folds = [trained(number) for number in (1, 2, 3)]
    boards, problems = gather(folds)
    assert not problems
    (board,) = boards
    (row,) = board.rows.values()
    assert training_of(row).text == "sreds · 3 runs, in all 96 samples · 8 s"
    (line,) = csv_rows(boards, standings(boards))
    assert line["sreds (3 folds): record"] == " ".join(one.id for one in folds)
    assert line["weights digest"] == " ".join(str(one.weights.digest) for one in folds)
    assert line["weights from"] == "runs fold-1, fold-2, fold-3"
    page = spikerec_page(boards)
    assert all(one.file_name in page and str(one.weights.digest) in page for one in folds)


def spikerec_page(boards: list[Board]) -> str:
    return render(
        boards, standings(boards), [], [], [],
        images_per_board=0, image_side=100, image_megabytes=1.0,
    )  # fmt: skip


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
