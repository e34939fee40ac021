"""Processes watched from outside while they work: is memory flat, and do they keep their pace?

`python -m tests.torture --soak 20` runs training, evaluation, streaming and the viewer, each for a
quarter of so many minutes, on tiny pictures, so that an hour here is as many steps as days of real
work.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from spikerec import spikes
from tests.fakes import fake_spikes
from tests.torture.cases import OUT, QUICK, STATE
from tests.torture.processes import Command
from tests.training.command import words as training_words

#: Readouts of the stream that is reconstructed: more than a third of an hour makes into frames.
LONG_READOUTS, LONG_SIZE = 400_000, (64, 96)

#: Growth between the second and the last quarter of the time below which a curve is flat.
MEGABYTES, HANDLES, SLOWER = 16.0, 4.0, 1.5

SECONDS_BETWEEN_LOOKS = 1.0

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Look:
    """A process at one moment.

    Attributes:
        seconds: since it was started.
        worked: seconds of a core that it has had, so that a busy machine is not taken for slowness.
        megabytes: of its own; pages of a mapped file come and go as the system likes.
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
    folder = Path(f"/proc/{process}")
    while (now := time.monotonic() - began) < seconds:
        with suppress(OSError, KeyError):  # it ends just now
            facts = dict(re.findall(r"(\w+):\s+(\d+)", (folder / "status").read_text()))
            resident = (int(facts["RssAnon"]) + int(facts["RssShmem"])) / 1e3
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


class Visitors:
    """Clients of a viewer, one after another: most take a picture, some leave before it is there.

    Args:
        port: of the viewer.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.pictures = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._visit)

    def __enter__(self) -> Self:
        """Begin to visit."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stay away."""
        self._ended.set()
        self._thread.join()

    def _visit(self) -> None:
        for visit in itertools.count():
            if self._ended.is_set():
                return
            try:
                self._ask(20 + visit % 800, leaves=visit % 5 == 4)
            except OSError:  # it has not begun, or has just ended
                self._ended.wait(0.2)

    def _ask(self, key_readout: int, *, leaves: bool) -> None:
        path = f"/frame?method=tfp&key_readout={key_readout}"
        with socket.create_connection((LOOPBACK, self.port), timeout=30) as client:
            client.sendall(f"GET {path} HTTP/1.0\r\nHost: {LOOPBACK}\r\n\r\n".encode())
            if leaves:
                return
            answer = b"".join(iter(lambda: client.recv(1 << 16), b""))
        self.pictures += b" 200 " in answer[:20] and answer.endswith(b"IEND\xaeB`\x82")


@contextmanager
def _nobody() -> Iterator[None]:
    yield


def _free_port() -> int:
    with socket.socket() as one:
        one.bind((LOOPBACK, 0))
        return int(one.getsockname()[1])


def soak(minutes: float) -> Iterator[tuple[list[str], str]]:
    """Run the commands that take days, each for a part of the time.

    Yields:
        A row of the table after each part, and its complaint, empty where there is none.
    """
    make_long_stream(STATE / "long.npy")
    reds, runs = STATE / "reds", OUT / "runs"
    train = ("name=soak", "trainer.max_epochs=1000000", "data.samples_per_epoch=120")
    shown = (f"output={OUT / 'long.mp4'}", "stride=1", "device=cpu", "batch_size=8")
    visitors = Visitors(_free_port())
    view = ["view", str(STATE / "car.npy"), "--method", "tfp", "--port", str(visitors.port)]
    parts: tuple[tuple[str, list[str], Callable[[], int]], ...] = (
        (
            "training",
            training_words("train", reds, runs, *train),
            lambda: steps_of(runs / "train" / "soak" / "metrics.csv"),
        ),
        (
            "evaluation",
            training_words("evaluate", reds, OUT, *QUICK, "save_images=2", model="tfp"),
            lambda: len(list((OUT / "results").glob("*.json"))),
        ),
        (
            "streaming",
            ["reconstruct", f"input={STATE / 'long.npy'}", "model=fast", *shown],
            lambda: frames_of(OUT / "long.mp4.partial"),
        ),
        ("viewer", view, lambda: visitors.pictures),
    )
    for name, words, made in parts:
        shutil.rmtree(OUT, ignore_errors=True)
        OUT.mkdir()
        command = Command(tuple(words), repeats=name == "evaluation")
        with visitors if name == "viewer" else _nobody():
            looks = watch(command.process, made, 60 * minutes / len(parts))
        os.kill(command.process, signal.SIGKILL)
        end = command.end()
        cells, complaint = judge(looks)
        if end.status not in (0, -signal.SIGKILL) or end.err:
            complaint = f"{complaint} status {end.status}: {end.err[-300:]}"
        yield [name, *cells], complaint and f"{name}: {complaint}"
