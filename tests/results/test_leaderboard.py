from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from omegaconf import DictConfig, OmegaConf

from spikerec.apps.leaderboard import run
from spikerec.errors import ResultsError, SpikerecError
from spikerec.results.leaderboard import leaderboard
from tests.end_to_end.command import Command
from tests.results.records import METHODS, make_record, save_pictures, write_demo
from tests.training.command import call
from tests.training.wandb_files import read_runs


def _config(results: Path, output: Path) -> DictConfig:
    images = {"per_board": 2, "side": 100, "megabytes": 1}
    return OmegaConf.create(
        {"results": str(results), "output": str(output), "rows": 100, "images": images}
    )


NAMES = {"leaderboard.md", "leaderboard.csv", "leaderboard.html", "leaderboard-sreds-test.tex"}


def test_writes_every_format_and_names_what_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_demo(tmp_path / "results")
    run(_config(tmp_path / "results", tmp_path / "out"))
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == NAMES | {"leaderboard-recvidarreal2019-test.tex"}
    printed = capsys.readouterr().out
    assert "Records left out: 1" in printed
    assert "cut-short.json cannot be read as JSON" in printed
    assert str(tmp_path / "out" / "leaderboard.html") in printed
    markdown = (tmp_path / "out" / "leaderboard.md").read_text()
    assert "**38.80** (38.79)" in markdown
    assert "Spike-Zoo" in markdown


