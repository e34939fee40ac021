"""Kinds of values, as annotations state them: what fits, how it is taken, and what an error says.

Modules that load no PyTorch use its classes' names in annotations; these are known by name.
"""

from __future__ import annotations

import builtins
import inspect
import math
import operator
import os
import typing
from collections import abc
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import NoneType, SimpleNamespace, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from spikerec.parsing import LARGEST_INTEGER, shown, with_article


class UnfitError(Exception):
    """A value that is not of a kind: where in the argument, what was expected, and the value."""

    def __init__(self, place: str, expected: str, value: object) -> None:
        self.place, self.expected, self.value = place, expected, value


@dataclass(frozen=True)
class Kind:
    """The values that an annotation means.

    Attributes:
        phrase: what they are, after "must be".
        take: returns the value as the function should get it.
        choices: the words among them, for suggestions.
        way: how to get one, for the end of an error; empty where nothing is to be said.
        outer: True for a value of the right form outside, whatever it contains.
    """

    phrase: str
    take: Callable[[Any], Any]
    choices: tuple[str, ...] = ()
    way: str = ""
    outer: Callable[[Any], bool] = field(default=lambda _: False)


#: Bytes of the longest name of a file or folder on the disks of Linux, macOS and Windows.
LONGEST_NAME = 255


def _simple(phrase: str, fits: Callable[[Any], bool]) -> Kind:
    def take(value: Any) -> Any:  # noqa: ANN401 (any argument)
        if not fits(value):
            raise UnfitError("", phrase, value)
        return value

    return Kind(phrase, take)


def _whole(value: Any) -> int:  # noqa: ANN401 (any argument)
    is_whole = isinstance(value, float) and value.is_integer()
    number = int(value) if is_whole else value
    if isinstance(number, bool) or not isinstance(number, int) or abs(number) > LARGEST_INTEGER:
        raise UnfitError("", WHOLE.phrase, value)
    return number


def _path(value: Any) -> Path:  # noqa: ANN401 (any argument)
    return Path(_path_text(value))


def _path_text(value: Any) -> str | Path:  # noqa: ANN401 (any argument)
    """A path as it was written; longer names than disks have are no paths."""
    if not isinstance(value, str | Path):
        raise UnfitError("", "a path", value)
    if any(len(os.fsencode(name)) > LONGEST_NAME for name in Path(value).parts):
        expected = f"a path whose names have at most {LONGEST_NAME} bytes"
        raise UnfitError("", expected, str(value))
    return value


def _is_real(value: object) -> bool:
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) <= LARGEST_INTEGER
    return isinstance(value, float) and math.isfinite(value)


ANYTHING = Kind("anything", lambda value: value)
WHOLE = Kind("a whole number", _whole)
NUMBER = _simple("a finite number", _is_real)
SIMPLE = {
    int: WHOLE,
    float: NUMBER,
    bool: _simple("True or False", lambda value: isinstance(value, bool)),
    str: _simple("text", lambda value: isinstance(value, str)),
    NoneType: _simple("None", lambda value: value is None),
    None: _simple("None", lambda value: value is None),
    Path: Kind("a path", _path),
}


#: A path that stays text, where it was written as text.
PATH_TEXT = Kind("a path", _path_text, outer=lambda value: isinstance(value, str | Path))

#: Sequences that are one text or one block of memory, and no list.
BYTES = (str, bytes, bytearray, memoryview)


class _ByName(type):
    """Class of a class that is known by its name alone, as modules that load no PyTorch know it."""

    def __instancecheck__(cls, value: object) -> bool:
        return any(one.__name__ == cls.__name__ for one in type(value).__mro__)


#: Names that annotations use in modules which do not import them.
LATER = {
    "Tensor": _ByName("Tensor", (), {}),
    "np": SimpleNamespace(ndarray=_ByName("ndarray", (), {})),
    "torch": SimpleNamespace(Tensor=_ByName("Tensor", (), {}), device=_ByName("device", (), {})),
}


class _Names(dict[str, Any]):
    """Names that an annotation may use; one that only type checkers import means anything.

    But for arrays, and PyTorch's tensors and devices, which are known by their names.
    """

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401
        value = super().__getitem__(name)
        return _read(value, self) if isinstance(value, str) else value  # an alias in quotes

    def __missing__(self, name: str) -> Any:  # noqa: ANN401
        return LATER.get(name, getattr(builtins, name, Any))


