"""Constructors and conf/ state the same published values, argument by argument.

A file of `conf/` that stands on its own (no `defaults` of its group) describes its class as
published: each value in it is the default of that argument. A variant, which starts from another
file (`defaults: [stir]`), is told by its differences alone, and is `Class(argument=…)` in Python.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

from spikerec.configs import config_dir
from spikerec.parsing import read_yaml

#: Groups of which each file is one object, described as published.
GROUPS = ["model"]


def stated() -> Iterator[tuple[str, type, dict[str, Any]]]:
    """Each file that stands on its own: its name, its class, and the arguments it states."""
    for group in GROUPS:
        for path in sorted((config_dir() / group).rglob("*.yaml")):
            content = read_yaml(path)
            if "defaults" not in content:
                module, _, name = content.pop("_target_").rpartition(".")
                yield f"{group}/{path.stem}", getattr(import_module(module), name), content


STATED = list(stated())


@pytest.mark.parametrize(("file", "cls", "values"), STATED, ids=[file for file, *_ in STATED])
def test_a_file_states_the_defaults_of_its_class(
    file: str, cls: type, values: dict[str, Any]
) -> None:
    defaults = {
        name: list(one.default) if isinstance(one.default, tuple) else one.default
        for name, one in inspect.signature(cls).parameters.items()
    }
    assert values == {name: defaults[name] for name in values}, file
    assert set(defaults) == set(values), file


@pytest.mark.parametrize("cls", [cls for _, cls, _ in STATED], ids=lambda cls: cls.__name__)
def test_a_class_needs_no_argument(cls: type) -> None:
    cls()
