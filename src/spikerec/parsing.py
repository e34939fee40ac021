"""Reading what strangers wrote: bounds before the work, and our errors instead of a library's.

A file states its own sizes, and may state anything. Each parser of this package compares what is
stated with a bound before it allocates or computes; the bounds stand beside the parser of their
kind. This module holds what they share: one translation of a library's exceptions, and bounded
readers of YAML and JSON.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from itertools import accumulate
from pathlib import Path
from typing import Any, NoReturn
from zipfile import ZipFile

import yaml

from spikerec.errors import DataError, DataNotFoundError, SpikerecError

#: Bytes of a zip archive's list of members, some 50 for each: those of 10,000 at least.
MOST_ZIP_LIST = 1 << 21
#: Whole numbers in documents: those of 64 bits, signed.
LARGEST_INTEGER = 2**63 - 1
#: A found text that an error may show: one short word, or the path of an array.
WORD = r"[\w./+-]{0,40}"
#: Characters of the keys that an error names.
LONGEST_PLACE = 80


@dataclass(frozen=True)
class Bounds:
    """Largest size of a YAML or JSON document.

    Attributes:
        bytes: of the file.
        depth: of mappings and lists inside one another.
        nodes: mappings, lists, keys and values, all together.
    """

    bytes: int
    depth: int
    nodes: int


@dataclass(frozen=True)
class PlainBounds:
    """Largest plain value that a file may state.

    Attributes:
        number: a whole number's distance from 0.
        letters: of one text.
        depth: of mappings and lists inside one another.
        nodes: mappings, lists, keys and values, all together.
    """

    number: int
    letters: int
    depth: int
    nodes: int


#: Sidecars and cards, which people write by hand or simulations write about themselves.
SMALL_DOCUMENT = Bounds(bytes=1 << 16, depth=12, nodes=2_000)
#: Documents that commands write into the folder of a run or of an output: configurations, reports.
RUN_DOCUMENT = Bounds(bytes=4 << 20, depth=32, nodes=200_000)


@contextmanager
def parsing(path: Path, kind: str, error: type[SpikerecError] = DataError) -> Iterator[None]:
    """Turn whatever a library raises on a file into one error that names the file.

    The library's own text is left out, because it may quote the content of the file.

    Args:
        path: the file.
        kind: of file, for the message: `.npy`, `YAML`.
        error: which of our errors is raised.

    Raises:
        SpikerecError: ours pass unchanged; anything else becomes an `error`.
    """
    try:
        yield
    except SpikerecError:
        raise
    except OSError as reason:
        because = reason.strerror if reason.errno and reason.strerror else _DAMAGED
        raise error(f"{path} cannot be read as {kind}: {because}.") from reason
    except Exception as reason:
        # Damaged or hostile bytes make a library fail wherever they happen to.
        raise error(
            f"{path} cannot be read as {kind}: {_DAMAGED} ({type(reason).__name__})."
        ) from reason


@contextmanager
def open_zip(path: Path) -> Iterator[ZipFile]:
    """Open a zip archive whose list of members is bounded, as they all become objects at once.

    Raises:
        DataError: the list is longer.
        BadZipFile: it is no zip archive.
    """
    with _BoundedFile(path) as file, ZipFile(file) as archive:
        file.most = None
        yield archive


class _BoundedFile(FileIO):
    """A file of which no more than a bound is read at once, where there is one."""

    most: int | None = MOST_ZIP_LIST

    def read(self, size: int | None = -1) -> bytes:
        """The next bytes.

        Raises:
            DataError: more than the bound are asked for.
        """
        if self.most is not None and size is not None and size > self.most:
            raise DataError(f"{self.name} lists more members than an archive may have here.")
        return super().read(-1 if size is None else size) or b""


_DAMAGED = "it is damaged, cut short, or of another kind"


def shown(value: object) -> str:
    """A found value for an error: a number, a word, or its type alone.

    Other text is not quoted: a file may be made so that its content shows what another one holds.
    """
    if isinstance(value, int) and value.bit_length() > 64:
        return f"a number of {value.bit_length()} bits"
    if isinstance(value, str) and not re.fullmatch(WORD, value):
        return f"text of {len(value)} characters"
    if isinstance(value, str | int | float | None):
        return repr(value)
    return with_article(type(value).__name__)


def with_article(name: str) -> str:
    """A class's name with its article: `a dict`, `an L1`."""
    # letter by letter: an L1, an MSE
    is_spelt = (name.isupper() and len(name) <= 3) or name[1:2].isdigit()
    vowels = "AEFHILMNORSX" if is_spelt else "AEIOaeio"  # a UNet, a UHSR
    return f"{'an' if name[:1] in vowels else 'a'} {name}"


