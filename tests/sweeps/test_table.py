"""The ablation table from runs' folders: means, spreads, paired differences, costs, failures."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from spikerec.errors import ConfigError
from spikerec.sweeps import Job, ablation, clear_failure, markdown, record_failure, summarise
from spikerec.sweeps.table import notes, readable
from spikerec.training.runs import Run


def write_run(folder: Path, psnr: float, ssim: float, neuron: str = "plif") -> None:
    """A finished run's folder, as training leaves it: its best epoch is the second of three."""
    folder.mkdir(parents=True)
    cost = {"parameters": 1006 if neuron == "plif" else 1000, "macs": 2_000_000_000}
    report = {"best": psnr, "monitor": "val/psnr", **cost}
    (folder / "finished.json").write_text(json.dumps(report))
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["step", "val/psnr", "val/ssim", "val/reds/psnr"])
        writer.writeheader()
        for step, (value, other) in enumerate([(psnr - 1, 0.1), (psnr, ssim), (psnr - 2, 0.2)]):
            writer.writerow({"step": step, "val/psnr": value, "val/ssim": other})


@pytest.fixture
def jobs(tmp_path: Path) -> list[Job]:
    """Two neurons × three seeds, the second 0.5 dB better for each; and one that fails."""
    made = []
    for neuron, gain in (("plif", 0.0), ("lif", 0.5)):
        for seed, level in enumerate((20.0, 22.0, 27.0)):
            folder = tmp_path / "train" / f"{neuron}{seed}"
            write_run(folder, level + gain, 0.5 + 0.01 * seed + gain / 10, neuron)
            words = ("model=ssir", f"model.neuron={neuron}", f"seed={seed}")
            made.append(Job(words, folder))
    bad = Job(("model=ssir", "model.neuron=bad", "seed=0"), tmp_path / "train" / "bad")
    record_failure(bad.folder, ConfigError("neuron bad\nis unknown"))
    return [*made, bad]


def test_seeds_of_a_variant_become_one_row(jobs: list[Job]) -> None:
    table = ablation(jobs).set_index("variant")
    assert list(table.index) == ["neuron=plif", "neuron=lif", "neuron=bad"]
    assert list(table["runs"]) == [3, 3, 0]
    assert table.loc["neuron=plif", "psnr"] == pytest.approx(23)
    assert table.loc["neuron=plif", "psnr spread"] == pytest.approx(np.std([20, 22, 27], ddof=1))
    assert table.loc["neuron=lif", "ssim"] == pytest.approx(0.56)


def test_difference_is_paired_by_seed(jobs: list[Job]) -> None:
    # The seeds lie 7 dB apart, the variants always 0.5: an unpaired interval would not see it.
    row = ablation(jobs).set_index("variant").loc["neuron=lif"]
    assert row["psnr difference"] == pytest.approx(0.5)
    assert row["psnr low"] == pytest.approx(0.5)
    assert row["psnr high"] == pytest.approx(0.5)


def test_order_of_jobs_does_not_pair_other_seeds(jobs: list[Job]) -> None:
    shuffled = [jobs[0], *reversed(jobs[1:])]
    row = ablation(shuffled).set_index("variant").loc["neuron=lif"]
    assert row["psnr difference"] == pytest.approx(0.5)


def test_one_seed_has_a_difference_without_interval(jobs: list[Job]) -> None:
    row = ablation([jobs[0], jobs[3]]).set_index("variant").loc["neuron=lif"]
    assert row["psnr difference"] == pytest.approx(0.5)
    assert np.isnan(row["psnr low"])


def test_costs_are_those_of_each_runs_network(jobs: list[Job]) -> None:
    table = ablation(jobs).set_index("variant")
    assert table.loc["neuron=plif", "params"] - table.loc["neuron=lif", "params"] == 6
    assert table.loc["neuron=plif", "macs"] == table.loc["neuron=lif", "macs"] > 1e9
    assert np.isnan(table.loc["neuron=bad", "params"])


def test_a_run_folder_builds_nothing(jobs: list[Job], tmp_path: Path) -> None:
    # The content of a folder is data: a table must not import or call what is named there.
    for job in jobs:
        (job.folder / "config.yaml").write_text("model: {_target_: tests.sweeps.test_table.spring}")
    summarise(jobs, tmp_path / "sweep")


