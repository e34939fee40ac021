"""Every command of docs/ is run, made small: tiny networks, a fake of REDS, one step."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from spikerec import spikes, weights
from spikerec.cli import verbs
from spikerec.errors import WeightsNotFoundError
from tests.end_to_end.command import Command
from tests.fakes import fake_reds, fake_spikes, fake_sreds, fake_uhsr

DOCS = Path(__file__).resolve().parents[2] / "docs"

#: Words that make any command small. The later word for a key counts.
SMALL = (
    "data.crop=[96,96]",
    "data.batch_size=1",
    "data.samples_per_epoch=2",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=1",
    "trainer.log_every_n_steps=1",
    "trainer.enable_progress_bar=false",
    "callbacks.progress=null",
)

SMALL_SYNTHETIC = (
    "scenes={train:1,val:1,test:1}",
    "images_per_scene=2",
    "height=96",
    "width=96",
    "style.objects=[0,0]",
)

SMALL_ROBUSTNESS = ("scenes=1", "height=96", "width=96", "motions=[0.2]", "hot_pixels=[0]")

#: Parts of a command that need other machines, and what stands for them here.
INSTEAD = (
    ("hydra/launcher=slurm", "hydra/launcher=submitit_local"),
    ("hydra.launcher.partition=gpu", "hydra.launcher.timeout_min=10"),
    ("trainer=ddp trainer.devices=2", "trainer=ddp_cpu"),
    ("hydra.sweeper.trials=40", "hydra.sweeper.trials=2"),
    ("hydra.sweeper.trials=64", "hydra.sweeper.trials=2"),
    ("hydra.sweeper.samples=30", "hydra.sweeper.samples=2"),
    ("seed=0,1,2", "seed=0"),
    ("trainer.max_epochs=20", "trainer.max_epochs=1"),
    ("data.batch_size=4,8", "data.batch_size=1,2"),
    ("model=stir,wgse", "model=ssir"),
    ("model.window=7,15,31,61,121", "model.window=31"),
    ("model=fast,ssir,wgse seed=0,1", "model=fast,ssir seed=0"),
    ("experiment=budget/cpu", "experiment=budget/cpu data=reds"),
    ("experiment=budget/hour", "experiment=budget/hour data=reds"),
    ("data=photos_small", "data=reds"),
    ("budget.seconds=3600", ""),
    ("recordings/*.dat", "recordings/*.npy"),
)


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def commands() -> list[tuple[str, str]]:
    """(page, line) of every command of spikerec."""
    return [
        (page.stem, line)
        for page in sorted(DOCS.glob("*.md"))
        for block in blocks(page, "sh")
        for line in block.replace("\\\n", " ").splitlines()
        if shlex.split(line)[1] in verbs() and " list" not in line
    ]


def file_name(block: str) -> str | None:
    """The file that a block is: a comment names it first, or after Hydra's, which must be first."""
    named = re.match(r"(?:# @package \S+\n)?# (\S+\.(?:py|yaml))\n", block)
    return named and named[1]


@pytest.fixture
def workplace(spikerec_command: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """A folder with the data and the files that the docs speak of."""
    folder = spikerec_command.folder
    for place in ("reds", "pairs"):
        fake_reds(folder / "data" / place, height=96, width=96, num_readouts=121)
    (folder / "data" / "pairs" / "val").symlink_to(folder / "data" / "pairs" / "test")
    fake_sreds(folder / "data" / "sreds", height=96, width=96, files=9)
    fake_uhsr(folder / "data" / "uhsr")
    spikes.save(folder / "recordings" / "one.npy", fake_spikes(700, 96, 96, rate=0.1))
    for page in DOCS.glob("*.md"):
        for language in ("python", "yaml"):
            for block in filter(file_name, blocks(page, language)):
                path = folder / str(file_name(block))
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block)
    monkeypatch.syspath_prepend(str(folder))
    return spikerec_command


