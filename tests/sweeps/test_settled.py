"""A finished job is skipped without a look only while nothing that a look draws on has changed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from hydra_plugins.spikerec_sweepers import THIS_PROCESS, Grid
from spikerec.configs import instantiate
from spikerec.data.clips import SpikeSet
from spikerec.sweeps import Job, settled
from spikerec.sweeps.settled import Ledger, Look
from spikerec.training.identity import data_facts
from tests.fakes import fake_real


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    fake_real(tmp_path / "data")
    target = "spikerec.data.real.Real"
    real = {"_target_": target, "root": str(tmp_path / "data"), "height": 24, "width": 40}
    return {
        "seed": 0,
        "model": {"_target_": "spikerec.models.ssir.SSIR", "channels": 4},
        "data": {"sets": {"real": real}, "batch_size": 2},
        "trainer": {"max_epochs": 1, "devices": 1},
        **dict.fromkeys(settled.ASKING, False),
    }


@pytest.fixture
def job(tmp_path: Path, settings: dict[str, Any]) -> Job:
    """A job whose run is finished and states its data."""
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "best.ckpt").write_bytes(b"weights")
    sets = {"real": instantiate(settings["data"]["sets"]["real"], SpikeSet, "data.sets.real")}
    identity = {"digest": "0", "settings": {}, "facts": data_facts(sets)}
    (folder / "identity.json").write_text(json.dumps(identity))
    report = {"best": 30.0, "monitor": "val/psnr", "mode": "max"}
    (folder / "finished.json").write_text(json.dumps(report))
    return Job((), folder)


def look(settings: dict[str, Any], job: Job) -> str | None:
    asked = Look().asked(settings)
    return asked and asked.finished(job)


def test_a_second_look_finds_the_same(settings: dict[str, Any], job: Job) -> None:
    first = look(settings, job)
    assert first is not None
    assert look(settings, job) == first


def _change(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    os.utime(path, ns=(1, 1))


CHANGES: dict[str, Callable[[dict[str, Any], Path, pytest.MonkeyPatch], Any]] = {
    "a seed": lambda s, *_: s.update(seed=1),
    "a place": lambda s, *_: s.update(paths={"outputs": "elsewhere"}),
    "a longer training": lambda s, *_: s["trainer"].update(max_epochs=2),
    "an argument of the data": lambda s, *_: s["data"]["sets"]["real"].update(key_stride=7),
    "a data set that is gone": lambda s, *_: s["data"]["sets"]["real"].update(root="nowhere"),
    "another checkpoint": lambda _, run, __: _change(run / "checkpoints/best.ckpt", b"others"),
    "no checkpoint": lambda _, run, __: (run / "checkpoints/best.ckpt").unlink(),
    "another report": lambda _, run, __: _change(run / "finished.json", b'{"best": 1.0}'),
    "no report": lambda _, run, __: (run / "finished.json").unlink(),
    "a damaged report": lambda _, run, __: _change(run / "finished.json", b"{"),
    "no identity": lambda _, run, __: (run / "identity.json").unlink(),
    "other facts": lambda _, run, __: _change(run / "identity.json", b'{"facts": {}}'),
    "a failure since": lambda _, run, __: _change(run / "failed.json", b"{}"),
    "processes elsewhere": lambda _, __, patch: patch.setenv("WORLD_SIZE", "2"),
    "other devices": lambda _, __, patch: patch.setattr(torch.cuda, "device_count", lambda: 3),
    "another version": lambda _, __, patch: patch.setattr(settled, "_package", lambda: ["new"]),
    "what is to be replaced": lambda s, *_: s.update(overwrite=True),
    "what is to be tested": lambda s, *_: s.update(test=True),
    "weights to start from": lambda s, *_: s.update(start_from="shipped"),
    "a trial": lambda s, *_: s["trainer"].update(fast_dev_run=True),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_looked_at(
    change: str, settings: dict[str, Any], job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = look(settings, job)
    CHANGES[change](settings, job.folder, monkeypatch)
    assert look(settings, job) != before


def test_data_recorded_anew_are_looked_at(settings: dict[str, Any], job: Job) -> None:
    stream = next((Path(settings["data"]["sets"]["real"]["root"])).rglob("*.dat"))
    content = stream.read_bytes()
    stream.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    assert look(settings, job) is None


def test_a_users_code_is_looked_at(
    settings: dict[str, Any], job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "own_network_of_a_test.py"
    module.write_text("class Own: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    settings["model"]["_target_"] = "own_network_of_a_test.Own"
    assert look(settings, job) is None  # the run does not state this code


def test_a_damaged_ledger_knows_nothing(tmp_path: Path) -> None:
    (tmp_path / settled.SETTLED).write_text("[1")
    assert Ledger(tmp_path).read() == {}
    Ledger(tmp_path).add({tmp_path: "digest"})
    assert Ledger(tmp_path).read() == {tmp_path: "digest"}


class Launched:
    """Notes what it is told to launch."""

    def __init__(self) -> None:
        self.words: list[Sequence[str]] = []

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[Any]:
        del initial_job_idx
        self.words += job_overrides
        return []


def sweep(
    folder: Path, settings: dict[str, Any], *jobs: Job, launcher: str = THIS_PROCESS
) -> list[str]:
    """The folders of the jobs that a sweep of these launches."""
    grid = Grid(None)
    grid.config = OmegaConf.create({"hydra": {"launcher": {"_target_": launcher}}})
    grid.launcher, grid.folder, grid.root = Launched(), folder, folder
    grid._settings = {job.folder: settings for job in jobs}
    grid.launch_unsettled(jobs)
    assert grid.jobs == [*jobs]  # the table's order is that of the words
    return [word.removeprefix("name=") for words in grid.launcher.words for word in words]


def test_a_sweep_launches_what_is_not_settled(
    tmp_path: Path, settings: dict[str, Any], job: Job
) -> None:
    other = Job((), tmp_path / "other")
    assert sweep(tmp_path, settings, job, other) == ["run", "other"]  # nobody looked yet
    assert sweep(tmp_path, settings, job, other) == ["other"]
    elsewhere = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"
    assert sweep(tmp_path, settings, job, launcher=elsewhere) == ["run"]
    settings["seed"] = 3
    assert sweep(tmp_path, settings, other, job) == ["other", "run"]
