"""The places where conf/ is found, and the choices in it."""

from __future__ import annotations

import shlex
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from hypothesis import assume, example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from spikerec.configs import build, config_dir, config_names, load_config, plain
from spikerec.errors import ConfigError
from spikerec.overrides import folder_name, job_name, run_name, text_words

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
    with pytest.raises(ConfigError, match="no model named 'nope': expected one of base, bsf, "):
        build("model", "nope")


def test_argument_that_a_class_does_not_take_is_named() -> None:
    with pytest.raises(ConfigError, match="TFP has no argument 'widow': did you mean window"):
        build("model", "tfp", widow=3)


def test_errors_of_the_class_itself_come_through() -> None:
    with pytest.raises(ConfigError, match=r"^window must be at least 1, found 0"):
        build("model", "tfp", window=0)


def test_variant_starts_from_its_base() -> None:
    base, variant = load_config("model", "hypere2vid"), load_config("model", "hypere2vid_static")
    assert {key for key in base if base[key] != variant[key]} == {"dynamic_decoder"}


def test_overrides_replace_values() -> None:
    assert load_config("model", "tfp", window=11)["window"] == 11


GROUPS = ("model", "loss", "data", "protocol", "metric", "simulation")
CHOICES = [(group, name) for group in GROUPS for name in config_names(group)]


@pytest.mark.parametrize(("group", "name"), CHOICES)
def test_a_choice_is_read_as_hydra_composes_it(group: str, name: str) -> None:
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = compose(None, overrides=["+paths=default", f"+{group}={name}"])
    content: Any = OmegaConf.to_container(config, resolve=True)
    del content["paths"]
    while "_target_" not in content:  # down the group's package to the object
        (content,) = content.values()
    assert list(load_config(group, name).items()) == list(content.items())


def test_building_a_network_imports_no_hydra() -> None:
    ask = (
        "import sys; from spikerec.configs import build; build('model', 'fast_wide')\n"
        "print(*{'hydra', 'omegaconf'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


def test_a_file_of_several_objects_describes_none() -> None:
    with pytest.raises(ConfigError, match=r"callbacks/default\.yaml does not describe an object"):
        build("callbacks", "default")


def test_plain_resolves_interpolations() -> None:
    config = OmegaConf.create({"a": 1, "b": {"c": "${a}"}})
    assert plain(config) == {"a": 1, "b": {"c": 1}}


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ([], "default"),
        (["model=stir", "data=reds"], "data-reds_model-stir"),
        (["name=x", "model=stir"], "model-stir"),
        (["overwrite=true", "model=stir"], "model-stir"),
        (["optimizer.lr=1e-3", "~callbacks.video"], "lr-1e-3_no-video"),
        (["logger=wandb", "logger.wandb.mode=online", "+logger.wandb.entity=x"], "default"),
    ],
)
def test_runs_are_named_by_what_they_run(words: list[str], name: str) -> None:
    assert run_name(words) == name
    assert run_name(words[::-1]) == name


def test_names_that_a_file_system_would_not_take_stay_unique() -> None:
    names = {run_name([f"data.root=/some/{where}"]) for where in ("a", "b", "a b", "a/b")}
    names |= {run_name(words) for words in (["a.x=1", "b.x=2"], ["a.x=2", "b.x=1"])}
    assert len(names) == 6
    assert all("/" not in name and " " not in name for name in names)
    assert len(run_name(["k=" + "v" * 999])) < 200


def test_a_name_does_not_depend_on_what_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["data.sets.reds.root=disk/REDS", "model=tfp"]
    before = run_name(text_words(words, sweeps=False))
    (tmp_path / "disk" / "REDS").mkdir(parents=True)
    assert run_name(text_words(words, sweeps=False)) == before


def test_a_long_name_shows_what_varies_and_is_unique_in_the_rest() -> None:
    rest = [f"model.part_{k}={'v' * 10}" for k in range(20)]
    name = run_name([*rest, "seed=3"], {"seed"})
    assert name.startswith("seed-3-")
    assert name != run_name([*rest[1:], "seed=3"], {"seed"})


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("demo-fast", "demo-fast"),
        ("mine/first", "mine/first"),
        ("my first run", "my-first-run"),
        ("../../elsewhere", "elsewhere"),
        ("/absolute", "absolute"),
        ("2024_11_27", "2024_11_27"),
    ],
)
def test_a_name_becomes_a_folder_inside_the_outputs(name: str, folder: str) -> None:
    assert folder_name(name) == folder


