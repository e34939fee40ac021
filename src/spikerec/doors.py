"""Public names of a package, imported on first use.

`import spikerec` and `from spikerec.models import STIR` should not wait for what they do not use. A
package therefore lists its public names in `__init__.pyi`, which type checkers and editors read as
they stand, and its `__init__.py` attaches them lazily (Scientific Python's SPEC 1). Classes that
`conf/` names are found without being listed, so that a new model, data set, loss or metric is one
file and one YAML.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

import lazy_loader


def open_door(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], Any]:
    """Return `__getattr__`, `__dir__` and `__all__` of a package.

    Args:
        package: its `__name__`.
        file: its `__file__`, beside which `__init__.pyi` is.
    """
    listed, _, names = lazy_loader.attach_stub(package, file)
    known = {"__version__"} & vars(sys.modules[package]).keys()

    def __getattr__(name: str) -> Any:  # noqa: ANN401, N807  # PEP 562
        if name in names:
            return listed(name)
        if not name.startswith("_") and (module := _configured(package).get(name)):
            found = getattr(import_module(module), name)
            vars(sys.modules[package])[name] = found
            return found
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def __dir__() -> list[str]:  # noqa: N807  # PEP 562
        return sorted({*names, *_configured(package), *known})

    return __getattr__, __dir__, names


@cache
def _configured(package: str) -> dict[str, str]:
    """The classes of a room that conf/ names: name → module."""
    if "." not in package:
        return {}  # classes belong to rooms, and two of them may share a name
    from spikerec.configs import config_dir
    from spikerec.targets import named

    split = (target.rpartition(".") for target in named(config_dir()))
    return {name: module for module, _, name in split if module.startswith(f"{package}.")}
