"""Evaluations of the folds of a cross-validation, merged into one for the board.

Each fold's record holds the samples of the scenes that its network never saw. Together they hold
every sample of the set once, so that the mean over all of them is the mean over the folds, each
weighed by its samples. A mean is shown only where all folds are there and are of one recipe, each
judged on scenes that its network never saw (`spikerec.results.deals`); anything else is reported.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import cached_property
from typing import Annotated, Any, NamedTuple, TypeVar

import numpy as np
from pydantic import SkipValidation

from spikerec.data.bounds import MOST_FOLDS
from spikerec.errors import ResultsError
from spikerec.results.deals import contradiction, listed
from spikerec.results.fields import part
from spikerec.results.parts import Curves, DatasetInfo, Samples, WeightsInfo
from spikerec.results.record import Record
from spikerec.results.store import Problem

T = TypeVar("T")

#: Key of a record's configuration under which its fold stands.
KEY = "cross_validation"

#: Fold → weights' digest → the newest record of them.
ByFold = dict[int, dict[str | None, Record]]


class Fold(NamedTuple):
    """The fold of a cross-validation that was held out and evaluated.

    Attributes:
        number: of the fold, from 1.
        total: how many folds there are.
        digest: of the deal of the scenes (`spikerec.data.folds`).
    """

    number: int
    total: int
    digest: str


def with_fold(config: Mapping[str, Any], fold: Fold) -> dict[str, Any]:
    """A record's configuration that states its fold."""
    return {**config, KEY: fold._asdict()}


def fold_of(record: Record) -> Fold | None:
    """The fold that a record is of; None for a set's own split, or where none can be understood."""
    stated = record.config.get(KEY)
    if not isinstance(stated, Mapping) or set(stated) != set(Fold._fields):
        return None
    number, total, digest = (stated[name] for name in Fold._fields)
    if type(number) is not int or type(total) is not int or not isinstance(digest, str):
        return None
    return Fold(number, total, digest) if 1 <= number <= total <= MOST_FOLDS else None