def word(key: object) -> str:
    """A key as an error shows it: as `shown` shows text, without quotes."""
    return str(key) if re.fullmatch(WORD, str(key)) else f"<{shown(key)}>"


def read_bytes(path: Path, limit: int, kind: str) -> bytes:
    """The content of a file of at most `limit` bytes.

    Raises:
        DataNotFoundError: no such file.
        DataError: a larger one, or one that cannot be read.
    """
    if not path.is_file():
        found = "is not a file" if path.exists() else "does not exist"
        raise DataNotFoundError(f"{path} {found}: expected a {kind} file.")
    with parsing(path, kind):
        with path.open("rb") as file:
            content = file.read(limit + 1)
        if len(content) > limit:
            raise DataError(
                f"{path} holds more than the {limit:,} bytes that a {kind} file may have here."
            )
    return content


def read_yaml(path: Path, bounds: Bounds = SMALL_DOCUMENT) -> Any:  # noqa: ANN401  # as YAML gives
    """The value that a YAML file holds, made of mappings, lists, text, numbers, booleans and null.

    Dates stay text. Aliases, merge keys, tags and repeated keys are refused.

    Raises:
        DataNotFoundError: no such file.
        DataError: beyond the bounds, not YAML, or with one of the things refused.
    """
    return parse_yaml(read_bytes(path, bounds.bytes, "YAML"), path, bounds)


def parse_yaml(text: str | bytes, name: str | Path, bounds: Bounds = SMALL_DOCUMENT) -> Any:  # noqa: ANN401
    """The value of a YAML text, as `read_yaml` gives it.

    Args:
        text: YAML, as UTF-8 where it is bytes.
        name: what errors call it.
        bounds: of the text.

    Raises:
        DataError: beyond the bounds, not YAML, or with one of the things refused.
    """
    path = Path(name)
    if len(text) > bounds.bytes:
        raise DataError(f"{name} holds more than the {bounds.bytes:,} bytes that YAML may have.")
    with parsing(path, "YAML"):
        try:
            text = text.decode("utf-8-sig") if isinstance(text, bytes) else text
            _check_events(text, path, bounds)
            return yaml.load(text, Loader=_PlainLoader)  # noqa: S506  # a SafeLoader with less
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
            raise DataError(f"{name} is not YAML that can be read here{where}.") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise DataError(f"{name} is not YAML: it holds what is not text.") from error


def parse_json(text: str | bytes, name: str | Path, bounds: Bounds) -> Any:  # noqa: ANN401
    """The value of a JSON text; NaN, infinities, lone surrogates and repeated keys are refused.

    Args:
        text: JSON, as UTF-8 where it is bytes.
        name: what errors call it.
        bounds: of the text.

    Raises:
        DataError: beyond the bounds, not JSON, or with one of the things refused.
    """
    path = Path(name)
    if len(text) > bounds.bytes:
        raise DataError(f"{name} holds more than the {bounds.bytes:,} bytes that JSON may have.")
    with parsing(path, "JSON"):
        text = text.decode("utf-8") if isinstance(text, bytes) else text
        text.encode("utf-8")  # refuses lone surrogates in the text itself
        _check_brackets(text, path, bounds)
        refused: list[_Refused] = []
        value = _load(text, refused)
        if refused:
            for place, item in _places(value):
                if isinstance(item, _Refused):
                    _refuse(path, item.found, place)
        if "\\u" in text:
            _check_unicode(value, path)
        return value


