"""The command itself, started as a user does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import spikerec
from spikerec.cli import verbs
from spikerec.configs import config_dir

COMMAND = Path(sys.executable).with_name("spikerec")


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
    parts = {"choice", "data_module"}
    assert {path.stem for path in config_dir().glob("*.yaml")} <= set(verbs()) | parts
