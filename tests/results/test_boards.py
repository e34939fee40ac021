from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikerec.errors import ResultsError
from spikerec.results import Problem, Record, Samples, WeightsInfo, read_record
from spikerec.results.boards import Board, Choice, gather
from spikerec.results.formats import csv_rows, latex, markdown
from spikerec.results.labels import LabelFacts, unique_labels
from spikerec.results.page import render
from spikerec.results.tables import board_table, definition_notes, standings
from tests.hangs import no_hang
from tests.results.records import METRICS, make_record, protocol

DOCS = Path(__file__).resolve().parents[2] / "docs" / "leaderboard"


def _board(*records: Record) -> Board:
    (board,), problems = gather(records)
    assert not problems
    return board


def test_data_sets_and_splits_have_boards_of_their_own() -> None:
    record = make_record()
    others = [
        replace(record, dataset=replace(record.dataset, name="reds")),
        replace(record, dataset=replace(record.dataset, split="val")),
    ]
    boards, problems = gather([record, *others])
    assert len(boards) == 3
    assert not problems
    assert all(len(board.rows) == 1 for board in boards)


def test_figures_of_a_row_are_the_newest_records_whatever_the_order() -> None:
    records = [make_record(created=f"2026-01-0{day}T00:00:00+00:00") for day in (1, 2, 3)]
    for order in permutations(records):
        row = _board(*order).rows["STIR"]
        assert row.record is records[2]
        assert set(row.figures.values()) == {records[2]}
        assert [run.created[:10] for run in row.history] == [
            "2026-01-01",
            "2026-01-02",
            "2026-01-03",
        ]


def test_rows_stand_best_first() -> None:
    assert list(_board(*map(make_record, ["TFI", "STIR", "WGSE"])).rows) == ["STIR", "WGSE", "TFI"]


# -------------------------------------------------------------------------- rows are weights


def _network(digest: str, origin: str = "run", label: str = "Fast", **changes: object) -> Record:
    weights = WeightsInfo(digest, "somewhere", "best.ckpt", origin)
    return make_record("STIR", weights=weights, **changes | {"label": label, "method": "fast"})  # type: ignore[arg-type]


def test_ones_own_run_never_replaces_the_shipped_weights() -> None:
    shipped = _network("70ee" + "0" * 60, "shipped", created="2026-01-01T00:00:00+00:00")
    own = _network("3f2a" + "0" * 60, created="2026-02-01T00:00:00+00:00")
    for order in permutations([shipped, own]):
        rows = _board(*order).rows
        assert set(rows) == {"Fast (shipped)", "Fast (run 3f2a)"}
        assert rows["Fast (shipped)"].record is shipped
        assert rows["Fast (run 3f2a)"].record is own


def test_a_label_is_one_row_on_every_board() -> None:
    shipped, own = _network("70ee" * 16, "shipped"), _network("3f2a" * 16)
    elsewhere = replace(own, dataset=replace(own.dataset, name="reds"))
    boards, _ = gather([shipped, elsewhere])
    assert [list(board.rows) for board in boards] == [["Fast (run 3f2a)"], ["Fast (shipped)"]]


def test_a_label_that_is_unique_stays_as_it_is() -> None:
    assert set(_board(_network("70ee" * 16, "shipped"), make_record("WGSE")).rows) == {
        "Fast",
        "WGSE",
    }


def test_digests_are_shown_as_long_as_they_must_be() -> None:
    rows = _board(_network("3f2a1" + "0" * 59), _network("3f2a2" + "0" * 59)).rows
    assert set(rows) == {"Fast (run 3f2a1000)", "Fast (run 3f2a2000)"}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["Fast", "Fast (shipped)", "Fast (run 3f2a)", "", " ", "\x1b[2J", "x" * 200]
            ),
            st.sampled_from(["shipped", "run", "file", "", "Fast"]),
            st.sampled_from(["3f2a", "3f2a00", "70ee", "\n"]),
        ),
        min_size=1,
        max_size=8,
        unique_by=lambda item: item[2] + item[1],
    )
)
def test_labels_are_unique_and_printable_whatever_records_say(
    items: list[tuple[str, str, str]],
) -> None:
    records = [
        _network(f"{digest}{origin}", origin, label, created=f"2026-01-01T00:00:0{i}+00:00")
        for i, (label, origin, digest) in enumerate(items)
    ]
    board = _board(*records)
    assert len(board.rows) == len({record.weights.digest for record in records})
    assert all(label.isprintable() and label.strip() for label in board.rows)
    assert all(row.label == label for label, row in board.rows.items())