def small(line: str) -> list[str]:
    """The command's words, made small."""
    for asked, given in INSTEAD:
        line = line.replace(asked, given)
    words = shlex.split(line, comments=True)[1:]
    if words[0] not in ("train", "evaluate"):
        return words
    given = {word.split("=")[0] for word in words}
    if any(word.startswith("experiment=budget/") for word in words):  # samples are measured
        given.add("data.samples_per_epoch")
        words.append("budget.seconds=1")
    extra = [word for word in SMALL if word.split("=")[0] not in given]
    if words[0] == "evaluate":
        extra = ["trainer.accelerator=cpu", "efficiency=null", "save_images=1"]
    if "data=synthetic" in words:
        extra += [f"data.sets.synthetic.{word}" for word in SMALL_SYNTHETIC]
    if "data=robustness" in words:
        extra += [f"data.sets.robustness.{word}" for word in SMALL_ROBUSTNESS]
    if "data=video" in words:
        tiny = ("scenes.test=1", "images_per_scene=2", "height=96", "width=96")
        extra += [f"data.sets.video.{word}" for word in tiny]
    if "model=stir" in words or any(word.startswith("+sweep=stir") for word in words):
        extra.append("model.channels=[8,8,8,8,8]")
    for name in ("reds", "pairs"):
        if f"data={name}" in words:
            extra += [f"data.sets.{name}.height=96", f"data.sets.{name}.width=96"]
            extra += [] if name == "pairs" else ["data.crop=[96,96]"]
    if "seed=0" not in words and any(w.startswith("+sweep=") and "search" not in w for w in words):
        extra.append("seed=0")
    return [*words, *extra]


def test_the_pages_hold_commands() -> None:
    pages = {page for page, _ in commands()}
    assert pages >= {"ablations", "budgets", "distributed", "extending", "self_supervised", "slurm"}
    lines = [
        line for page in DOCS.glob("*.md") for line in "".join(blocks(page, "sh")).splitlines()
    ]
    assert all(line.startswith((" ", "spikerec ")) for line in lines)


@pytest.mark.parametrize(("page", "line"), commands())
def test_every_command_composes(page: str, line: str, workplace: Command) -> None:
    del page
    if "launcher=" in line:
        pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
        pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    words = [word for word in shlex.split(line, comments=True)[1:] if word != "-m"]
    words = [word if set(word) & set("[{") else word.split(",")[0] for word in words]
    words = ["seed=0" if word.startswith("optimizer") else word for word in words]
    if words[0] not in ("train", "evaluate"):
        words = [word for word in words if not word.startswith("+")]
    outcome = workplace(*words, "--cfg", "job")
    assert outcome.status == 0, outcome.err
    assert "paths:" in outcome.out


def skip_without_weights(name: str) -> None:
    try:
        weights.find(name)
    except WeightsNotFoundError as error:
        pytest.skip(str(error))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*")  # Lightning 2.6 with PyTorch 2.15
@pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers")
@pytest.mark.filterwarnings("ignore:The number of training batches")
@pytest.mark.filterwarnings("ignore:Exception ignored in.*dataset_configs")  # left open by pyiqa
@pytest.mark.parametrize(("page", "line"), commands())
def test_every_command_runs(page: str, line: str, workplace: Command) -> None:
    if "launcher=" in line:
        pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    if "sweep=search" in line:
        pytest.importorskip("optuna")
    if "sweep=stir_loss" in line:
        skip_without_weights("vgg16")
    if "trainer=ddp" in line:  # starts its second process by the program's own path
        program = Path(sys.executable).with_name("spikerec")
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [program, *small(line)],
            cwd=workplace.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    else:
        earlier = [one for name, one in commands() if name == page and " evaluate " in one]
        for one in earlier if " leaderboard" in line else []:
            assert workplace(*small(one)).status == 0
        outcome = workplace(*small(line))
        assert outcome.status == 0, outcome.err
    verb = line.split()[1]
    made = {
        "train": "outputs/train/*/finished.json",
        "evaluate": "outputs/results/*.json",
        "reconstruct": "videos/*.mp4",
    }
    assert list(workplace.folder.glob(made.get(verb, "outputs/leaderboard/*.html")))
