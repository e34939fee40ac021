"""`--cfg job --resolve` shows the whole configuration, for every network."""

from __future__ import annotations

import pytest
import yaml

from spikerec.configs import config_names, load_config
from tests.end_to_end.command import Command


@pytest.mark.parametrize("verb", ["train", "evaluate"])
@pytest.mark.parametrize("model", config_names("model"))
def test_resolved_configuration_is_shown(verb: str, model: str, spikerec_command: Command) -> None:
    words = (f"model={model}", "data=reds", "seed=3")
    outcome = spikerec_command(verb, *words, "--cfg", "job", "--resolve")
    assert outcome.status == 0, outcome.err
    shown = yaml.safe_load(outcome.out)
    assert shown["model"] == load_config("model", model)
    assert shown["data"]["seed"] == shown["seed"] == 3
    assert "${" not in outcome.out
    assert not list(spikerec_command.folder.iterdir())
