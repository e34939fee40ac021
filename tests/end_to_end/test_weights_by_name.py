"""`weights=NAME` in every verb that takes it, from a local server."""

from __future__ import annotations

from pathlib import Path

import pytest

from spikerec import spikes
from spikerec.weights import digest, named
from spikerec.weights.checkpoint import read_state
from tests.end_to_end.command import Command
from tests.fakes import fake_reds, fake_spikes
from tests.http_server import serve_files
from tests.training.command import words
from tests.weights.test_named import published, serve

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*"),  # Lightning 2.6 with PyTorch 2.15
    pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers"),
]

CHOICE = ("model=base", "weights=spikezoo")


@pytest.fixture
def command(spikerec_command: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line, with a mirror that has the weights of model=base."""
    monkeypatch.setenv("SPIKEREC_WEIGHTS", str(spikerec_command.folder / "cache"))
    monkeypatch.setenv(named.CONSENT_VARIABLE, "1")
    return spikerec_command


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch) -> object:
    with serve_files() as served:
        monkeypatch.setenv("SPIKEREC_MIRROR", f"{served.url}/")
        serve(served, "base", "spikezoo", published("base"))
        yield served


def weights_file() -> Path:
    return named.entry_of("base", "spikezoo").path


def test_pictures(command: Command) -> None:
    spikes.save(command.folder / "car.npy", fake_spikes(60, 16, 24), light_scale=0.6)
    done = command("reconstruct", "car.npy", "car.npy.h5", "at=30", *CHOICE)
    assert done.status == 0, done.err
    assert digest(read_state(weights_file()))[:12] in done.out


def test_an_export(command: Command) -> None:
    done = command("export", *CHOICE, "output=base.pt2", "size=[16,24]")
    assert done.status == 0, done.err
    assert (command.folder / "base.pt2").is_file()
    refused = command("export", "model=base", "output=other.pt2", "size=[16,24]")
    assert refused.status == 1
    assert "needs weights" in refused.err


def test_a_benchmark(command: Command) -> None:
    sizes = ("size=[16,24]", "latency_sizes=[]")
    for _ in range(2):
        done = command("bench", *CHOICE, *sizes, "name=mine")
        assert done.status == 0, done.err
    assert weights_file().is_file()
    kept = sorted(path.name for path in command.folder.glob("outputs/bench/mine/bench*"))
    assert kept == ["bench-2.json", "bench.json"]


def test_a_training_that_starts_from_them(command: Command) -> None:
    fake_reds(command.folder / "reds")
    given = words("train", command.folder / "reds", Path("outputs"), model="fast")
    rest = [word for word in given[1:] if not word.startswith("model=")]
    short = ("start_from=spikezoo", "trainer.max_epochs=1", "optimizer.lr=1e-12", "name=run")
    done = command("train", "model=base", *rest, *short)
    assert done.status == 0, done.err
    trained = read_state(command.folder / "outputs/train/run/checkpoints/best.ckpt")
    for name, value in read_state(weights_file()).items():
        assert trained[name].sub(value).abs().amax() < 1e-6, name
    refused = command("train", "model=base", *rest, "start_from=spikezo")
    assert refused.status == 2
    assert "start_from=spikezo does not exist: expected a checkpoint, shipped, or" in refused.err
