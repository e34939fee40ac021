"""Objects of a composed configuration, for the verbs that train and evaluate."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch.callbacks import Callback, ProgressBar
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf, read_write

from spikerec.apps._networks import named_file
from spikerec.configs import instantiate, plain
from spikerec.data import SpikeDataModule
from spikerec.errors import ConfigError
from spikerec.metrics import Protocol
from spikerec.models.base import Network
from spikerec.models.carrying import Carry, hop_of
from spikerec.overrides import is_text_key, unquoted
from spikerec.training import Run
from spikerec.training.distributed import is_first
from spikerec.training.scores import Monitor, choose_monitor
from spikerec.training.standard import check_definitions, check_metrics
from spikerec.weights.named import weights_names
from spikerec.weights.trained import load_trained

_log = logging.getLogger(__name__)


def own_command() -> list[str]:
    """The command that runs this job alone, in its folder, with its log left to this process.

    The job's own overrides replace the command line, which may be a sweep's.
    """
    hydra = HydraConfig.get()
    with read_write(hydra):  # Lightning sends the other processes of a node to this folder
        hydra.run.dir = hydra.runtime.output_dir
    program, verb, *words = sys.argv
    return [
        program,
        verb,
        *_config_flags(words),
        *hydra.overrides.task,
        "hydra/job_logging=none",
        "hydra/hydra_logging=none",
    ]


def _config_flags(words: list[str]) -> list[str]:
    """The flags among a command's words that say which configuration is meant."""
    names = ("--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp")
    kept: list[str] = []
    for index, word in enumerate(words):
        if word in names:
            kept += words[index : index + 2]
        elif word.startswith(tuple(f"{name}=" for name in names)):
            kept.append(word)
    return kept


def starting_network(config: DictConfig) -> Network:
    """The network with the weights that training starts from: drawn anew, or of `start_from`.

    The configuration then states the output scale that belongs to the weights, as the run's
    checkpoints will.
    """
    if config.start_from is None:
        fresh: Network = instantiate(config.model, Network, "model")
        return fresh
    start, named = config.start_from, weights_names()
    if start.isidentifier() and start not in ("shipped", *named) and not Path(start).exists():
        raise ConfigError(
            f"start_from={start} does not exist: expected a checkpoint, shipped, or weights by "
            f"name ({', '.join(named)})."
        )
    if start in named:
        file: str | Path | None = named_file(config, start)
    else:
        file = None if start == "shipped" else start
    loaded = own_network(config, file)
    config.model.output_scale = loaded.output_scale
    return loaded


def own_network(config: DictConfig, checkpoint: str | Path | None) -> Network:
    """The network of the configuration, with weights of a file, or those that ship."""
    return load_trained(partial(instantiate, config.model, Network, "model"), checkpoint)


def log_next_commands(config: DictConfig, run: Run, carry: Carry) -> None:
    """Name the checkpoint of a finished run, and the commands that go on with it.

    Args:
        config: of the run.
        run: finished.
        carry: windows through which the state came in validation, as it will in what follows.
    """
    if not is_first() or not run.checkpoint.exists():
        return
    given = [_as_typed(word) for word in HydraConfig.get().overrides.task]
    model = [
        *_config_flags(sys.argv[2:]),  # where the choices of one's own are
        f"model={HydraConfig.get().runtime.choices['model']}",
        *(word for word in given if word.startswith("model.")),
    ]
    sets = ",".join(map(str, config.data.sets))
    data = [f"data=[{sets}]" if "," in sets else f"data={sets}"]
    own = (
        "data.sets.",
        "data.folds=",
        "data.fold=",
    )  # without its fold, training scenes are scored
    data += [word for word in given if word.startswith(own)]
    checkpoint = f"checkpoint={run.checkpoint}"
    carried = [] if carry is None else [f"carry={carry}"]
    scored = [*model, *data, checkpoint, *(f"data.{word}" for word in carried)]
    _log.info("score them: spikerec evaluate %s", shlex.join(scored))
    _log.info("use them: spikerec reconstruct FILE %s", shlex.join([*model, checkpoint, *carried]))


def _as_typed(word: str) -> str:
    """An override as it is typed: of a text, Hydra's quotes are added when the command is read."""
    key, equals, value = word.partition("=")
    return f"{key}{equals}{unquoted(value)}" if is_text_key(key.lstrip("+")) else word


def data_of(config: DictConfig, network: Network) -> SpikeDataModule:
    """The data, in windows of the network's length, and as far apart as its state is carried.

    Raises:
        ConfigError: a state is to be carried by a network that has none.
    """
    if config.data.sequence is not None or config.data.carry is not None:
        hop_of(network)
    module: SpikeDataModule = instantiate(
        config.data, SpikeDataModule, "data", window=network.window, hop=network.hop
    )
    return module


def protocol_of(config: DictConfig, metrics: list[str] | None = None) -> Protocol:
    """The protocol, with all of its metrics or with some: the others need weights and time."""
    node = config.protocol
    if not isinstance(found := node.get("metrics"), DictConfig):
        raise ConfigError(
            "protocol.metrics must be metrics by name, as files of conf/protocol state them, found "
            f"{'null' if found is None else found}."
        )
    if metrics is not None:
        check_metrics(metrics, node.metrics, node.name)
        chosen = OmegaConf.masked_copy(node.metrics, metrics)
        node = OmegaConf.create({**node, "metrics": chosen})
    protocol: Protocol = instantiate(node, Protocol, "protocol")
    check_definitions(protocol)
    return protocol


def settle_monitor(config: DictConfig, data: SpikeDataModule, protocol: Protocol) -> Monitor:
    """The score that chooses the best weights, which other settings refer to."""
    asked = Monitor(config.monitor.name, config.monitor.mode)
    config.monitor.name, config.monitor.mode = choose_monitor(asked, data, protocol)
    return Monitor(config.monitor.name, config.monitor.mode)


def trainer_of(config: DictConfig, **options: Any) -> L.Trainer:  # noqa: ANN401 (Trainer's)
    """A trainer, with options besides those of the configuration."""
    trainer: L.Trainer = instantiate(config.trainer, L.Trainer, "trainer", **options)
    return trainer


def probe_of(config: DictConfig) -> L.Trainer:
    """A trainer that logs and writes nothing."""
    return trainer_of(config, logger=False, enable_checkpointing=False)


def callbacks_of(config: DictConfig) -> list[Callback]:
    """The callbacks; null entries are switched off, as is the bar of a trainer without one."""
    found = _parts(config.get("callbacks"), Callback, "callbacks")
    if config.trainer.get("enable_progress_bar") is False:  # Lightning refuses both together
        return [one for one in found if not isinstance(one, ProgressBar)]
    return found


def loggers_of(config: DictConfig) -> list[Logger]:
    """The loggers; null entries are switched off."""
    return _parts(config.get("logger"), Logger, "logger")


def _parts(group: DictConfig | None, kind: type, key: str) -> list[Any]:
    nodes = (group or {}).items()
    return [instantiate(node, kind, f"{key}.{name!s}") for name, node in nodes if node is not None]


def settings_for_records(config: DictConfig) -> Mapping[str, Any]:
    """The resolved configuration as records keep it: without the run's own folder."""
    return {key: value for key, value in plain(config).items() if key != "run"}
