"""Every file of conf/sweep: its jobs compose, build, and start from the published network."""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import instantiate
from omegaconf import OmegaConf

from spikerec.configs import build, config_dir, config_names
from spikerec.errors import WeightsNotFoundError
from spikerec.losses import Loss
from spikerec.models import Network
from spikerec.training.rehearsal import rehearse

SEARCHES = {"search"}
ABLATIONS = [name for name in config_names("sweep") if name not in SEARCHES]


def composed(*words: str) -> Any:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return compose("train", overrides=list(words), return_hydra_config=True)


@cache
def jobs(name: str) -> list[tuple[str, ...]]:
    """The words of each job, seeds aside."""
    config = composed(f"+sweep={name}")
    params = OmegaConf.to_container(config.hydra.sweeper.params)
    assert isinstance(params, dict)
    assert "seed" in params, "an ablation is over seeds"
    words = [f"{key}={value}" for key, value in params.items() if key != "seed"]
    swept = OverridesParser.create().parse_overrides(words)
    values = [[f"{o.get_key_element()}={v}" for v in o.sweep_string_iterator()] for o in swept]
    return [(f"+sweep={name}", *words) for words in itertools.product(*values)]


def network_of(config: Any) -> Network:
    with torch.device("meta"):
        network: Network = instantiate(config.model, _convert_="all")
    return network.to("meta")


@pytest.mark.parametrize("name", ABLATIONS)
def test_baseline_is_the_published_network(name: str) -> None:
    config = composed(*jobs(name)[0])
    published = build("model", config.hydra.runtime.choices.model)
    if name == "window_length":
        assert config.model.window == published.window
        return
    ours = network_of(config).state_dict()
    assert {k: v.shape for k, v in ours.items()} == {
        k: v.shape for k, v in published.state_dict().items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ABLATIONS)
def test_every_job_trains_a_network_of_its_own_with_a_loss_that_fits(name: str) -> None:
    seen = []
    for words in jobs(name):
        config = composed(*words, "run=folder")
        network = network_of(config).train()
        try:
            loss: Loss = instantiate(config.loss, _convert_="all")
        except Exception as error:
            if isinstance(error.__cause__, WeightsNotFoundError):
                pytest.skip(str(error.__cause__))
            raise
        rehearse(network, loss, tuple(config.data.crop))
        parts = ("model", "loss", "data", "optimizer", "callbacks")
        seen.append([OmegaConf.to_container(config[part], resolve=True) for part in parts])
    assert len({repr(item) for item in seen}) == len(jobs(name)), "two jobs train the same"


@pytest.mark.parametrize("name", sorted(SEARCHES))
def test_searches_choose_optuna_and_prune(name: str) -> None:
    config = composed(f"+sweep={name}")
    assert config.hydra.sweeper._target_.endswith(".Optuna")
    assert config.callbacks.pruning.monitor == config.monitor.name
