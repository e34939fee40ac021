"""A run's folder: named by what it runs, continued when unfinished, left alone when finished.

FOLDER/config.yaml             the resolved configuration
FOLDER/checkpoints/best.ckpt   best validation score
FOLDER/checkpoints/last.ckpt   where to continue
FOLDER/metrics.csv             the curves
FOLDER/finished.json           written last: figures and paths
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

from spikerec.errors import ConfigError
from spikerec.spikes.files import atomic_path

#: Parts of a configuration that may change between a run and its continuation: where and how it
#: runs, how long, and what it tells.
MAY_CHANGE = (
    *("name", "run", "paths", "logger", "callbacks", "trainer", "debug"),
    *("data.num_workers", "data.sets.*.root"),
)

#: Parts of those that may not: they decide what a step does.
MAY_NOT_CHANGE = (
    *("trainer.precision", "trainer.accumulate_grad_batches", "trainer.limit_train_batches"),
    *("trainer.gradient_clip_val", "trainer.gradient_clip_algorithm", "trainer.sync_batchnorm"),
    "callbacks.ema",
)


class Run:
    """One training run on disk.

    Args:
        folder: the run's own; made where absent.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.checkpoints = self.folder / "checkpoints"

    @property
    def best(self) -> Path:
        """The checkpoint of the best validation score."""
        return self.checkpoints / "best.ckpt"

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self.checkpoints / "last.ckpt"

    def finished(self) -> dict[str, Any] | None:
        """What the finished run reported; None while it is unfinished."""
        path = self.folder / "finished.json"
        if not path.exists():
            return None
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return report

    def budget(self) -> dict[str, Any]:
        """What the finished run cost, for records and weights that leave this machine.

        Steps, seconds, device; no path. Empty while it is unfinished.
        """
        report = self.finished() or {}
        return {key: value for key, value in report.items() if key != "checkpoint"}

    def begin(self, config: Mapping[str, Any]) -> None:
        """Write the configuration, or check that it is the one this folder was begun with.

        Raises:
            ConfigError: the folder was begun with another configuration.
        """
        path = self.folder / "config.yaml"
        if path.exists():
            self._check_same(yaml.safe_load(path.read_text(encoding="utf-8")), config)
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            temporary.write_text(yaml.safe_dump(dict(config), sort_keys=False), encoding="utf-8")

    def _check_same(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        old, new = _flat(before), _flat(now)
        changed = [
            key
            for key in sorted(old.keys() | new.keys())
            if not _may_change(key) and old.get(key) != new.get(key)
        ]
        if changed:
            key = changed[0]
            raise ConfigError(
                f"{self.folder} was begun with {key}={old.get(key)}, found {new.get(key)}"
                f"{f' and {len(changed) - 1} more changes' if changed[1:] else ''}. Give this run "
                "a name of its own (name=…)."
            )

    def finish(self, report: Mapping[str, Any]) -> None:
        """Mark the run finished: the same command will skip it."""
        with atomic_path(self.folder / "finished.json") as temporary:
            temporary.write_text(json.dumps(dict(report), indent=2) + "\n", encoding="utf-8")


def _may_change(key: str) -> bool:
    return _is_part(key, MAY_CHANGE) and not _is_part(key, MAY_NOT_CHANGE)


def _is_part(key: str, parts: Iterable[str]) -> bool:
    return any(fnmatch(key, part) or fnmatch(key, f"{part}.*") for part in parts)


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:  # noqa: ANN401 (any YAML value)
    """Nested mappings as dotted keys."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat |= _flat(item, f"{prefix}.{key}" if prefix else str(key))
    return flat
