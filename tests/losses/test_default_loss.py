"""Training without a word on the loss must work for whatever network is named."""

from __future__ import annotations

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate

from spikerec.configs import config_dir, config_names
from spikerec.losses import Loss
from spikerec.models import Network


@pytest.mark.parametrize("recipe", [(), ("experiment=demo",)], ids=["default", "demo"])
@pytest.mark.parametrize("model", config_names("model"))
def test_every_network_has_what_the_default_loss_needs(model: str, recipe: tuple[str, ...]) -> None:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = compose("train", overrides=[*recipe, f"model={model}"])
    with torch.device("meta"):
        network: Network = instantiate(config.model, _convert_="all")
    loss: Loss = instantiate(config.loss, _convert_="all")
    loss.check(network, has_target=True)
