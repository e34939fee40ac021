"""The command itself, started as a user does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import spikerec
from spikerec import cli
from spikerec.cli import verbs
from spikerec.configs import config_dir

COMMAND = Path(sys.executable).with_name("spikerec")
BASH = shutil.which("bash")


def test_an_error_due_to_an_interruption_ends_as_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> None:
        try:
            raise KeyboardInterrupt
        finally:
            raise AttributeError  # as OmegaConf's own cleaning up does

    monkeypatch.setattr(cli, "_command", fail)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 130
    captured = capsys.readouterr()
    assert captured.out.startswith("interrupted: finished files are kept")
    assert captured.err == ""


@pytest.mark.parametrize("error", ["KeyboardInterrupt", "ValueError"])
def test_nothing_is_logged_after_the_last_line(error: str) -> None:
    library = f"""
import atexit, logging, sys
from spikerec import cli

def half_imported(_):
    atexit.register(logging.getLogger("torch").info, "statistics")
    logging.basicConfig(level=logging.INFO, stream=sys.stdout)
    logging.info("begun")
    raise {error}("the last line")

cli._command = half_imported
cli.main()
"""
    outcome = subprocess.run([sys.executable, "-c", library], capture_output=True, text=True)
    lines = (outcome.stdout + outcome.stderr).splitlines()
    assert lines[0].endswith("begun")
    assert "the last line" in lines[1]
    assert len(lines) == 2


def test_help_names_every_verb_and_loads_nothing_heavy() -> None:
    ask = (
        "import sys; sys.argv = ['spikerec', '--help']\n"
        "from spikerec.cli import main; main()\n"
        "assert not {'torch', 'hydra', 'lightning', 'numpy'} & set(sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    for verb in verbs():
        assert f"  {verb} " in told.stdout


def test_console_script_answers() -> None:
    told = subprocess.run([COMMAND, "--version"], capture_output=True, text=True, check=True)
    assert told.stdout == f"spikerec {spikerec.__version__}\n"


def test_every_hydra_config_at_the_top_belongs_to_a_verb_or_is_a_part() -> None:
    parts = {"choice", "data_module", "stream"}
    assert {path.stem for path in config_dir().glob("*.yaml")} <= set(verbs()) | parts


def complete(line: str) -> list[str]:
    """Words that bash offers at the end of a line, by the script that `-sc install=bash` prints."""
    shell = (
        'eval "$(spikerec -sc install=bash)"\n'
        'COMP_LINE="$1"; COMP_POINT=${#1}; words=($1); COMP_CWORD=$2\n'
        'hydra_bash_completion; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    last = len(line.split()) - (not line.endswith(" "))
    path = f"{COMMAND.parent}{os.pathsep}{os.environ['PATH']}"
    told = subprocess.run(
        [str(BASH), "-c", shell, "bash", line, str(last)],
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    return told.stdout.split()


@pytest.mark.skipif(BASH is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("spikerec tr", ["train"]),
        ("spikerec train model=st", ["model=stir"]),
        ("spikerec train -m model=stir data.batch", ["data.batch_size="]),
        ("spikerec evaluate protocol=co", ["protocol=corrected"]),
        ("spikerec weights li", []),  # a verb without a configuration
    ],
)
def test_shell_completes(line: str, offered: list[str]) -> None:
    assert complete(line) == offered


def test_python_m_runs_the_command_line() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "spikerec", "--help"], capture_output=True, text=True, check=True
    )
    assert told.stdout.startswith("spikerec: the experiment platform")
