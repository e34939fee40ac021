"""Sweeps from the command line: a table at the end; finished jobs skipped, failed ones retried."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.end_to_end.command import Command, Outcome
from tests.fakes import fake_reds

#: A network of a few thousand weights, one epoch of one step.
TINY = (
    "model=ssir",
    "model.channels=4",
    "loss=l1",
    "data=reds",
    "data.sets.reds.root=reds",
    "data.sets.reds.height=24",
    "data.sets.reds.width=40",
    "data.crop=[16,16]",
    "data.batch_size=2",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=1",
    "trainer.log_every_n_steps=1",
    "trainer.enable_progress_bar=false",
    "callbacks.progress=null",
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*"),  # Lightning 2.6 with PyTorch 2.15
    pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers"),
]


@pytest.fixture
def sweep(spikerec_command: Command) -> Command:
    """`spikerec` in a folder with a fake of REDS."""
    fake_reds(spikerec_command.folder / "reds")
    return spikerec_command


def run(command: Command, *words: str) -> Outcome:
    return command("train", "-m", *TINY, *words)


def table(command: Command) -> list[dict[str, str]]:
    (path,) = (command.folder / "outputs" / "sweeps").glob("*/table.csv")
    with path.open() as file:
        return list(csv.DictReader(file))


def jobs(command: Command) -> dict[tuple[str, str], dict[str, str]]:
    """(neuron, seed) → row of the list of jobs."""
    (path,) = (command.folder / "outputs" / "sweeps").glob("*/jobs.csv")
    with path.open() as file:
        return {(row["model.neuron"], row["seed"]): row for row in csv.DictReader(file)}


def finished_at(command: Command) -> dict[str, int]:
    """Folder → when its run finished."""
    runs = (command.folder / "outputs" / "train").glob("*/finished.json")
    return {path.parent.name: path.stat().st_mtime_ns for path in runs}


def test_one_failed_job_does_not_end_the_sweep_and_is_retried(sweep: Command) -> None:
    grid = ("model.neuron=plif,bad,relu", "seed=0,1")
    outcome = run(sweep, *grid)
    assert outcome.status == 1
    assert "2 of 6 jobs failed" in outcome.err
    assert [row["variant"] for row in table(sweep)] == ["neuron=plif", "neuron=bad", "neuron=relu"]
    assert [row["runs"] for row in table(sweep)] == ["2", "0", "2"]
    assert jobs(sweep)["bad", "0"]["outcome"] == "failed"
    assert "failed: neuron=bad, seed=0: ArgumentError: model.neuron must be plif" in (
        " ".join(outcome.out.split())
    )
    before = finished_at(sweep)
    assert len(before) == 4
    # Kill one: without the mark of its end it is unfinished, and goes on from its checkpoint.
    killed = Path(jobs(sweep)["relu", "1"]["folder"])
    (sweep.folder / killed / "finished.json").unlink()
    assert run(sweep, *grid).status == 1
    after = finished_at(sweep)
    assert {name for name in after if after[name] != before[name]} == {killed.name}
    report = json.loads((sweep.folder / killed / "finished.json").read_text())
    assert report["steps"] == 1  # not two: it did not start over


def test_stop_ends_the_sweep_at_the_first_failure_and_still_tabulates(sweep: Command) -> None:
    outcome = run(sweep, "model.neuron=bad,plif", "seed=0", "on_error=stop")
    assert outcome.status == 1
    assert finished_at(sweep) == {}
    assert "model.neuron must be plif" in outcome.err
    assert [row["runs"] for row in table(sweep)] == ["0", "0"]


def test_a_grid_with_more_values_runs_only_what_is_new(sweep: Command) -> None:
    assert run(sweep, "model.neuron=plif", "seed=0,1").status == 0
    before = finished_at(sweep)
    assert run(sweep, "model.neuron=plif,lif", "seed=0,1").status == 0
    after = finished_at(sweep)
    assert len(after) == 4
    assert before.items() <= after.items()


def test_jobs_of_one_name_have_folders_and_scores_of_their_own(sweep: Command) -> None:
    rates = ("model.neuron=plif", "seed=0", "optimizer.lr=0.03,1e-30")
    assert run(sweep, *rates, "name=lrs").status == 0
    folders = sorted(path.name for path in (sweep.folder / "outputs/train").iterdir())
    assert folders == ["lrs_lr-0.03", "lrs_lr-1e-30"]
    [path] = (sweep.folder / "outputs/sweeps").glob("*/jobs.csv")
    with path.open() as file:
        scores = {row["optimizer.lr"]: row["psnr"] for row in csv.DictReader(file)}
    assert scores["0.03"] != scores["1e-30"]
    before = finished_at(sweep)
    again = run(sweep, *rates, "name=lrs")
    assert again.out.count("finished before, skipped") == 2
    assert finished_at(sweep) == before
    other = run(sweep, "model.neuron=relu", *rates[1:], "name=lrs")
    assert "2 of 2 jobs failed" in other.err  # and the scores of the runs there are not theirs
    assert "holds another run" in other.out
    assert scores["0.03"] not in other.out
    assert run(sweep, *rates, "name=lrs").status == 0
    assert finished_at(sweep) == before


@pytest.mark.slow
def test_the_ablation_of_the_representation_ends_with_its_table(sweep: Command) -> None:
    small = ("model=stir", "model.channels=[8,8,8,8,8]", "loss=stir_no_perceptual", "seed=0")
    words = [word for word in TINY if not word.startswith(("model", "loss"))]
    outcome = sweep("train", "-m", "+sweep=stir_representation", *words, *small)
    assert outcome.status == 0
    assert [row["variant"] for row in table(sweep)] == [
        "representation=hybrid",
        "representation=tfp",
        "representation=learned",
    ]
    assert len({row["params"] for row in table(sweep)}) == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "launcher"),
    [
        ("hydra_plugins.hydra_joblib_launcher", ("joblib", "hydra.launcher.n_jobs=2")),
        ("hydra_plugins.hydra_submitit_launcher", ("submitit_local",)),
    ],
)
def test_jobs_side_by_side_give_the_same_table(
    package: str, launcher: tuple[str, ...], sweep: Command
) -> None:
    pytest.importorskip(package)
    name, *options = launcher
    outcome = run(sweep, "model.neuron=plif,bad", "seed=0", f"hydra/launcher={name}", *options)
    assert outcome.status == 1
    assert [row["runs"] for row in table(sweep)] == ["1", "0"]


@pytest.mark.slow
def test_a_search_is_continued_by_the_same_command(sweep: Command) -> None:
    pytest.importorskip("optuna")
    words = ("+sweep=search", "data.batch_size=2", "hydra.sweeper.trials=2")
    assert run(sweep, *words).status == 0
    assert len(finished_at(sweep)) == 2
    more = (*words[:2], "hydra.sweeper.trials=3")
    assert run(sweep, *more).status == 0
    assert len(finished_at(sweep)) == 3
    assert sum(int(row["runs"]) for row in table(sweep)) == 3


def test_a_grid_over_an_interval_says_what_could_go_through_it(sweep: Command) -> None:
    outcome = run(sweep, "optimizer.lr=interval(1e-5,1e-3)")
    assert outcome.status == 2
    assert "ConfigError: optimizer.lr is swept over an interval" in outcome.err
    assert "hydra/sweeper=random" in outcome.err


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of wandb's own code
def test_the_table_goes_to_wandb_where_the_jobs_log_there(sweep: Command) -> None:
    assert run(sweep, "model.neuron=plif", "seed=0", "logger=wandb").status == 0
    (folder,) = (sweep.folder / "outputs" / "sweeps").iterdir()
    tables = list(folder.glob("wandb/offline-run-*/files/media/table/ablation_*.json"))
    assert len(tables) == 1
    content = json.loads(tables[0].read_text())
    assert content["columns"][:2] == ["variant", "runs"]
    assert content["data"][0][:2] == ["all", 1]


def test_a_sweep_without_m_is_told(spikerec_command: Command) -> None:
    said = "+sweep=stir_loss without -m runs once"
    for flags, is_told in (((), True), (("-m",), False)):
        outcome = spikerec_command("train", *flags, "+sweep=stir_loss", "data=reds", "seed=0")
        assert outcome.status != 0  # there are no data
        assert (said in outcome.out) is is_told
