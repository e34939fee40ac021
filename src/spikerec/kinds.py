"""Kinds of arguments: a call is checked against the annotations of what it calls.

`@checked` above a function or a class makes every call of it

* take NumPy's numbers wherever Python's are taken, and a float that is whole (1e3) for an `int`;
* refuse a value of another kind, a keyword that there is not (with the nearest that there is), and
  a call that lacks an argument, each by an `ArgumentError` that names the argument.

Ranges, and what depends on other arguments, are the business of what is called. The annotations of
this package alone are held to their word: those of a user's own class may be of any kind.
Annotations are read at the first call, so that importing costs nothing. A class may say in
`how_to_make` how one gets an object of it; the error about something else in its place ends so.
"""

from __future__ import annotations

import inspect
import operator
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, wraps
from pathlib import Path
from typing import Any, TypeVar

from spikerec.annotations import ANYTHING, Kind, UnfitError, parameter_kind
from spikerec.errors import ArgumentError
from spikerec.parsing import shown, with_article
from spikerec.spelling import suggestion

Checked = TypeVar("Checked", bound=Callable[..., Any])
Class = TypeVar("Class")

#: Package whose annotations are checked.
OWN = "spikerec"


def checked(called: Checked) -> Checked:
    """Check the arguments of a function, or of a class's constructor, at each call.

    Example:
        >>> @checked
        ... def repeat(text: str, count: int = 2) -> str:
        ...     return text * count
        >>> repeat("a", cont=3)
        Traceback (most recent call last):
        spikerec.errors.ArgumentError: repeat has no argument 'cont': did you mean count?
    """
    if isinstance(called, type):
        called.__init__ = _checking(called.__init__, is_constructor=True)  # type: ignore[misc]
        return called
    made: Checked = _checking(called, is_constructor=False)
    return made


def checked_names(cls: type[Class]) -> type[Class]:
    """Check a constructor's keywords alone: the class checks all values, as files state them too.

    It takes NumPy's numbers as `checked` does.
    """
    cls.__init__ = _checking(cls.__init__, is_constructor=True, has_kinds=False)  # type: ignore[method-assign]
    return cls