def test_evaluations_of_the_same_weights_are_one_row_whatever_they_are_called() -> None:
    first = _network("3f2a" * 16, label="Mine", created="2026-01-01T00:00:00+00:00")
    again = _network("3f2a" * 16, label="Mine, again", created="2026-01-02T00:00:00+00:00")
    row = _board(again, first).rows["Mine, again"]
    assert row.count == 2
    assert not any(row.disagreement(metric) for metric in _board(first, again).metrics.values())


def _shifted(record: Record, by: float, **changes: object) -> Record:
    values = record.samples.values | {"psnr": record.column("psnr") + by}
    samples = Samples(record.samples.keys, values, record.samples.higher_is_better)
    return replace(record, samples=samples, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(("by", "disagrees"), [(0.009, False), (-0.009, False), (0.02, True)])
def test_evaluations_that_disagree_beyond_rounding_are_told(by: float, disagrees: bool) -> None:
    first = make_record()
    again = _shifted(first, by, created="2027-01-01T00:00:00+00:00")
    for order in permutations([first, again]):
        board = _board(*order)
        told = board.rows["STIR"].disagreement(board.metrics["psnr"])
        assert bool(told) == disagrees
        if disagrees:
            assert f"38.80 ({first.file_name}) and 38.82 ({again.file_name})" in told
        assert not board.rows["STIR"].disagreement(board.metrics["ssim"])


def test_methods_without_weights_are_rows_by_configuration() -> None:
    def tfp(window: int, label: str, **model: object) -> Record:
        config = {"model": {"_target_": "a.TFP", "window": window, "light_scale": 1.0} | model}
        return make_record("TFI", method="tfp", label=label, config=config)

    board = _board(tfp(31, "TFP (31)"), tfp(41, "TFP (41)"))
    assert set(board.rows) == {"TFP (31)", "TFP (41)"}
    board = _board(tfp(31, "TFP"), tfp(41, "TFP"))
    assert set(board.rows) == {"TFP (window=31)", "TFP (window=41)"}
    moved = tfp(31, "TFP (31)", _target_="elsewhere.TFP")
    assert _board(tfp(31, "TFP (31)"), moved).rows["TFP (31)"].count == 2
    renamed = make_record(
        "TFI", method="tfp", label="TFP (31)", config={"model": {"window": 31, "output_scale": 1.0}}
    )
    assert _board(tfp(31, "TFP (31)"), renamed).rows["TFP (31)"].count == 2


def test_costs_and_pictures_outlive_an_evaluation_without_them() -> None:
    full = make_record(images={"scene00/0": {"prediction": "a.png"}})
    bare = replace(full, efficiency={}, training={}, images={}, created="2027-01-01T00:00:00+00:00")
    row = _board(full, bare).rows["STIR"]
    assert row.record is bare
    assert row.aspect("efficiency") == full.efficiency
    assert row.aspect("training") == full.training
    assert row.aspect("images") == full.images


# ------------------------------------------------------------------- figures by definition


def test_a_new_line_in_a_protocol_orphans_nothing() -> None:
    old = make_record("STIR")
    samples = Samples(
        old.samples.keys,
        old.samples.values | {"vmaf": old.column("psnr")},
        old.samples.higher_is_better | {"vmaf": True},
    )
    new = make_record("WGSE", protocol=protocol("stir", (*METRICS, "vmaf")), samples=samples)
    assert new.protocol.digest != old.protocol.digest
    board = _board(old, new)
    assert list(board.metrics) == ["psnr", "ssim", "lpips", "niqe", "brisque", "vmaf"]
    digest = board.metrics["psnr"].definition.digest
    assert all(digest in row.means for row in board.rows.values())


def test_metrics_that_two_protocols_define_alike_share_a_column() -> None:
    stir, corrected = make_record("STIR"), make_record("WGSE", protocol=protocol("corrected"))
    board = _board(stir, corrected)
    assert list(board.metrics) == ["psnr", "ssim", "lpips", "lpips (stir)", "niqe", "brisque"]
    assert board.metrics["lpips"].protocols == ("corrected",)  # the plain name is the default's
    assert board.metrics["lpips (stir)"].title == "LPIPS (stir)"
    assert board.metrics["psnr"].protocols == ("corrected", "stir")
    own = {label: set(row.means) for label, row in board.rows.items()}
    assert board.metrics["lpips"].definition.digest not in own["STIR"]
    assert board.metrics["lpips (stir)"].definition.digest not in own["WGSE"]


@pytest.mark.parametrize("change", [{"clip": False}, {"border": 1}, {"rounding": "down"}])
def test_another_preparation_is_another_column(change: dict[str, object]) -> None:
    board = _board(make_record("STIR"), make_record("WGSE", protocol=protocol(**change)))  # type: ignore[arg-type]
    assert len(board.metrics) == 10


def test_figures_that_are_prepared_otherwise_never_have_the_plain_name() -> None:
    gain = protocol("best_gain", ("psnr",), alignment="gain")
    alone = _board(make_record("STIR", protocol=gain))
    assert alone.metrics["psnr (best_gain)"].title == "PSNR (best_gain)"
    assert "psnr" not in alone.metrics
    ((board,), _) = gather([make_record("STIR", protocol=gain)], Choice(columns=["psnr"]))
    assert list(board.metrics) == ["psnr (best_gain)"]


def test_a_changed_protocol_cannot_take_the_plain_name() -> None:
    changed = protocol("corrected", ("psnr",), alignment="affine")
    board = _board(
        make_record("STIR", protocol=changed),
        make_record("WGSE", protocol=changed),
        make_record("TFI", protocol=protocol("stir", ("psnr",))),
    )
    psnr = {key: metric for key, metric in board.metrics.items() if metric.name == "psnr"}
    assert list(psnr) == ["psnr", "psnr (corrected)"]
    assert psnr["psnr"].definition.is_plain
    assert psnr["psnr"].protocols == ("stir",)


def test_a_metric_that_was_unavailable_is_no_column_beside_one_that_was_measured() -> None:
    lacking = protocol("stir", ("psnr", "lpips"))
    lacking.description["metrics"]["lpips"]["arguments"] = {"weights": None}
    psnr = Samples(make_record().samples.keys, {"psnr": [1.0] * 20}, {"psnr": True})
    without = make_record(
        "TFI", protocol=lacking, samples=psnr, unavailable={"lpips": "its weights are not here"}
    )
    board = _board(make_record("STIR"), without)
    assert [key for key in board.metrics if "lpips" in key] == ["lpips"]
    record = board.rows["TFI"].figures[board.metrics["lpips"].definition.digest]
    assert record.unavailable["lpips"] == "its weights are not here"
    assert [key for key in _board(without).metrics if "lpips" in key] == ["lpips"]


def test_a_record_cannot_turn_the_direction_of_a_column() -> None:
    turned = Samples(["scene00/0"], {"psnr": [1.0]}, {"psnr": False})
    straight = Samples(["scene00/0"], {"psnr": [1.0]}, {"psnr": True})
    board = _board(make_record("STIR", samples=straight), make_record("WGSE", samples=turned))
    assert [
        metric.higher_is_better for metric in board.metrics.values() if metric.name == "psnr"
    ] in (
        [True, False],
        [False, True],
    )


def test_the_records_of_the_first_layout_are_still_read_and_compared() -> None:
    record = next(
        record
        for path in sorted(DOCS.glob("*.json"))
        if (record := read_record(path)).schema == 1 and record.method == "ssir"
    )
    assert record.definition("psnr").text == "alignment none, clip True, border 0, rounding none"
    assert "input_range unit" in record.definition("lpips").text
    assert record.definition("psnr") == make_record(
        samples=Samples(["a"], {"psnr": [1.0]}, {"psnr": True})
    ).definition("psnr")


def test_metrics_stand_in_the_order_of_the_papers() -> None:
    samples = Samples(
        ["a"],
        {"zeta": [1], "lpips": [1], "psnr": [1]},
        {"zeta": True, "lpips": False, "psnr": True},
    )
    board = _board(make_record(samples=samples, unavailable={"niqe": "none"}))
    assert list(board.metrics) == ["psnr", "lpips", "niqe", "zeta (stir)"]  # not in the protocol


# --------------------------------------------------------------------- what is left out


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
        "other samples (6, the board has 20)": make_record("SSIR", scenes=3),
    }
    for reason, record in cases.items():
        boards, problems = gather([*majority, record])
        assert [list(board.rows) for board in boards] == [["STIR", "WGSE"]]
        assert [problem.name for problem in problems] == [record.file_name]
        assert reason in problems[0].reason


