"""Facts of a board's samples: the covariates and conditions that its records state.

All rows of a board saw the same samples, so that each fact is one column for all of them: the one
that most rows state, the first of equals. Rows whose records state none, as those of older layouts,
are judged by it too, and a row that states another is named (`disagreements`). Mirrored readouts
are no such fact: they depend on the method's window.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikerec.errors import printable
from spikerec.results.parts import Samples
from spikerec.results.record import Record
from spikerec.results.rows import Row
from spikerec.results.store import Problem

Column = NDArray[Any]  # float64 of a covariate, text of a condition

#: Part of a covariate by which two machines may round it differently.
ROUNDING = 1e-6


class _Stated(NamedTuple):
    """A fact as a record states it, its samples in the board's order."""

    record: Record
    column: Column


class Facts(NamedTuple):
    """Facts of the samples.

    Attributes:
        columns: name → a value per sample.
        disagreements: a problem for each row that states something else.
    """

    columns: dict[str, Column]
    disagreements: list[Problem]


def facts_of(rows: Iterable[Row], keys: Sequence[str]) -> Facts:
    """Take the facts of samples from all rows.

    Args:
        rows: of one board, loaded; those that count first, first.
        keys: of the samples, in the board's order.
    """
    stated: dict[str, list[_Stated]] = {}
    for row in rows:
        if record := row.aspects.get("facts"):
            for name, column in _columns(record.samples, keys).items():
                stated.setdefault(name, []).append(_Stated(record, column))
    chosen = {name: _most_stated(several) for name, several in stated.items()}
    problems = [
        Problem(one.record.file_name, _disagreement(name, one, chosen[name], place, keys[place]))
        for name, several in stated.items()
        for one in several
        for place in _first_difference(one.column, chosen[name].column)
    ]
    return Facts({name: one.column for name, one in chosen.items()}, problems)


def mirrored_of(row: Row, keys: Sequence[str]) -> dict[str, Column]:
    """`mirrored` → the mirrored readouts of a row's samples; empty where they are not known."""
    record = row.aspects.get("mirrored")
    if record is None:
        return {}
    counts = np.array(record.samples.mirrored, dtype=np.float64)
    return {"mirrored": counts[_order(record.samples, keys)]}


def _columns(samples: Samples, keys: Sequence[str]) -> dict[str, Column]:
    order = _order(samples, keys)
    # As objects, since an array of text takes for each label the room of the longest.
    texts = {name: np.array(labels, dtype=object) for name, labels in samples.conditions.items()}
    return {name: column[order] for name, column in (samples.covariates | texts).items()}


def _order(samples: Samples, keys: Sequence[str]) -> list[int]:
    place = {key: i for i, key in enumerate(samples.keys)}
    return [place[key] for key in keys]


def _most_stated(several: Sequence[_Stated]) -> _Stated:
    """One of those of the most frequent content; the first of equals."""
    contents = [
        one.column.tobytes() if one.column.dtype.kind == "f" else tuple(one.column)
        for one in several
    ]
    counts = Counter(contents)
    return max(zip(several, contents, strict=True), key=lambda pair: counts[pair[1]])[0]


def _first_difference(one: Column, other: Column) -> Iterator[int]:
    """The first sample in which two columns differ, if there is one."""
    if one.dtype != other.dtype:  # a covariate and a condition of one name
        yield 0
    elif one.dtype.kind == "f":
        yield from np.flatnonzero(~np.isclose(one, other, rtol=ROUNDING, equal_nan=True))[:1]
    else:
        yield from np.flatnonzero(one != other)[:1]


def _disagreement(name: str, own: _Stated, chosen: _Stated, place: int, key: str) -> str:
    values = (printable(f"{one.column[place]}") for one in (own, chosen))
    return printable(
        f"{own.record.file_name}: of sample {key} it states {name} {next(values)}, and "
        f"{chosen.record.file_name} {next(values)}. The board draws its quality against what most "
        "rows state; evaluate again what is out of date, or name the changed set."
    )
