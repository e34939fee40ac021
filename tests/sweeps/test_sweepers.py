"""The sweepers' draws, and a search that continues from its journal."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from rich.console import Console

from hydra_plugins.spikerec_sweepers import (
    Optuna,
    distribution,
    draw,
    fitting_view,
    sweep_name,
)
from spikerec.sweeps import Job


def swept(word: str) -> Override:
    return OverridesParser.create().parse_override(word)


def test_a_sweep_is_named_by_its_file_and_what_was_added() -> None:
    assert sweep_name(["+sweep=stir_loss"]) == "stir_loss"
    assert sweep_name(["+sweep=stir_loss", "on_error=stop"]) == "stir_loss"
    assert sweep_name(["+sweep=stir_loss", "data=reds"]) == "data-reds_stir_loss"


@pytest.mark.parametrize(
    ("word", "allowed"),
    [
        ("a=1,2,3", {"1", "2", "3"}),
        ("a=choice(x,[1,2])", {"x", "[1,2]"}),
        ("a=db8,null", {"db8", "null"}),
        ("a=range(1,4)", {"1", "2", "3"}),
        ("a=int(interval(1,3))", {"1", "2", "3"}),
    ],
)
def test_draws_stay_in_what_is_swept_and_reach_all_of_it(word: str, allowed: set[str]) -> None:
    assert {draw(swept(word), str(seed)) for seed in range(60)} == allowed


def test_draws_repeat_for_a_seed_and_fill_the_logarithmic_interval() -> None:
    item = swept("lr=tag(log,interval(1e-5,1e-1))")
    values = [float(draw(item, str(seed))) for seed in range(200)]
    assert values == [float(draw(item, str(seed))) for seed in range(200)]
    assert all(1e-5 <= value <= 1e-1 for value in values)
    assert sum(value < 1e-3 for value in values) in range(75, 125)  # half the decades, half of 200


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("a=1,2", "CategoricalDistribution(choices=('1', '2'))"),
        ("a=int(interval(1,3))", "IntDistribution(high=3, log=False, low=1, step=1)"),
        ("a=tag(log,interval(0.1,1.0))", "FloatDistribution(high=1.0, log=True, low=0.1"),
    ],
)
def test_optuna_draws_from_what_is_swept(word: str, kind: str) -> None:
    pytest.importorskip("optuna")
    assert repr(distribution(swept(word))).startswith(kind)


class Search(Optuna):
    """The search with jobs that finish at once: scored by x, failing where they are told to."""

    def __init__(self, folder: Path, trials: int, fails: Sequence[int] = ()) -> None:
        import optuna

        super().__init__(
            None,
            trials=trials,
            parallel=2,
            sampler=optuna.samplers.RandomSampler,
            seed=0,
        )
        self.folder, self.name = folder, "search"
        self.fails = set(fails)
        self.started: list[str] = []

    def compose(self, words: Sequence[str]) -> Job:
        return Job(tuple(words), self.folder / "train" / ",".join(words))

    def launch(self, jobs: Sequence[Job]) -> list[float | None]:
        self.jobs += jobs
        scores: list[float | None] = []
        for job in jobs:
            self.started.append(job.settings["x"])
            if len(self.started) - 1 in self.fails:
                scores.append(None)
                continue
            scores.append(float(job.settings["x"]))
            report = {"best": scores[-1], "monitor": "val/psnr", "mode": "max"}
            (job.folder / "finished.json").write_text(json.dumps(report))
        return scores


class Killed(Search):
    """A search that is killed while its first jobs run."""

    def launch(self, jobs: Sequence[Job]) -> list[float | None]:
        self.jobs += jobs
        raise KeyboardInterrupt


SPACE = {"x": swept("x=interval(0.0,1.0)")}


def run(folder: Path, trials: int, **arguments: Any) -> Search:
    search = Search(folder, trials, **arguments)
    search.search(["model=ssir"], SPACE)
    return search


def test_a_search_goes_on_where_it_was(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    first = run(tmp_path, 3)
    assert len(first.started) == 3
    again = run(tmp_path, 5)
    assert len(again.started) == 2
    assert len({job.folder for job in again.jobs}) == 5  # the table has them all
    assert run(tmp_path, 5).started == []


def test_failed_and_killed_trials_are_tried_again_with_their_values(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    first = run(tmp_path, 4, fails=[1])
    killed = Killed(tmp_path, 6)
    with pytest.raises(KeyboardInterrupt):
        killed.search(["model=ssir"], SPACE)
    study = killed._study(tmp_path / "study.journal")
    running = [trial.params["x"] for trial in study.trials if trial.state.name == "RUNNING"]
    assert float(first.started[1]) in running  # it failed, was asked again, and then killed
    last = run(tmp_path, 6)
    assert set(map(str, running)) <= set(last.started)
    assert run(tmp_path, 6).started == []


@pytest.mark.parametrize("width", [80, 300])
def test_no_figure_of_the_table_is_broken(width: int) -> None:
    metrics = [f"test synthetic {name}" for name in ("PSNR", "SSIM", "LPIPS", "NIQE", "BRISQUE")]
    figures = [f"{number}.1986 ± 0.5050" for number in range(11, 11 + len(metrics))]
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(fitting_view(console, ["Variant", *metrics], [["loss=l1", *figures]]))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    assert len([line for line in lines if any(one in line for one in figures)]) == (
        1 if width == 300 else len(figures)
    )
    assert all(any(one in line for line in lines) for one in figures)
