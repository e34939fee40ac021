"""Classes that a checkpoint names: which modules are imported for them, and which never."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import spikerec

SOURCES = str(Path(spikerec.__file__).parents[1])
MODULE = """
from pathlib import Path

from spikerec.models.tfp import TFP

Path("ran").touch()


class Mine(TFP):
    pass
"""
ASK = """
from spikerec.weights.classes import network_class
print(network_class("mine.Mine", "best.ckpt").__name__)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MODULE)
    return tmp_path


def asked(folder: Path, *words: str, path: str = SOURCES) -> subprocess.CompletedProcess[str]:
    """Run Python in that folder."""
    environment = os.environ | {"PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, "-B", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_module_that_came_with_the_file_is_not_imported(folder: Path) -> None:
    """As in a notebook, the current folder is searched first, and holds what a stranger sent."""
    done = asked(folder, "-c", ASK)
    assert "mine lies in the current folder, as files of others may: import it first" in done.stderr
    assert not (folder / "ran").exists()


def test_a_module_that_its_owner_imported_is_taken(folder: Path) -> None:
    assert asked(folder, "-c", f"import mine\n{ASK}").stdout == "Mine\n"


def test_a_module_of_a_folder_that_the_owner_named_is_taken(folder: Path) -> None:
    assert asked(folder, "-c", ASK, path=f"{folder}{os.pathsep}{SOURCES}").stdout == "Mine\n"


def test_a_module_beside_the_program_that_runs_is_taken(folder: Path) -> None:
    (folder / "program.py").write_text(ASK)
    assert asked(folder, "program.py").stdout == "Mine\n"
