"""Records of the networks that ship, evaluated anew where their weights are other ones."""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from benchmarks.figures.measuring import loaded, shipped
from benchmarks.zoo import RECORDS, ROOT
from spikerec.errors import DataError
from spikerec.results import Record, read_record
from spikerec.weights.checkpoint import digest

#: Folder of the new records, as their configurations state it.
RESULTS = "outputs/figures"

#: Data set, protocol, and what else is asked of each evaluation.
EVALUATIONS = (
    ("reds", "corrected", ()),
    ("reds", "stir", ()),
    ("robustness", "corrected", ()),
    ("still", "corrected", ("data.margin=30",)),
)


def all_records() -> list[Record]:
    """All records of docs/leaderboard, the oldest first."""
    found = [read_record(path) for path in RECORDS.glob("*.json")]
    return sorted(found, key=lambda record: record.created)


def record_of(method: str, dataset: str, protocol: str) -> Record:
    """The record of a network that ships; it is of the weights that ship now.

    Raises:
        DataError: there is none of these weights.
    """
    own = digest(loaded(method).state_dict())
    for record in all_records():
        if _subject(record) == (method, dataset, protocol) and record.weights.digest == own:
            return record
    raise DataError(
        f"{RECORDS.relative_to(ROOT)} has no record of the weights of {method} that ship on "
        f"{dataset} under {protocol}: run `python -m benchmarks.figures --only records`."
    )


def renew() -> int:
    """Evaluate the networks that ship wherever no record is of their weights.

    The records of the weights before are removed once the new one is there.

    Returns:
        The number of new records.

    Raises:
        DataError: an evaluation failed.
    """
    count = 0
    for method in shipped():
        own = digest(loaded(method).state_dict())
        for dataset, protocol, options in EVALUATIONS:
            subject = (method, dataset, protocol)
            known = [record for record in all_records() if _subject(record) == subject]
            if not any(record.weights.digest == own for record in known):
                path = _evaluate(method, dataset, protocol, *options)
                path.rename(RECORDS / path.name)
                count += 1
            for record in known:
                if record.weights.digest != own and record.path is not None:
                    record.path.unlink()
    return count


def _subject(record: Record) -> tuple[str, str, str] | None:
    """Method, data set and protocol of a record of weights that ship; None of others."""
    if record.weights.origin != "shipped":
        return None
    return record.method, record.dataset.name, record.protocol.name


def _evaluate(method: str, dataset: str, protocol: str, *options: str) -> Path:
    """Evaluate by the command line, so that a record states the command's configuration."""
    with suppress(FileNotFoundError):
        shutil.rmtree(ROOT / RESULTS)
    if dataset == "still":  # the one set that no evaluation makes by itself
        _run("data", "fetch", "still")
    words = [f"model={method}", f"data={dataset}", f"protocol={protocol}", *options]
    words += ["efficiency.latency_sizes=[]", "save_images=0", f"paths.results={RESULTS}"]
    _run("evaluate", *words)
    found = list((ROOT / RESULTS).glob("*.json"))
    if len(found) != 1:
        raise DataError(f"{' '.join(words)} wrote {len(found)} records to {RESULTS}, expected one.")
    return found[0]


def _run(*words: str) -> None:
    """Run a command of spikerec."""
    done = subprocess.run([sys.executable, "-m", "spikerec", *words], cwd=ROOT, check=False)
    if done.returncode:
        raise DataError(
            f"spikerec {' '.join(words)} ended with status {done.returncode}: see what it says "
            "above."
        )
