"""Checks of a composed configuration that need no PyTorch, made before a verb's own module loads.

What the modules of the library check, they check too: here a wrong file, size or name of an output
is answered in less than a second. Each function calls the one place that knows the rule.
"""

from __future__ import annotations

import ctypes
import importlib.util
import logging
import math
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf

from spikerec import spikes
from spikerec.apps._arguments import STREAM, opening
from spikerec.configs import config_names, plain
from spikerec.errors import ConfigError
from spikerec.options import Option, offer
from spikerec.spikes import SpikeStream
from spikerec.spikes.recordings import find_recordings, is_several, output_paths
from spikerec.training.clocks import Clock
from spikerec.values import expected_value, takes_one

_log = logging.getLogger(__name__)

#: Format of the videos in a folder of several recordings' results.
FOLDER_SUFFIX = ".mp4"

#: Verb and key of what is one text elsewhere, and the kinds in which it takes several.
SEVERAL: Mapping[tuple[str, str], tuple[type[Any], ...]] = {
    ("reconstruct", "checkpoint"): (DictConfig,),
    ("reconstruct", "output"): (ListConfig,),
    ("leaderboard", "output"): (ListConfig,),
}


def check(verb: str, config: DictConfig) -> None:
    """Check a verb's configuration as far as that is possible at once.

    Raises:
        SpikerecError: what the verb itself would raise later.
    """
    _tell_unswept()
    _check_choices(verb, config)
    _check_shapes(verb, config)
    if verb not in _CHECKS:
        return
    readers = logging.getLogger("spikerec.spikes")
    level = readers.level
    readers.setLevel(logging.ERROR)  # their warnings are told once, when the verb opens its streams
    try:
        _CHECKS[verb](config)
    finally:
        readers.setLevel(level)


def _tell_unswept() -> None:
    """Warn of a sweep that is chosen without -m, so that what it varies stays as it is."""
    if not HydraConfig.initialized() or is_swept():
        return
    if name := HydraConfig.get().runtime.choices.get("sweep"):
        _log.warning(
            "+sweep=%s without -m runs once, with none of the values that it varies: add -m to "
            "run them all.",
            name,
        )


def check_is_set(config: DictConfig, *keys: str, example: str = "PATH") -> None:
    """Check that keys which have no default are set.

    Raises:
        ConfigError: one is not.
    """
    for key in keys:
        if not config[key]:
            raise ConfigError(f"{key} is not set: name {key}={example}.")


def _check_choices(verb: str, config: DictConfig) -> None:
    """Check that each group of which a verb needs one choice has it, as `~loss` takes it away.

    Raises:
        ConfigError: one has none.
    """
    for group, default in offer(verb).groups.items():
        if isinstance(default, str) and group != "hydra" and group not in config:
            raise ConfigError(
                f"{group} is not set: name {group}=NAME, one of {', '.join(config_names(group))}."
            )


def _check_shapes(verb: str, config: DictConfig) -> None:
    """Check that options have the shape that `conf/` shows: one value, a list, or parts by name.

    Null is a value of the options that are null at first, and of those whose help names it. What
    describes an object is checked by its class.

    Raises:
        ConfigError: one has another.
    """
    for option in offer(verb).options.values():
        part = config.get(option.key.partition(".")[0])
        if isinstance(part, DictConfig) and "_target_" in part:
            continue
        value = OmegaConf.select(config, option.key, default=option.default)
        if value == option.default:
            continue
        fits: tuple[type[Any], ...] = (object,)
        if value is None:
            fits = (object,) if "null" in option.help else ()
        elif isinstance(option.default, Mapping):
            fits = (DictConfig,)
        elif isinstance(option.default, list):
            fits = (ListConfig,)
        elif takes_one(option):
            fits = (str, int, float)
        fits += SEVERAL.get((verb, option.key), ())
        if not isinstance(value, fits):
            raise ConfigError(f"{option.key} must be {_shape(option)}, found {_written(value)}.")
    paths = {f"paths.{name}": path for name, path in (config.get("paths") or {}).items()}
    for key, value in {"run": config.get("run", ""), **paths}.items():
        if not isinstance(value, str):
            raise ConfigError(f"{key} must be a path, found {_written(value)}.")