def merge_folds(items: Iterable[Record | Problem]) -> Iterator[Record | Problem]:
    """Replace the records of folds by one record for each method whose folds are all there.

    Args:
        items: records and problems, in any order; read once.

    Yields:
        The items that are of no fold, as they come; then the merged records, and a problem for each
        method that lacks a fold, has two sets of weights in one, or contradicts itself
        (`spikerec.results.deals.contradiction`).
    """
    groups: dict[Hashable, ByFold] = defaultdict(dict)
    contents: dict[str, dict[int, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for item in items:
        fold = None if isinstance(item, Problem) else fold_of(item)
        if isinstance(item, Problem) or fold is None:
            yield item
            continue
        contents[fold.digest][fold.number][item.dataset.digest] += 1
        kept = groups[_group(item, fold)].setdefault(fold.number, {})
        known = kept.get(item.weights.digest)
        if known is None or (known.created, known.id) < (item.created, item.id):
            kept[item.weights.digest] = item
    usual = {
        deal: {number: counts.most_common(1)[0][0] for number, counts in by_fold.items()}
        for deal, by_fold in contents.items()
    }
    for folds in groups.values():
        yield _merged_or_why_not(folds, usual)


def _group(record: Record, fold: Fold) -> Hashable:
    """The facts that merged records share: all but the fold and the weights."""
    return (
        *(record.dataset.name, record.dataset.split),
        *(fold.digest, fold.total),
        *(record.method, record.label, record.protocol.digest),
        json.dumps(record.config.get("model"), sort_keys=True, default=str),
        *(record.carry, record.engine, record.precision),
    )


def _merged_or_why_not(
    folds: ByFold, contents: Mapping[str, Mapping[int, str]]
) -> Record | Problem:
    records = [next(iter(folds[number].values())) for number in sorted(folds)]
    one = records[-1]
    fold = fold_of(one)
    assert fold is not None
    method = f"{one.label} on the folds of {one.dataset.name} by {one.protocol.name}"
    for number, several in sorted(folds.items()):
        if len(several) > 1:
            files = " and ".join(record.file_name for record in several.values())
            return Problem(
                one.file_name,
                f"{method}: fold {number} has {len(several)} sets of weights ({files}), and "
                "nothing says which of them belong to the other folds. Evaluate each recipe "
                "with a label=… of its own, or move one away.",
            )
    by_number = dict(zip(sorted(folds), records, strict=True))
    if reason := contradiction(by_number, contents[fold.digest]):
        return Problem(one.file_name, f"{method}: {reason}")
    if missing := [number for number in range(1, fold.total + 1) if number not in folds]:
        return Problem(
            one.file_name,
            f"{method}: {listed(missing)} of {fold.total} not evaluated, and the mean needs all. "
            "Evaluate what is missing, from the same file of folds.",
        )
    try:
        return merged(records)
    except ResultsError as error:  # folds that overlap, or more samples than a record holds
        return Problem(one.file_name, f"{method}: {error}")


class OneFold(NamedTuple):
    """The record of a fold, in brief.

    Attributes:
        id: the record's.
        file_name: its name in the store.
        weights: those that were evaluated.
    """

    id: str
    file_name: str
    weights: WeightsInfo


@part(is_large=True)
class CrossValidated(Record):
    """The evaluations of all folds as one, to be shown on a board; it is written to no file.

    Attributes:
        folds: the records that it is made of, in the order of the folds.
    """

    folds: Annotated[tuple[OneFold, ...], SkipValidation] = ()

    @cached_property
    def id(self) -> str:
        """The ids of the records of all folds."""
        return " ".join(fold.id for fold in self.folds)

    @property
    def file_name(self) -> str:
        """The names of the files of all folds."""
        return " ".join(fold.file_name for fold in self.folds)

    @property
    def trainings(self) -> list[str]:
        """The folders that the weights of the folds are from; one where all are the same."""
        sources = {fold.weights.digest: fold.weights.source for fold in self.folds}
        return list(sources.values())


def weights_digests(record: Record) -> str | None:
    """The digest of a record's weights; those of all folds where they differ; None for none."""
    if not isinstance(record, CrossValidated):
        return record.weights.digest
    known = dict.fromkeys(fold.weights.digest for fold in record.folds)
    return " ".join(digest for digest in known if digest) or None


def merged(records: Sequence[Record]) -> CrossValidated:
    """One record of the samples of all folds; what else it states is the newest record's.

    Its data are the deal of the folds, so that folds of different files never share a board. Its
    weights and its training are those of all folds.

    Args:
        records: one of each fold, in their order.

    Raises:
        ResultsError: a sample is in two folds, or there are more samples than a record holds.
    """
    newest = max(records, key=lambda record: (record.created, record.id))
    fold = fold_of(newest)
    assert fold is not None
    split = "" if newest.dataset.split == "test" else f", {newest.dataset.split}"
    samples = _joined([record.samples for record in records])
    dataset = DatasetInfo(
        name=newest.dataset.name,
        split=f"{fold.total} folds{split}",
        digest=fold.digest,
        num_samples=len(samples.keys),
        has_target=newest.dataset.has_target,
        light_scale=_shared([record.dataset.light_scale for record in records]),
        margin=_shared([record.dataset.margin for record in records]),
    )
    reasons: dict[str, str] = {}
    for record in records:
        reasons |= record.undefined
    digests = list(dict.fromkeys(record.weights.digest for record in records))
    facts = {one.name: getattr(newest, one.name) for one in fields(newest)}
    if len(digests) > 1:  # a row is known by its weights: those of all folds together
        together = hashlib.sha256(" ".join(map(str, digests)).encode()).hexdigest()
        facts["weights"] = replace(newest.weights, digest=together)
        facts["training"] = _trainings([record.training for record in records])
    return CrossValidated(
        **facts
        | {
            "dataset": dataset,
            "samples": samples,
            "curves": _joined_curves([record.curves for record in records]),
            "undefined": {name: why for name, why in reasons.items() if name in samples.values},
            "unavailable": {
                name: why for name, why in newest.unavailable.items() if name not in samples.values
            },
            "config": {
                **{key: value for key, value in newest.config.items() if key != KEY},
                "folds": [record.file_name for record in records],
            },
            "images": {},
            "path": None,
        },
        folds=tuple(OneFold(one.id, one.file_name, one.weights) for one in records),
    )


def _trainings(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The facts that all trainings share, and the samples and seconds of all together."""
    first = parts[0]
    shared = {key: value for key, value in first.items() if all(p.get(key) == value for p in parts)}
    if all(isinstance(part.get("data"), Mapping) for part in parts):
        shared["data"] = list(first["data"])  # a recipe's; their fingerprints are those of a fold
    for key in ("samples", "seconds"):
        values = [part.get(key) for part in parts]
        numbers = [one for one in values if isinstance(one, int | float)]
        shared[key] = sum(numbers) if len(numbers) == len(values) else None
    return shared


def _joined(parts: Sequence[Samples]) -> Samples:
    """The samples of all parts, with what all of them state."""
    return Samples(
        keys=tuple(key for part in parts for key in part.keys),
        values=_columns([part.values for part in parts]),
        higher_is_better={
            name: better
            for name, better in parts[0].higher_is_better.items()
            if all(name in part.values for part in parts)
        },
        mirrored=(
            None
            if any(part.mirrored is None for part in parts)
            else tuple(count for part in parts for count in part.mirrored or ())
        ),
        covariates=_columns([part.covariates for part in parts]),
        conditions={
            name: tuple(label for part in parts for label in part.conditions[name])
            for name in parts[0].conditions
            if all(name in part.conditions for part in parts)
        },
    )


def _joined_curves(parts: Sequence[Curves | None]) -> Curves | None:
    """The curves of the clips of all parts; None where a part has none."""
    given = [part for part in parts if part is not None]
    if len(given) < len(parts):
        return None
    metrics = [name for name in given[0].values if all(name in part.values for part in given)]
    return Curves(
        readouts={clip: at for part in given for clip, at in part.readouts.items()},
        values={
            name: {clip: curve for part in given for clip, curve in part.values[name].items()}
            for name in metrics
        },
    )


def _columns(parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The columns that all parts have, one part after another."""
    first, *others = parts
    return {
        name: np.concatenate([part[name] for part in parts])
        for name in first
        if all(name in part for part in others)
    }


def _shared(values: Sequence[T]) -> T | None:
    """The value, if all are the same."""
    return values[0] if all(value == values[0] for value in values) else None