def parameter_kind(function: Callable[..., Any], parameter: inspect.Parameter) -> Kind:
    """The kind that an annotation states; anything where it cannot be read."""
    names = _Names(getattr(function, "__globals__", {}))
    try:
        return kind_of(_read(function.__annotations__.get(parameter.name, Any), names))
    except (TypeError, AttributeError):  # of a name that is imported for type checkers alone
        return ANYTHING


def _read(annotation: Any, names: _Names) -> Any:  # noqa: ANN401 (any annotation)
    stated = SimpleNamespace(__annotations__={"it": annotation})
    return typing.get_type_hints(stated, {}, names)["it"]


def kind_of(annotation: Any) -> Kind:  # noqa: ANN401 (any annotation)
    """The values that an annotation means; `ANYTHING` for one that is no plain kind or class."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if annotation is Any:
        return ANYTHING
    if origin is None and annotation.__hash__ is not None and annotation in SIMPLE:
        return SIMPLE[annotation]
    if origin is Literal:
        return _choice(parts)
    if origin in (Union, UnionType):
        return _union([kind_of(one) for one in parts])
    if origin is tuple and parts[-1] is not Ellipsis:
        return _fixed([kind_of(one) for one in parts])
    if origin is tuple or annotation is tuple:
        return _several(kind_of(parts[0]) if parts else ANYTHING, tuple)
    if origin in (abc.Sequence, list):
        return _several(kind_of(parts[0]), list)
    if origin in (abc.Mapping, dict):
        return _mapping(*map(kind_of, parts))
    if origin is abc.Iterable:
        return _simple(f"a list of {_plural(kind_of(parts[0]).phrase)}", _is_iterable)
    if origin is abc.Callable or annotation is abc.Callable:
        return _simple("a function or class", callable)
    cls = origin or annotation
    is_protocol = getattr(cls, "_is_protocol", False) and not getattr(
        cls, "_is_runtime_protocol", False
    )
    if isinstance(cls, type) and cls is not object and not is_protocol:
        if cls.__name__ == "ndarray":
            return _simple("an array without a mask", lambda value: _is_plain_array(value, cls))
        way = getattr(cls, "how_to_make", "")
        simple = _simple(_class_phrase(cls), lambda value: isinstance(value, cls))
        return replace(simple, way=way) if isinstance(way, str) else simple
    return ANYTHING


def _is_plain_array(value: object, cls: type) -> bool:
    """True for an array that has no mask: what is computed from its values would ignore it."""
    return isinstance(value, cls) and not hasattr(value, "filled")


def _is_iterable(value: object) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes)


def _class_phrase(cls: type) -> str:
    names = {"Tensor": "a tensor", "ellipsis": "..."}
    return names.get(cls.__name__, with_article(cls.__name__))


def _choice(values: Sequence[Any]) -> Kind:
    words = [str(one) for one in values]
    phrase = _joined(words)
    kind = _simple(phrase, lambda value: isinstance(value, Hashable) and value in values)
    return Kind(phrase, kind.take, tuple(words))


def _joined(words: Sequence[str]) -> str:
    """`a, b or c`, each word once."""
    words = list(dict.fromkeys(words))
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _union(kinds: Sequence[Kind]) -> Kind:
    if ANYTHING in kinds:
        return ANYTHING
    phrases = [
        phrase
        for one in kinds
        if one is not SIMPLE[NoneType]
        for phrase in one.choices or [one.phrase]
    ]
    if SIMPLE[Path] in kinds and SIMPLE[str] in kinds:  # a path stays as it was written
        others = [one for one in kinds if one not in (SIMPLE[str], SIMPLE[Path])]
        kinds = [PATH_TEXT, *others]
        phrases = ["a path", *(one for one in phrases if one not in ("text", "a path"))]
    phrase = _joined([*phrases, *(["None"] if SIMPLE[NoneType] in kinds else [])])

    def take(value: Any) -> Any:  # noqa: ANN401 (any argument)
        inner: list[UnfitError] = []
        for kind in kinds:
            try:
                return kind.take(value)
            except UnfitError as unfit:
                inner += [unfit] if kind.outer(value) else []
        raise inner[0] if len(inner) == 1 else UnfitError("", phrase, value)

    choices = tuple(word for one in kinds for word in one.choices)
    way = next((one.way for one in kinds if one.way), "")
    return Kind(phrase, take, choices, way, lambda value: any(one.outer(value) for one in kinds))


def _listed(value: Any) -> Any:  # noqa: ANN401 (any argument)
    """An array of one axis as a list; anything else as it is."""
    return value.tolist() if getattr(value, "ndim", None) == 1 else value


def _is_list(value: Any) -> bool:  # noqa: ANN401 (any argument)
    return isinstance(_listed(value), Sequence) and not isinstance(value, BYTES)


def _each(kinds: Sequence[Kind], values: Sequence[Any]) -> list[Any]:
    """Each item as its kind takes it; the error names the item's place."""
    each = []
    for index, (kind, one) in enumerate(zip(kinds, values, strict=True)):
        try:
            each.append(kind.take(one))
        except UnfitError as unfit:
            place = f"[{index}]{unfit.place}"
            raise UnfitError(place, unfit.expected, unfit.value) from None
    return each


