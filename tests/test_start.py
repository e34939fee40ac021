from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from spikerec import __version__, start


@pytest.mark.parametrize("script", ["spikerec", "spikerec_run"])
def test_a_script_runs_its_command(script: str) -> None:
    assert __version__ in run(f"import sys; sys.argv = ['a', '--version']\nstart.{script}()").stdout


@pytest.mark.parametrize("script", ["spikerec", "spikerec_run"])
def test_ctrl_c_while_modules_are_imported_is_one_line(script: str) -> None:
    end = run(
        "import importlib, signal\n"
        "def swallow(name):\n"
        "    try:\n"
        "        signal.raise_signal(signal.SIGINT)\n"
        "    except KeyboardInterrupt:\n"
        "        raise SyntaxError('no unicodedata')\n"
        "importlib.import_module = swallow\n"
        f"start.{script}()"
    )
    assert (end.returncode, end.stdout, end.stderr) == (
        130,
        "interrupted: nothing was begun.\n",
        "",
    )


def test_ctrl_c_is_an_exception_again_in_the_command() -> None:
    end = run(
        "import importlib, signal, types\n"
        "def main():\n"
        "    try:\n"
        "        signal.raise_signal(signal.SIGINT)\n"
        "    except KeyboardInterrupt:\n"
        "        print('saved')\n"
        "importlib.import_module = lambda name: types.SimpleNamespace(main=main)\n"
        "start.spikerec()"
    )
    assert (end.returncode, end.stdout) == (0, "saved\n")


def run(text: str) -> subprocess.CompletedProcess[str]:
    """Run a program in which the module is `start`, and Ctrl-C an exception."""
    head = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from spikerec import start\n"
    )
    words = [sys.executable, "-c", head + text]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("project", ["pyproject.toml", "src/spikerec_run/pyproject.toml"])
def test_both_distributions_install_it(project: str) -> None:
    text = (Path(start.__file__).parents[2] / project).read_text(encoding="utf-8")
    for name, target in tomllib.loads(text)["project"]["scripts"].items():
        assert target == f"spikerec.start:{name.replace('-', '_')}"
