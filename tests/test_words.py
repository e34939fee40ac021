"""Words of a command: the spellings of an option, and wrong ones told with what is meant."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spikerec.configs import compose_verb, config_names
from spikerec.errors import ConfigError, DataNotFoundError
from spikerec.overrides import quoted, unquoted
from spikerec.signatures import class_arguments
from spikerec.words import words_of


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()
    for name in ("car.dat", "bus.dat"):
        Path(name).touch()


PLAIN = ["geometry.height=250", "geometry.width=400", "output='car.mp4'", "input='car.dat'"]


@pytest.mark.parametrize(
    "line",
    [
        "car.dat car.mp4 --height 250 --width 400",
        "car.dat car.mp4 --height=250 --geometry.width 400",
        "--height 250 car.dat --width 400 car.mp4",
        "car.dat car.mp4 height=250 width=4e2",
        "input=car.dat output=car.mp4 geometry.height=250 geometry.width=400.0",
    ],
)
def test_one_command_in_every_spelling(line: str) -> None:
    words = {word.replace("'", "") for word in words_of("reconstruct", line.split())}
    assert words == {word.replace("'", "") for word in PLAIN}


@pytest.mark.parametrize(
    ("verb", "line", "words"),
    [
        ("reconstruct", "--no-optimise --top-down", ["optimise=false", "geometry.bottom_up=false"]),
        ("reconstruct", "--method tfp --rate-hz 2e4", ["model=tfp", "rate_hz=2e4"]),
        ("reconstruct", "--external --resume no", ["external=true", "resume=false"]),
        ("reconstruct", "car.dat bus.dat out", ["output='out'", "input=['car.dat','bus.dat']"]),
        (
            "reconstruct",
            "-m car.dat bus.dat out",
            ["-m", "output='out'", "input='car.dat','bus.dat'"],
        ),
        ("simulate", "car.dat out size=64x96", ["size=[64,96]", "output='out'", "input='car.dat'"]),
        ("export", "net.onnx size=64", ["size=[64,64]", "output='net.onnx'"]),
        ("train", "trainer.max_steps=2", ["+trainer.max_steps=2"]),
        ("train", "trainer.limit_val_batches=4", ["+trainer.limit_val_batches=4"]),
        ("train", "+trainer.max_steps=1e3", ["+trainer.max_steps=1000"]),
        (
            "train",
            "trainer.max_epochs=1e1 data.crop=64",
            ["trainer.max_epochs=10", "data.crop=[64,64]"],
        ),
        (
            "train",
            "trainer.devices=auto optimizer.lr=1",
            ["trainer.devices=auto", "optimizer.lr=1"],
        ),
        (
            "train",
            "+sweep=fast_parts sweep.parts=two budget.seconds=9",
            ["+sweep=fast_parts", "sweep.parts=two", "+budget.seconds=9"],
        ),
        (
            "train",
            "experiment=budget/cpu budget.clock=processor",
            ["experiment=budget/cpu", "budget.clock=processor"],
        ),
        ("train", "overwrite=yes find_lr=OFF", ["overwrite=true", "find_lr=false"]),
        ("train", "batch_size=4 ~callbacks.best", ["data.batch_size=4", "~callbacks.best"]),
        ("train", "-m seed=0,1e1 model=stir,ssir", ["-m", "seed=0,10", "model=stir,ssir"]),
        ("evaluate", "--cfg job checkpoint=null", ["--cfg", "job", "checkpoint=null"]),
        ("train", "--config-dir mine model=ours", ["--config-dir", "mine", "model=ours"]),
    ],
)
def test_words_become_those_of_hydra(verb: str, line: str, words: list[str]) -> None:
    assert words_of(verb, line.split()) == words


@pytest.mark.parametrize(
    ("verb", "word", "told"),
    [
        ("reconstruct", "hieght=250", "did you mean geometry.height?"),
        ("reconstruct", "--hieght=250", "did you mean --geometry.height?"),
        ("reconstruct", "geometry.hight=250", "did you mean geometry.height"),
        ("reconstruct", "model=tpf", "did you mean tfp"),
        ("reconstruct", "model.widow=3", "did you mean model.window?"),
        ("reconstruct", "stride=half", "stride must be a whole number, found half"),
        ("reconstruct", "stride=2.5", "stride must be a whole number, found 2.5"),
        ("reconstruct", "rate_hz=20kHz", "rate_hz must be a number, found 20kHz"),
        ("reconstruct", "optimise=maybe", "optimise must be true or false, found maybe"),
        ("reconstruct", "-x", "-x is no option of spikerec reconstruct"),
        ("reconstruct", "--height", "--height needs a value"),
        ("train", "stir", "did you mean model=stir?"),
        ("train", "seed", "did you mean seed=VALUE?"),
        ("train", "modle=stir", "did you mean model"),
        ("train", "data.bach_size=4", "did you mean data.batch_size?"),
        ("train", "data.batch_size=lots", "data.batch_size must be a whole number, found lots"),
        ("train", "data.batch_size.x=4", "data.batch_size is one value, as in data.batch_size=8"),
        ("evaluate", "protocol.metrics=[psnr]", "is made of protocol.metrics.psnr, protocol."),
        ("train", "loss.terms=[l1]", "loss.terms is no list, it is made of loss.terms.l1."),
        ("train", "trainer.max_stepz=2", "did you mean trainer.max_steps"),
        ("train", "+trainer.max_stepz=2", "did you mean trainer.max_steps"),
        ("train", "lr=1e-3", "did you mean optimizer.lr?"),
        ("train", "model.light_scale=1", "renamed model.output_scale"),
        ("train", "loss=l2", "expected one of blind_pixels"),
        ("train", "+sweep=stir_loss,budget_rate", "several choices: add -m to run each in turn"),
        ("train", "model=stir,ssir", "add -m to run each in turn, or name one."),
        ("train", "data=reds,sreds", "or write 'data=[reds,sreds]' for one run of them all"),
        ("reconstruct", "model=tfp,tfi", "or write 'model=[tfp,tfi]' for one run of them all"),
        ("train", "loss=null", "null is no choice of loss: expected one of blind_pixels"),
        ("train", "logger=[csv,null]", "null is no choice of logger"),
        ("train", "hydra/sweeper=null", "null is no choice of hydra/sweeper"),
        ("train", "hydra/job_logging=null", "null is no choice of hydra/job_logging"),
        ("evaluate", "model=null", "null is no choice of model"),
        ("evaluate", "data=redz", "did you mean reds"),
        ("evaluate", "spilt=test", "did you mean split"),
        ("leaderboard", "rows=many", "rows must be a whole number"),
        ("simulate", "style.wrap=3", "did you mean style.warp?"),
    ],
)
def test_a_wrong_word_is_answered_with_what_is_meant(verb: str, word: str, told: str) -> None:
    with pytest.raises(ConfigError) as raised:
        words_of(verb, [word])
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "word", ["input=no.dat", "no.dat", "checkpoint=no.ckpt", "--checkpoint=no"]
)
def test_a_file_that_is_not_there_is_named_at_once(word: str) -> None:
    with pytest.raises(DataNotFoundError, match="does not exist"):
        words_of("reconstruct", [word])


#: Names that a shell hands over, and that Hydra's grammar would read as something else.
NAMES = (
    *("数据.dat", "my car.dat", "car[1].dat", "[car].dat", "{car}.dat", "a,b.dat", "a=b.dat"),
    *("it's.dat", 'a "quote".dat', "back\\slash.dat", "new\nline.dat", "$HOME.dat", "${x}.dat"),
    *("100%.dat", "a;b.dat", "(1).dat", "#1.dat", "a:b.dat", "+a=b.dat", "~x.dat", "-x.dat"),
    *("null", "true", "1e3", "2024_11_27", "*.dat", "a?b.dat", "ü.dat", "\u200f.dat", "\\", "'x'"),
    *("[bold]x.dat", "a&b.dat", "a|b.dat", "<a>.dat", "@a.dat", "!.dat", "a\tb.dat", "..dat"),
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", ["{}", "input={}"])
def test_a_file_of_any_name_is_what_is_read(name: str, form: str) -> None:
    Path(name).touch()
    words = words_of("reconstruct", [form.format(name), *(["out"] if form == "{}" else [])])
    assert compose_verb("reconstruct", words)["input"].replace("\\${", "${") == name


@settings(max_examples=60)
@given(
    st.text(
        st.one_of(
            st.sampled_from("${}\\'\" ,=[]\n"),
            st.characters(codec="utf-8", exclude_characters="\0"),
        ),
        min_size=1,
        max_size=8,
    )
)
@example("a\\\n")
@example("\\${x}")
def test_quoted_text_is_read_as_it_is(text: str) -> None:
    from omegaconf import OmegaConf

    assert unquoted(quoted(text)) == text
    composed = compose_verb("reconstruct", [f"output={quoted(text)}"])
    assert OmegaConf.create(composed).output == text


def test_arguments_are_read_from_the_source_alone() -> None:
    ask = (
        "import sys\nfrom spikerec.signatures import class_arguments\n"
        "assert 'max_steps' in class_arguments('lightning.Trainer')\n"
        "assert not {'torch', 'lightning'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", ask], check=True)


@pytest.mark.parametrize("name", config_names("model"))
def test_arguments_of_every_network_are_found(name: str) -> None:
    from spikerec.configs import load_config

    content = load_config("model", name)
    arguments = class_arguments(content.pop("_target_"))
    assert arguments is not None
    assert set(content) <= set(arguments)


def test_a_wrong_word_loads_nothing_heavy() -> None:
    ask = (
        "import sys; sys.argv = ['spikerec', 'train', 'data.bach_size=4']\n"
        "from spikerec.cli import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert stop.code == 2\n"
        "assert not {'torch', 'lightning', 'numpy'} & set(sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert "did you mean data.batch_size?" in told.stderr
    assert told.stderr.count("\n") == 1
