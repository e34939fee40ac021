"""The user's own code among a run's classes, as digests: what a run computes depends on it.

Code of ours, of Python and of installed packages changes with their versions, which a record
states; the user's own changes from one command to the next. Of a module its file counts, with the
files of the user's modules that it imports, also within functions and where they are not imported
yet; of a script or a notebook, which holds much that is no part of a run, the classes and functions
that a run's draw on. Environment variables that this code names count by their values.

Not seen: files that the code opens, modules that it imports by names it computes
(`importlib.import_module(name)`), environment variables whose names it computes, and compiled code.
"""

from __future__ import annotations

import ast
import dis
import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Iterator, Mapping
from importlib.machinery import PathFinder
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

#: Top packages whose code is not the user's, beside all installed packages.
OURS = "spikerec"

#: Module of a script, of a notebook and of the interpreter's prompt.
MAIN = "__main__"

#: Beginnings of the names of facts.
CODE, VARIABLE = "code of ", "environment variable "

#: Name of the fact that states what was set on a network's modules.
ATTRIBUTES = "attributes of the network"

#: Attributes of a network that move nothing it computes: its mode, and where its weights are from.
OF_THE_MOMENT = ("training", "is_loaded", "weights_file")

#: Variables by which libraries compute at another precision than the settings say.
PRECISION_VARIABLES = ("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE")

Value = Any  # a plain value of a configuration


def code_facts(
    settings: Mapping[str, Value], named: Mapping[str, Any] | None = None
) -> dict[str, str]:
    """Class → digest of its code, for the classes of a run that are the user's own.

    Beside them variable → digest of its value, for environment variables that are set and that this
    code names, or that change the precision of libraries. Values are not shown: one may be a key.

    Args:
        settings: name their classes by `_target_`.
        named: full name → class or function, for those that cannot be imported by their names.
    """
    targets = {str(value) for key, value in settings.items() if _is_target(key)}
    found = {name: _found(name) for name in targets if not _is_installed(name)} | dict(named or {})
    facts: dict[str, str] = {}
    variables = set(PRECISION_VARIABLES)
    for name in sorted(found):
        if found[name] is not None and _is_users(_module_of(found[name])):
            facts[f"{CODE}{name}"], named_here = _code(found[name])
            variables |= named_here
    values = {name: os.environ[name] for name in sorted(variables) if name in os.environ}
    return facts | {f"{VARIABLE}{name}": _short(value.encode()) for name, value in values.items()}


def own_facts(network: Any) -> dict[str, str]:  # noqa: ANN401 (a module of PyTorch's)
    """Facts of a network's modules that are the user's own; empty where all are of a package.

    Beside their code, what was set on the objects and can be called or is plain: numbers, text and
    functions, as by `network.gain = 3`.
    """
    own = [one for one in network.modules() if _is_users(_module_of(type(one)))]
    if not own:
        return {}
    kinds = bool | int | float | str | FunctionType | None
    held = [
        {
            name: value
            for name, value in vars(one).items()
            if isinstance(value, kinds) and name[0] != "_" and name not in OF_THE_MOMENT
        }
        for one in own
    ]
    pieces = "".join(_pieces(held, {}))
    classes = {f"{cls.__module__}.{cls.__qualname__}": cls for cls in map(type, own)}
    return code_facts({}, classes) | {ATTRIBUTES: _short(pieces.encode())}


def own_digest(network: Any) -> str | None:  # noqa: ANN401 (a module of PyTorch's)
    """Digest of a network's own code and attributes; None where all its modules are of a package.

    Unlike `own_facts` it leaves out environment variables, which are others on another machine.
    """
    facts = sorted(one for one in own_facts(network).items() if not one[0].startswith(VARIABLE))
    return _short(repr(facts).encode()) if facts else None


def code_digest(made_by: type) -> str | None:
    """Digest of the code of a class that is the user's own; None for one of a package."""
    return _code(made_by)[0] if _is_users(_module_of(made_by)) else None