def test_the_most_recent_of_equal_variants_is_the_board() -> None:
    old = make_record("STIR")
    new = make_record("WGSE", created="2027-01-01T00:00:00+00:00")
    new = replace(new, dataset=replace(new.dataset, digest="e" * 64))
    for order in permutations([old, new]):
        (board,), problems = gather(order)
        assert list(board.rows) == ["WGSE"]
        assert [problem.name for problem in problems] == [old.file_name]


def test_samples_in_another_order_are_the_same_samples() -> None:
    record = make_record("WGSE")
    turned = Samples(
        record.samples.keys[::-1],
        {metric: column[::-1] for metric, column in record.samples.values.items()},
        record.samples.higher_is_better,
    )
    assert len(_board(make_record("STIR"), replace(record, samples=turned)).rows) == 2


def test_problems_of_the_store_are_passed_on() -> None:
    _, problems = gather([Problem("x.json", "x.json: broken"), make_record()])
    assert problems == [Problem("x.json", "x.json: broken")]


def test_the_best_rows_are_kept_and_the_rest_named_in_every_table() -> None:
    (board,), problems = gather(map(make_record, ["TFI", "STIR", "WGSE"]), Choice(rows=2))
    assert list(board.rows) == ["STIR", "WGSE"]
    assert not problems
    stands = standings([board])
    page = render(
        [board], stands, (), [], [], images_per_board=1, image_side=100, image_megabytes=1.0
    )
    stated = "The 2 best of 3 rows are shown, here and in every file. Raise rows to show TFI."
    for text in (markdown([board_table(board, stands)]), latex(board, stands), page):
        assert stated in text
    rows = csv_rows([board], stands)
    assert [row["sreds (test): rows left out"] for row in rows] == [1, 1]


