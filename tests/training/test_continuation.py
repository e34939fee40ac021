"""A run is continued under the conditions it was begun with, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from spikerec.errors import ConfigError
from spikerec.training.continuation import CONDITIONS, check_conditions
from tests.fakes import fake_reds, fake_spikes, write_dat
from tests.training.command import call, words

OPTIONS = ("name=run", "trainer.max_epochs=1", "callbacks.video=null", "callbacks.images=null")


@pytest.fixture
def unfinished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command of a run that has a checkpoint and is not finished."""
    fake_reds(tmp_path / "reds")
    command = words("train", tmp_path / "reds", tmp_path, *OPTIONS)
    call(monkeypatch, command)
    (tmp_path / "train/run/finished.json").unlink()
    return command


def refusal(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """The one line on standard error."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        call(monkeypatch, command)
    assert ended.value.code == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    return line


def test_other_processes_batches_seeds_and_data_are_refused(
    unfinished: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def told(*more: str) -> str:
        return refusal([*unfinished, *more], monkeypatch, capsys)

    def forget() -> None:
        for name in ("config.yaml", "identity.json"):
            (tmp_path / "train/run" / name).unlink()

    step = "data.batch_size × processes × trainer.accumulate_grad_batches"
    assert f"run holds another run: {step}=2, now 4. Give" in told("trainer=ddp_cpu")
    assert f"run holds another run: {step}=2, now 4; samples" in told("data.batch_size=4")
    assert "run holds another run: seed=0, now 1; data.seed=0, now 1. Give" in told("seed=1")
    (tmp_path / "train/run/identity.json").unlink()  # as of an earlier version
    assert "= 1, found 2: its steps would see other samples" in told("trainer=ddp_cpu")
    (tmp_path / "train/run/config.yaml").unlink()  # without it the checkpoint alone speaks
    assert "batch_size = 2, found 4" in told("data.batch_size=4")
    forget()
    assert "seed = 0, found 1" in told("seed=1")
    forget()
    write_dat(tmp_path / "reds/test/spike/added.dat", fake_spikes(81, 24, 40))
    fake_reds(tmp_path / "others", num_readouts=83)
    assert "sets = 2 samples of 2 clips (" in told(f"data.sets.reds.root={tmp_path / 'others'}")
    forget()
    call(monkeypatch, unfinished)
    assert (tmp_path / "train/run/finished.json").exists()


def test_a_run_that_goes_on_from_its_best_weights_leaves_all_its_files(
    unfinished: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "train/run/checkpoints"
    expected = {path.name for path in folder.iterdir()}
    for name in ("last.ckpt", "previous.ckpt"):  # killed after the best weights were written
        (folder / name).unlink(missing_ok=True)
    call(monkeypatch, unfinished)
    assert (folder.parent / "finished.json").exists()
    assert {path.name for path in folder.iterdir()} >= expected - {"previous.ckpt"}


def test_a_checkpoint_that_states_nothing_is_taken(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "last.ckpt")
    check_conditions(tmp_path / "last.ckpt", {"seed": 0})
    torch.save({CONDITIONS: {"seed": 7}}, tmp_path / "last.ckpt")
    with pytest.raises(ConfigError, match=r"last\.ckpt was written with seed = 7, found 0"):
        check_conditions(tmp_path / "last.ckpt", {"seed": 0})