def check_plain(
    value: object, source: str, error: type[SpikerecError], bounds: PlainBounds
) -> None:
    """Refuse what is no plain value, or beyond the bounds, wherever in a value it is.

    A pickled value may hold itself, be no value of JSON's kinds, or be of any size.

    Args:
        value: numbers, text, booleans, null, and lists and mappings of these.
        source: the file, for the error.
        error: the class of the error.
        bounds: of the value.

    Raises:
        SpikerecError: an `error`: something in it is of another kind, or beyond the bounds.
    """
    left: list[tuple[object, int]] = [(value, 1)]
    nodes = 0
    while left:
        one, depth = left.pop()
        nodes += 1
        complaint = _not_plain(one, bounds)
        if isinstance(one, Mapping):
            left += [(key, depth + 1) for key in one] + [(each, depth + 1) for each in one.values()]
        elif isinstance(one, list | tuple):
            left += [(each, depth + 1) for each in one]
        if depth > bounds.depth:
            complaint = f"more than {bounds.depth} levels of mappings and lists"
        elif nodes + len(left) > bounds.nodes:
            complaint = f"more than {bounds.nodes:,} keys and values"
        if complaint:
            raise error(f"{source} states {complaint}, which is refused in files of this kind.")


def _not_plain(value: object, bounds: PlainBounds) -> str:
    """A word for what is wrong with a value apart from what it holds; empty if nothing is."""
    if value is None or isinstance(value, bool | list | tuple | Mapping):
        return ""
    if isinstance(value, int):
        return "" if abs(value) <= bounds.number else f"{shown(value)} (at most {bounds.number:,})"
    if isinstance(value, float):
        return "" if math.isfinite(value) else "a number that is not finite"
    if isinstance(value, str):
        return "" if len(value) <= bounds.letters else f"text of {len(value):,} characters"
    return with_article(type(value).__name__)


def read_json(path: Path, bounds: Bounds) -> Any:  # noqa: ANN401
    """The value that a JSON file holds (see `parse_json`).

    Raises:
        DataNotFoundError: no such file.
        DataError: beyond the bounds, not JSON, or with one of the things refused.
    """
    return parse_json(read_bytes(path, bounds.bytes, "JSON"), path, bounds)


