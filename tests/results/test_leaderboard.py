from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from omegaconf import DictConfig, OmegaConf

from spikerec.apps.leaderboard import run
from spikerec.errors import ResultsError
from tests.results.records import make_record, write_demo
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
    assert "cut-short.json: is not complete JSON" in printed
    assert str(tmp_path / "out" / "leaderboard.html") in printed
    markdown = (tmp_path / "out" / "leaderboard.md").read_text()
    assert "**38.80** (38.79)" in markdown
    assert "Spike-Zoo" in markdown


def test_a_folder_without_records_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"holds no records that can be shown: no \*.json files"):
        run(_config(tmp_path, tmp_path / "out"))
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(
        ResultsError, match=r"1 unreadable files\. The first: x\.json: is not complete"
    ):
        run(_config(tmp_path, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


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
