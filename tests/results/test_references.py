from __future__ import annotations

from dataclasses import replace

from spikerec.results import WeightsInfo
from spikerec.results.boards import BoardName
from spikerec.results.references import reference_for, references, reported_label
from tests.results.records import make_record


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


def test_figures_stand_only_beside_their_data_split_and_protocol() -> None:
    assert reference_for(BoardName("sreds", "test", "stir")).title.startswith("STIR paper")
    assert reference_for(BoardName("recVidarReal2019", "test", "stir")) is not None
    assert reference_for(BoardName("reds", "test", "reds")).title.startswith("Spike-Zoo")
    for other in [
        ("sreds", "val", "stir"),
        ("sreds", "test", "corrected"),
        ("reds", "test", "stir"),
    ]:
        assert reference_for(BoardName(*other)) is None


def test_a_setting_in_brackets_is_dropped_only_without_parameters() -> None:
    paper = references()[1]
    assert reported_label(paper, make_record("TFP (31)")) == "TFP"
    variant = replace(make_record("STIR"), label="STIR (half width)")
    assert reported_label(paper, variant) is None
    assert reported_label(paper, replace(make_record("STIR"), label="stir")) == "STIR"
    assert reported_label(paper, replace(variant, weights=WeightsInfo())) == "STIR"
