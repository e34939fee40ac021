from __future__ import annotations

import csv
import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

import spikerec
from spikerec.results import DatasetInfo, Record, Samples, WeightsInfo
from spikerec.results.boards import Board, Choice, gather
from spikerec.results.formats import FORMULA, comma_separated, csv_rows, latex, markdown
from spikerec.results.references import references
from spikerec.results.tables import Table, board_table, reference_table, standings
from spikerec.results.terminal import terminal, terminal_notes, terminal_training
from tests.results.hostile_texts import TEXTS, hostile_record
from tests.results.records import METHODS, make_record, protocol


def _boards(*records: Record) -> list[Board]:
    boards, problems = gather(records)
    assert not problems
    return boards


def _table(*records: Record) -> Table:
    (board,) = _boards(*records)
    return board_table(board, standings([board]))


def _latex(*records: Record, columns: list[str] | None = None) -> str:
    (board,), _ = gather(records, Choice(columns=columns))
    return latex(board, standings([board]))


def _csv(*records: Record) -> list[dict[str, str]]:
    boards = _boards(*records)
    return list(csv.DictReader(io.StringIO(comma_separated(csv_rows(boards, standings(boards))))))


def _terminal(*records: Record, width: int = 80) -> str:
    (board,) = _boards(*records)
    stands = standings([board])
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(terminal(board, stands, console))
    console.print(terminal_training(board))
    console.print(terminal_notes(board_table(board, stands)))
    return console.export_text()


def _blind(record: Record, factor: float = 1.8) -> Record:
    values = {m: record.column(m) * factor for m in ("niqe", "brisque")}
    samples = Samples(record.samples.keys, values, dict.fromkeys(values, False))
    dataset = DatasetInfo("recvidarreal2019", "test", "e" * 64, 20, False, 1.0)
    return replace(record, dataset=dataset, samples=samples)


def _row(text: str, label: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(f"| {label}"))


def test_quality_stands_first_then_cost_then_training() -> None:
    titles = [column.title.split()[0] for column in _table(make_record("STIR")).columns]
    quality = ["PSNR", "SSIM", "LPIPS", "NIQE", "BRISQUE"]
    assert titles == [*quality, "Params", "Memory", "FLOPs", "Trained"]


def test_best_and_second_best_are_marked() -> None:
    table = _table(*map(make_record, METHODS))
    marks = {
        column.title: {row[column.key].mark: label for label, row in table.rows.items()}
        for column in table.columns
        if column.is_quality
    }
    assert marks["PSNR"]["best"] == "STIR"
    assert marks["PSNR"]["second"] == "WGSE"
    assert marks["LPIPS"]["best"] == "STIR"


def test_equal_means_share_a_mark_and_one_method_gets_none() -> None:
    twin = replace(make_record("STIR"), label="Twin", weights=WeightsInfo("f" * 64, "", "", "file"))
    table = _table(make_record("STIR"), twin, make_record("WGSE"))
    assert [table.rows[label]["psnr"].mark for label in ("STIR", "Twin", "WGSE")] == [
        "best",
        "best",
        "second",
    ]
    assert _table(make_record("STIR")).rows["STIR"]["psnr"].mark == ""


def test_reported_figures_stand_beside_ours() -> None:
    text = markdown([_table(make_record("STIR"), make_record("TFP (31)"))])
    row = _row(text, "STIR")
    assert "(38.79)" in row
    assert "5.11 (5.11)" in row
    assert "(25.35)" in text
    assert "NeurIPS 2024" in text


@pytest.mark.parametrize(
    ("budget", "told"),
    [
        ({"seconds": 3600, "clock": "processor"}, "91 min, budget of 60 min of the processor"),
        ({"seconds": 180.0, "clock": "wall"}, "91 min, budget of 3 min"),
        ({"seconds": 180.0}, "91 min, budget of 3 min"),
        ({"seconds": "long"}, "91 min"),
        ("long", "91 min"),
        (None, "91 min"),
    ],
)
def test_a_row_says_the_budget_of_its_training_beside_the_time_that_it_took(
    budget: object, told: str
) -> None:
    record = make_record("STIR", training={"seconds": 5453.5, "budget": budget})
    assert f"samples · {told} · run stir-sreds |" in markdown([_table(record)])


