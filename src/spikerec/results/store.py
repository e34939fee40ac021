"""The results store: a folder of records, and pandas frames over them.

The folder may be copied, committed or merged with another: a record's name holds its content's
hash, so files of one name are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from spikerec.errors import ResultsError, printable
from spikerec.kinds import checked
from spikerec.results.fields import YEARS
from spikerec.results.reading import read_record
from spikerec.results.record import Record, file_word

_FACTS = ("record", "method", "label", "dataset", "split", "protocol", "created")


class Problem(NamedTuple):
    """A record that is left out.

    Attributes:
        name: its file.
        reason: one line saying why, and what to do.
    """

    name: str
    reason: str


class Reading(NamedTuple):
    """The records of a folder, oldest first, and the files that could not be used."""

    records: list[Record]
    problems: list[Problem]


@checked
class Store:
    """A folder of records.

    Args:
        folder: where the JSON files are; created by the first `write`.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    @checked
    def write(self, record: Record) -> Path:
        """Add a record, atomically (see `Record.write`)."""
        return record.write(self.folder)

    @checked
    def now(self, method: str, dataset: str) -> str:
        """Return the time for a new record: the clock's, or just after the newest one here.

        The newest record of a row is shown, so that a clock which was set back must not make an
        older one the newest.

        Args:
            method: of the new record.
            dataset: of the new record.
        """
        names = self.folder.glob(f"{file_word(method)}-{file_word(dataset)}-*.json")
        times = [_time(path.name) for path in names]
        newest = [time + timedelta(microseconds=1) for time in times if time]
        return max([datetime.now(UTC), *newest]).isoformat()

    def scan(self) -> Iterator[Record | Problem]:
        """Read every file in turn: see `scan`."""
        return scan([self.folder])

    def read_all(self) -> Reading:
        """Every record at once (see `scan`)."""
        records: list[Record] = []
        problems: list[Problem] = []
        for item in self.scan():
            if isinstance(item, Record):
                records.append(item)
            else:
                problems.append(item)
        return Reading(sorted(records, key=lambda record: record.id), problems)

    def frame(self) -> pd.DataFrame:
        """All values of all readable records (see `long_frame`)."""
        return long_frame(self.read_all().records)

    def summary(self) -> pd.DataFrame:
        """The means of all readable records (see `summary_frame`)."""
        return summary_frame(self.read_all().records)


@checked
def scan(folders: Sequence[Path | str]) -> Iterator[Record | Problem]:
    """Read every file of some folders in turn, in the order of names; a record's copies count once.

    Holds one record at a time, so that a folder may be larger than memory. Whatever is wrong with
    a file, the others are read.

    Raises:
        ResultsError: a folder is not there.
    """
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise ResultsError(
                f"results: {folder} is not a folder. `spikerec evaluate` writes records there."
            )
    seen = set()
    for folder in map(Path, folders):
        for path in sorted(folder.glob("[!.]*.json")):  # .NAME is being written
            name = printable(str(path) if len(folders) > 1 else path.name)
            try:
                record = read_record(path)
            except ResultsError as error:
                reason = printable(str(error)).removeprefix(printable(str(path)))
                yield Problem(name, f"{name}{reason}")
                continue
            if record.id not in seen:
                seen.add(record.id)
                yield record


def _time(name: str) -> datetime | None:
    """The time in a record's file name, METHOD-DATASET-PROTOCOL-TIME-HASH.json."""
    parts = name.split("-")
    try:
        time = datetime.strptime(parts[-2], "%Y%m%dT%H%M%S%f").replace(tzinfo=UTC)
    except (ValueError, IndexError):
        return None
    return time if time.year in YEARS else None


@checked
def long_frame(records: Sequence[Record]) -> pd.DataFrame:
    """One row per record, metric and sample.

    Columns: record, method, label, dataset, split, protocol, created, metric, sample, value (NaN
    where there is none). All but `value` are categories, so that millions of rows stay small.
    """
    blocks = [(record, metric) for record in records for metric in record.samples.values]
    lengths = [len(record.samples.keys) for record, _ in blocks]
    columns: dict[str, object] = {}
    for position, fact in enumerate((*_FACTS, "metric")):
        texts = [(*_facts(record), metric)[position] for record, metric in blocks]
        codes, categories = pd.factorize(np.array(texts, dtype=object))
        columns[fact] = pd.Categorical.from_codes(
            np.repeat(codes, lengths), categories=pd.Index(categories)
        )
    columns["sample"] = pd.Categorical([key for record, _ in blocks for key in record.samples.keys])
    values = [record.column(metric) for record, metric in blocks]
    columns["value"] = np.concatenate(values) if values else np.empty(0)
    return pd.DataFrame(columns)


@checked
def summary_frame(records: Sequence[Record]) -> pd.DataFrame:
    """One row per record: its facts, `samples` (how many), and the mean of each metric."""
    rows = [
        dict(zip(_FACTS, _facts(record), strict=True))
        | {"samples": len(record.samples.keys)}
        | {metric: record.mean(metric) for metric in record.samples.values}
        for record in records
    ]
    return pd.DataFrame(rows, columns=None if rows else [*_FACTS, "samples"])


def _facts(record: Record) -> tuple[str, ...]:
    return (
        record.id,
        record.method,
        record.label,
        record.dataset.name,
        record.dataset.split,
        record.protocol.name,
        record.created,
    )
