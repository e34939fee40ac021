"""Objects from configuration: which classes a `_target_` may name, and how one is built.

A configuration comes from `conf/`, from the command line, or from a folder of the user's own
(`--config-dir`). A `_target_` in it is an exact one of `conf/`, or a subclass of one of `BASES`;
nothing else is called: no function, and no class that opens, starts or evaluates something.

A file that travels (a checkpoint, weights, a record, a run's folder) is no configuration. What it
states are values; `refuse_targets` stops those that pretend to more.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from spikerec.errors import (
    ArgumentError,
    ConfigError,
    SpikerecError,
    begins_with_argument,
    fault_number,
    stands_at,
)

#: Classes whose subclasses a configuration may name, from whichever package they are.
BASES = (
    "spikerec.models.base.Network",
    "spikerec.losses.base.Term",
    "spikerec.data.clips.SpikeSet",
    "spikerec.metrics.base.ImageMetric",
    "torch.nn.modules.module.Module",
    "torch.optim.optimizer.Optimizer",
    "torch.optim.lr_scheduler.LRScheduler",
    "torchmetrics.metric.Metric",
    "lightning.pytorch.callbacks.callback.Callback",
    "lightning.pytorch.loggers.logger.Logger",
    "lightning.pytorch.profilers.profiler.Profiler",
    "lightning.pytorch.strategies.strategy.Strategy",
    "lightning.pytorch.plugins.precision.precision.Precision",
    "optuna.samplers._base.BaseSampler",
    "optuna.pruners._base.BasePruner",
    "hydra.experimental.callback.Callback",
    "hydra.plugins.launcher.Launcher",
    "hydra.plugins.sweeper.Sweeper",
)

#: A full name: packages, module and class, none of which starts with two underscores.
NAME = re.compile(r"(?!__)[^\W\d]\w*(\.(?!__)[^\W\d]\w*)+")

#: Classes of the standard library that a logging configuration may name.
LOGGING = re.compile(r"logging\.(handlers\.)?\w*(Handler|Formatter)")

#: Letters of a library's own message that an error quotes.
QUOTED = 160

#: Keys by which Hydra changes a call; `_target_` and `_partial_` are the ones in use here.
MARKS = re.compile(r"_\w+_")


def make(node: object, kind: type | None, key: str, conf: Path, **given: Any) -> Any:  # noqa: ANN401
    """Build the object that a part of a configuration describes, and those within it.

    Args:
        node: plain values; a mapping with `_target_` describes an object of that class by its
            arguments, one with `_partial_: true` a class whose other arguments come later.
        kind: the class that the object must be of; None where the configuration decides.
        key: path of the part in the configuration, for errors; empty where nobody typed one.
        conf: the folder of configurations that come with the package.
        **given: arguments of the outermost object that replace or join those of the node.

    Raises:
        ConfigError: a class that may not be named, or that does not take these arguments.
    """
    if isinstance(node, list | tuple):
        return [make(one, None, _within(key, index), conf) for index, one in enumerate(node)]
    if not isinstance(node, Mapping):
        return node
    arguments = {
        str(name): make(value, None, _within(key, name), conf)
        for name, value in node.items()
        if name not in ("_target_", "_partial_")
    }
    if "_target_" not in node:
        return arguments
    if marks := [name for name in arguments if MARKS.fullmatch(name)]:
        raise ConfigError(
            f"{_within(key, marks[0])}: spikerec calls a class by its arguments alone."
        )
    cls = _allowed_class(node["_target_"], kind, key, conf)
    if node.get("_partial_", False) is True:
        later = partial(cls, **arguments | given)
        stands_at(later, key)
        return later
    try:
        made = cls(**arguments | given)
    except SpikerecError as error:
        if error.key is None and _is_about(error, cls):
            error.key = key
        raise
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{key or cls.__name__}: {error}") from error
    except (ArithmeticError, AttributeError, LookupError, AssertionError, RuntimeError) as error:
        if fault_number(error) is not None:  # no memory left, say
            raise
        told = " ".join(f"{type(error).__name__}: {error}".split())[:QUOTED]
        raise ConfigError(
            f"{key or cls.__name__}: no {cls.__name__} comes of these values ({told})."
        ) from error
    if key:
        stands_at(made, key)
    return made


def _within(key: str, name: object) -> str:
    """The path of a part within another; its own name within what has none."""
    return f"{key}.{name}" if key else str(name)


def _is_about(error: SpikerecError, cls: type) -> bool:
    """True for an error about an argument of a class, the value of one or the want of one."""
    is_call = isinstance(error, ArgumentError) and str(error).startswith(f"{cls.__name__} ")
    return is_call or begins_with_argument(error, cls)


def check_hydra(node: Mapping[str, Any], conf: Path) -> None:
    """Check the parts of a configuration that Hydra builds itself, before it does.

    Args:
        node: its `hydra` part, as plain values.
        conf: the folder of configurations that come with the package.

    Raises:
        ConfigError: a class that may not be named.
    """
    for part in ("sweeper", "launcher", "callbacks"):
        for key, value in _walk(node.get(part), f"hydra.{part}"):
            if key.endswith("._target_"):
                _allowed_class(value, None, key.removesuffix("._target_"), conf)
    for part in ("hydra_logging", "job_logging"):
        for key, value in _walk(node.get(part), f"hydra.{part}"):
            is_class = key.endswith((".class", ".()"))
            is_else = isinstance(value, str) and value.startswith(("ext://", "cfg://"))
            if (is_class and not LOGGING.fullmatch(str(value))) or (
                is_else and value not in ("ext://sys.stdout", "ext://sys.stderr")
            ):
                raise ConfigError(f"{key} must be a handler or formatter of logging: refused.")


def _walk(node: object, key: str) -> Iterator[tuple[str, Any]]:
    """The paths and values of all that is no container."""
    if isinstance(node, Mapping):
        for name, value in node.items():
            yield from _walk(value, f"{key}.{name}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _walk(value, f"{key}.{index}")
    else:
        yield key, node


def refuse_targets(content: object, source: str, error: type[SpikerecError] = ConfigError) -> None:
    """Refuse values from a file that travels which would build objects or read the environment.

    Args:
        content: plain values, however nested.
        source: the file, for the error.
        error: the class of the error.

    Raises:
        ConfigError: (or `error`) a key such as `_target_`, or an interpolation such as
            `${oc.env:HOME}`.
    """
    left = [content]
    while left:
        value = left.pop()
        if isinstance(value, Mapping):
            marks = [name for name in value if isinstance(name, str) and MARKS.fullmatch(name)]
            if marks:
                raise error(
                    f"{source} names code to run ({marks[0][:40]}), which such a file may not: "
                    "refused, nothing was run."
                )
            left += [*value, *value.values()]
        elif isinstance(value, list | tuple | set):
            left += value
        elif isinstance(value, str) and "${" in value:
            raise error(
                f"{source} asks for a value of this machine (${{…}}), which such a file may not: "
                "refused."
            )


def _allowed_class(name: object, kind: type | None, key: str, conf: Path) -> type:
    """The class of that full name.

    Raises:
        ConfigError: there is none, it is no class that may be named, or not of that kind.
    """
    shown = str(name)[:100]
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ConfigError(f"{key}._target_ must be the full name of a class, found {shown!r}.")
    module, _, last = name.rpartition(".")
    refusal = ConfigError(
        f"{key}._target_={shown} may not be named: expected a class that conf/ names, or a "
        "subclass of spikerec's Network, Term, SpikeSet or ImageMetric, or of PyTorch's and "
        "Lightning's own bases. Nothing was run."
    )
    if module.split(".")[0] in sys.stdlib_module_names:
        raise refusal
    try:
        found = getattr(importlib.import_module(module), last)
    except Exception as error:  # a module may raise anything while it is imported
        raise ConfigError(f"{key}._target_={shown} cannot be imported: {error}.") from error
    if not isinstance(found, type) or not (name in named(conf) or _has_base(found)):
        raise refusal
    if kind is not None and not issubclass(found, kind):
        raise ConfigError(f"{key}._target_ must be a {kind.__name__}, found {shown}.")
    return found


def _has_base(cls: type) -> bool:
    return any(f"{one.__module__}.{one.__qualname__}" in BASES for one in cls.__mro__)


def named(conf: Path) -> set[str]:
    """Every `_target_` in the YAML files of a folder."""
    texts = (path.read_text(encoding="utf-8") for path in conf.rglob("*.yaml"))
    return {name for text in texts for name in re.findall(r"_target_: *([\w.]+)", text)}
