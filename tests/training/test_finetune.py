"""Training that starts from weights, and judges itself on the end of each recording."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import spikerec
from spikerec import spikes
from spikerec.weights import digest, read_state
from tests.fakes import fake_spikes
from tests.training.command import call


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    for number in range(2):
        spikes.save(folder / f"{number}.npy", fake_spikes(700, 24, 32, rate=0.1, seed=number))
    return folder


def command(recordings: Path, outputs: Path, *overrides: str) -> list[str]:
    return [
        *("train", "experiment=finetune", "model=fast", "name=run"),
        *(f"data.sets.real.root={recordings}", f"paths.outputs={outputs}"),
        *("data.crop=[16,16]", "data.batch_size=2", "data.samples_per_epoch=4"),
        *("trainer.max_epochs=1", "trainer.accelerator=cpu", "callbacks.progress=null"),
        *("trainer.enable_progress_bar=false", "trainer.log_every_n_steps=1"),
        *overrides,
    ]


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_a_run_starts_from_the_weights_that_ship_and_is_judged_by_its_loss(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call(monkeypatch, command(recordings, tmp_path, "optimizer.lr=0.0"))
    run = tmp_path / "train" / "run"
    report = json.loads((run / "finished.json").read_text())
    assert report["monitor"] == "val/loss"
    shipped = spikerec.load("fast").state_dict()
    assert digest(read_state(run / "checkpoints" / "best.ckpt")) == digest(shipped)
    identity = json.loads((run / "identity.json").read_text())
    assert identity["facts"]["weights at the start"] == digest(shipped)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_a_run_starts_from_a_file(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call(monkeypatch, command(recordings, tmp_path / "a"))
    first = tmp_path / "a/train/run/checkpoints/best.ckpt"
    assert digest(read_state(first)) != digest(spikerec.load("fast").state_dict())
    call(
        monkeypatch,
        command(recordings, tmp_path / "b", f"start_from={first}", "optimizer.lr=0.0"),
    )
    second = tmp_path / "b/train/run/checkpoints/best.ckpt"
    assert digest(read_state(second)) == digest(read_state(first))
