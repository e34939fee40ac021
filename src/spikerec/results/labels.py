"""Labels of rows: each has one that no other row has."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping
from itertools import chain
from typing import NamedTuple

from spikerec.errors import printable
from spikerec.results.record import Record


class LabelFacts(NamedTuple):
    """Facts by which a row is named: those of its newest record count."""

    created: str
    id: str
    label: str
    origin: str
    weights: str
    arguments: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, record: Record) -> LabelFacts:
        """The facts that a record states."""
        model = record.config.get("model", {})
        told = record.weights.digest is None and isinstance(model, Mapping)
        arguments = model.items() if told else ()
        plain = (str, int, float, bool)
        return cls(
            record.created,
            record.id,
            printable(record.title).strip() or printable(record.method),
            printable(record.weights.origin),
            printable(record.weights.digest or ""),
            tuple(
                sorted((printable(k), printable(str(v))) for k, v in arguments if type(v) in plain)
            ),
        )

    def details(self, twins: Iterable[LabelFacts]) -> list[str]:
        """Additions that distinguish it from others of its label, the shortest first."""
        if not self.weights:
            alike = set.intersection(*(set(twin.arguments) for twin in twins))
            own = ", ".join(f"{k}={v}" for k, v in self.arguments if (k, v) not in alike)
            return [text for text in (own[:60], self.id[-12:]) if text]
        origin = self.origin or "weights"
        numbered = [f"{origin} {self.weights[:digits]}" for digits in (4, 8, 16, 64)]
        return ([origin] if origin == "shipped" else []) + numbered


def unique_labels(names: Mapping[Hashable, LabelFacts]) -> dict[Hashable, str]:
    """Row → a label that no other row has: its own, with an addition where two rows share it.

    Example: two networks that are both called Fast are `Fast (shipped)` and `Fast (run 3f2a)`.
    """
    by_label: dict[str, list[Hashable]] = defaultdict(list)
    for key in sorted(names, key=lambda key: names[key]):
        by_label[names[key].label].append(key)
    labels = {keys[0]: label for label, keys in by_label.items() if len(keys) == 1}
    taken = set(by_label)
    for label, keys in by_label.items():
        if len(keys) == 1:
            continue
        twins = [names[key] for key in keys]
        choices = {key: names[key].details(twins) for key in keys}
        often = Counter(detail for details in choices.values() for detail in details)
        for key in keys:
            free = (f"{label} ({detail})" for detail in choices[key] if often[detail] == 1)
            spare = (f"{label} ({number})" for number in range(2, len(names) + 2))
            labels[key] = next(text for text in chain(free, spare) if text not in taken)
            taken.add(labels[key])
    return labels