def test_a_folder_without_records_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"holds no records that can be shown: no \*.json files"):
        run(_config(tmp_path, tmp_path / "out"))
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(ResultsError, match=r"1 left out\. The first: x\.json cannot be read"):
        run(_config(tmp_path, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_the_command_loads_no_pytorch() -> None:
    ask = "import sys, spikerec.apps.leaderboard; print(*{'torch', 'lightning'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert told.stdout.split() == []


def test_records_are_taken_as_objects_and_an_ellipsis_adds_nothing() -> None:
    record = make_record("STIR")
    board = leaderboard([record, ...])
    assert repr(board) == repr(leaderboard(record))
    for wrong in (3, [record, 3]):
        with pytest.raises(SpikerecError, match=r"records must be"):
            leaderboard(wrong)  # type: ignore[arg-type]


def test_a_board_says_what_it_left_out() -> None:
    record = make_record("STIR")
    other = make_record("WGSE")
    other = replace(other, dataset=replace(other.dataset, digest="e" * 64))
    board = leaderboard([record, other])
    told = f"left out of {board.boards[0].name}: data digest is"
    for text in (repr(board), board._repr_html_()):
        assert told in text
    assert "left out" not in leaderboard(record)._repr_html_()


def test_the_same_records_give_the_same_tables(tmp_path: Path) -> None:
    for label in ("STIR", "WGSE"):
        make_record(label).write(tmp_path / "results")
    run(_config(tmp_path / "results", tmp_path / "one"))
    run(_config(tmp_path / "results", tmp_path / "two"))
    for name in NAMES - {"leaderboard.html"}:
        assert (tmp_path / "one" / name).read_text() == (tmp_path / "two" / name).read_text()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of wandb's own code
def test_the_table_goes_to_wandb_where_that_is_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for label in ("STIR", "WGSE"):
        make_record(label).write(tmp_path / "results")
    words = (f"results={tmp_path / 'results'}", f"output={tmp_path / 'out'}")
    call(monkeypatch, ["leaderboard", *words])
    assert not list(tmp_path.rglob("*.wandb"))
    call(monkeypatch, ["leaderboard", *words, "logger=wandb", "logger.wandb.project=mine"])
    [run] = read_runs(tmp_path / "out")
    assert (run.about["project"], run.about["job_type"]) == ("mine", "leaderboard")
    [file] = tmp_path.rglob("leaderboard*.table.json")
    content = json.loads(file.read_text(encoding="utf-8"))
    written = pd.read_csv(tmp_path / "out" / "leaderboard.csv")
    assert content["columns"] == list(written.columns)
    assert [row[content["columns"].index("label")] for row in content["data"]] == ["STIR", "WGSE"]


def _own(folder: Path, *labels: str) -> None:
    for label in labels:
        save_pictures(folder, make_record(label), ["scene00/0"]).write(folder)


def test_others_results_never_replace_ones_own_board(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = Command(tmp_path, monkeypatch, capsys)
    _own(tmp_path / "outputs/results", "STIR")
    _own(tmp_path / "docs/leaderboard", "WGSE")
    assert command("leaderboard").status == 0
    own = tmp_path / "outputs/leaderboard/leaderboard.md"
    before = own.read_text()
    outcome = command("leaderboard", "results=docs/leaderboard")
    assert outcome.status == 0
    assert own.read_text() == before
    assert "outputs/leaderboard-docs-leaderboard/leaderboard.html" in outcome.out
    assert command("leaderboard", f"results={tmp_path / 'outputs/results'}").status == 0
    assert own.read_text() == before  # the same folder by another name is one's own
    folders = {path.name for path in (tmp_path / "outputs").glob("leaderboard*")}
    assert folders == {"leaderboard", "leaderboard-docs-leaderboard"}


def test_folders_of_names_alike_have_boards_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = Command(tmp_path, monkeypatch, capsys)
    for name in ("a/b", "a-b", "2024_11_27", "x y"):
        _own(tmp_path / name, "STIR")
        assert command("leaderboard", f"results={name}").status == 0, name
    assert len(list((tmp_path / "outputs").iterdir())) == 4
    assert (tmp_path / "outputs/leaderboard-2024_11_27").is_dir()


def test_several_folders_are_one_board_with_the_pictures_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = Command(tmp_path, monkeypatch, capsys)
    _own(tmp_path / "a", "STIR")
    _own(tmp_path / "b", "WGSE")
    outcome = command("leaderboard", "results=[a,b]", "output=7")
    assert outcome.status == 0, outcome.err
    page = (tmp_path / "7/leaderboard.html").read_text()
    data = json.loads(page.partition('id="data">')[2].partition("</script>")[0])
    (board,) = data["boards"]
    assert [row["label"] for row in board["rows"]] == ["STIR", "WGSE"]
    (sample,) = board["images"]
    assert {"STIR", "WGSE", "Ground truth"} <= set(sample["layers"])
    assert data["imagesLeftOut"] == 0


def test_a_record_copied_without_its_pictures_finds_them_in_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = Command(tmp_path, monkeypatch, capsys)
    _own(tmp_path / "full", "STIR", "WGSE")
    (tmp_path / "copied").mkdir()
    for path in (tmp_path / "full").glob("*.json"):
        shutil.copy(path, tmp_path / "copied")
    assert command("leaderboard", "results=[copied,full]", "output=out").status == 0
    assert '"imagesLeftOut":0' in (tmp_path / "out/leaderboard.html").read_text()


def test_a_bad_record_is_named_with_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = Command(tmp_path, monkeypatch, capsys)
    _own(tmp_path / "a", "STIR")
    (tmp_path / "b").mkdir()
    (tmp_path / "b/broken.json").write_text("{")
    outcome = command("leaderboard", "results=[a,b]")
    assert outcome.status == 0
    assert "b/broken.json cannot be read as JSON" in outcome.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["results=[a,7]"], "results: 7 is not a folder"),
        (["results=nowhere"], "results: nowhere is not a folder"),
        (["methods=[stri]"], "methods names 'stri', which no record has: expected stir"),
        (["metrics=[psrn]"], "metrics names 'psrn', which no record has: expected"),
        (["datasets=[red]"], "datasets names 'red', which no record has: expected sreds"),
    ],
)
def test_a_wrong_choice_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    command = Command(tmp_path, monkeypatch, capsys)
    _own(tmp_path / "a", "STIR")
    outcome = command("leaderboard", "results=a", *words)
    assert outcome.status in (1, 2)
    assert message in outcome.err
    assert len(outcome.err.splitlines()) == 1


def test_what_is_shown_is_chosen_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = Command(tmp_path, monkeypatch, capsys)
    _own(tmp_path / "a", *METHODS)
    words = ["methods=[stir,wgse]", "metrics=[psnr,params]", "datasets=[sreds]"]
    assert command("leaderboard", "results=a", "output=out", *words).status == 0
    text = (tmp_path / "out/leaderboard-sreds-test.tex").read_text()
    assert r"Method & PSNR $\uparrow$ & Params (M) \\" in text
    assert "SSIR" not in text
    header = (tmp_path / "out/leaderboard.md").read_text().splitlines()
    assert "| Method | PSNR ↑ | Params (M) |" in header