def _short(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _is_target(key: str) -> bool:
    return key.rpartition(".")[2] == "_target_"


def _is_installed(target: str) -> bool:
    """True if a full name begins with a package that is no code of the user's; none is imported."""
    top = target.partition(".")[0]
    if top in (OURS, *sys.stdlib_module_names):
        return True
    try:
        spec = importlib.util.find_spec(top)
    except ValueError:  # a module that was made by hand
        return False
    return spec is not None and spec.origin is not None and _lies_installed(spec.origin)


def _lies_installed(source: str) -> bool:
    return not {"site-packages", "dist-packages"}.isdisjoint(Path(source).parts)


def _found(target: str) -> Any:  # noqa: ANN401 (a class or function)
    """The class or function of a full name; None for one of Python's own, or that is not there."""
    parts = target.split(".")
    if parts[0] in sys.stdlib_module_names:
        return None
    for count in range(len(parts) - 1, 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:count]))
        except ImportError:
            continue
        for name in parts[count:]:
            found = getattr(found, name, None)
        return found
    return None


def _module_of(made_by: Any) -> ModuleType | None:  # noqa: ANN401 (a class or function)
    return sys.modules.get(getattr(made_by, "__module__", None) or "")


def _is_users(module: ModuleType | None) -> bool:
    if module is None:
        return False
    if module.__name__ == MAIN:
        return True
    source = getattr(module, "__file__", None)
    if source is None or module.__name__.partition(".")[0] in (OURS, *sys.stdlib_module_names):
        return False
    return not _lies_installed(source)


def _code(made_by: Any) -> tuple[str, set[str]]:  # noqa: ANN401 (a class or function)
    """Digest of the code of a class or function and of the user's code that it draws on.

    Beside it the environment variables that this code names.
    """
    module = _module_of(made_by)
    assert module is not None
    if module.__name__ == MAIN:
        seen: dict[int, Any] = {}
        digest = _short("".join(_pieces(made_by, seen)).encode())
        functions = [one for one in seen.values() if inspect.isfunction(one)]
        return digest, {name for one in functions for name in _variables_of(one.__code__)}
    files = _files(module)
    return _digest(files), {name for path in files.values() for name in _variables_in(path)}


def _digest(files: Mapping[str, Path]) -> str:
    """Digest of modules' names and files."""
    return _short(b"".join(name.encode() + files[name].read_bytes() for name in sorted(files)))


def _files(module: ModuleType) -> dict[str, Path]:
    """Name → file of a module of the user's and of those that it draws on.

    First those that it was loaded with, then those that their functions import.
    """
    found = {one.__name__: Path(str(one.__file__)) for one in _loaded_with(module, {})}
    return found | _files_imported(found)


def _files_imported(begun: Mapping[str, Path]) -> dict[str, Path]:
    """Name → file of the user's modules that files import, at whatever place in them."""
    found: dict[str, Path] = {}
    left = list(begun.items())
    while left:
        name, path = left.pop()
        is_package = path.name == "__init__.py"
        package = name if is_package else name.rpartition(".")[0]
        for other in _imported(path, package, everywhere=True):
            file = None if other in begun or other in found else _users_file(other)
            if file is not None:
                found[other] = file
                left.append((other, file))
    return found


def _users_file(name: str) -> Path | None:
    """File of a module of the user's, which is not imported for that; None for any other."""
    top, *rest = name.split(".")
    if top in (OURS, MAIN, *sys.stdlib_module_names):
        return None
    try:
        spec = importlib.util.find_spec(top)
        for index in range(len(rest)):
            if spec is None or spec.submodule_search_locations is None:
                return None
            places = list(spec.submodule_search_locations)
            spec = PathFinder.find_spec(".".join([top, *rest[: index + 1]]), places)
    except ValueError:  # a module that was made by hand
        return None
    if spec is None or spec.origin is None or _lies_installed(spec.origin):
        return None
    return Path(spec.origin) if Path(spec.origin).is_file() else None


def _loaded_with(module: ModuleType, seen: dict[str, None]) -> Iterator[ModuleType]:
    """A module and the user's modules whose values or names it holds since it was loaded."""
    if module.__name__ in seen or module.__name__ == MAIN:
        return
    seen[module.__name__] = None
    yield module
    values = list(vars(module).values())
    names = [
        one.__name__ if inspect.ismodule(one) else getattr(one, "__module__", None)
        for one in values
    ]
    # A number or a text that comes from another module does not say from which: the source does.
    path, package = Path(module.__file__ or ""), module.__package__ or ""
    for name in [*names, *_imported(path, package, everywhere=False)]:
        other = sys.modules.get(name) if isinstance(name, str) else None
        if other is not None and _is_users(other):
            yield from _loaded_with(other, seen)


