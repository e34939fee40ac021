"""The house's rules: imports run one way, every choice can be built, names agree."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import spikerec
from spikerec.configs import config_dir, config_names, load_config

PACKAGE = Path(spikerec.__file__).parent

#: A package may import those after it, and what lies at the top (errors, configs, fetch).
ORDER = [
    {"apps"},
    {"streaming", "sweeps", "training", "results"},
    {"data", "losses", "metrics"},
    {"inference"},
    {"models", "simulation", "weights"},
    {"spikes"},
    {"kernels"},
]


def packages_imported(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = [
        node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("spikerec.")
    ]
    return {name.split(".")[1] for name in names}


@pytest.mark.parametrize("level", range(len(ORDER)))
def test_imports_run_one_way(level: int) -> None:
    above = set().union(*ORDER[:level])
    for package in ORDER[level]:
        for path in (PACKAGE / package).rglob("*.py"):
            assert not packages_imported(path) & above, path


def test_only_apps_know_hydra() -> None:
    free = {"cli.py", "configs.py"}
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name == "apps" or path.name in free:
            continue
        source = path.read_text(encoding="utf-8")
        assert "import hydra" not in source, path
        assert "from hydra" not in source, path
        assert "import omegaconf" not in source, path
        assert "from omegaconf" not in source, path


@pytest.mark.parametrize("name", config_names("model"))
def test_key_is_the_module_that_holds_the_class(name: str) -> None:
    module = load_config("model", name)["_target_"].split(".")[2]
    # models/base.py is the contract of all networks, so the one named `base` is in base_net.py.
    assert name.startswith(module.removesuffix("_net"))


def test_every_config_says_what_it_is() -> None:
    for path in config_dir().rglob("*.yaml"):
        first = path.read_text(encoding="utf-8").splitlines()[:2]
        assert any(line.startswith("# ") and "@package" not in line for line in first), path