def test_every_table_says_what_a_row_was_trained_on() -> None:
    unknown = make_record("WGSE", training={"seconds": 218.0, "steps": 2400})
    records = [make_record("STIR"), unknown, make_record("TFI")]
    own = "sreds · 77 k samples · 16 min"
    text = markdown([_table(*records)])
    assert _row(text, "STIR").endswith(f" {own} · run stir-sreds |")
    assert _row(text, "WGSE").endswith(" – · – samples · 4 min · run stir-sreds |")
    assert _row(text, "TFI").endswith(" no training |")
    assert own.replace("·", r"$\cdot$") in _latex(*records)
    assert f"{own} · run stir-sreds" in _terminal(*records)
    lines = {line["label"]: line for line in _csv(*records)}
    assert lines["STIR"]["trained on"] == "sreds"
    assert lines["STIR"]["samples seen"] == "76800"
    assert lines["STIR"]["training seconds"] == "960.0"
    assert lines["STIR"]["training machine"] == "Test CPU"
    assert lines["WGSE"]["samples seen"] == ""


@pytest.mark.parametrize(
    "training",
    [
        {"data": 5, "samples": -1, "seconds": "x", "machine": {}},
        {"data": [], "samples": True, "seconds": None, "machine": 7},
        {"data": None, "samples": 2**63 - 1, "seconds": float("nan")},
    ],
)
def test_training_that_makes_no_sense_is_unknown(training: dict[str, object]) -> None:
    text = markdown([_table(make_record("STIR", training=training))])
    assert "| – · – samples · – · run stir-sreds |" in text


def test_evaluations_that_disagree_are_told_everywhere() -> None:
    record = make_record("STIR")
    values = record.samples.values | {"psnr": record.column("psnr") + 1}
    samples = Samples(record.samples.keys, values, record.samples.higher_is_better)
    again = replace(record, samples=samples, created="2027-01-01T00:00:00+00:00")
    records = [record, again, make_record("WGSE")]
    told = f"disagree: 38.80 ({record.file_name}) and 39.80 ({again.file_name})"
    text = markdown([_table(*records)])
    assert "**39.80** ≠ (38.79) [1]" in _row(text, "STIR")
    assert told.replace("_", r"\_") in text.replace(r"\_", "_").replace("_", r"\_")
    assert r"\textbf{39.80}\,$\neq$" in _latex(*records)
    assert "disagree: 38.80" in _latex(*records)
    shown = _terminal(*records)
    assert "39.80 ≠" in shown
    assert "disagree: 38.80" in " ".join(shown.split())
    assert told in _csv(*records)[0]["sreds (test): psnr note"]


def test_an_unavailable_metric_says_why() -> None:
    record = make_record("STIR")
    values = {m: v for m, v in record.samples.values.items() if m != "lpips"}
    better = {m: v for m, v in record.samples.higher_is_better.items() if m != "lpips"}
    record = replace(
        record,
        samples=Samples(record.samples.keys, values, better),
        unavailable={"lpips": "no weights: spikerec weights fetch"},
    )
    text = markdown([_table(record, make_record("WGSE"))])
    assert "n/a (0.0183) [1]" in text
    assert "1. STIR, LPIPS: no weights: spikerec weights fetch" in text
    assert r"n/a {\scriptsize(0.0183)}\textsuperscript{1}" in _latex(record, make_record("WGSE"))


def test_samples_without_a_value_are_counted_and_explained() -> None:
    samples = Samples(["a", "b", "c"], {"niqe": [1.0, None, 3.0]}, {"niqe": False})
    reason = "niqe is not defined for images without texture."
    text = markdown([_table(make_record(samples=samples, undefined={"niqe": reason}))])
    assert "2.000 (2.915) [1]" in text
    assert f"STIR, NIQE: 2 of 3 samples have a value. {reason}" in text


def test_too_few_scenes_are_told_once_and_mark_nothing() -> None:
    records = [make_record(label, scenes=3) for label in METHODS]
    table = _table(*records)
    assert not any(figure.is_level for row in table.rows.values() for figure in row.values())
    (board,) = _boards(*records)
    ranks = standings([board])[board.name]["psnr"].ranks
    assert list(ranks.values()) != [1] * 6
    assert sorted(ranks.values()) == [1, 2, 3, 4, 5, 6]
    for text in (markdown([table]), _latex(*records), _terminal(*records)):
        plain = " ".join(text.split())
        assert plain.count("3 scenes are too few to tell 15 pairs of methods apart") == 1
        assert "smallest possible p is 0.25, corrected 1." in plain
    assert "≈" not in _terminal(*records)


