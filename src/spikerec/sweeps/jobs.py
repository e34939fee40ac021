"""One job of a sweep: its overrides, its folder, and what became of it.

A job's folder is that of the run it is (`spikerec.training.runs`), so the same run in another
sweep, or on its own, is the same folder. Beside the run's files it may hold

FOLDER/failed.json   the error of the last attempt; removed when an attempt succeeds. Beside a
                     finished run: this job was refused, as the folder holds another's result
FOLDER/pruned.json   that a search ended the training early
"""

from __future__ import annotations

import csv
import json
import math
import traceback
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from spikerec.errors import one_line
from spikerec.parsing import RUN_DOCUMENT, read_json
from spikerec.spikes.files import atomic_path
from spikerec.training.runs import Run

Outcome = Literal["finished", "pruned", "failed", "unfinished"]

FAILED = "failed.json"
PRUNED = "pruned.json"

#: Largest relative difference between a logged score and the reported one that is the same score.
ROUNDING = 1e-5


@dataclass(frozen=True)
class Job:
    """A job as a sweep starts it.

    Attributes:
        overrides: its `key=value` words.
        folder: of its run.
    """

    overrides: tuple[str, ...]
    folder: Path

    @cached_property
    def settings(self) -> dict[str, str]:
        """Key → value of the overrides."""
        pairs = (word.lstrip("+").split("=", 1) for word in self.overrides if "=" in word)
        return dict(pairs)

    def outcome(self) -> Outcome:
        """State of the job."""
        if (self.folder / FAILED).exists():  # whatever an earlier run left beside it
            return "failed"
        if (self.folder / PRUNED).exists():
            return "pruned"
        if Run(self.folder).finished() is not None:
            return "finished"
        return "failed" if (self.folder / "finished.json").exists() else "unfinished"

    def error(self) -> str:
        """Kind and message of its last error; empty where there is none."""
        try:
            content = read_json(self.folder / FAILED, RUN_DOCUMENT)
            return str(content["error"])
        except FileNotFoundError:
            if (self.folder / "finished.json").exists() and Run(self.folder).finished() is None:
                return "finished.json is damaged, or its score is no finite number"
            return ""
        except (OSError, ValueError, KeyError, TypeError):
            return f"{FAILED} cannot be read"

    def scores(self) -> dict[str, float]:
        """Validation metric → value at the best epoch, if finite; empty unless it is finished.

        The CSV log has every metric of that epoch; without that log only the one that was monitored
        is known.
        """
        report = self._report()
        if report.get("best") is None:
            return {}
        best, monitor = float(report["best"]), str(report.get("monitor"))
        return self._logged(monitor, best) or {monitor.removeprefix("val/"): best}

    def tests(self) -> dict[str, float]:
        """`test/SET/METRIC` → mean of a test; empty unless it is finished and was tested."""
        return Run(self.folder).tests() if self.outcome() == "finished" else {}

    def _report(self) -> dict[str, Any]:
        """Return its run's report; empty if the last attempt failed: it may be another's."""
        return {} if (self.folder / FAILED).exists() else Run(self.folder).finished() or {}

    def _logged(self, monitor: str, best: float) -> dict[str, float]:
        path = self.folder / "metrics.csv"
        if not path.is_file():
            return {}
        with (
            suppress(csv.Error, ValueError),  # a damaged log: then the best value alone is known
            path.open(encoding="utf-8", newline="") as file,
        ):
            for row in csv.DictReader(file):
                value = row.get(monitor) if None not in row else None  # None: too many cells
                if value and math.isclose(float(value), best, rel_tol=ROUNDING):
                    return {
                        key.removeprefix("val/"): float(figure)
                        for key, figure in row.items()
                        if key.startswith("val/") and key.count("/") == 1 and figure
                        if math.isfinite(float(figure))
                    }
        return {}

    def cost(self) -> dict[str, int]:
        """`params` and `macs` of its network, as its run reported them; empty where it did not."""
        report = self._report()
        stated = {"params": report.get("parameters"), "macs": report.get("macs")}
        return {name: value for name, value in stated.items() if isinstance(value, int)}


def record_failure(folder: Path, error: BaseException) -> None:
    """Keep why a job failed, in its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "error": one_line(error),
        "trace": traceback.format_exception(error),
    }
    with atomic_path(folder / FAILED) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def clear_failure(folder: Path) -> None:
    """Forget an earlier failure of a job that has now succeeded."""
    (folder / FAILED).unlink(missing_ok=True)
