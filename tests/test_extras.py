"""Packages that a plain installation lacks are named in one line; nothing else needs them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from spikerec.errors import MissingPackageError
from spikerec.extras import EXTRAS, is_installed, require

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

#: Starts the command line in a Python that cannot find the modules named first.
WITHOUT = """
import sys
from importlib.machinery import PathFinder

blocked = set(sys.argv.pop(1).split(","))
found = PathFinder.find_spec


def find_spec(name, path=None, target=None):
    return None if {name, name.split(".")[0]} & blocked else found(name, path, target)


PathFinder.find_spec = staticmethod(find_spec)
from spikerec.cli import main

sys.argv[0] = "spikerec"
main()
"""

#: Modules that are named otherwise than the package that holds them.
PACKAGES = {"cv2": "opencv_python_headless"}

#: All that comes with extras, and what only these bring in turn.
ABSENT = ",".join([*EXTRAS, "matplotlib", "sphinx"])


def spikerec(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, ABSENT, *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def name_of(requirement: str) -> str:
    return re.split(r"[<>=;\[ ]", requirement)[0].replace("-", "_").lower()


def test_each_module_belongs_to_the_extra_that_installs_it() -> None:
    for module, extra in EXTRAS.items():
        installed = {name_of(one) for one in PROJECT["optional-dependencies"][extra]}
        assert PACKAGES.get(module, module.removeprefix("hydra_plugins.")) in installed


def test_no_module_of_an_extra_comes_with_a_plain_installation() -> None:
    core = {name_of(one) for one in PROJECT["dependencies"]}
    assert not core & {module.removeprefix("hydra_plugins.") for module in EXTRAS}


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spikerec.extras.find_spec", lambda _: None)
    with pytest.raises(MissingPackageError, match=r"car.mp4 needs the package av.*spikerec\[video"):
        require("av", "car.mp4")


def test_a_package_below_a_missing_one_is_missing() -> None:
    assert not is_installed("no_such_package.part")


def test_a_plain_installation_makes_pictures_of_a_dat(tmp_path: Path) -> None:
    bits = np.random.default_rng(0).integers(0, 256, (121 * 48 * 64) // 8, dtype=np.uint8)
    (tmp_path / "car.dat").write_bytes(bits.tobytes())
    (tmp_path / "car.yaml").write_text("height: 48\nwidth: 64\nlight_scale: 0.6\n")
    done = spikerec(tmp_path, "reconstruct", "input=car.dat", "output=pictures", "stride=60")
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "pictures").glob("*.png"))
    done = spikerec(tmp_path, "reconstruct", "input=car.dat", "output=car.mp4", "stride=60")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "car.mp4 needs the package av" in done.stderr
    assert "pip install 'spikerec[video]'" in done.stderr