def test_ties_are_told_where_the_data_could_tell() -> None:
    twin = make_record("STIR", weights=WeightsInfo("f" * 64, "", "", "file"), label="Twin")
    noise = twin.column("psnr") + [(-1) ** i * 0.01 for i in range(20)]
    values = twin.samples.values | {"psnr": noise}
    twin = replace(twin, samples=Samples(twin.samples.keys, values, twin.samples.higher_is_better))
    table = _table(make_record("STIR"), twin, make_record("TFI"))
    assert [row["psnr"].is_level for row in table.rows.values()].count(True) == 1
    assert not any("too few" in note for note in table.notes)


def test_columns_of_two_protocols_say_how_they_differ() -> None:
    records = [make_record("STIR"), make_record("WGSE", protocol=protocol("corrected"))]
    for text in (markdown([_table(*records)]), _latex(*records), _terminal(*records, width=120)):
        plain = " ".join(text.split()).replace("\\", "")
        assert "LPIPS (stir)" in plain
        assert "LPIPS (stir) is computed with input_range unit, LPIPS with" in plain
        assert "Protocol stir: LPIPS is fed one channel in [0, 1] as it is." in plain


def test_a_board_of_aligned_figures_alone_says_so() -> None:
    gain = protocol("best_gain", alignment="gain")
    records = [make_record(label, protocol=gain) for label in ("STIR", "WGSE")]
    for text in (markdown([_table(*records)]), _latex(*records), _terminal(*records, width=140)):
        plain = " ".join(text.split()).replace("\\", "")
        assert "PSNR (best_gain)" in plain
        assert "BRISQUE (best_gain) are computed with alignment gain" in plain
        assert (
            "with alignment gain, plain figures with alignment none: never compare them." in plain
        )
    assert "sreds (test): psnr (best_gain)" in _csv(*records)[0]


def test_efficiency_for_another_image_size_is_not_shown() -> None:
    efficiency = {"size": [250, 400], "params": 5_110_000, "macs": 43e9}
    text = markdown([_table(make_record("STIR", efficiency=efficiency))])
    assert "measured for 250 × 400, not 720 × 1280" in text
    assert "5.11 (5.11)" in text


def test_labels_cannot_break_a_table() -> None:
    label = "a|b <b> & 100% $x_1$\\"
    record = replace(make_record("STIR"), label=label)
    text = markdown([_table(record)])
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    cells = {line.replace("\\\\", "").replace("\\|", "").count("|") for line in rows}
    assert len(cells) == 1
    assert "<b>" not in text
    assert r"a|b <b> \& 100\% \$x\_1\$\textbackslash{}" in _latex(record)
    assert _csv(record)[0]["label"] == label
    hostile = _terminal(replace(record, label="\x1b]0;mine\x07\x1b[2J\nSTIR"))
    assert "\x1b" not in hostile
    assert r"\x1b]0;mine\x07" in hostile


@pytest.mark.parametrize("label", ["=1+1", "+1", "-1", "@SUM(A1)", "=HYPERLINK(1)"])
def test_cells_that_begin_a_formula_are_text_in_the_csv(label: str) -> None:
    record = replace(make_record("STIR"), label=label, method=label)
    record = replace(record, dataset=replace(record.dataset, name=label))
    text = comma_separated(csv_rows(boards := _boards(record), standings(boards)))
    header, row = csv.reader(io.StringIO(text))
    assert row[:2] == [f"'{label}", f"'{label}"]
    assert not any(cell.startswith(("=", "+", "@", "-")) for cell in header)
    negative = Samples(["a"], {"brisque": [-3.5]}, {"brisque": False})
    assert _csv(make_record(samples=negative))[0]["sreds (test): brisque"] == "-3.5"  # a number


@pytest.mark.parametrize("label", ["2024_11_27", "7", "1e3", "NA", "true", "2026-01-01"])
def test_a_label_that_looks_like_something_else_stays_text(label: str) -> None:
    record = replace(make_record("STIR"), label=label)
    boards = _boards(record)
    (row,) = csv_rows(boards, standings(boards))
    assert row["label"] == label
    assert _csv(record)[0]["label"] == label
    assert f"| {label}".replace("_", r"\_") in markdown([_table(record)])


