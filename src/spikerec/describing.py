"""Descriptions of objects: a class and its constructor's arguments, as plain values.

A description has the form that a configuration has: `{"_target_": "spikerec.models.stir.STIR",
"window": 61, …}`. So a run that a notebook starts with objects can be compared with the next one,
and its folder states it, as that of a run which the command line composed.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import inspect
import numbers
from collections.abc import Callable, Mapping, MutableMapping, Sequence, Set
from functools import partial
from pathlib import PurePath
from typing import Any, ClassVar, Self

from spikerec.errors import ConfigError
from spikerec.kinds import checked, is_checked, plain, taken
from spikerec.parsing import with_article

#: Full name → the class or function, of everything that a description names.
Named = MutableMapping[str, Any]


class Described:
    """Base of classes whose objects remember the arguments that they were made with.

    Their constructors, and methods in the place of checked ones, check the kinds of their arguments
    (see `spikerec.kinds`).
    """

    #: One sentence for someone who gave something else in the place of such an object.
    how_to_make: ClassVar[str] = ""

    _given: tuple[tuple[Any, ...], dict[str, Any]]

    def __init_subclass__(cls, **arguments: Any) -> None:  # noqa: ANN401 (as Python has it)
        super().__init_subclass__(**arguments)
        if "__init__" in vars(cls):
            checked(cls)
        for name, made in list(vars(cls).items()):
            if is_checked(getattr(super(cls, cls), name, None)) and not is_checked(made):
                setattr(cls, name, checked(made))

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:  # noqa: ANN401 (whatever `__init__` takes)
        """Make the object, with its arguments noted before the constructor sees them."""
        made = super().__new__(cls)
        # Not by PyTorch's __setattr__, which needs its constructor first.
        made.__dict__["_given"] = (plain(args), plain(kwargs))
        return made


def arguments(made: Described) -> dict[str, Any]:
    """The arguments that an object was made with, defaults included, by name."""
    given, named = taken(type(made), *made._given)
    bound = inspect.signature(type(made)).bind(*given, **named)
    bound.apply_defaults()
    kinds = inspect.signature(type(made)).parameters
    values: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        if kinds[name].kind is inspect.Parameter.VAR_KEYWORD:
            values |= value
        else:
            values[name] = value
    return values


def describe(value: object, place: str, named: Named | None = None) -> Any:  # noqa: ANN401
    """Describe an object as plain values: numbers, text, lists and mappings.

    Args:
        value: an object of ours, of PyTorch or of the user's own; a `functools.partial` or a class
            that makes one later; or a plain value.
        place: the argument that it is, for errors.
        named: gets every class and function that the description names.

    Example:
        >>> from functools import partial
        >>> describe({"make": partial(complex, imag=1)}, "it")
        {'make': {'_target_': 'builtins.complex', '_partial_': True, 'imag': 1}}

    Raises:
        ConfigError: an object whose class says nothing of its arguments; the message says which,
            and the ways out.
    """
    named = {} if named is None else named
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, enum.Enum):
        return describe(value.value, place, named)
    if isinstance(value, Mapping):
        return {str(key): describe(item, f"{place}.{key}", named) for key, item in value.items()}
    if isinstance(value, Set):
        return sorted((describe(item, place, named) for item in value), key=repr)
    if isinstance(value, Sequence):
        return [describe(item, f"{place}.{index}", named) for index, item in enumerate(value)]
    return _described_object(value, place, named)


def _described_object(value: Any, place: str, named: Named) -> Any:  # noqa: ANN401
    if isinstance(value, partial):
        later = {"_target_": _name(value.func, place, named), "_partial_": True}
        words = {"_args_": list(value.args)} if value.args else {}
        return later | describe({**words, **value.keywords}, place, named)
    if isinstance(value, type) or inspect.isroutine(value):
        return {"_target_": _name(value, place, named), "_partial_": True}
    if hasattr(value, "__array__"):  # NumPy's, and PyTorch's tensors
        return _array(value)
    given: Mapping[str, Any] | None
    if isinstance(value, Described):
        given = arguments(value)
    elif dataclasses.is_dataclass(value):
        given = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    elif hasattr(value, "named_modules"):
        given = {"modules": _modules(value, place, named)}
    else:
        given = _stated(value)
    if given is None:
        raise ConfigError(
            f"{place}: {with_article(type(value).__name__)} does not say what it was made with, so "
            "that this run could not be told from another. Give what makes it, functools.partial("
            f"{type(value).__name__}, …), or describe it yourself: "
            f"settings={{{place.partition('.')[0]!r}: …}}."
        )
    return {"_target_": _name(type(value), place, named)} | describe(given, place, named)


def _name(made_by: Callable[..., Any], place: str, named: Named) -> str:
    """The full name of a class or function, which must have one.

    Raises:
        ConfigError: a lambda, or a function that depends on variables around it.
    """
    last = getattr(made_by, "__qualname__", "<lambda>")
    if last.endswith("<lambda>") or getattr(made_by, "__closure__", None):
        raise ConfigError(
            f"{place}: a lambda, or a function that uses variables around it, cannot be described, "
            "so that this run could not be told from another. Give functools.partial(Class, …), "
            "or a function defined by itself."
        )
    name = f"{getattr(made_by, '__module__', None) or 'builtins'}.{last}"
    named[name] = made_by
    return name


def _array(value: Any) -> dict[str, Any]:  # noqa: ANN401 (an array of NumPy or a tensor)
    """An array by its content's digest: a description stays small."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    array = value.__array__()
    content = hashlib.sha256(array.tobytes()).hexdigest()
    return {"shape": list(array.shape), "dtype": str(array.dtype), "sha256": content}


def _modules(module: Any, place: str, named: Named) -> dict[str, Any]:  # noqa: ANN401
    """A module of PyTorch's by its parts: class, plain attributes and shapes of each."""
    return {
        name or "itself": {
            "class": _name(type(part), place, named),
            **{key: repr(value) for key, value in vars(part).items() if _is_plain(key, value)},
            "shapes": {key: list(p.shape) for key, p in part.named_parameters(recurse=False)},
        }
        for name, part in module.named_modules()
    }


def _is_plain(key: str, value: object) -> bool:
    if isinstance(value, tuple | list):
        return key[0] != "_" and all(_is_plain(key, item) for item in value)
    is_value = value is None or isinstance(value, bool | numbers.Number | str)
    return key[0] != "_" and key != "training" and is_value


def _stated(value: object) -> dict[str, Any] | None:
    """The constructor's arguments, where attributes of the same names keep all of them."""
    try:
        parameters = inspect.signature(type(value)).parameters.values()
    except ValueError:  # a class of C without a signature
        return None
    found: dict[str, Any] = {}
    for one in parameters:
        if one.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            return None
        if not hasattr(value, one.name):
            return None
        found[one.name] = getattr(value, one.name)
    return found
