"""Network classes that a checkpoint names, imported only where they are known to be networks.

A checkpoint states its network by a class's full name. The name is data of a stranger's file, and
importing a module runs it. So the source of the module is read first, without running it: only a
class that it defines, and that descends from `Network` by the source alone, is imported. Notebooks
and `python -m` search the current folder first, where a stranger's files may lie: a module that is
found there is imported only if its owner asked for it.
"""

from __future__ import annotations

import ast
import importlib
import os
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING

from spikerec.errors import WeightsError
from spikerec.parsing import shown
from spikerec.targets import NAME

if TYPE_CHECKING:
    from spikerec.models.base import Network

BASE = "spikerec.models.base.Network"

#: Bound of a module's source, and of the bases that are followed from one module to the next.
MOST_SOURCE_BYTES = 1 << 22
MOST_STEPS = 20


def network_class(name: str, path: str | Path) -> type[Network]:
    """Import the network class that a checkpoint names.

    Args:
        name: its full name, as the file states it.
        path: the file, for errors.

    Raises:
        WeightsError: it is no network of an importable module; nothing was run then. Or its module
            fails to import.
    """
    told = f"{path} was trained with {shown(name)[:200]}"
    if name.startswith("__main__."):
        raise WeightsError(
            f"{told}, a class of a notebook or a script, which the file does not bring along: call "
            "spikerec.fit again with that network and folder, which loads the best weights, or "
            "train a class of a module."
        )
    if not NAME.fullmatch(name) or name.split(".")[0] in sys.stdlib_module_names:
        raise WeightsError(f"{told}, which is no network: refused, nothing was run.")
    module, _, last = name.rpartition(".")
    if module not in sys.modules:
        if _source(module) is None:
            raise WeightsError(
                f"{told}, and there is no module {module} here: put its folder on PYTHONPATH, or "
                "name the network (model=…)."
            )
        if _comes_with_the_folder(module):
            raise WeightsError(
                f"{told}, and {module} lies in the current folder, as files of others may: import "
                "it first, or put its folder on PYTHONPATH. Nothing was run."
            )
        if not _is_network(name, MOST_STEPS):
            raise WeightsError(
                f"{told}, which is no Network by its source: refused, nothing was run."
            )
    try:
        found = getattr(importlib.import_module(module), last, None)
    except Exception as error:  # a module may raise anything while it is imported
        raise WeightsError(f"{told}, whose module cannot be imported: {error}.") from error
    if not isinstance(found, type) or not descends(found):
        raise WeightsError(f"{told}, which is no Network: refused.")
    return found


def _comes_with_the_folder(module: str) -> bool:
    """True if a module would be found in the current folder by chance.

    It is no chance if PYTHONPATH names that folder, or if the program that runs lies in it.
    """
    spec = PathFinder.find_spec(module.split(".")[0])
    if spec is None:
        return False
    places = map(Path, spec.submodule_search_locations or [spec.origin or ""])
    here = Path.cwd()
    if not any(place.resolve().parent == here for place in places):
        return False
    asked = [Path(one) for one in os.environ.get("PYTHONPATH", "").split(os.pathsep) if one]
    if program := getattr(sys.modules.get("__main__"), "__file__", None):
        asked.append(Path(program).parent)
    return not any(one.resolve() == here for one in asked)


def descends(cls: type) -> bool:
    """True if a class is a network."""
    return any(f"{one.__module__}.{one.__qualname__}" == BASE for one in cls.__mro__)


def _is_network(name: str, steps: int) -> bool:
    """True if a class descends from one of ours by the source of its module, which is not run."""
    module, _, last = name.rpartition(".")
    if module.split(".")[0] == "spikerec":
        return True
    source = _source(module)
    if source is None or steps == 0:
        return False
    text, package = source
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    imported = dict(_imports(body, package))
    classes = {node.name: node for node in body if isinstance(node, ast.ClassDef)}
    if last not in classes:
        return last in imported and _is_network(imported[last], steps - 1)
    for base in map(ast.unparse, classes[last].bases):
        first, dot, rest = base.partition(".")
        if first in classes and not dot and first != last:
            full = f"{module}.{first}"
        else:
            full = imported.get(first, first) + dot + rest
        if "." in full and _is_network(full, steps - 1):
            return True
    return False


def _imports(body: list[ast.stmt], package: str) -> Iterator[tuple[str, str]]:
    """Names that a module imports at its top, and their full names."""
    for node in body:
        if isinstance(node, ast.Import):
            for one in node.names:
                root = one.name.split(".")[0]
                yield (one.asname, one.name) if one.asname else (root, root)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: 1 - node.level or None] if node.level else []
            start = ".".join([*above, *filter(None, [node.module])])
            for one in node.names:
                yield one.asname or one.name, f"{start}.{one.name}"


def _source(module: str) -> tuple[str, str] | None:
    """The source of a module, and the package it is in; None where there is none to read."""
    path: list[str] | None = None
    parts = module.split(".")
    spec = None
    for end in range(1, len(parts) + 1):
        spec = PathFinder.find_spec(".".join(parts[:end]), path)
        if spec is None:
            return None
        path = list(spec.submodule_search_locations or [])
    assert spec is not None
    origin = Path(spec.origin or "")
    if origin.suffix != ".py" or origin.stat().st_size > MOST_SOURCE_BYTES:
        return None
    package = module if spec.submodule_search_locations else ".".join(parts[:-1])
    return origin.read_text(encoding="utf-8", errors="replace"), package