def _shape(option: Option) -> str:
    """The kind of value of an option, for an error."""
    if isinstance(option.default, Mapping):
        parts = [f"{option.key}.{name}" for name in option.default if name != "_target_"]
        return f"made of {', '.join(parts)}"
    if isinstance(option.default, list):
        return f"a list such as {option.default}"
    return expected_value(option)


def _written(value: Any) -> str:  # noqa: ANN401 (any YAML value)
    """A found value for an error, as it is typed."""
    return "null" if value is None else str(value)


def missing_model() -> ConfigError:
    """The error of a command that names neither a model nor a checkpoint which says its model."""
    return ConfigError(
        "model is not set: name model=NAME, or checkpoint=FILE of a run or an import, which says "
        f"its model. Expected one of {', '.join(config_names('model'))}."
    )


def texts(value: Any) -> list[str]:  # noqa: ANN401 (a text or a list of them)
    """A text, or a list of them, as a list."""
    return [str(one) for one in value] if isinstance(value, ListConfig) else [str(value)]


def is_swept() -> bool:
    """True within a job of a sweep."""
    return bool(HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN)


def recordings_of(config: DictConfig) -> tuple[list[Path], bool]:
    """The recordings that `input` refers to, and True if each is a job of its own."""
    names, outputs = texts(config.input), texts(config.output)
    joins = not is_swept() and all(Path(one).suffix and "{" not in one for one in outputs)
    found = find_recordings(names, config.folder, joins=joins)
    is_one = found == [Path(names[0])] or not (len(names) > 1 or is_several(names[0]))
    return found, is_swept() or not is_one


def open_stream(config: DictConfig, path: Path) -> SpikeStream:
    """A recording, opened as the configuration states it."""
    stated = plain(config)
    return spikes.open(path, **opening(path, {key: stated[key] for key in STREAM}))


def _reconstruct(config: DictConfig) -> None:
    from spikerec.streaming.key_readouts import check_inside, parse_readouts
    from spikerec.streaming.sinks.opening import check_output

    check_is_set(config, "input", "output")
    for output in texts(config.output):
        check_output(Path(output), is_one=config.at is not None or config.stop is not None)
    if config.calibration.flat and config.calibration.moving:
        raise ConfigError(
            f"calibration.flat={config.calibration.flat} beside calibration.moving="
            f"{config.calibration.moving}: expected one of them, as either states the gain."
        )
    for path in filter(None, config.calibration.values()):
        open_stream(config, Path(path)).close()
    recordings, are_several = recordings_of(config)
    _check_weights(config)
    _check_device(config.device)
    if not are_several:
        with open_stream(config, recordings[0]) as stream:
            if config.at is not None:
                check_inside(parse_readouts(plain(config)["at"], stream), stream)
        return
    for output in texts(config.output):
        output_paths(recordings, output, FOLDER_SUFFIX)


def _check_weights(config: DictConfig) -> None:
    """Check that weights by name are known, and that weights of a file are not named besides."""
    if config.weights is None:
        return
    from spikerec.weights.named import entry_of

    checkpoint = config.get("checkpoint")
    if checkpoint is not None and not isinstance(checkpoint, DictConfig):
        raise ConfigError(
            f"weights={config.weights} beside checkpoint={checkpoint}: expected one of them."
        )
    if HydraConfig.initialized():
        chosen = HydraConfig.get().runtime.choices.get("model")
        if isinstance(chosen, str):
            entry_of(chosen, config.weights)


def _check_engine(config: DictConfig) -> None:
    """Refuse `engine=auto` where figures are to be stated, which are those of one engine."""
    if config.engine == "auto":
        raise ConfigError(
            "engine=auto is for reconstruct and view; figures are those of an engine that is "
            "named: expected torch, compile, openvino or onnxruntime."
        )


