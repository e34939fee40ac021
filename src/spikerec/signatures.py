"""Arguments of a class, read from its source without importing it.

The command line asks what a class takes before it spends seconds on importing PyTorch and
Lightning. Nothing is executed: the source is parsed as text.
"""

from __future__ import annotations

import ast
import importlib.util
from functools import cache
from pathlib import Path

#: Steps from where a class is offered to where it is written.
LONGEST_WAY = 6


@cache
def class_arguments(name: str) -> dict[str, str] | None:
    """The arguments of a class by name, each with its annotation as text.

    Args:
        name: full name, as in `_target_`.

    Returns:
        None where the source does not say: no such file, or `**arguments`.
    """
    found = _find(name, LONGEST_WAY)
    return None if found is None else _arguments(*found, LONGEST_WAY)


def _find(name: str, steps: int) -> tuple[ast.ClassDef, str] | None:
    """The class of that name, and the module in which it is written."""
    module, _, last = name.rpartition(".")
    path = _source(module)
    if path is None or steps == 0:
        return None
    package = module if path.stem == "__init__" else module.rpartition(".")[0]
    for node in _parsed(path).body:
        if isinstance(node, ast.ClassDef) and node.name == last:
            return node, module
        if isinstance(node, ast.ImportFrom):
            for one in node.names:
                if last == (one.asname or one.name):
                    return _find(f"{_absolute(node, package)}.{one.name}", steps - 1)
    return None


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parents = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*parents, *filter(None, [node.module])])


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _source(module: str) -> Path | None:
    """The file of a module, found beside its package's, which is not imported."""
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top) if top else None
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.submodule_search_locations:
        return None
    place = Path(next(iter(spec.submodule_search_locations))).joinpath(*rest)
    # a stub first: it names what a package offers, also where that is imported on first use
    for path in (place / "__init__.pyi", place / "__init__.py", place.with_suffix(".py")):
        if path.is_file():
            return path
    return None


def _arguments(node: ast.ClassDef, module: str, steps: int) -> dict[str, str] | None:
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            if item.args.kwarg:
                return None
            taken = [*item.args.posonlyargs, *item.args.args, *item.args.kwonlyargs][1:]
            return {one.arg: ast.unparse(one.annotation) if one.annotation else "" for one in taken}
    fields = {
        item.target.id: ast.unparse(item.annotation)
        for item in node.body
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
    }
    if any("dataclass" in ast.unparse(one) for one in node.decorator_list):
        return fields
    for base in node.bases:  # the constructor is that of the first class above that is found
        above = _find(f"{module}.{ast.unparse(base)}", steps - 1) if steps else None
        if above is not None:
            return _arguments(*above, steps - 1)
    return None
