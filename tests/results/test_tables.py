from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest
from rich.console import Console

from spikerec.results import DatasetInfo, ProtocolInfo, Record, Samples
from spikerec.results.boards import Board, gather
from spikerec.results.references import references
from spikerec.results.tables import (
    Table,
    comma_separated,
    latex,
    markdown,
    paper_tables,
    reference_table,
    standings,
    terminal,
)
from tests.results.records import METHODS, make_record


def _tables(*records: Record) -> tuple[list[Table], list[Board]]:
    boards, problems = gather(records)
    assert not problems
    return paper_tables(boards, standings(boards)), boards


def _blind(record: Record, factor: float = 1.8) -> Record:
    values = {m: record.column(m) * factor for m in ("niqe", "brisque")}
    samples = Samples(record.samples.keys, values, dict.fromkeys(values, False))
    dataset = DatasetInfo("recvidarreal2019", "test", "e" * 64, 20, False, 1.0)
    return replace(record, dataset=dataset, samples=samples)


def test_the_papers_columns_stand_in_the_papers_order() -> None:
    (table,), _ = _tables(make_record("STIR"), _blind(make_record("STIR")))
    titles = [column.title.split()[0] for column in table.columns]
    quality = ["PSNR", "SSIM", "LPIPS", "NIQE", "BRISQUE"]
    assert titles == ["Params", "Memory", "FLOPs", *quality, "NIQE", "BRISQUE"]


def test_boards_never_share_a_column() -> None:
    records = [make_record("STIR"), _blind(make_record("WGSE"))]
    (table,), _ = _tables(*records)
    assert len({column.key for column in table.columns}) == len(table.columns)
    for column in table.columns:
        if column.group:
            present = [label for label, row in table.rows.items() if column.key in row]
            assert present == (["STIR"] if column.group.dataset == "sreds" else ["WGSE"])


def test_other_protocols_have_tables_of_their_own() -> None:
    record = make_record("STIR")
    tables, _ = _tables(record, replace(record, protocol=ProtocolInfo("corrected", "b" * 64)))
    assert [table.title for table in tables] == ["sreds (test) · corrected", "sreds (test) · stir"]


def test_a_board_without_truth_stands_alone_if_no_other_has_its_protocol() -> None:
    blind = replace(_blind(make_record()), protocol=ProtocolInfo("corrected", "b" * 64))
    tables, _ = _tables(make_record(), blind)
    assert len(tables) == 2


def test_best_and_second_best_are_marked() -> None:
    (table,), _ = _tables(*map(make_record, METHODS))
    marks = {
        column.title: {row[column.key].mark: label for label, row in table.rows.items()}
        for column in table.columns
        if column.group
    }
    assert marks["PSNR"]["best"] == "STIR"
    assert marks["PSNR"]["second"] == "WGSE"
    assert marks["LPIPS"]["best"] == "STIR"


def test_equal_means_share_a_mark_and_one_method_gets_none() -> None:
    twin = replace(make_record("STIR"), label="Twin")
    (table,), _ = _tables(make_record("STIR"), twin, make_record("WGSE"))
    key = "sreds (test) · stir/psnr"
    assert [table.rows[label][key].mark for label in ("STIR", "Twin", "WGSE")] == [
        "best",
        "best",
        "second",
    ]
    (alone,), _ = _tables(make_record("STIR"))
    assert alone.rows["STIR"][key].mark == ""


def test_reported_figures_stand_beside_ours() -> None:
    text = markdown(_tables(make_record("STIR"), make_record("TFP (31)"))[0])
    row = next(line for line in text.splitlines() if line.startswith("| STIR"))
    assert "(38.79)" in row
    assert "5.11 (5.11)" in row
    assert "(25.35)" in text
    assert "NeurIPS 2024" in text