def _check_device(device: str | None) -> None:
    """Refuse a GPU where PyTorch has no code for any, or NVIDIA's driver is not installed.

    `present_device` counts GPUs, but first PyTorch has to load.
    """
    if device is None or not str(device).startswith("cuda"):
        return
    found = importlib.util.find_spec("torch")
    version = Path(found.origin).with_name("version.py") if found and found.origin else Path()
    if not version.is_file():
        return
    text = version.read_text(encoding="utf-8")
    built = dict(re.findall(r"^(cuda|hip)\b[^=\n]*= *(\S+)", text, re.MULTILINE))
    reason = ""
    if built and set(built.values()) == {"None"}:
        reason = "this PyTorch is built for CPUs alone"
    elif built.get("hip") == "None" and sys.platform == "linux":
        try:
            ctypes.CDLL("libcuda.so.1")
        except OSError:
            reason = "NVIDIA's driver is not installed"
    if reason:
        raise ConfigError(f"device={device} cannot be used: {reason}. Set device=cpu.")


def _simulate(config: DictConfig) -> None:
    check_is_set(config, "input", "output")
    _check_device(config.device)
    suffix = Path(config.output).suffix.lower()
    if suffix and suffix not in spikes.SAVED_SUFFIXES and not Path(config.output).is_dir():
        expected = ", ".join(spikes.SAVED_SUFFIXES)
        raise ConfigError(
            f"output={config.output}: expected a folder or one of {expected}, found {suffix!r}."
        )
    for path in map(Path, texts(config.input)):
        if path.suffix.lower() in spikes.SUFFIXES and path.is_file():
            raise ConfigError(
                f"input={path} is a spike stream already: expected a video, a folder of frames, or "
                "pictures."
            )


def _export(config: DictConfig) -> None:
    check_is_set(config, "output", example="NAME.pt2 or NAME.onnx")
    suffix = Path(config.output).suffix.lower()
    if suffix not in (".pt2", ".onnx"):
        raise ConfigError(f"{config.output}: expected .pt2 or .onnx, found {suffix!r}.")
    _check_weights(config)


def _train(config: DictConfig) -> None:
    every = config.detach_every
    if every is not None and (isinstance(every, bool) or not isinstance(every, int)):
        raise ConfigError(
            f"detach_every must be a whole number of windows, or null, found {every}."
        )
    budget = config.budget
    if budget is None:
        return
    keys = set(budget) if isinstance(budget, DictConfig) else set()
    if not {"seconds"} <= keys <= {"seconds", "clock"}:
        raise ConfigError(
            "budget must be {seconds: NUMBER}, {seconds: NUMBER, clock: wall | processor}, or "
            f"null, found {budget}."
        )
    seconds, clock = budget.seconds, budget.get("clock", "wall")
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not is_number or not 0 < seconds < math.inf:
        raise ConfigError(f"budget.seconds must be a number above 0, found {seconds}.")
    if clock not in get_args(Clock):
        raise ConfigError(
            f"budget.clock must be one of {', '.join(get_args(Clock))}, found {clock}."
        )


def _evaluate(config: DictConfig) -> None:
    if config.get("model") is None and config.checkpoint is None:
        raise missing_model()
    _check_weights(config)
    _check_engine(config)


def _bench(config: DictConfig) -> None:
    _check_weights(config)
    _check_engine(config)
    _check_device(config.device)
    for size in config.latency_sizes:
        sides = list(size) if isinstance(size, ListConfig) else []
        if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
            raise ConfigError(
                "latency_sizes must be [[height, width], …] in pixels, or [], found "
                f"{config.latency_sizes}."
            )


def _leaderboard(config: DictConfig) -> None:
    for folder in texts(config.results):
        if folder and not Path(folder).is_dir():
            raise ConfigError(
                f"results: {folder} is not a folder. `spikerec evaluate` writes records there."
            )


_CHECKS: dict[str, Callable[[DictConfig], None]] = {
    "train": _train,
    "reconstruct": _reconstruct,
    "evaluate": _evaluate,
    "bench": _bench,
    "leaderboard": _leaderboard,
    "simulate": _simulate,
    "export": _export,
}