def _imported(path: Path, package: str, *, everywhere: bool) -> Iterator[str]:
    """Full names of what a file imports as it is loaded; `everywhere` within functions too."""
    tree = _parsed(path)
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            try:
                dotted = "." * node.level + (node.module or "")
                name = importlib.util.resolve_name(dotted, package)
            except ImportError:
                continue
            yield from (name, *(f"{name}.{one.name}" for one in node.names))


def _parsed(path: Path) -> ast.Module:
    """The syntax tree of a file; an empty one for compiled code, which has no source."""
    try:
        return ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return ast.Module([], [])


def _variables_in(path: Path) -> set[str]:
    """Names of the environment variables that a file asks for by name."""
    asked = set()
    for node in ast.walk(_parsed(path)):
        if isinstance(node, ast.Subscript):
            place, name = node.value, node.slice
        elif isinstance(node, ast.Call) and node.args:
            place, name = node.func, node.args[0]
        else:
            continue
        if isinstance(name, ast.Constant) and isinstance(name.value, str):
            words = ast.unparse(place)
            if "environ" in words or "getenv" in words:
                asked.add(name.value)
    return asked


def _variables_of(code: CodeType) -> set[str]:
    """Environment variables that compiled code may ask for: texts beside `environ` in it."""
    asked: set[str] = set()
    for one in _nested(code):
        if not {"environ", "getenv"}.isdisjoint(one.co_names):
            asked |= {text for text in one.co_consts if isinstance(text, str)}
    return asked


def _nested(code: CodeType) -> Iterator[CodeType]:
    """Code, and that of the functions within it."""
    left = [code]
    while left:
        one = left.pop()
        left += [inner for inner in one.co_consts if inspect.iscode(inner)]
        yield one


def _imports_of(code: CodeType) -> Iterator[str]:
    """Full names of what compiled code imports."""
    base = ""
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_NAME":
            base = str(instruction.argval)
            yield base
        elif instruction.opname == "IMPORT_FROM":
            yield f"{base}.{instruction.argval}"


def _pieces(value: Any, seen: dict[int, Any]) -> Iterator[str]:  # noqa: ANN401 (whatever is named)
    """The code of a class or function of a script or notebook, and of what it names there."""
    if isinstance(value, type | FunctionType | ModuleType | Mapping | list):
        if id(value) in seen:
            return
        seen[id(value)] = value
    if inspect.ismodule(value):
        yield value.__name__
    elif isinstance(value, property):
        for part in (value.fget, value.fset):
            yield from _pieces(part, seen)
    elif isinstance(value, staticmethod | classmethod):
        yield from _pieces(value.__func__, seen)
    elif isinstance(value, type | FunctionType) and not _is_users(_module_of(value)):
        yield f"{value.__module__}.{value.__qualname__}"
    elif isinstance(value, type | FunctionType) and value.__module__ != MAIN:
        yield _code(value)[0]
    elif isinstance(value, type):
        yield value.__qualname__
        for base in value.__bases__:
            yield from _pieces(base, seen)
        for name, part in vars(value).items():
            if not (name.startswith("__") and not callable(part)) and name[:5] != "_abc_":
                yield name
                yield from _pieces(part, seen)
    elif isinstance(value, FunctionType):
        yield from _function_pieces(value, seen)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _pieces(key, seen)
            yield from _pieces(item, seen)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _pieces(item, seen)
    elif isinstance(value, set | frozenset):
        yield repr(sorted(map(repr, value)))
    elif value is None or isinstance(value, bool | int | float | complex | str | bytes):
        yield repr(value)


def _function_pieces(function: FunctionType, seen: dict[int, Any]) -> Iterator[str]:
    """A function's instructions and constants, its defaults, and what it names around it.

    The instructions, for want of the source: a notebook does not keep that of a class.
    """
    yield function.__qualname__
    yield repr((function.__defaults__, function.__kwdefaults__))
    for code in _nested(function.__code__):
        yield repr((code.co_code, code.co_names, code.co_varnames))
        yield from _pieces([one for one in code.co_consts if not inspect.iscode(one)], seen)
        for name in code.co_names:
            if name in function.__globals__:
                yield from _pieces(function.__globals__[name], seen)
        files = {name: file for name in _imports_of(code) if (file := _users_file(name))}
        if files:
            yield _digest(files | _files_imported(files))
