"""The curves of a run as a CSV file, one row a step, that go on when the run does."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from spikerec.spikes.files import atomic_path


class CurveLog(Logger):
    """Writes RUN/metrics.csv: `step`, then a column for each quantity ever logged.

    A continued run reads its rows back. What it computes a second time takes the place of what
    stood there, so that the file of a killed run ends as that of one never killed. (Lightning's
    own logger deletes what it finds.)

    Args:
        path: the file.
        flush_every: rows between two writings.
    """

    def __init__(self, path: str | Path, flush_every: int) -> None:
        super().__init__()
        self.path = Path(path)
        self.flush_every = flush_every
        self._rows: dict[int, dict[str, str]] = read_rows(self.path)
        self._columns = {name: None for row in self._rows.values() for name in row}
        self._waiting: set[int] = set()
        self._end = max(self._rows, default=-1)  # the last step on disk
        self._rewrite = True  # a line cut short must go

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
        """The configuration stands in RUN/config.yaml."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add quantities to a step's row."""
        assert step is not None
        new = {name: repr(float(value)) for name, value in metrics.items()}
        self._rewrite |= step <= self._end or not new.keys() <= self._columns.keys()
        self._columns |= dict.fromkeys(new)
        self._rows.setdefault(step, {}).update(new)
        self._waiting.add(step)
        if len(self._waiting) >= self.flush_every:
            self.save()

    @rank_zero_only
    def save(self) -> None:
        """Write what waits: at the file's end where it can be, else the whole file anew."""
        if not self._waiting:
            return
        if self._rewrite:
            with atomic_path(self.path) as temporary:
                self._append(temporary, sorted(self._rows), header=True)
        else:
            self._append(self.path, sorted(self._waiting), header=False)
        self._end = max(self._rows)
        self._waiting, self._rewrite = set(), False

    def _append(self, path: Path, steps: list[int], *, header: bool) -> None:
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["step", *self._columns], restval="")
            if header:
                writer.writeheader()
            writer.writerows({"step": str(step), **self._rows[step]} for step in steps)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write what waits."""
        del status
        self.save()


def read_rows(path: str | Path) -> dict[int, dict[str, str]]:
    """Step → quantity → value of a file of curves; empty where there is none.

    A last line that a kill cut short is left out.
    """
    path = Path(path)
    if not path.exists():
        return {}
    rows: dict[int, dict[str, str]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if None not in row.values():  # the line was written whole
                step = int(row.pop("step"))
                rows[step] = {name: value for name, value in row.items() if value}
    return rows
