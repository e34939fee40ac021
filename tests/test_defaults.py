"""Constructors and conf/ state the same published values, argument by argument.

A file of `conf/` that is one object and stands on its own describes its class as published: each
value in it is the default of that argument. A variant starts from another file (`defaults: [stir]`)
and states its differences alone; in Python it is `Class(argument=…)`. Classes that are parts of a
recipe, such as the terms of a loss, have the values of at least one recipe as defaults; the other
recipes state their own.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from torch import nn

from spikerec.configs import build, config_dir
from spikerec.data import REDS
from spikerec.describing import Described, describe
from spikerec.errors import WeightsNotFoundError
from spikerec.losses import Term
from spikerec.parsing import read_yaml
from spikerec.targets import make

#: Arguments that nobody can know beforehand: places, labels, and the parts of a composite.
OPEN = {
    *("root", "path", "folder", "sets", "window", "terms", "named", "metrics", "optimizer"),
    "cameras",  # of simulated sets, composed of several files: a test of their own
    *("name", "statement", "total_steps", "about", "project", "job_type"),
    *("monitor", "mode", "pruner"),
    *("metric", "higher_is_better", "needs_target"),  # of pyiqa
}


class Statement(NamedTuple):
    """An object that a file describes: the file, the key within it, class and arguments."""

    file: str
    key: str
    cls: type
    values: dict[str, Any]
    is_variant: bool


def statements() -> Iterator[Statement]:
    """Every object of ours that a file of conf/ describes, as the file itself states it."""
    for path in sorted(config_dir().rglob("*.yaml")):
        content = read_yaml(path) or {}
        yield from described(path, "", content, is_variant=starts_from_another(path, content))


def starts_from_another(path: Path, content: dict[str, Any]) -> bool:
    names = [str(one).partition("@")[0] for one in content.get("defaults", [])]
    return any((path.parent / f"{name}.yaml").is_file() for name in names if name != "_self_")


def described(path: Path, key: str, node: Any, *, is_variant: bool) -> Iterator[Statement]:
    if not isinstance(node, dict):
        return
    for name, value in node.items():
        yield from described(path, f"{key}.{name}" if key else name, value, is_variant=is_variant)
    target = node.get("_target_", "")
    if target.startswith("spikerec."):
        file = str(path.relative_to(config_dir()).with_suffix(""))
        values = {
            name: value if name in OPEN else make(value, None, f"{file}: {name}", config_dir())
            for name, value in node.items()
            if name not in ("_target_", "_partial_", "defaults") and "${" not in str(value)
        }
        yield Statement(file, key, found(target), values, is_variant)


def found(target: str) -> Any:
    module, _, name = target.rpartition(".")
    return getattr(import_module(module), name)


def defaults_of(cls: type) -> dict[str, Any]:
    """Argument → default, as lists where YAML has lists; `inspect.Parameter.empty` for none."""
    fields = {one.name: one for one in dataclasses.fields(cls)} if is_dataclass(cls) else {}
    defaults = {}
    for name, one in inspect.signature(cls).parameters.items():
        default = one.default
        if name in fields and fields[name].default_factory is not dataclasses.MISSING:
            default = fields[name].default_factory()
        defaults[name] = default
    return defaults


def is_dataclass(cls: type) -> bool:
    return dataclasses.is_dataclass(cls) and "__init__" in vars(cls)


def plain(value: Any) -> Any:
    """Values that compare as YAML's: lists for tuples, mappings for dataclasses."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain({one.name: getattr(value, one.name) for one in dataclasses.fields(value)})
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value


def is_same(value: Any, default: Any) -> bool:
    if isinstance(value, float):
        return bool(default == pytest.approx(value, rel=1e-6))
    return bool(plain(value) == plain(default))


