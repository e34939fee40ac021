"""Faults of the machine, met by the command itself: one line, status ≠ 0, nothing half-written."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.fakes import fake_image, fake_spikes, write_image

COMMAND = str(Path(sys.executable).with_name("spikerec"))
RECONSTRUCT = ("reconstruct", "input=car.npy", "model=tfp", "device=cpu")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("car.npy", fake_spikes(120, 32, 48))


def spikerec(*words: str, limits: str = ":", after: str = "") -> subprocess.CompletedProcess[str]:
    line = f'{limits}; "$@" {after}'
    return subprocess.run(
        ["/bin/bash", "-c", line, "bash", COMMAND, *words],
        capture_output=True,
        text=True,
        check=False,
    )


def complaint(outcome: subprocess.CompletedProcess[str]) -> str:
    assert outcome.returncode == 1, outcome
    (line,) = outcome.stderr.strip().splitlines()
    assert line.startswith("spikerec: ")
    return line


def left() -> set[str]:
    return {str(path) for path in Path().rglob("*")} - {"car.npy"}


@pytest.mark.parametrize(
    "name",
    ["a.npy", *(pytest.param(name, marks=pytest.mark.slow) for name in ("a.h5", "a.mp4"))],
)
def test_no_room_for_the_output(name: str) -> None:
    outcome = spikerec(*RECONSTRUCT, f"output={name}", limits="ulimit -f 1")
    line = complaint(outcome)
    assert "space" in line or "larger than the system allows" in line
    assert not Path(name).exists()


@pytest.mark.slow
def test_not_enough_memory() -> None:
    outcome = spikerec(*RECONSTRUCT, "output=a.npy", limits="ulimit -v 800000")
    assert "not enough memory" in complaint(outcome)
    assert left() == set()


@pytest.mark.slow
@pytest.mark.parametrize("open_files", [64, 256])
def test_few_open_files(open_files: int) -> None:
    outcome = spikerec(*RECONSTRUCT, "output=a.npy", limits=f"ulimit -n {open_files}")
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert left() == {"a.npy"}


@pytest.mark.slow
def test_output_that_is_lost_after_the_work() -> None:
    outcome = spikerec(*RECONSTRUCT, "output=a.npy", after="> /dev/full")
    assert "done, but what it printed was lost: no space" in complaint(outcome)
    assert left() == {"a.npy"}


@pytest.mark.slow
def test_reader_that_leaves() -> None:
    outcome = spikerec(*RECONSTRUCT, "output=a.npy", after="| true; exit ${PIPESTATUS[0]}")
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert left() == {"a.npy"}


def test_interruption() -> None:
    write_image(Path("car.png"), fake_image(48, 64))
    process = subprocess.Popen(
        [COMMAND, "simulate", "input=car.png", "output=b", "images=10000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    told, complaint = process.communicate()
    assert (process.returncode, complaint) == (130, "")
    assert told == "interrupted: finished files are kept, none is left half-written.\n"


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs another user")
def test_file_that_may_not_be_read() -> None:
    Path("car.npy").chmod(0o600)
    other = "set -- setpriv --reuid=65534 --clear-groups"
    outcome = spikerec(*RECONSTRUCT, "output=a.npy", limits=f'{other} "$@"')
    assert "ermission denied" in complaint(outcome) or "not exist" in complaint(outcome)