def test_csv_keeps_full_precision_and_a_column_for_each_board() -> None:
    record = make_record("STIR")
    (row,) = _csv(record, _blind(record))
    assert float(row["sreds (test): niqe"]) == pytest.approx(record.mean("niqe"), rel=1e-15)
    assert float(row["recvidarreal2019 (test): niqe"]) != record.mean("niqe")
    assert row["sreds (test): niqe reported"] == "2.915"
    assert row["sreds (test): record"] == record.id
    assert row["ms 250×400 on Test GPU"] == "18.7"


def test_latex_fits_a_column_and_holds_no_digest() -> None:
    text = _latex(make_record("STIR"), make_record("WGSE"))
    assert r"\label{tab:sreds-test}" in text
    assert r"\caption{sreds (test): 20 samples of 10 scenes.}" in text
    assert r"\resizebox{\ifdim\width>\columnwidth\columnwidth\else\width\fi}{!}{%" in text
    printed = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert "dddddddd" not in printed
    for line in text.splitlines():
        if line.startswith(("STIR", "WGSE", "Method")):
            assert line.count(" & ") == 7  # quality, parameters, training
    assert text.count("{") == text.count("}")


def test_latex_has_the_columns_that_were_chosen() -> None:
    text = _latex(make_record("STIR"), make_record("WGSE"), columns=["ssim", "PSNR", "macs"])
    assert r"Method & SSIM $\uparrow$ & PSNR $\uparrow$ & FLOPs (T) \\" in text


def test_the_terminal_table_fits_80_columns() -> None:
    long = make_record("WGSE", label="A network with a name that is rather long for a table")
    text = _terminal(*map(make_record, METHODS), long)
    assert max(map(len, text.splitlines())) <= 80
    assert "Spk2ImgNet" in text
    assert "…" not in text
    assert "38.79" in text
    records = [make_record("STIR"), make_record("TFI", protocol=protocol("corrected"))]
    narrow = _terminal(*records, width=70)
    assert re.search(r"\d more columns? in the files", narrow)
    assert "…" not in narrow


def test_titles_and_notes_use_the_width_of_the_terminal() -> None:
    gain = protocol("best_gain", alignment="gain")
    text = _terminal(make_record("STIR", protocol=gain), width=60)
    assert text.splitlines()[0].startswith("sreds (test)")
    (start,) = [i for i, line in enumerate(text.splitlines()) if "PSNR (best_gain), SSIM" in line]
    assert all(line.startswith("  ") for line in text.splitlines()[start:] if line.strip())


def test_sources_have_tables_of_their_own() -> None:
    zoo, paper = map(reference_table, references())
    text = markdown([zoo, paper])
    assert "| BSF | 2.47 | 0.70 | **39.58** | **0.0190** | **4.140** |" in text
    assert "**38.79**" in text
    assert "<u>37.44</u>" in text


@pytest.mark.parametrize("kind", TEXTS)
def test_texts_of_records_stay_in_their_cells(kind: str) -> None:
    records = [hostile_record(TEXTS[kind], number) for number in range(2)]
    (board,) = _boards(*records)
    stands = standings([board])

    text = comma_separated(csv_rows([board], stands))
    header, *rows = csv.reader(io.StringIO(text))
    assert len(rows) == 2
    assert {len(row) for row in rows} == {len(header)}
    assert not any(cell.startswith(FORMULA) for row in (header, *rows) for cell in row)
    assert text.replace("\n", "").isprintable()

    text = markdown([board_table(board, stands)])
    assert "<script" not in text
    assert "<img" not in text
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert len({re.sub(r"\\.", "", line).count("|") for line in lines}) == 1
    assert len(text) < 20_000

    text = latex(board, stands)
    headings = text.partition("toprule")[2].partition("}")[0]
    for own in (r" $\uparrow$", r" $\downarrow$", " & "):
        headings = headings.replace(own, " ")
    assert not re.search(r"(?<!\\)[%&#$_](?=[^\n]*qz)", headings)
    assert text.replace("\n", "").isprintable()

    lines = _terminal(*records).splitlines()
    assert max(map(len, lines)) <= 80
    assert "".join(lines).isprintable()

    page = spikerec.leaderboard(records)._repr_html_()
    assert "<script" not in page
    assert "<img" not in page
