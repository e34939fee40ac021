"""Reasons why records of the folds of a deal are no cross-validation of one method."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping
from typing import Any

from spikerec.errors import printable
from spikerec.results.record import Record

#: Fold → its record.
Folds = Mapping[int, Record]

#: Facts of a training that are alike in all folds of a recipe.
FACTS = ("batch", "crop", "sequence", "precision", "parameters")

#: A digest of all settings, which records of before do not state.
RECIPE = "recipe"

#: Parts of the configuration of a training that records made by `train test=true` hold.
PARTS = ("loss", "optimizer", "scheduler")

#: Ratio of samples seen that folds of unequal size, or trainings that stop early, may differ by.
MOST_RATIO = 2


def contradiction(folds: Folds, contents: Mapping[int, str]) -> str:
    """The first reason why the records must not be shown as one mean; empty where there is none.

    Args:
        folds: a record of each fold.
        contents: fold → digest of its data, by all records of the deal.
    """
    return (
        _other_data(folds, contents)
        or _seen(folds)
        or _mixed_weights(folds)
        or _mixed_recipes(folds)
        or _mixed_settings(folds)
    )


def _other_data(folds: Folds, contents: Mapping[int, str]) -> str:
    for number, record in folds.items():
        if record.dataset.digest != contents[number]:
            return (
                f"fold {number} was evaluated on other data ({record.dataset.digest[:12]}, "
                f"{record.file_name}) than this fold of the other records "
                f"({contents[number][:12]}). Evaluate it again, from the same file of folds."
            )
    if alike := _alike(folds, lambda record: record.dataset.digest):
        return f"{listed(alike)} are of the same data: the folds of a deal share no scene."
    return ""


def _seen(folds: Folds) -> str:
    """Folds whose networks were trained on the same scenes of the set: all but one saw their own.

    A training states a fingerprint of its data, which is another one for each fold that is held
    out; a record of before states the names of its sets alone, and then equal weights count.
    """
    name = next(iter(folds.values())).dataset.name

    def trained_with(record: Record) -> Hashable:
        data = record.training.get("data")
        if isinstance(data, Mapping):
            return str(data[name]) if name in data else None
        return record.weights.digest if isinstance(data, list) and name in data else None

    alike = _alike(folds, trained_with)
    if not alike:
        return ""
    return (
        f"{listed(alike)} were judged by weights that were trained on the same scenes of "
        f"{printable(name)} ({_sources({number: folds[number] for number in alike})}), so that "
        "some were judged on scenes seen in training. Judge each fold by the network that was "
        "trained with it held out."
    )


def _mixed_weights(folds: Folds) -> str:
    digests = {record.weights.digest for record in folds.values()}
    alike = _alike(folds, lambda record: record.weights.digest) if len(digests) > 1 else []
    if not alike:
        return ""
    return (
        f"{listed(alike)} are of the same weights, and the others are not ({_sources(folds)}). "
        "Evaluate every fold with a network of its own, or all with the same one."
    )


def _mixed_recipes(folds: Folds) -> str:
    if len({record.weights.digest for record in folds.values()}) == 1:
        return ""
    trainings = {number: _training(record) for number, record in folds.items()}
    keys = dict.fromkeys(key for facts in trainings.values() for key in facts)
    every = all(RECIPE in facts for facts in trainings.values())
    compared = [key for key in keys if every or key != RECIPE]
    differing = [
        key
        for key in compared
        if len({facts[key] for facts in trainings.values() if key in facts}) > 1
    ]
    if not every and _differ_in_length(folds):
        differing.append("samples")
    if len({bool(facts) for facts in trainings.values()}) > 1:
        differing.append("what is known of it")
    if not differing:
        return ""
    samples = ", ".join(f"fold {n}: {r.training.get('samples', '?')}" for n, r in folds.items())
    return (
        f"the folds were trained by different recipes, which differ in {', '.join(differing)} "
        f"(samples seen: {printable(samples)[:200]}; {_sources(folds)}). Train all folds by one "
        "command, or give each recipe a label=… of its own."
    )


def _training(record: Record) -> dict[str, str]:
    """The facts that the trainings of all folds share, as text."""
    training, data = record.training, record.training.get("data")
    facts: dict[str, Any] = {key: training[key] for key in (*FACTS, RECIPE) if key in training}
    if isinstance(data, Mapping | list):
        facts["data"] = sorted(map(str, data))
    facts |= {key: record.config[key] for key in PARTS if key in record.config}
    return {key: json.dumps(value, sort_keys=True, default=str) for key, value in facts.items()}


def _differ_in_length(folds: Folds) -> bool:
    """True if some networks saw far more samples than others."""
    seen = [record.training.get("samples") for record in folds.values()]
    known = [one for one in seen if isinstance(one, int | float)]
    return bool(known) and max(known) > MOST_RATIO * min(known)


def _mixed_settings(folds: Folds) -> str:
    margins = {n: r.dataset.margin for n, r in folds.items() if r.dataset.margin is not None}
    if len(set(margins.values())) > 1:
        told = ", ".join(f"fold {number}: {margin}" for number, margin in margins.items())
        return (
            f"the folds were evaluated with different margins ({told}), so that their samples are "
            "not those of the deal. Evaluate them again with one margin."
        )
    if len({record.dataset.has_target for record in folds.values()}) > 1:
        return "some folds have true images, and others have none. Evaluate them again."
    return ""


def _alike(folds: Folds, fact: Callable[[Record], Hashable]) -> list[int]:
    """The first folds that share a fact; none where each has one of its own, or none is known."""
    numbers: dict[Hashable, list[int]] = defaultdict(list)
    for number, record in folds.items():
        numbers[fact(record)].append(number)
    numbers.pop(None, None)
    return next((several for several in numbers.values() if len(several) > 1), [])


def listed(numbers: list[int]) -> str:
    """`fold 2`, `folds 1, 3`."""
    return f"fold{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def _sources(folds: Folds) -> str:
    """The folders that the weights are from, each once."""
    names = dict.fromkeys(printable(r.weights.source)[:60] or "unknown" for r in folds.values())
    return f"from {', '.join(list(names)[:5])}{' …' if len(names) > 5 else ''}"
