"""Networks with the weights that a command names: a file, weights by name, or those that ship."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict, read_write

from spikerec.apps._checks import missing_model
from spikerec.configs import instantiate, plain
from spikerec.describing import describe
from spikerec.errors import ConfigError
from spikerec.models.base import Network
from spikerec.weights.checkpoint import read_target
from spikerec.weights.named import named_weights
from spikerec.weights.trained import arguments_of, load_checkpoint, load_trained, model_of


def choice(group: str) -> str:
    """The choice of a group that the command made."""
    return str(HydraConfig.get().runtime.choices[group])


def trained_network(config: DictConfig, checkpoint: str | Path | None) -> Network:
    """The network with weights of a file, by name, or those that ship, where it needs any.

    Where the command names no model, the checkpoint says which network it is for; the
    configuration then states it.

    Raises:
        ConfigError: neither a model nor a checkpoint is named, or weights beside a checkpoint.
    """
    weights = config.get("weights")
    if weights is not None and checkpoint is not None:
        raise ConfigError(
            f"weights={weights} beside checkpoint={checkpoint}: expected one of them."
        )
    if checkpoint is not None and not _names_model(config) and read_target(checkpoint):
        network = load_checkpoint(checkpoint)
        with open_dict(config):
            config.model = describe(network, "model")
        if HydraConfig.initialized():
            hydra = HydraConfig.get()
            with read_write(hydra), open_dict(hydra):
                hydra.runtime.choices["model"] = model_of(network)
        return network
    if config.get("model") is None:
        raise missing_model()
    if weights is not None:
        checkpoint = named_file(config, weights)
    return load_trained(partial(instantiate, config.model, Network, "model"), checkpoint)


def named_file(config: DictConfig, weights: str) -> Path:
    """The file of weights by name; the configuration then states what they were trained with.

    Raises:
        ConfigError: no such weights of the model, or an argument that contradicts them.
    """
    model = choice("model")
    words = _words()
    typed = {word.partition("=")[0].removeprefix("model.") for word in words if "model." in word}
    stated = {key: value for key, value in plain(config.model).items() if key in typed}
    for key, value in arguments_of(model, weights, stated).items():
        config.model[key] = value
    return named_weights(model, weights)


def _names_model(config: DictConfig) -> bool:
    """True if the command says which model it means, by itself or by an experiment."""
    if config.get("model") is None:
        return False
    if not HydraConfig.initialized():  # whoever composed it meant its model
        return True
    return any(word.startswith(("model=", "model.", "experiment=")) for word in _words())


def _words() -> list[str]:
    """The command's words; none where there is no command."""
    if not HydraConfig.initialized():
        return []
    return [word.lstrip("+") for word in HydraConfig.get().overrides.task]
