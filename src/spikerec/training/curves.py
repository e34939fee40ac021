"""The curves of a run as a CSV file, one row a step, that go on when the run does."""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from spikerec.kinds import checked
from spikerec.spikes.files import atomic_path, sync


@checked
class CurveLog(Logger):
    """Writes RUN/metrics.csv: `step`, then a column for each quantity ever logged.

    Rows are appended, and only those that wait for that are in memory. A continued run goes on
    where its checkpoint was written: rows from that step on are taken off the file's end, and what
    is computed a second time replaces the earlier one. So the file of a killed run ends
    as that of one never killed. (Lightning's own logger deletes what it finds.)

    Args:
        path: the file.
        flush_every: rows between two writings.
    """

    def __init__(self, path: str | Path, flush_every: int = 20) -> None:
        super().__init__()
        self.path = Path(path)
        self.flush_every = flush_every
        self._waiting: dict[int, dict[str, str]] = {}
        self._columns: list[str] | None = None  # those of the file; None until it is looked at
        self._end = -1  # the last step in the file

    @property
    def name(self) -> str:
        """Lightning asks for one."""
        return "curves"

    @property
    def version(self) -> str:
        """Lightning asks for one."""
        return ""

    @property
    def save_dir(self) -> str:
        """The run's folder."""
        return str(self.path.parent)

    def log_hyperparams(
        self,
        params: dict[str, Any] | argparse.Namespace,
        *args: Any,  # noqa: ANN401 (Lightning's signature)
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        """Do nothing: RUN/config.yaml holds the configuration."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add quantities to a step's row."""
        assert step is not None
        if self._columns is None:
            self._columns = self._open()
        if step <= self._end:
            self._take_back(step)
        new = {name: repr(float(value)) for name, value in metrics.items()}
        self._waiting.setdefault(step, {}).update(new)
        if len(self._waiting) > self.flush_every:
            self._append(sorted(self._waiting)[:-1])  # the newest row may still grow

    @rank_zero_only
    def save(self) -> None:
        """Write what waits, and have it on the disk."""
        if self._waiting:
            self._append(sorted(self._waiting))
            sync(self.path)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write what waits."""
        del status
        self.save()

    def _open(self) -> list[str]:
        """The file's columns, once a line that a kill cut short is gone."""
        if not self.path.is_file():
            return []
        self._end = _truncate(self.path, None)
        with self.path.open(newline="", encoding="utf-8", errors="replace") as file:
            return [name for name in next(csv.reader(file), []) if name != "step"]

    def _take_back(self, step: int) -> None:
        """Move the file's rows from a step on back among those that wait."""
        rows = read_rows(self.path, since=step)
        self._waiting = {**rows, **self._waiting}
        self._end = _truncate(self.path, step)

    def _append(self, steps: list[int]) -> None:
        rows = {step: self._waiting.pop(step) for step in steps}
        assert self._columns is not None
        new = dict.fromkeys(name for row in rows.values() for name in row)
        if added := [name for name in new if name not in self._columns]:
            self._columns = self._columns + added
            self._widen()
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["step", *self._columns], restval="")
            writer.writerows({"step": str(step), **row} for step, row in rows.items())
        self._end = max(self._end, *rows)

    def _widen(self) -> None:
        """Write the file anew with the present columns, a few times in a run's life."""
        assert self._columns is not None
        with (
            atomic_path(self.path) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, ["step", *self._columns], restval="")
            writer.writeheader()
            for row in _lines(self.path):
                writer.writerow(row)


def read_rows(path: str | Path, since: int = -1) -> dict[int, dict[str, str]]:
    """Step → quantity → value of a file of curves; empty where there is none.

    A last line that a kill cut short is left out.

    Args:
        path: the file.
        since: the first step to read.
    """
    rows: dict[int, dict[str, str]] = {}
    for row in _lines(Path(path)):
        step = int(row.pop("step"))
        if step >= since:
            rows[step] = {name: value for name, value in row.items() if value}
    return rows


_STEP = re.compile("[0-9]{1,18}")


def _lines(path: Path) -> Iterator[dict[str, str]]:
    """The rows that were written whole, with their step."""
    if not path.is_file():
        return
    with (
        suppress(csv.Error),  # the rest is damaged
        path.open(newline="", encoding="utf-8", errors="replace") as file,
    ):
        whole = (line for line in file if line.endswith("\n"))
        for row in csv.DictReader(whole):
            if (
                None not in row
                and None not in row.values()
                and _STEP.fullmatch(row.get("step", ""))
            ):
                yield row


def _truncate(path: Path, step: int | None) -> int:
    """Cut off the rows from a step on, and a line that was not written whole; the last step left.

    Args:
        path: the file.
        step: the first step to cut off; None for no whole line.
    """
    end, last = 0, -1
    with path.open("rb+") as file:
        for line in iter(file.readline, b""):
            text = line.partition(b",")[0].strip()
            number = int(text) if text.isdigit() else None
            if not line.endswith(b"\n") or (
                step is not None and number is not None and number >= step
            ):
                break
            end, last = end + len(line), last if number is None else number
        file.truncate(end)
    return last