def test_an_unavailable_metric_says_why() -> None:
    record = make_record("STIR")
    values = {m: v for m, v in record.samples.values.items() if m != "lpips"}
    better = {m: v for m, v in record.samples.higher_is_better.items() if m != "lpips"}
    record = replace(
        record,
        samples=Samples(record.samples.keys, values, better),
        unavailable={"lpips": "no weights: spikerec weights fetch"},
    )
    tables, _ = _tables(record, make_record("WGSE"))
    text = markdown(tables)
    assert "n/a (0.0183) [1]" in text
    assert "1. STIR, LPIPS: no weights: spikerec weights fetch" in text
    assert r"n/a {\scriptsize(0.0183)}\textsuperscript{1}" in latex(tables)


def test_samples_without_a_value_are_counted() -> None:
    samples = Samples(["a", "b", "c"], {"niqe": [1.0, None, 3.0]}, {"niqe": False})
    text = markdown(_tables(make_record(samples=samples))[0])
    assert "2.000 (2.915) [1]" in text
    assert "STIR, NIQE: 2 of 3 samples have a value." in text


def test_too_few_scenes_are_stated() -> None:
    text = markdown(_tables(make_record("STIR", scenes=3), make_record("WGSE", scenes=3))[0])
    assert "with 3 scenes no lead of any of 1 pairs of methods can be significant" in text
    assert "smallest possible p 0.25" in text
    row = next(line for line in text.splitlines() if line.startswith("| WGSE"))
    assert "≈" in row


def test_efficiency_for_another_image_size_is_not_shown() -> None:
    efficiency = {"size": [250, 400], "params": 5_110_000, "macs": 43e9}
    text = markdown(_tables(make_record("STIR", efficiency=efficiency))[0])
    assert "measured for 250 × 400, not 720 × 1280" in text
    assert "5.11 (5.11)" in text


def test_labels_cannot_break_a_table() -> None:
    label = "a|b <b> & 100% $x_1$\\"
    tables, boards = _tables(replace(make_record("STIR"), label=label))
    text = markdown(tables)
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    cells = {line.replace("\\\\", "").replace("\\|", "").count("|") for line in rows}
    assert len(cells) == 1
    assert "<b>" not in text
    assert r"a|b <b> \& 100\% \$x\_1\$\textbackslash{}" in latex(tables)
    (row,) = csv.DictReader(io.StringIO(comma_separated(boards, standings(boards))))
    assert row["label"] == label


def test_csv_keeps_full_precision_and_a_column_for_each_board() -> None:
    record = make_record("STIR")
    _, boards = _tables(record, _blind(record))
    (row,) = csv.DictReader(io.StringIO(comma_separated(boards, standings(boards))))
    assert float(row["sreds (test) · stir: niqe"]) == pytest.approx(record.mean("niqe"), rel=1e-15)
    assert float(row["recvidarreal2019 (test) · stir: niqe"]) != record.mean("niqe")
    assert row["sreds (test) · stir: niqe reported"] == "2.915"
    assert row["sreds (test) · stir: record"] == record.id
    assert row["ms 250×400 on Test GPU"] == "18.7"


def test_latex_rows_have_as_many_cells_as_columns() -> None:
    tables, _ = _tables(make_record("STIR"), _blind(make_record("WGSE")))
    for line in latex(tables).splitlines():
        if line.startswith(("STIR", "WGSE", "Method")):
            assert line.count(" & ") == 10


def test_the_terminal_table_fits_80_columns() -> None:
    _, boards = _tables(*map(make_record, METHODS))
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(terminal(boards[0], standings(boards)))
    text = console.export_text()
    assert "Spk2ImgNet" in text
    assert "…" not in text
    assert "38.79" in text


def test_sources_have_tables_of_their_own() -> None:
    zoo, paper = map(reference_table, references())
    text = markdown([zoo, paper])
    assert "| BSF | 2.47 | 0.70 | **39.58** | **0.0190** | **4.140** |" in text
    assert "**38.79**" in text
    assert "<u>37.44</u>" in text
