"""Jobs that were found finished before, and by all that was looked at then still are.

Whether a finished run is the one that a command asks for is decided by the run's identity
(`spikerec.training.identity`), for which the network, the data and a trainer are made: seconds a
job, most of them to import Lightning. What that decision draws on is known without: the composed
configuration, the content of the data, the user's own code, this package, the machine's devices,
and the run's folder. A job whose digest of all these is that of an earlier command, which left the
run finished and without complaint, is settled and need not start. Anything else is looked at again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from spikerec.configs import instantiate
from spikerec.errors import DataError, SpikerecError
from spikerec.parsing import RUN_DOCUMENT, read_json
from spikerec.spikes.files import atomic_path
from spikerec.sweeps.jobs import FAILED, Job

#: The digests of a sweep's settled jobs, by folder.
SETTLED = "settled.json"

#: Settings by which a command does more than train or skip, or reads files that no digest holds.
ASKING = ("overwrite", "replay", "test", "start_from", "find_lr")

#: Environment variables of a job whose other processes run elsewhere.
LAUNCHED_BY = ("WORLD_SIZE", "NODE_RANK", "LOCAL_RANK", "RANK", "SLURM_NTASKS", "SLURM_NODEID")


@dataclass(frozen=True)
class Asked:
    """The run that a command asks for, as far as it is known without making its parts.

    Attributes:
        digest: of settings, data, code, package and devices.
        facts: those of the run's identity that were looked at.
    """

    digest: str
    facts: Mapping[str, str]

    def finished(self, job: Job) -> str | None:
        """Return a digest of what is asked for and of the run that a job left finished.

        None if it did not finish, or states other facts: then the command itself has to look.
        """
        if job.outcome() != "finished" or (job.folder / FAILED).exists():
            return None
        try:
            stored = read_json(job.folder / "identity.json", RUN_DOCUMENT)["facts"]
            report = read_json(job.folder / "finished.json", RUN_DOCUMENT)
        except (DataError, KeyError, TypeError):
            return None
        if not isinstance(stored, dict):
            return None
        if any(stored.get(name) != fact for name, fact in self.facts.items()):
            return None
        return _digest([self.digest, stored, report, _listed(job.folder / "checkpoints", "*.ckpt")])


class Look:
    """One look at what jobs ask for; data that several of them share are read once."""

    def __init__(self) -> None:
        self._data: dict[str, dict[str, str] | None] = {}

    def asked(self, settings: Mapping[str, Any]) -> Asked | None:
        """Return what a composed configuration asks for; None where only the command can say.

        Args:
            settings: plain values.
        """
        from spikerec.own_code import code_facts
        from spikerec.training.identity import settings_of

        sets, trainer = (settings.get("data") or {}).get("sets"), settings.get("trainer") or {}
        if not sets or trainer.get("fast_dev_run") or any(settings.get(key) for key in ASKING):
            return None
        key = _digest([sets])
        if key not in self._data:
            self._data[key] = _data_facts(sets)
        data = self._data[key]
        if data is None:
            return None
        facts = data | code_facts(settings_of(settings))
        return Asked(_digest([settings, facts, _package(), _devices()]), facts)


def _data_facts(described: Mapping[str, Any]) -> dict[str, str] | None:
    """The facts of data sets by their descriptions; None where a set is not here, or is wrong."""
    from spikerec.data.clips import SpikeSet
    from spikerec.training.identity import data_facts

    try:
        sets = {name: instantiate(one, SpikeSet, name) for name, one in described.items()}
    except (SpikerecError, OSError):
        return None  # the command says what is wrong
    facts = data_facts(sets)
    return facts if len(facts) == len(sets) else None


class Ledger:
    """The settled jobs of a sweep, in its folder.

    Args:
        folder: the sweep's own.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / SETTLED

    def read(self) -> dict[Path, str]:
        """Job's folder → digest; empty where the file is absent or damaged."""
        try:
            content = read_json(self._path, RUN_DOCUMENT)
        except (DataError, OSError):
            return {}
        pairs = content.items() if isinstance(content, dict) else ()
        return {Path(folder): str(digest) for folder, digest in pairs}

    def add(self, digests: Mapping[Path, str]) -> None:
        """Note jobs as settled."""
        content = {str(folder): digest for folder, digest in (self.read() | {**digests}).items()}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(self._path) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


@cache
def _package() -> list[Any]:
    """The code of this package as it was at the first look: another may make another run."""
    return _listed(Path(__file__).parents[1], "**/*.py")


def _devices() -> list[Any]:
    """The devices that a trainer may choose, and who starts its processes."""
    import torch

    found = {name: os.environ.get(name) for name in LAUNCHED_BY}
    return [torch.cuda.device_count(), torch.backends.mps.is_available(), found]


def _listed(folder: Path, pattern: str) -> list[Any]:
    """Name, size and time of the last change of files."""
    stats = {str(path): path.stat() for path in folder.glob(pattern)}
    return sorted((name, one.st_size, one.st_mtime_ns) for name, one in stats.items())


def _digest(values: list[Any]) -> str:
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
