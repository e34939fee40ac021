"""The README's commands are commands: each composes, and each target exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from spikerec.cli import verbs
from spikerec.configs import build, config_dir, config_names, load_config
from tests.end_to_end.command import Command

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands() -> list[list[str]]:
    """The words of each command, comments and line breaks taken out."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def test_targets_of_make_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = [words[1] for words in commands() if words[0] == "make"]
    assert targets
    assert all(f"\n{target}:" in makefile for target in targets)


@pytest.mark.parametrize("words", [w for w in commands() if w[0] == "spikerec"], ids=" ".join)
def test_command_composes(words: list[str], spikerec_command: Command) -> None:
    verb, *rest = words[1:]
    assert verb in verbs()
    if not (config_dir() / f"{verb}.yaml").exists():
        assert spikerec_command(verb, rest[0], "--help").status == 0
        return
    single = [word.split(",")[0] if "[" not in word else word for word in rest if word != "-m"]
    outcome = spikerec_command(verb, *single, "--cfg", "job")
    assert outcome.status == 0, outcome.err


def test_tables_name_every_model_and_data_set() -> None:
    for group in ("model", "data"):
        table = README[README.index(f"| `{group}=`") :].split("\n\n")[0]
        assert set(re.findall(r"`([a-z0-9_]+)`", table)) == set(config_names(group)), group


def model_rows() -> list[list[str]]:
    """The cells of each row of the table of models."""
    table = README[README.index("| `model=`") :].split("\n\n")[0]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]


def test_the_table_states_each_model_s_parameters() -> None:
    for names, _, _, parameters in model_rows():
        stated = re.findall(r"([\d.]+) M", re.sub(r"\(.*?\)", "", parameters))
        for name, millions in zip(re.findall(r"`([a-z0-9_]+)`", names), stated, strict=False):
            network = build("model", name)
            found = sum(parameter.numel() for parameter in network.parameters()) / 1e6
            decimals = len(millions.partition(".")[2])
            assert f"{found:.{decimals}f}" == millions, name


def test_the_first_sentence_counts_the_published_methods() -> None:
    numbers = dict(
        enumerate(["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen"], 10)
    )
    published = {
        load_config("model", name)["_target_"]
        for names, _, venue, _ in model_rows()
        if venue != "–"
        for name in re.findall(r"`([a-z0-9_]+)`", names)
    }
    assert f"{numbers[len(published)]} published methods" in README