def spring() -> None:
    raise AssertionError("called from a run's folder")


@pytest.mark.parametrize("best", ["-Infinity", "NaN", "Infinity"])
def test_a_score_that_is_not_finite_is_a_failure_and_no_difference(
    best: str, jobs: list[Job], tmp_path: Path
) -> None:
    (jobs[3].folder / "finished.json").write_text(f'{{"best": {best}, "monitor": "val/psnr"}}')
    assert jobs[3].outcome() == "failed"
    assert jobs[3].scores() == {}
    table = summarise(jobs, tmp_path / "sweep")
    row = table.set_index("variant").loc["neuron=lif"]
    assert row["runs"] == 2
    assert row["psnr difference"] == pytest.approx(0.5)
    text = (tmp_path / "sweep" / "table.md").read_text()
    assert "inf" not in text.replace("no finite number", "")
    assert "finished.json is damaged, or its score is no finite number" in text


def test_a_damaged_failure_does_not_stop_the_table(jobs: list[Job], tmp_path: Path) -> None:
    (jobs[-1].folder / "failed.json").write_text('{"err')
    summarise(jobs, tmp_path / "sweep")
    assert jobs[-1].error() == "failed.json cannot be read"


def test_files_state_what_failed_and_why(jobs: list[Job], tmp_path: Path) -> None:
    table = summarise(jobs, tmp_path / "sweep")
    text = (tmp_path / "sweep" / "table.md").read_text()
    assert "| neuron=lif | 3 | 23.50 ± 3.61 | +0.50 [+0.50, +0.50] |" in text
    assert "7 jobs: 6 finished, 1 failed." in text
    assert "failed: neuron=bad, seed=0: ConfigError: neuron bad is unknown" in text
    with (tmp_path / "sweep" / "jobs.csv").open() as file:
        outcomes = [row["outcome"] for row in csv.DictReader(file)]
    assert outcomes == ["finished"] * 6 + ["failed"]
    assert markdown(table, jobs, "sweep") == text