class _PlainLoader(yaml.SafeLoader):
    """YAML's plain values alone: no dates, no merge keys, no repeated keys, bounded numbers."""

    yaml_implicit_resolvers = {  # noqa: RUF012  # as the class it overrides
        first: [
            (tag, pattern)
            for tag, pattern in resolvers
            if tag.rpartition(":")[2] in ("null", "bool", "int", "float")
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping whose keys are all different."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if any(isinstance(key, list | dict) for key in keys) or len(set(keys)) < len(keys):
            raise yaml.MarkedYAMLError("a key is repeated, or no key", node.start_mark)
        return super().construct_mapping(node, deep=deep)

    def construct_integer(self, node: yaml.ScalarNode) -> int:
        """A whole number of at most 64 bits."""
        value: int = self.construct_yaml_int(node)
        if abs(value) > LARGEST_INTEGER:
            raise yaml.MarkedYAMLError("a number is too large", node.start_mark)
        return value


_PlainLoader.add_constructor("tag:yaml.org,2002:int", _PlainLoader.construct_integer)
# `2e4` is a number in YAML 1.2 and in JSON, and text in YAML 1.1, which PyYAML reads.
_PlainLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def _check_events(text: str, path: Path, bounds: Bounds) -> None:
    """Walk through a YAML text without building anything."""
    depth = nodes = 0
    for event in yaml.parse(text, Loader=_PlainLoader):
        if isinstance(event, yaml.AliasEvent):
            _refuse(path, "an alias (*name)")
        if isinstance(event, yaml.NodeEvent):
            nodes += 1
            if getattr(event, "tag", None) is not None:
                _refuse(path, "a tag (!name)")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        _check_size(path, depth, nodes, bounds)


def _check_brackets(text: str, path: Path, bounds: Bounds) -> None:
    """Count what a JSON text opens, without building anything."""
    marks = _NO_MARKS.sub("", text)
    steps = ((mark in "[{") - (mark in "]}") for mark in marks if mark not in ",:")
    depth = max(accumulate(steps), default=0)
    nodes = 1 + sum(map(marks.count, "[{,:"))
    if depth > bounds.depth:
        found = f"more than {bounds.depth} levels of mappings and lists"
        _refuse(path, found, _deep_part(text, bounds.depth))
    _check_size(path, depth, nodes, bounds)


_STRING = r'"(?:[^"\\]|\\.)*+"?'
#: Strings, which may hold marks, and all that is no mark.
_NO_MARKS = re.compile(rf"(?s)(?:{_STRING}|[^\"\[\]{{}},:]++)+")


def _deep_part(text: str, depth: int) -> str:
    """The key of the first part of a document that goes beyond a depth."""
    level, key = 0, ""
    for match in re.finditer(rf"(?s){_STRING}|[\[\]{{}}]", text):
        mark = match[0]
        level += (mark in "[{") - (mark in "]}")
        if level > depth:
            break
        if level == 1 and mark[0] == '"':
            key = mark[1:-1]
    return word(key)


def _check_size(path: Path, depth: int, nodes: int, bounds: Bounds) -> None:
    if depth > bounds.depth:
        _refuse(path, f"more than {bounds.depth} levels of mappings and lists")
    if nodes > bounds.nodes:
        _refuse(path, f"more than {bounds.nodes:,} keys and values")


@dataclass(frozen=True, eq=False)
class _Refused:
    """Takes the place of a value that is refused, so that the error can name the place."""

    found: str


def _load(text: str, refused: list[_Refused]) -> Any:  # noqa: ANN401
    """The value of a JSON text, and what in it is refused."""

    def refuse(found: str) -> _Refused:
        refused.append(_Refused(found))
        return refused[-1]

    def mapping(pairs: list[tuple[str, Any]]) -> object:
        found = dict(pairs)
        return found if len(found) == len(pairs) else refuse("a key twice in one mapping")

    def integer(digits: str) -> object:
        if len(digits) <= 20 and abs(number := int(digits)) <= LARGEST_INTEGER:
            return number
        return refuse("a number of more than 64 bits")

    def finite(digits: str) -> object:
        number = float(digits)
        return number if math.isfinite(number) else refuse("a number that is not finite")

    return json.loads(
        text,
        object_pairs_hook=mapping,
        parse_int=integer,
        parse_float=finite,
        parse_constant=finite,
    )


def _places(value: object, place: str = "") -> Iterator[tuple[str, object]]:
    """Everything inside a value, with the keys that lead to it."""
    yield place, value
    inside: Iterable[tuple[object, object]] = ()
    if isinstance(value, dict):
        inside = value.items()
    elif isinstance(value, list):
        inside = enumerate(value)
    for key, item in inside:
        yield from _places(item, f"{place}.{word(key)}" if place else word(key))


def _check_unicode(value: object, path: Path) -> None:
    """Refuse halves of surrogate pairs, which JSON can write by their numbers."""
    if _is_unicode(value):
        return
    for place, item in _places(value):
        texts = item if isinstance(item, dict) else [item] if isinstance(item, str) else ()
        if not all(map(_is_unicode, texts)):
            _refuse(path, "text that is not Unicode", place)


def _is_unicode(value: object) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _refuse(path: Path, found: str, place: str = "") -> NoReturn:
    where = f" at {place[:LONGEST_PLACE]}" if place else ""
    raise DataError(f"{path} holds {found}{where}, which is refused in files of this kind.")