def differences(one: Statement) -> dict[str, tuple[Any, Any]]:
    """The arguments that a file states otherwise than the constructor: (stated, default)."""
    defaults = defaults_of(one.cls)
    return {
        name: (value, defaults.get(name, "no such argument"))
        for name, value in one.values.items()
        if name not in OPEN and not is_same(value, defaults.get(name, "no such argument"))
    }


STATED = list(statements())
CLASSES = sorted({one.cls for one in STATED}, key=lambda cls: cls.__name__)
ALONE = [
    one
    for one in STATED
    if not one.key and not one.is_variant and not OPEN & one.values.keys() & {"terms", "metrics"}
]


@pytest.mark.parametrize("one", ALONE, ids=[one.file for one in ALONE])
def test_a_file_states_the_defaults_of_its_class(one: Statement) -> None:
    assert differences(one) == {}


MODELS = [one for one in ALONE if one.file.startswith("model/")]


@pytest.mark.parametrize("one", MODELS, ids=[one.file for one in MODELS])
def test_a_network_is_swept_by_all_its_arguments(one: Statement) -> None:
    assert set(one.values) == set(defaults_of(one.cls))


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_a_class_has_the_values_of_a_file_as_defaults(cls: type) -> None:
    found = {f"{one.file}:{one.key}": differences(one) for one in STATED if one.cls is cls}
    assert {} in found.values(), found


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_a_class_needs_no_argument_but_places_and_parts(cls: type) -> None:
    required = {
        name for name, default in defaults_of(cls).items() if default is inspect.Parameter.empty
    }
    assert required <= OPEN


def as_numpy(value: Any) -> Any:
    """The value with NumPy's numbers in place of Python's."""
    if isinstance(value, bool):
        return np.bool_(value)
    if isinstance(value, int):
        return np.int64(value)
    if isinstance(value, float):
        return np.float32(value)
    if isinstance(value, list):
        return [as_numpy(one) for one in value]
    if isinstance(value, dict):
        return {name: as_numpy(one) for name, one in value.items()}
    return value


def kept(made: Any) -> Iterator[Any]:
    """Values that an object keeps, within its parts too."""
    parts = [part for _, part in made.named_modules()] if isinstance(made, nn.Module) else [made]
    for part in parts:
        for value in vars(part).values():
            yield from value if isinstance(value, list | tuple) else [value]


def made_of_numpy(one: Statement) -> Any:
    required = {"root": "nowhere", "sets": REDS("nowhere"), "window": 31}
    given = {name: required[name] for name in required.keys() & defaults_of(one.cls).keys()}
    values = {name: value for name, value in one.values.items() if name != "cameras"}
    return one.cls(**given | as_numpy(values))


ALIKE = [one for one in ALONE if not one.file.startswith("scheduler/")]


@pytest.mark.filterwarnings("ignore:Exception ignored in.*dataset_configs")  # left open by pyiqa
@pytest.mark.parametrize("one", ALIKE, ids=[one.file for one in ALIKE])
def test_numbers_of_numpy_are_numbers(one: Statement) -> None:
    try:
        made = made_of_numpy(one)
    except WeightsNotFoundError as error:
        pytest.skip(str(error))
    assert not [value for value in kept(made) if isinstance(value, np.generic)]
    if isinstance(made, Described):
        assert json.dumps(describe(made, "it"))


TERMS = [one for one in STATED if issubclass(one.cls, Term)]


@pytest.mark.parametrize("one", TERMS, ids=[f"{one.file}:{one.key}" for one in TERMS])
def test_terms_take_numbers_of_numpy(one: Statement) -> None:
    try:
        made = made_of_numpy(one)
    except WeightsNotFoundError as error:
        pytest.skip(str(error))
    assert not [value for value in kept(made) if isinstance(value, np.generic)]


@pytest.mark.parametrize("name", ["synthetic", "still", "photos_small", "robustness"])
def test_a_simulated_set_is_made_by_the_cameras_of_its_file(name: str) -> None:
    described = build("data", name)
    alone = type(described)(described.root)
    assert described.cameras == alone.cameras
