"""Files of strangers, by the command line: one line, and nothing of them is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from spikerec.configs import build
from spikerec.weights import save_state
from tests.end_to_end.command import Command
from tests.fakes import fake_spikes

#: Would leave a file behind if it were run.
HOSTILE = {"_target_": "os.system", "command": "touch was_run"}

OWN = ("--config-dir", "theirs")


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("model/x.yaml", HOSTILE, ("model=x",)),
        (
            "experiment/x.yaml",
            {"model": {"window": HOSTILE}},
            ("model=tfp", "experiment=x"),
        ),
        (
            "experiment/x.yaml",
            {"hydra": {"callbacks": {"a": HOSTILE}}},
            ("model=tfp", "experiment=x"),
        ),
        (
            "experiment/x.yaml",
            {
                "hydra": {
                    "job_logging": {
                        "handlers": {"a": {"()": "os.system", "command": "touch was_run"}}
                    }
                }
            },
            ("model=tfp", "experiment=x"),
        ),
    ],
)
def test_hostile_folder_of_configuration(
    file: str,
    content: dict[str, Any],
    words: tuple[str, ...],
    spikerec_command: Command,
) -> None:
    path = Path("theirs") / file
    path.parent.mkdir(parents=True)
    head = "# @package _global_\n" if file.startswith("experiment") else ""
    path.write_text(head + yaml.safe_dump(content))
    outcome = spikerec_command("evaluate", *OWN, *words, "data=reds")
    assert outcome.status == 2
    (line,) = outcome.err.splitlines()
    assert "may not be named" in line or "must be a handler" in line
    assert not Path("was_run").exists()


MESSAGES = ("may not be named", "must be a handler", "refers to a key that does not exist")
HANDLER = {"handlers": {"a": {"()": "os.system", "command": "touch was_run"}}}


@pytest.mark.parametrize(
    "content",
    [
        {"hydra": {"job_logging": HANDLER}},
        {"mine": HANDLER, "hydra": {"job_logging": "${mine}"}},
        {"mine": HANDLER["handlers"], "hydra": {"job_logging": {"handlers": "${mine}"}}},
        {"mine": {"0": HANDLER}, "hydra": {"job_logging": "${mine.${hydra.job.num}}"}},
        {"hydra": {"callbacks": {"a": HOSTILE}}},
    ],
)
@pytest.mark.parametrize("verb", ["evaluate", "train"])
def test_hostile_choice_among_those_of_a_sweep(
    verb: str, content: dict[str, Any], spikerec_command: Command
) -> None:
    folder = Path("theirs", "experiment")
    folder.mkdir(parents=True)
    for name, value in (("a", {"seed": 1}), ("b", content)):
        text = "# @package _global_\n" + yaml.safe_dump(value)
        (folder / f"{name}.yaml").write_text(text)
    for words in (("-m", "experiment=a,b"), ("experiment=b",)):
        outcome = spikerec_command(verb, *OWN, *words, "model=fast", "data=reds")
        assert outcome.status == 2
        line = outcome.err.splitlines()[-1]
        assert any(message in line for message in MESSAGES)
        assert not Path("was_run").exists()


@pytest.mark.parametrize(
    "word",
    [
        "+hydra.callbacks.a={_target_:theirs.A}",
        "hydra.launcher._target_=theirs.A",
        "+hydra.job_logging.formatters.a={class:theirs.A}",
    ],
)
def test_hostile_word_about_hydra(word: str, spikerec_command: Command) -> None:
    outcome = spikerec_command("bench", "model=tfp", word)
    assert outcome.status == 2
    (line,) = outcome.err.splitlines()
    assert "theirs.A cannot be imported" in line or "must be a handler" in line


@pytest.mark.parametrize(
    ("verb", "content", "message"),
    [
        ("bench", {"_target_": "spikerec.models.TFP", "_partial_": True}, "model must describe a"),
        ("bench", {"window": 3}, "model must describe a Network by _target_ and arguments"),
        ("bench", {"_target_": "spikerec.models.TFP", "_args_": [3]}, r"model._args_: spikerec"),
    ],
)
def test_part_that_describes_no_object(
    verb: str, content: dict[str, Any], message: str, spikerec_command: Command
) -> None:
    path = Path("theirs/model/x.yaml")
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(content))
    outcome = spikerec_command(verb, *OWN, "model=x", "size=[24,40]", "latency_sizes=[[24,40]]")
    assert outcome.status == 2
    (line,) = outcome.err.splitlines()
    assert message in line


def test_checkpoint_that_is_packed(spikerec_command: Command) -> None:
    state = {
        f"network.{name}": value for name, value in build("model", "fast").state_dict().items()
    }
    about = {"model": {"_target_": "spikerec.models.fast.Fast", "window": HOSTILE}}
    content = {"pytorch-lightning_version": "2", "state_dict": state, "spikerec": about}
    torch.save(content, "stranger.ckpt")
    outcome = spikerec_command("weights", "pack", "stranger.ckpt", "--model", "fast")
    assert outcome.status == 1
    (line,) = outcome.err.splitlines()
    assert "stranger.ckpt names code to run (_target_), which such a file may not" in line
    assert not Path("was_run").exists()
    assert not Path("weights").exists()


def test_weights_that_are_not_finite(spikerec_command: Command) -> None:
    state = dict(build("model", "fast").state_dict())
    name = next(iter(state))
    state[name] = torch.full_like(state[name], float("nan"))
    save_state("bad.safetensors", state, {"model": "fast", "arguments": "{}"})
    words = ("model=fast", "checkpoint=bad.safetensors")
    torch.save(state, "bad.pth")
    np.save("a.npy", fake_spikes(70, 8, 8))
    for command in (
        ("evaluate", *words, "data=reds"),
        ("reconstruct", *words, "input=a.npy", "output=a.mp4"),
        ("weights", "import", "bad.pth", "--model", "fast"),
        ("weights", "pack", "bad.pth", "--model", "fast"),
    ):
        outcome = spikerec_command(*command)
        assert outcome.status == 1
        (line,) = outcome.err.splitlines()
        assert "holds values that are not finite" in line