def _checking(function: Any, *, is_constructor: bool, has_kinds: bool = True) -> Any:  # noqa: ANN401
    call = Call(function, is_constructor=is_constructor, has_kinds=has_kinds)

    @wraps(function)
    def checking(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 (as the function has it)
        if not _is_compiled():
            args, kwargs = call.taken(args, kwargs)
        return function(*args, **kwargs)

    checking._call = call  # type: ignore[attr-defined]
    return checking


def _is_compiled() -> bool:
    """True while PyTorch compiles the caller, which would compile the checks as well, and cannot.

    PyTorch is not imported for it: names and kinds are checked by commands that do without.
    """
    torch = sys.modules.get("torch")
    return torch is not None and torch.compiler.is_compiling()


def is_checked(called: object) -> bool:
    """True for a function whose calls are checked."""
    return hasattr(called, "_call")


def taken(
    cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments as a class's constructor takes them: NumPy's numbers as Python's, and so on."""
    call = getattr(cls.__init__, "_call", None)  # type: ignore[misc]
    if call is None:
        return plain(args), plain(kwargs)
    args, kwargs = call.taken((cls, *args), kwargs)
    return args[1:], kwargs


def unknown_argument(owner: str, name: str, known: Iterable[str]) -> ArgumentError:
    """The error about a keyword that there is not."""
    known = list(known)
    near = suggestion(name, known)
    if not near:
        near = f": expected one of {', '.join(known)}." if known else ": it takes none."
    return ArgumentError(f"{owner} has no argument {name!r}{near}")


def plain(value: Any) -> Any:  # noqa: ANN401 (any argument)
    """The value with Python's numbers in place of NumPy's, also within lists, tuples and mappings.

    What holds none is returned as it is: its identity matters to what changes it in place.

    Example:
        >>> import numpy as np
        >>> plain([np.int64(3), np.bool_(True), "a"])
        [3, True, 'a']
    """
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        return value.item()
    if type(value) in (list, tuple):
        each = [plain(one) for one in value]
        return value if all(map(operator.is_, each, value)) else type(value)(each)
    if type(value) is dict:
        items = {key: plain(one) for key, one in value.items()}
        return value if all(items[key] is one for key, one in value.items()) else items
    return value


class Call:
    """The arguments of a function or constructor, and the kinds that they are to be of.

    Args:
        function: its annotations are read at the first call.
        is_constructor: True for an `__init__`, whose first argument is the object.
        has_kinds: False to check the names of arguments alone.
    """

    def __init__(
        self, function: Callable[..., Any], *, is_constructor: bool, has_kinds: bool
    ) -> None:
        self.function = function
        self.has_kinds = has_kinds
        self.is_constructor = is_constructor
        self.is_method = "." in function.__qualname__.rpartition("<locals>.")[2]

    def taken(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments, each as its kind takes it.

        Raises:
            ArgumentError: one of another kind, one that there is not, or one too few or too many.
        """
        parts = _parts(self.function)
        skipped = 1 if self.is_method else 0
        if self.is_constructor:
            cls = args[0] if isinstance(args[0], type) else type(args[0])
            owner = cls.__name__
        else:
            owner = self.function.__qualname__
        places = parts.places
        if parts.rest is None and len(args) > len(places):
            raise ArgumentError(
                f"{owner} takes {len(places) - skipped} arguments by their place at most, found "
                f"{len(args) - skipped}: name the others, as in NAME=VALUE."
            )
        if parts.named_rest is None:
            for name in kwargs:
                if name not in parts.names:
                    raise unknown_argument(owner, name, parts.names[skipped:])
        values = list(args)
        for index in range(skipped, len(args)):
            name = places[index] if index < len(places) else parts.rest or ""
            values[index] = self._one(owner, name, parts.kinds.get(name), args[index])
        given = {
            name: self._one(owner, name, parts.kinds.get(name, parts.named_rest), value)
            for name, value in kwargs.items()
        }
        missing = [name for name in parts.required[len(args) :] if name not in given]
        missing += [name for name in parts.required_names if name not in given]
        if missing:
            raise ArgumentError(f"{owner} needs the argument {missing[0]!r}.")
        return tuple(values), given

    def _one(self, owner: str, name: str, kind: Kind | None, value: Any) -> Any:  # noqa: ANN401
        value = plain(value)
        if kind is None or not self.has_kinds:
            return value
        try:
            return kind.take(value)
        except UnfitError as unfit:
            near = suggestion(value, kind.choices) if isinstance(value, str) else ""
            end = near or (f": {kind.way}" if kind.way else ".")
            raise ArgumentError(
                f"{name}{unfit.place} must be {unfit.expected}, found {found(unfit.value)}{end}",
                owner,
            ) from None


def found(value: object) -> str:
    """A value of the wrong kind as an error shows it."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, Path):
        return with_article(type(value).__name__)
    text = shown(value)
    is_quoted = isinstance(value, str) and value and text == repr(value)
    return f"the text {text}" if is_quoted else text


def found_array(value: object) -> str:
    """A value that should be a tensor of another kind as an error shows it: with shape and type."""
    if isinstance(value, tuple | list | Mapping):  # which may hold tensors
        return with_article(type(value).__name__)
    if not hasattr(value, "shape") or not hasattr(value, "dtype"):
        return found(value)
    return f"{with_article(type(value).__name__)} {tuple(value.shape)} of {value.dtype}"


@dataclass(frozen=True)
class _Parts:
    """The parameters of a function.

    Attributes:
        names: those that may be given by name.
        places: those that may be given by their place, in order.
        required: for each of `places` up to the last without a default, its name.
        required_names: those without a default that are given by name alone.
        rest: name of `*rest`, if there is one.
        named_rest: kind of `**rest`; None if there is none.
        kinds: by name.
    """

    names: list[str]
    places: list[str]
    required: list[str]
    required_names: list[str]
    rest: str | None
    named_rest: Kind | None
    kinds: Mapping[str, Kind]


@cache
def _parts(function: Callable[..., Any]) -> _Parts:
    parameters = list(inspect.signature(function).parameters.values())
    is_own = function.__module__.partition(".")[0] == OWN
    kinds = {one.name: parameter_kind(function, one) if is_own else ANYTHING for one in parameters}
    placed = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    named = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    places = [one for one in parameters if one.kind in placed]
    rests = {one.kind: one.name for one in parameters}
    named_rest = rests.get(inspect.Parameter.VAR_KEYWORD)
    return _Parts(
        names=[one.name for one in parameters if one.kind in named],
        places=[one.name for one in places],
        required=[one.name for one in places if one.default is one.empty],
        required_names=[
            one.name
            for one in parameters
            if one.kind is one.KEYWORD_ONLY and one.default is one.empty
        ],
        rest=rests.get(inspect.Parameter.VAR_POSITIONAL),
        named_rest=None if named_rest is None else kinds[named_rest],
        kinds=kinds,
    )
