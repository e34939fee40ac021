"""The user's own code among a run's classes: what it draws on counts, wherever it is imported."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from spikerec.own_code import code_facts

NETWORK = """
from helper import WIDTH
class Mine:
    width = WIDTH
"""


@pytest.mark.parametrize(
    ("first", "second"),
    [("class WIDTH: pass", "class WIDTH: channels = 2"), ("WIDTH = 2", "WIDTH = 3")],
)
def test_code_of_the_users_own_classes_counts_with_what_it_draws_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str, second: str
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "mynet.py").write_text(NETWORK)
    (tmp_path / "helper.py").write_text(first)
    settings = {"model._target_": "mynet.Mine", "loss._target_": "spikerec.losses.Loss"}
    before = code_facts(settings)
    assert list(before) == ["code of mynet.Mine"]  # neither ours nor an installed package's
    assert code_facts(settings) == before
    (tmp_path / "helper.py").write_text(second)
    assert code_facts(settings) != before
    for name in ("mynet", "helper"):
        del sys.modules[name]


LAZY = """
class Mine:
    def forward(self):
        {imports}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of modules of the user's: two that import one another, and a package."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    (tmp_path / "own_pack").mkdir()
    (tmp_path / "own_pack/__init__.py").write_text("from .sub import WIDTH")
    (tmp_path / "own_pack/sub.py").write_text("WIDTH = 2")
    (tmp_path / "own_helper.py").write_text("def f():\n    import own_deeper")
    (tmp_path / "own_deeper.py").write_text("WIDTH = 2")
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("imports", "changed"),
    [
        ("import own_helper", "own_helper.py"),
        ("from own_helper import f", "own_deeper.py"),
        ("import own_pack.sub", "own_pack/sub.py"),
        ("from own_pack import sub as s", "own_pack/sub.py"),
        ("import own_pack", "own_pack/sub.py"),
    ],
)
def test_imports_within_functions_count_whether_they_ran_or_not(
    folder: Path, imports: str, changed: str
) -> None:
    (folder / "own_net.py").write_text(LAZY.format(imports=imports))
    settings = {"model._target_": "own_net.Mine"}
    before = code_facts(settings)
    assert "own_helper" not in sys.modules
    assert "own_pack" not in sys.modules
    sys.modules["own_net"].Mine().forward()
    assert code_facts(settings) == before
    (folder / changed).write_text("def f(): return 3\nWIDTH = 3")
    assert code_facts(settings) != before


def test_a_module_that_is_not_there_or_cannot_be_read_does_not_count(folder: Path) -> None:
    (folder / "own_broken.py").write_text("def (")
    imports = "import own_missing.part, own_broken, numpy, spikerec.models, os.path"
    (folder / "own_net.py").write_text(LAZY.format(imports=imports))
    assert list(code_facts({"model._target_": "own_net.Mine"})) == ["code of own_net.Mine"]


@pytest.mark.parametrize(
    "asked", ['os.environ["OWN_WIDTH"]', 'os.environ.get("OWN_WIDTH", 2)', 'os.getenv("OWN_WIDTH")']
)
def test_environment_variables_that_own_code_names_count_by_value(
    folder: Path, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    (folder / "own_deeper.py").write_text(f"import os\ndef f(): return {asked}")
    (folder / "own_net.py").write_text(LAZY.format(imports="import own_helper"))
    settings = {"model._target_": "own_net.Mine"}
    unset = code_facts(settings)
    assert list(unset) == ["code of own_net.Mine"]
    monkeypatch.setenv("OWN_WIDTH", "secret")
    facts = code_facts(settings)
    assert facts.keys() - unset.keys() == {"environment variable OWN_WIDTH"}
    assert "secret" not in str(facts)
    monkeypatch.setenv("OWN_WIDTH", "3")
    assert code_facts(settings) != facts


def test_a_variable_that_changes_the_precision_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert code_facts({}) == {}
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    assert list(code_facts({})) == ["environment variable NVIDIA_TF32_OVERRIDE"]


SCRIPT = """
import os
from spikerec.own_code import code_facts
class Mine:
    def forward(self):
        import own_helper
        return os.environ.get("OWN_WIDTH")
print(code_facts({}, {"Mine": Mine}))
"""


def test_a_script_s_own_imports_and_variables_count(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def facts() -> str:
        (folder / "script.py").write_text(SCRIPT)
        done = subprocess.run(
            [sys.executable, "script.py"], cwd=folder, capture_output=True, text=True, check=True
        )
        return done.stdout

    monkeypatch.delenv("OWN_WIDTH", raising=False)
    before = facts()
    assert facts() == before
    monkeypatch.setenv("OWN_WIDTH", "3")
    assert "environment variable OWN_WIDTH" in facts()
    monkeypatch.delenv("OWN_WIDTH")
    (folder / "own_deeper.py").write_text("WIDTH = 3")
    assert facts() != before
