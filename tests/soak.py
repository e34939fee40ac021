"""A process watched from outside while it works: is its memory flat, and does it keep its pace?

`python -m tests.torture --soak 15` runs training, evaluation and streaming, each for a third of so
many minutes, on tiny pictures, so that an hour here is as many steps as days of real work.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spikerec import spikes
from tests.fakes import fake_spikes

#: Readouts of the stream that is reconstructed: more than a third of an hour makes into frames.
LONG_READOUTS, LONG_SIZE = 400_000, (64, 96)

#: What grows by less between the second quarter of the time and the last is called flat.
MEGABYTES, HANDLES, SLOWER = 16.0, 4.0, 1.5

SECONDS_BETWEEN_LOOKS = 1.0


@dataclass(frozen=True)
class Look:
    """A process at one moment.

    Attributes:
        seconds: since it was started.
        worked: seconds of a core that it has had, so that a busy machine is not taken for slowness.
        megabytes: resident memory.
        threads: that it has.
        files: that it has open.
        made: steps, records or frames so far.
    """

    seconds: float
    worked: float
    megabytes: float
    threads: int
    files: int
    made: int


def make_long_stream(path: Path) -> None:
    """A stream that takes a while: some seconds of random spikes, again and again."""
    part = fake_spikes(1_000, *LONG_SIZE)
    spikes.save(path, np.concatenate([part] * (LONG_READOUTS // len(part))))


def watch(process: int, made: Callable[[], int], seconds: float) -> list[Look]:
    """Look at a process until the time is over or it has ended."""
    began, looks = time.monotonic(), []
    folder, page = Path(f"/proc/{process}"), os.sysconf("SC_PAGE_SIZE")
    while (now := time.monotonic() - began) < seconds:
        with suppress(OSError):  # it ends just now
            resident = int((folder / "statm").read_text().split()[1]) * page / 1e6
            threads, files = (sum(1 for _ in (folder / one).iterdir()) for one in ("task", "fd"))
            ticks = (folder / "stat").read_text().rpartition(")")[2].split()[11:13]
            worked = sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
            looks.append(Look(now, worked, resident, threads, files, made()))
        if os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            break
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return looks


def judge(looks: list[Look]) -> tuple[list[str], str]:
    """Figures of the second quarter and of the last, and a complaint where they are not flat."""
    quarter = max(1, len(looks) // 4)
    early, late = looks[quarter : 2 * quarter], looks[-quarter:]
    if len(early) < 2 or len(late) < 2 or late[-1].made == early[0].made:
        return ["–"] * 5, "too short to judge, or nothing was made"
    before, after = (
        {
            "MB": statistics.median(look.megabytes for look in part),
            "threads": statistics.median(look.threads for look in part),
            "files": statistics.median(look.files for look in part),
            "a second": (part[-1].made - part[0].made) / (part[-1].worked - part[0].worked + 1e-9),
        }
        for part in (early, late)
    )
    complaints = [
        f"{name} grew from {before[name]:.4g} to {after[name]:.4g}"
        for name, most in (("MB", MEGABYTES), ("threads", HANDLES), ("files", HANDLES))
        if after[name] - before[name] > most
    ]
    if after["a second"] * SLOWER < before["a second"]:
        complaints.append(f"{before['a second']:.4g} a second became {after['a second']:.4g}")
    cells = [f"{before[name]:.4g} → {after[name]:.4g}" for name in before]
    return [f"{late[-1].made}", *cells], "; ".join(complaints)


def steps_of(curves: Path) -> int:
    """The last step that a training has logged."""
    with suppress(OSError, ValueError), curves.open("rb") as file:
        file.seek(max(0, curves.stat().st_size - 4_096))
        return int(file.read().splitlines()[-1].partition(b",")[0])
    return 0


def frames_of(partial: Path) -> int:
    """The frames that an unfinished output has."""
    with suppress(OSError, ValueError, KeyError):
        return int(json.loads((partial / "state.json").read_text(encoding="utf-8"))["frames"])
    return 0
