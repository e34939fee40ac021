"""Where conf/ is found, and what it gives."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from spikerec.configs import build, config_dir, config_names, load_config, plain, run_name
from spikerec.errors import ConfigError

ROOT = Path(__file__).parents[1]


def test_checkout_finds_its_own_conf() -> None:
    assert config_dir() == ROOT / "conf"


def test_wheel_brings_conf(tmp_path: Path) -> None:
    build_wheel = "import hatchling.build, sys; hatchling.build.build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build_wheel, tmp_path], cwd=ROOT, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    ask = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\n"
        "from spikerec.configs import config_dir, config_names\n"
        "print(config_dir()); print(*config_names('model'))"
    )
    told = subprocess.run(
        [sys.executable, "-c", ask], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert told[0] == str(tmp_path / "site" / "spikerec" / "conf")
    assert told[1].split() == config_names("model")


def test_unknown_choice_lists_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"model=nope is unknown: expected one of bsf, "):
        build("model", "nope")


def test_argument_that_a_class_does_not_take_is_named() -> None:
    with pytest.raises(ConfigError, match=r"conf/model/tfp\.yaml.*widow"):
        build("model", "tfp", widow=3)


def test_errors_of_the_class_itself_come_through() -> None:
    with pytest.raises(ConfigError, match=r"model\.window must be at least 1, found 0"):
        build("model", "tfp", window=0)


def test_variant_starts_from_its_base() -> None:
    base, variant = load_config("model", "hypere2vid"), load_config("model", "hypere2vid_static")
    assert {key for key in base if base[key] != variant[key]} == {"dynamic_decoder"}


def test_overrides_replace_values() -> None:
    assert load_config("model", "tfp", window=11)["window"] == 11


def test_plain_resolves_interpolations() -> None:
    config = OmegaConf.create({"a": 1, "b": {"c": "${a}"}})
    assert plain(config) == {"a": 1, "b": {"c": 1}}


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ([], "default"),
        (["model=stir", "data=reds"], "data=reds,model=stir"),
        (["name=x", "model=stir"], "model=stir"),
        (["logger=wandb", "logger.wandb.mode=online", "+logger.wandb.entity=x"], "default"),
    ],
)
def test_runs_are_named_by_what_they_run(words: list[str], name: str) -> None:
    assert run_name(words) == name


def test_names_that_a_file_system_would_not_take_stay_unique() -> None:
    names = {run_name([f"data.root=/some/{where}"]) for where in ("a", "b", "a b", "a/b")}
    assert len(names) == 4
    assert all("/" not in name and " " not in name for name in names)
    assert len(run_name(["k=" + "v" * 999])) < 200
