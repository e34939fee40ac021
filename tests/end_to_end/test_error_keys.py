"""Errors name arguments; the command line puts the key of the object at fault before them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from omegaconf import OmegaConf

import spikerec
from spikerec.cli import WRONG_ARGUMENTS
from spikerec.configs import config_dir
from tests.end_to_end.command import Command
from tests.fakes import fake_reds
from tests.training.command import MODELS, TINY, TRAINING

#: Wrong words → the key that the error names, for each family.
WRONG = {
    ("model.window=0",): "model.window",
    ("model.neuron=some",): "model.neuron",
    ("model=stir", "model.attention=some"): "model.attention",
    ("model=wgse", "model.kernel_size=4"): "model.kernel_size",
    ("data.batch_size=0",): "data.batch_size",
    ("data.augment=mirror",): "data.augment",
    ("data.ends=2",): "data.ends",
    ("data.crop=[64,64]",): "data.crop",
    ("data.crop=[17,16]", "data.augment=none"): "data.crop",
    ("data.margin=90",): "data.margin",
    ("data.sets.reds.light_scale=0",): "data.sets.reds.light_scale",
    ("data.sets.reds.root=nowhere",): "data.sets.reds.root",
    ("data=synthetic", "data.sets.synthetic.cameras.ideal.camera.light_scale=2"): (
        "data.sets.synthetic.cameras.ideal.camera.light_scale"
    ),
    ("data=synthetic", "data.sets.synthetic.light_scale=[0,1]"): "data.sets.synthetic.light_scale",
    ("loss=stir_no_perceptual", "loss.terms.multiscale.scales=[]"): "loss.terms.multiscale.scales",
    ("loss.terms.l1.weight=-1",): "loss.terms.l1.weight",
    ("loss=stir_no_perceptual",): "loss.terms.multiscale",
    ("protocol.border=-1",): "protocol.border",
    ("protocol.rounding=up",): "protocol.rounding",
    ("protocol.border=3",): "protocol.border",
    ("scheduler=cosine", "scheduler.warmup=2"): "scheduler.warmup",
    ("optimizer.lr=-1",): "optimizer",
    ("monitor.name=val/lpips",): "monitor",
    ("validation=[psrn]",): "validation",
    ("lr_scaling=cubic",): "lr_scaling",
    ("budget=some",): "budget",
    ("budget={clock:wall}",): "budget",
    ("budget={seconds:1,clock:sundial}",): "budget.clock",
    ("budget={seconds:soon}",): "budget.seconds",
    ("detach_every=often",): "detach_every",
    ("trainer.accumulate_grad_batches=null",): "trainer.accumulate_grad_batches",
    ("monitor=null",): "monitor",
    ("validation=null",): "validation",
    ("validation=-1",): "validation",
    ("protocol.metrics=null",): "protocol.metrics",
    ("test=null",): "test",
    ("run=null",): "run",
    ("paths.outputs=null",): "paths.outputs",
    ("paths.outputs=",): "paths.outputs",
    ("data.seed=-1",): "data.seed",
    ("budget={seconds:1}",): "data.samples_per_epoch",
    ("budget={seconds:1}", "data.samples_per_epoch=null", "trainer.max_epochs=-1"): (
        "trainer.max_epochs"
    ),
}


@pytest.fixture(scope="module")
def reds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("reds")
    fake_reds(root)
    return root


@pytest.mark.parametrize(("wrong", "key"), WRONG.items(), ids=map(" ".join, WRONG))
def test_the_key_that_an_error_names_exists(
    wrong: tuple[str, ...],
    key: str,
    reds: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["train", *MODELS["ssir"], *TINY, *TRAINING, f"data.sets.reds.root={reds}"]
    names_data = any(word.startswith("data=") for word in wrong)
    if names_data:  # another set has no keys of REDS
        words = [word for word in words if not word.startswith(("data=", "data.sets."))]
    if any(word.startswith("model=") for word in wrong):
        words = [word for word in words if not word.startswith("model")]
    outcome = Command(tmp_path, monkeypatch, capsys)(*words, *wrong)
    (line,) = outcome.err.splitlines()[-1:]
    was_read = wrong == ("data.margin=90",)  # the clips show that it leaves no window in them
    assert outcome.status == (1 if was_read else WRONG_ARGUMENTS)
    assert re.search(rf"Error: {re.escape(key)}\b", line), line
    assert "unexpected" not in line
    composed = composed_train([word for word in [*words[1:], *wrong] if "=" in word])
    assert OmegaConf.select(composed, key, default="absent") != "absent"


def composed_train(words: list[str]) -> object:
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return compose("train", overrides=words)


#: Rooms whose classes a notebook uses: they know nothing of a configuration.
ROOMS = ("models", "data", "losses", "metrics", "simulation", "streaming", "training", "results")

#: Files about a composed configuration itself, or about the parts of a record.
ABOUT_SETTINGS = (
    "identity.py",
    "continuation.py",
    "runs.py",
    "record.py",
    "reading.py",
    "learning.py",
)

PATH = re.compile(
    r"\b(model|data|loss|optimizer|scheduler|trainer|callbacks|protocol|simulation|budget)"
    r"(\.[a-z_]+(?<!\.(json|yaml))\b(?!\()|=[a-z…\[]|=null)"
)


def texts(path: Path) -> Iterator[str]:
    """The texts of a module that may reach a user: all but docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, owners) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and id(node) not in docstrings:
            yield str(node.value)


def test_no_text_of_a_class_spells_a_config_path() -> None:
    package = Path(spikerec.__file__).parent
    found = {
        f"{path.relative_to(package)}: {text}"
        for room in ROOMS
        for path in (package / room).rglob("*.py")
        if path.name not in ABOUT_SETTINGS
        for text in texts(path)
        if PATH.search(text)
    }
    assert not found
