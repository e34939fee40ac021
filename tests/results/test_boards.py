from __future__ import annotations

from dataclasses import replace
from itertools import permutations

from spikerec.results import Problem, ProtocolInfo, Samples
from spikerec.results.boards import gather, trim
from tests.results.records import make_record


def test_data_sets_splits_and_protocols_have_boards_of_their_own() -> None:
    record = make_record()
    others = [
        replace(record, dataset=replace(record.dataset, name="reds")),
        replace(record, dataset=replace(record.dataset, split="val")),
        replace(record, protocol=ProtocolInfo("corrected", "b" * 64)),
    ]
    boards, problems = gather([record, *others])
    assert len(boards) == 4
    assert not problems
    assert all(len(board.records) == 1 for board in boards)


def test_the_row_is_the_newest_record_whatever_the_order() -> None:
    records = [make_record(created=f"2026-01-0{day}T00:00:00+00:00") for day in (1, 2, 3)]
    for order in permutations(records):
        (board,), _ = gather(order)
        assert board.records["STIR"] is records[2]
        assert [one.created[:10] for one in board.history["STIR"]] == [
            "2026-01-01",
            "2026-01-02",
            "2026-01-03",
        ]


def test_rows_stand_best_first() -> None:
    (board,), _ = gather(map(make_record, ["TFI", "STIR", "WGSE"]))
    assert list(board.records) == ["STIR", "WGSE", "TFI"]


def test_metrics_stand_in_the_order_of_the_papers() -> None:
    samples = Samples(
        ["a"],
        {"zeta": [1], "lpips": [1], "psnr": [1]},
        {"zeta": True, "lpips": False, "psnr": True},
    )
    (board,), _ = gather([make_record(samples=samples, unavailable={"niqe": "none"})])
    assert list(board.metrics) == ["psnr", "lpips", "niqe", "zeta"]


def test_other_data_of_one_name_is_left_out_by_name() -> None:
    majority = [make_record("STIR"), make_record("WGSE")]
    stray = make_record("SSIR", created="2027-01-01T00:00:00+00:00")
    cases = {
        "data digest is eeeeeeeeeeee, the board's dddddddddddd": replace(
            stray, dataset=replace(stray.dataset, digest="e" * 64)
        ),
        "light scale is 0.6, the board's 0.4": replace(
            stray, dataset=replace(stray.dataset, light_scale=0.6)
        ),
        "protocol digest is bbbbbbbbbbbb, the board's aaaaaaaaaaaa": replace(
            stray, protocol=ProtocolInfo("stir", "b" * 64)
        ),
        "other samples (6, the board has 20)": make_record("SSIR", scenes=3),
    }
    for reason, record in cases.items():
        boards, problems = gather([*majority, record])
        assert [list(board.records) for board in boards] == [["STIR", "WGSE"]]
        assert [problem.name for problem in problems] == [record.file_name]
        assert reason in problems[0].reason


def test_the_most_recent_of_equal_variants_is_the_board() -> None:
    old = make_record("STIR")
    new = make_record("WGSE", created="2027-01-01T00:00:00+00:00")
    new = replace(new, dataset=replace(new.dataset, digest="e" * 64))
    for order in permutations([old, new]):
        (board,), problems = gather(order)
        assert list(board.records) == ["WGSE"]
        assert [problem.name for problem in problems] == [old.file_name]


def test_samples_in_another_order_are_the_same_samples() -> None:
    record = make_record("WGSE")
    turned = Samples(
        record.samples.keys[::-1],
        {metric: column[::-1] for metric, column in record.samples.values.items()},
        record.samples.higher_is_better,
    )
    boards, problems = gather([make_record("STIR"), replace(record, samples=turned)])
    assert len(boards[0].records) == 2
    assert not problems


def test_problems_of_the_store_are_passed_on() -> None:
    _, problems = gather([Problem("x.json", "x.json: broken"), make_record()])
    assert problems == [Problem("x.json", "x.json: broken")]


def test_trimming_keeps_the_best_and_names_the_rest() -> None:
    boards, _ = gather(map(make_record, ["TFI", "STIR", "WGSE"]))
    problems = trim(boards, 2)
    assert list(boards[0].records) == ["STIR", "WGSE"]
    assert "TFI is not among the 2 best" in problems[0].reason