@pytest.mark.parametrize(
    "value", ["=1+1", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "=cmd|' /C calc'!A0"]
)
def test_cells_that_begin_a_formula_are_text_in_the_files(value: str, tmp_path: Path) -> None:
    job = Job((f"note={value}", f"{value}=3", "seed=0"), tmp_path / "run")
    write_run(job.folder, psnr=-20.0, ssim=0.5)
    table = summarise([job, Job(("note=plain",), tmp_path / "other")], tmp_path / "sweep")
    texts = [(tmp_path / "sweep" / name).read_text() for name in ("jobs.csv", "table.csv")]
    cells = [cell for text in texts for row in csv.reader(io.StringIO(text)) for cell in row]
    assert f"'{value}" in cells
    assert "-20.0" in cells  # a number
    assert [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t"))] == ["-20.0"] * 2
    assert not table.empty


def test_only_psnr_is_known_without_a_csv_log(jobs: list[Job]) -> None:
    (jobs[0].folder / "metrics.csv").unlink()
    assert jobs[0].scores() == {"psnr": 20.0}


def test_runs_judged_by_their_loss_are_compared_by_it(tmp_path: Path) -> None:
    job = Job(("seed=0",), tmp_path / "run")
    write_run(job.folder, psnr=20.0, ssim=0.5)
    report = {"best": 0.0125, "monitor": "val/loss", "mode": "min"}
    (job.folder / "finished.json").write_text(json.dumps(report))
    assert job.scores() == {"loss": 0.0125}
    rows = "step,val/loss,val/niqe\n0,0.02,5\n1,0.0125,4\n2,0.01251,3\n"
    (job.folder / "metrics.csv").write_text(rows)
    assert job.scores() == {"loss": 0.0125, "niqe": 4.0}


def test_outcome_follows_the_folder(tmp_path: Path) -> None:
    job = Job(("seed=0",), tmp_path / "run")
    assert job.outcome() == "unfinished"
    record_failure(job.folder, ConfigError("window must be odd."))
    assert (job.outcome(), job.error()) == ("failed", "ConfigError: window must be odd.")
    clear_failure(job.folder)
    assert (job.outcome(), job.error()) == ("unfinished", "")
    (job.folder / "finished.json").write_text('{"best": null}')
    assert job.outcome() == "finished"
    assert job.scores() == {}


def test_the_same_job_named_twice_counts_once(jobs: list[Job]) -> None:
    assert ablation([*jobs, jobs[0]])["runs"].sum() == 6


def test_a_job_refused_by_anothers_finished_run_has_no_score(jobs: list[Job]) -> None:
    assert jobs[0].outcome() == "finished"
    assert jobs[0].scores()
    record_failure(jobs[0].folder, ConfigError("it holds another run"))
    assert jobs[0].outcome() == "failed"
    assert jobs[0].scores() == {}
    assert jobs[0].cost() == {}
    clear_failure(jobs[0].folder)
    assert jobs[0].outcome() == "finished"


def fold_job(folder: Path, fold: int, psnr: float, loss: str = "l1") -> Job:
    """A finished run of a fold that was not validated, and tested."""
    own = folder / f"{loss}{fold}"
    own.mkdir()
    (own / "finished.json").write_text('{"best": null, "monitor": "val/psnr"}')
    Run(own).note_tests({"synthetic": {"psnr": psnr, "ssim": None}})
    return Job((f"loss={loss}", f"data.fold={fold}", "test=true"), own)


def test_folds_are_runs_of_one_variant_whose_tests_are_shown(tmp_path: Path) -> None:
    folds = [fold_job(tmp_path, fold, psnr) for fold, psnr in ((1, 20.0), (2, 22.0), (3, 27.0))]
    headings, rows = readable(ablation(folds))
    assert headings == ["Variant", "Runs", "test synthetic PSNR", "Params (M)", "MACs (G)"]
    assert rows == [["all", "3", "23.00 ± 3.61", "–", "–"]]
    told = " ".join(notes(folds))
    assert "Δ" not in told
    assert "validation" not in told
    assert "over runs that differ in fold alone; the leaderboard's mean is over all" in told


def test_variants_of_a_sweep_over_folds_are_paired_by_fold(tmp_path: Path) -> None:
    levels = ((1, 20.0), (2, 22.0), (3, 27.0))
    folds = [fold_job(tmp_path, fold, psnr) for fold, psnr in levels]
    others = [fold_job(tmp_path, fold, psnr + 0.5, "l2") for fold, psnr in reversed(levels)]
    row = ablation([*folds, *others]).set_index("variant").loc["loss=l2"]
    assert row["test/synthetic/psnr difference"] == pytest.approx(0.5)
    assert row["test/synthetic/psnr low"] == pytest.approx(0.5)
    assert any(note.startswith("Δ") for note in notes([*folds, *others]))


def test_folds_that_were_not_tested_are_told_how(tmp_path: Path) -> None:
    folds = [fold_job(tmp_path, fold, 20.0) for fold in (1, 2)]
    for job in folds:
        (job.folder / "tested.json").unlink()
    assert "Folds were not tested: the same command with test=true" in " ".join(notes(folds))


@pytest.mark.parametrize("text", ["[1]", '{"a": 1}', '{"a": {"psnr": "x", "ssim": NaN}}', "{"])
def test_damaged_tests_are_none(text: str, tmp_path: Path) -> None:
    job = fold_job(tmp_path, 1, 20.0)
    (job.folder / "tested.json").write_text(text)
    assert job.tests() == {}


def test_a_job_that_never_began_is_told_from_one_that_was_stopped(tmp_path: Path) -> None:
    (tmp_path / "stopped").mkdir()
    stopped, waiting = (
        Job((f"seed={k}",), tmp_path / name) for k, name in enumerate(("stopped", "none"))
    )
    told = notes([stopped, waiting])
    assert told[0] == "2 jobs: 2 unfinished."
    assert told[-2].startswith("unfinished: seed=0: it was stopped; the same command continues it")
    assert told[-1] == "not begun: seed=1; the same command begins it"
    assert not any(line.startswith("Δ") for line in told)