def test_what_is_shown_can_be_chosen() -> None:
    records = [make_record("STIR"), make_record("WGSE"), _network("3f2a" * 16)]
    choice = Choice(methods=["stir", "FAST"], columns=["ssim", "params"])
    (board,), _ = gather(records, choice)
    assert set(board.rows) == {"STIR", "Fast"}
    assert list(board.metrics) == ["ssim"]
    (board,), _ = gather(records, Choice(datasets=["sreds"]))
    assert len(board.rows) == 3
    for wrong in (Choice(methods=["stri"]), Choice(datasets=["x"]), Choice(columns=["psrn"])):
        with pytest.raises(ResultsError, match="which no record has: expected"):
            gather(records, wrong)


def test_labels_of_many_networks_of_one_name_are_made_at_once() -> None:
    fact = LabelFacts("2026", "id", "Fast", "run", "", ())
    names = {i: fact._replace(weights=f"{i:064x}"[::-1]) for i in range(20_000)}
    with no_hang():  # it took minutes while it was quadratic
        labels = unique_labels(names)
    assert len(set(labels.values())) == len(names)


def _own(code: str, label: str) -> Record:
    """A record of a metric `psnr` of a user's own."""
    stated = protocol("corrected", ("psnr",))
    stated.description["metrics"]["psnr"] |= {"implementation": "mine", "code": code}
    return make_record(label, protocol=stated)


def test_a_metric_of_a_users_own_never_shares_a_column_with_another_definition() -> None:
    shipped = make_record("TFP", protocol=protocol("stir", ("psnr",)))
    board = _board(_own("aaaaaaaa", "A"), _own("bbbbbbbb", "B"), _own("bbbbbbbb", "C"), shipped)
    psnr = [metric for metric in board.metrics.values() if metric.name == "psnr"]
    assert [metric.protocols for metric in psnr] == [("stir",), ("corrected",), ("corrected",)]
    assert psnr[0].key == "psnr"
    assert not psnr[0].definition.is_foreign
    assert psnr[1].definition.text.endswith("code bbbbbb of mine")
    assert definition_notes(board)[0].startswith(
        "PSNR (corrected) is computed with code bbbbbb of mine, PSNR with that of spikerec"
    )


def test_a_revision_of_a_metric_has_a_column_of_its_own() -> None:
    stated = protocol("corrected", ("psnr",))
    stated.description["metrics"]["psnr"] |= {"revision": 2}
    board = _board(make_record("new", protocol=stated), make_record("old"))
    figures = [m.definition.text for m in board.metrics.values() if m.name == "psnr"]
    assert sum("revision 2" in text for text in figures) == 1
    assert len(figures) == 2
