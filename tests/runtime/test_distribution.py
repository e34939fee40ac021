"""The small distribution, built and run without what it does not name."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

import spikerec
from spikerec.models.base import Network
from spikerec.spikes import SpikeStream

SOURCE = Path(spikerec.__file__).parents[1]
LIGHT = SOURCE / "spikerec_run"

#: Run the command with modules that cannot be imported, in the order: folder, modules, words.
PROGRAM = """
import importlib.abc, sys
from pathlib import Path

folder, missing, *words = sys.argv[1:]
sys.path.insert(0, folder)

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in missing.split(","):
            raise ModuleNotFoundError(f"{name} is not installed", name=name)

sys.meta_path.insert(0, Missing())
sys.argv = ["spikerec-run", *words]
from spikerec.runtime.main import main
main()
import spikerec
assert Path(spikerec.__file__).is_relative_to(folder)
"""


def project(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    return found


def required(folder: Path) -> set[str]:
    dependencies = project(folder)["project"]["dependencies"]
    return {re.split(r"[><=]", one)[0].lower() for one in dependencies}


def missing_modules() -> set[str]:
    """The modules that spikerec's dependencies offer, and the small distribution does not need."""
    absent = required(SOURCE.parent) - required(LIGHT)
    assert "torch" in absent
    return {
        module
        for module, names in packages_distributions().items()
        if {name.lower() for name in names} <= absent
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the installed distribution."""
    builders = pytest.importorskip("hatchling.builders.wheel")
    folder = tmp_path_factory.mktemp("wheel")
    (path,) = builders.WheelBuilder(str(LIGHT)).build(directory=str(folder))
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


@pytest.mark.parametrize("output", ["a.mp4", "a.h5", "pictures"])
def test_it_runs_alone(
    wheel: Path, small: tuple[Network, Path], stream: SpikeStream, output: str, tmp_path: Path
) -> None:
    missing = ",".join(missing_modules())
    words = [str(wheel), missing, str(stream.path), str(small[1]), output, "stride=50"]
    for told in ("4 images in ", "done before by the same settings: "):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        )
        assert done.stderr == ""
        assert done.stdout.startswith(told)


def test_its_versions_of_packages_are_those_of_spikerec() -> None:
    whole = project(SOURCE.parent)["project"]
    stated = {
        one
        for group in (whole["dependencies"], *whole["optional-dependencies"].values())
        for one in group
    }
    light = project(LIGHT)["project"]
    assert set(light["dependencies"]) <= stated
    assert set(light["optional-dependencies"]["openvino"]) <= stated
    assert light["requires-python"] == whole["requires-python"]
