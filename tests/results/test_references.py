from __future__ import annotations

from dataclasses import replace

from spikerec.results import Record, WeightsInfo
from spikerec.results.boards import Board, gather
from spikerec.results.references import (
    reference_for,
    references,
    reported_figure,
    reported_label,
)
from tests.results.records import make_record, protocol


def test_the_papers_lead_on_each_board_is_as_published() -> None:
    zoo, paper = references()
    sreds, reds = paper.figures["sreds"], zoo.figures["reds"]
    assert sreds["STIR"]["psnr"] - sreds["WGSE"]["psnr"] == 38.79 - 37.44
    assert reds["STIR"]["psnr"] - reds["WGSE"]["psnr"] < 0  # the two boards disagree
    assert paper.figures["recvidarreal2019"]["STIR"] == {"niqe": 5.394, "brisque": 15.854}
    assert paper.efficiency["STIR"]["macs"] == 0.42
    assert len(paper.labels()) == len(zoo.labels()) == 9


def test_every_source_is_cited() -> None:
    assert all(len(reference.source) > 40 for reference in references())


def _board(dataset: str, split: str, name: str, *labels: str) -> Board:
    records = [make_record(label, protocol=protocol(name)) for label in labels or ["STIR"]]
    records = [
        replace(record, dataset=replace(record.dataset, name=dataset, split=split))
        for record in records
    ]
    (board,), _ = gather(records)
    return board


def test_figures_stand_only_beside_their_data_split_and_protocol() -> None:
    titles = {
        ("sreds", "test", "stir"): "STIR paper, Table 1",
        ("recVidarReal2019", "test", "stir"): "STIR paper, Table 1",
        ("reds", "test", "reds"): "Spike-Zoo v0.2.3 on REDS_base",
    }
    for place, title in titles.items():
        reference = reference_for(_board(*place))
        assert reference is not None
        assert reference.title == title
    for other in [
        ("sreds", "val", "stir"),
        ("sreds", "test", "corrected"),
        ("reds", "test", "stir"),
    ]:
        assert reference_for(_board(*other)) is None


def test_a_reported_figure_needs_the_papers_definition_of_the_metric() -> None:
    stir = make_record("STIR")
    corrected = replace(stir, protocol=protocol("corrected"), created="2027-01-01T00:00:00+00:00")
    (board,), _ = gather([stir, corrected])
    (row,) = board.rows.values()
    shown = {key: reported_figure(board, row, metric) for key, metric in board.metrics.items()}
    assert shown["lpips"] is None
    assert shown["lpips (stir)"] == 0.0183
    assert shown["psnr"] == 38.79  # defined alike, and evaluated under the paper's protocol too


def test_a_setting_in_brackets_is_dropped_only_without_parameters() -> None:
    paper = references()[1]

    def reported(record: Record) -> str | None:
        (board,), _ = gather([record])
        return reported_label(paper, next(iter(board.rows.values())))

    assert reported(make_record("TFP (31)")) == "TFP"
    variant = replace(make_record("STIR"), label="STIR (half width)")
    assert reported(variant) is None
    assert reported(replace(make_record("STIR"), label="stir")) == "STIR"
    assert reported(replace(variant, weights=WeightsInfo())) == "STIR"
