"""Public names: all reachable, honestly listed, and imported on first use."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import spikerec
from spikerec import doors
from spikerec.configs import config_dir
from spikerec.data import REDS, SpikeDataModule
from spikerec.losses import L1, Edges, Loss
from spikerec.metrics import PSNR, Protocol
from spikerec.models import TFP
from spikerec.targets import named

PACKAGE = Path(spikerec.__file__).parent
ROOMS = sorted(
    ".".join(["spikerec", *path.parent.relative_to(PACKAGE).parts])
    for path in PACKAGE.rglob("__init__.pyi")
)
#: Classes of ours that conf/ names, by the room that they are of.
CONFIGURED = sorted(
    (".".join(name.split(".")[:2]), name)
    for name in named(config_dir())
    if ".".join(name.split(".")[:2]) in ROOMS
)


def test_importing_a_room_imports_nothing_heavy() -> None:
    rooms = ", ".join(ROOMS)
    ask = f"import sys, {rooms}; print(*sorted({{'torch', 'numpy', 'hydra'}} & set(sys.modules)))"
    found = subprocess.run(
        [sys.executable, "-c", ask], capture_output=True, text=True, check=True
    ).stdout
    assert found.split() == []


@pytest.mark.parametrize("room", ROOMS)
def test_every_name_that_a_room_lists_is_there(room: str) -> None:
    module = import_module(room)
    assert {"Any", "TYPE_CHECKING", "open_door"}.isdisjoint(dir(module))
    assert set(module.__all__) <= set(dir(module))
    for name in dir(module):
        assert getattr(module, name) is not None


@pytest.mark.parametrize("room", ROOMS)
def test_a_stub_lists_what_it_imports(room: str) -> None:
    path = PACKAGE.joinpath(*room.split(".")[1:], "__init__.pyi")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = [
        one.asname or one.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for one in node.names
    ]
    listed = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    assert set(imported) == set(listed[0]) - {"__version__"}


@pytest.mark.parametrize(("room", "target"), CONFIGURED)
def test_a_class_that_conf_names_is_reachable_from_its_room(room: str, target: str) -> None:
    module, _, name = target.rpartition(".")
    assert getattr(import_module(room), name) is getattr(import_module(module), name)


def test_a_new_class_needs_no_line_in_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "_configured", lambda _: {"ResidualPair": "spikerec.models.bsf"})
    from spikerec import models

    assert models.ResidualPair.__module__ == "spikerec.models.bsf"
    assert "ResidualPair" in dir(models)
    del models.ResidualPair


def test_an_unknown_name_is_refused_as_by_any_module() -> None:
    with pytest.raises(AttributeError, match=r"module 'spikerec\.models' has no attribute 'Stir'"):
        spikerec.models.Stir  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'nothing'"):
        exec("from spikerec import nothing")  # noqa: S102


def test_objects_say_what_they_are() -> None:
    data = SpikeDataModule(REDS("data/reds"), window=61)
    assert repr(TFP()) == "TFP(window=31, 0 parameters)"
    assert repr(spikerec.load("fast_wide")).endswith(
        "parameters, weights of fast_wide.safetensors)"
    )
    assert repr(data) == str(data)
    assert repr(data).startswith("SpikeDataModule(reds=REDS('data/reds'), window=61")
    assert repr(Loss(l1=L1(), edges=Edges())) == "Loss(l1=1 · L1, edges=0.5 · Edges)"
    assert repr(Protocol("mine", {"psnr": PSNR})).startswith("Protocol(mine: psnr; clip=True")