def _several(kind: Kind, made: type) -> Kind:
    phrase = "a list" if kind is ANYTHING else f"a list of {_plural(kind.phrase)}"

    def take(value: Any) -> Any:  # noqa: ANN401 (any argument)
        if not _is_list(value):
            raise UnfitError("", phrase, value)
        if kind is ANYTHING:
            return value
        values = _listed(value)
        each = _each([kind] * len(values), values)
        is_same = values is value and all(map(operator.is_, each, values))
        return value if is_same and (made is list or isinstance(value, made)) else made(each)

    return Kind(phrase, take, way=kind.way, outer=_is_list)


def _fixed(kinds: Sequence[Kind]) -> Kind:
    counted = {2: "two", 3: "three", 4: "four"}.get(len(kinds), str(len(kinds)))
    phrases = {one.phrase for one in kinds}
    phrase = f"{counted} {_plural(phrases.pop()) if len(phrases) == 1 else 'values'}"

    def fits(value: Any) -> bool:  # noqa: ANN401 (any argument)
        return _is_list(value) and len(value) == len(kinds)

    def take(value: Any) -> Any:  # noqa: ANN401 (any argument)
        if not fits(value):
            raise UnfitError("", phrase, value)
        return tuple(_each(kinds, _listed(value)))

    return Kind(phrase, take, outer=fits)


def _mapping(key: Kind = ANYTHING, item: Kind = ANYTHING) -> Kind:
    items = _plural(item.phrase.removesuffix(" or None"))
    phrase = "a mapping" if item is ANYTHING else f"a mapping of names to {items}"

    def take(value: Any) -> Any:  # noqa: ANN401 (any argument)
        if not isinstance(value, Mapping):
            raise UnfitError("", phrase, value)
        items = {name: _item(key, item, name, one) for name, one in value.items()}
        return value if all(items[name] is one for name, one in value.items()) else items

    return Kind(phrase, take, way=item.way, outer=lambda value: isinstance(value, Mapping))


def _item(key: Kind, item: Kind, name: Any, value: Any) -> Any:  # noqa: ANN401 (any argument)
    """An item of a mapping as its kind takes it; the error names the item."""
    try:
        key.take(name)
    except UnfitError:
        raise UnfitError("", f"a mapping whose keys are {_plural(key.phrase)}", name) from None
    try:
        return item.take(value)
    except UnfitError as unfit:
        place = f".{name}" if str(name).isidentifier() else f"[{shown(name)}]"
        raise UnfitError(f"{place}{unfit.place}", unfit.expected, unfit.value) from None


def _plural(phrase: str) -> str:
    """`a whole number` → `whole numbers`; a choice of phrases as it is."""
    words = {"text": "texts"}
    article, _, noun = phrase.partition(" ")
    if article in ("a", "an") and " or " not in phrase and " of " not in phrase:
        return words.get(phrase, f"{noun}s")
    return words.get(phrase, phrase)
