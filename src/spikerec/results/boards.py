"""Boards: records that may be compared, because data, samples and protocol are the same.

Figures share a board only if the digest of the data, the light scale, the samples evaluated and the
digest of the protocol agree. Where records of one data set, split and protocol name disagree, the
board is of the variant that most methods were evaluated on, the most recent of equals; the rest is
reported by name and left out. A method's row is its most recent record.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from spikerec.results.record import Record
from spikerec.results.store import Problem

#: Order of the metrics that the field reports; others follow by name.
METRIC_ORDER = ("psnr", "ssim", "lpips", "niqe", "brisque")


class Summary(NamedTuple):
    """The part of a record that a board keeps once a newer one of the same method replaces it.

    Attributes:
        id: the record's.
        file: its name in the store.
        created: when.
        weights: digest of its weights; None for a method without parameters.
        means: metric → mean over the samples.
    """

    id: str
    file: str
    created: str
    weights: str | None
    means: dict[str, float | None]


class BoardName(NamedTuple):
    """What a board is of."""

    dataset: str
    split: str
    protocol: str

    def __str__(self) -> str:
        return f"{self.dataset} ({self.split}) · {self.protocol}"


@dataclass
class Board:
    """Records that may be compared.

    Attributes:
        name: data set, split and protocol.
        records: label → its most recent record; best first by the first metric.
        history: label → summaries of all its records, oldest first.
    """

    name: BoardName
    records: dict[str, Record] = field(default_factory=dict)
    history: dict[str, list[Summary]] = field(default_factory=lambda: defaultdict(list))

    @property
    def metrics(self) -> dict[str, bool]:
        """Metric → whether higher is better, in the field's order; unavailable ones included."""
        directions: dict[str, bool] = {}
        missing: dict[str, bool] = {}
        for record in self.records.values():
            directions.update(record.samples.higher_is_better)
            missing.update(dict.fromkeys(record.unavailable, True))
        return dict(sorted((missing | directions).items(), key=lambda item: _rank(item[0])))

    @property
    def latest(self) -> str:
        """When the newest record was made."""
        return max(record.created for record in self.records.values())

    def add(self, record: Record) -> None:
        """Take a record in; it becomes its label's row if it is the newest."""
        means = {metric: record.mean(metric) for metric in record.samples.values}
        self.history[record.label].append(
            Summary(record.id, record.file_name, record.created, record.weights.digest, means)
        )
        known = self.records.get(record.label)
        if known is None or (record.created, record.id) > (known.created, known.id):
            self.records[record.label] = record

    def sort(self) -> None:
        """Order the rows, best first by the first metric, and each row's history by time."""
        metric, higher = next(iter(self.metrics.items()), ("", True))

        def key(record: Record) -> tuple[float, str]:
            mean = record.mean(metric)
            worst = float("inf")
            return (worst if mean is None else -mean if higher else mean), record.label

        ordered = sorted(self.records.values(), key=key)
        self.records = {record.label: record for record in ordered}
        for summaries in self.history.values():
            summaries.sort()


def gather(items: Iterable[Record | Problem]) -> tuple[list[Board], list[Problem]]:
    """Sort records into boards.

    Args:
        items: what `Store.scan` gives, in any order; read once, and only each row's newest record
            is kept.

    Returns:
        The boards by name, and the problems: those among the items, and the records left out
        because their board is of other data, other samples or another protocol of the same name.
    """
    problems: list[Problem] = []
    variants: dict[BoardName, dict[Hashable, Board]] = defaultdict(dict)
    for item in items:
        if isinstance(item, Problem):
            problems.append(item)
            continue
        name = BoardName(item.dataset.name, item.dataset.split, item.protocol.name)
        variants[name].setdefault(_comparable(item), Board(name)).add(item)
    boards = []
    for name in sorted(variants):
        chosen, *others = sorted(
            variants[name].values(), key=lambda board: (-len(board.records), _reverse(board.latest))
        )
        chosen.sort()
        boards.append(chosen)
        for other in others:
            reason = _difference(other, chosen)
            problems += [
                Problem(summary.file, f"{summary.file}: {reason}")
                for summaries in other.history.values()
                for summary in summaries
            ]
    return boards, sorted(problems)


def trim(boards: Iterable[Board], most: int) -> list[Problem]:
    """Keep the best rows of each board, and report the others by name.

    Args:
        boards: changed in place; sorted, as `gather` gives them.
        most: rows a board may have.
    """
    problems = []
    for board in boards:
        for label in list(board.records)[most:]:
            record = board.records.pop(label)
            problems.append(
                Problem(
                    record.file_name,
                    f"{record.file_name}: {label} is not among the {most} best of {board.name}. "
                    "Raise rows to show it.",
                )
            )
    return problems


def _comparable(record: Record) -> Hashable:
    """What must be equal for figures to be compared."""
    return (
        record.dataset.digest,
        record.dataset.light_scale,
        record.protocol.digest,
        frozenset(record.samples.keys),
    )


def _difference(other: Board, chosen: Board) -> str:
    """Why the records of a board cannot join the chosen one."""
    one, two = next(iter(other.records.values())), next(iter(chosen.records.values()))
    if one.dataset.digest != two.dataset.digest:
        found, expected = one.dataset.digest[:12], two.dataset.digest[:12]
        what = f"data digest is {found}, the board's {expected}"
    elif one.dataset.light_scale != two.dataset.light_scale:
        what = f"light scale is {one.dataset.light_scale}, the board's {two.dataset.light_scale}"
    elif one.protocol.digest != two.protocol.digest:
        found, expected = one.protocol.digest[:12], two.protocol.digest[:12]
        what = f"protocol digest is {found}, the board's {expected}"
    else:
        found, expected = str(len(one.samples.keys)), str(len(two.samples.keys))
        what = f"it was evaluated on other samples ({found}, the board has {expected})"
    return (
        f"left out of {chosen.name}: {what}. Evaluate again on the board's data and protocol, or "
        "keep these records in a folder of their own."
    )


def _rank(metric: str) -> tuple[int, str]:
    known = METRIC_ORDER.index(metric) if metric in METRIC_ORDER else len(METRIC_ORDER)
    return known, metric


def _reverse(text: str) -> tuple[int, ...]:
    """A key that sorts texts of equal length from last to first."""
    return tuple(-ord(character) for character in text)