def test_names_in_other_scripts_stay_apart() -> None:
    assert len({folder_name(name) for name in ("日本", "日出", "Über", "uber", "...")}) == 5


def test_jobs_of_one_name_are_told_apart_by_what_varies() -> None:
    words = ["experiment=demo", "model=fast", "seed=1", "optimizer.lr=1e-3"]
    assert job_name("demo", words, {"seed", "optimizer.lr"}) == "demo_lr-1e-3_seed-1"
    assert job_name("demo", [*words, "name=demo"], {"name"}) == "demo"


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=20)


def read_word(word: str) -> Any:
    """The value that Hydra reads in a `key=value` word."""
    return OverridesParser.create().parse_override(word).value()


def test_a_long_name_is_the_name_of_its_folder() -> None:
    name = run_name([f"model.part_{k}={'v' * 10}" for k in range(20)], {"seed"})
    assert folder_name(name) == name


def test_null_is_a_name_and_elsewhere_none() -> None:
    name, label = text_words(["name=null", "label=null"], sweeps=False)
    assert read_word(name) == "null"
    assert read_word(label) is None


@given(TEXT)
def test_folder_names_need_no_quoting_and_paste_as_they_are(name: str) -> None:
    folder = folder_name(name)
    assert shlex.quote(folder) == folder
    assert read_word(f"weights=outputs/train/{folder}/best.ckpt") == (
        f"outputs/train/{folder}/best.ckpt"
    )


@given(st.lists(st.tuples(st.sampled_from(["a", "b.c", "+d"]), TEXT), min_size=1, max_size=4))
def test_run_names_need_no_quoting(words: list[tuple[str, str]]) -> None:
    name = run_name([f"{key}={value}" for key, value in words])
    assert shlex.quote(name) == name
    assert read_word(f"weights=outputs/{name}") == f"outputs/{name}"


@given(TEXT)
@example("2024_11_27")
@example("7")
@example("1e3")
@example(".5")
@example("true")
@example("NULL")
@example("it's a\\'quote\\")
@example("Fast, mine (2)")
@example("[fast]")
@example("a=b")
def test_a_label_is_the_text_that_was_typed(label: str) -> None:
    assume(label != "null" and label != "???" and "${" not in label)
    assume(not (len(label) > 1 and label[0] == label[-1] and label[0] in "'\""))
    [word] = text_words([f"label={label}"], sweeps=False)
    value = read_word(word)
    assert (value.text if isinstance(value, QuotedString) else value) == label
    assert text_words([word], sweeps=False) == [word]  # as a job's words are handed on


@pytest.mark.parametrize(
    ("word", "sweeps", "expected"),
    [
        ("label=a b,7", True, "label='a b','7'"),
        ("checkpoint=a.ckpt,b=c.ckpt", True, "checkpoint=a.ckpt,'b=c.ckpt'"),
        ("checkpoint=choice(a,b)", True, "checkpoint=choice(a,b)"),
        ("checkpoint={stir: best.ckpt}", False, "checkpoint={stir: best.ckpt}"),
        ("input=[a.jpg,b.jpg]", False, "input=[a.jpg,b.jpg]"),
        ("paths.outputs=2024_11_27", False, "paths.outputs='2024_11_27'"),
        ("data.sets.reds.root=7", False, "data.sets.reds.root='7'"),
        ("label=null", False, "label=null"),
        ("name=seed${seed}", True, "name='seed${seed}'"),
        ("name=${made.up}", False, "name='${made.up}'"),
        ("checkpoint=of/${seed}.ckpt", True, "checkpoint='of/${seed}.ckpt'"),
        ("input=${x}.dat", False, r"input='\${x}.dat'"),
        ("seed=7", False, "seed=7"),
        ("-m", True, "-m"),
    ],
)
def test_only_text_is_quoted(word: str, sweeps: bool, expected: str) -> None:
    assert text_words([word], sweeps=sweeps) == [expected]
