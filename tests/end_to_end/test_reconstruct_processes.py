"""`spikerec reconstruct` as the processes that users start, share work with, and kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from safetensors.torch import save_file

from spikerec import spikes
from spikerec.configs import build
from tests.end_to_end.command import Command
from tests.fakes import fake_spikes

pytestmark = pytest.mark.slow

TFP = ("model=tfp", "model.window=11", "stride=1")
STIR = ("model=stir", "model.channels=[8,8,8,8,8]", "stride=20")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Dim, and of unstated light scale, so that exposure is measured."""
    spikes.save(tmp_path / "car.npy", fake_spikes(4000, 16, 24, rate=0.1))
    return tmp_path / "car.npy"


def start(*words: str) -> subprocess.Popen[str]:
    """The command in a process group of its own, as a shell has it."""
    program = Path(sys.executable).with_name("spikerec")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(
        [program, "reconstruct", *words],
        env=environment,
        text=True,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finish(*words: str) -> str:
    """Output of a command that succeeds without a complaint."""
    process = start(*words)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    return out


def wait_for(is_so: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.002)


def kept(output: Path) -> int:
    """Frames that an unfinished output says it has."""
    state = output.with_name(f"{output.name}.partial") / "state.json"
    return json.loads(state.read_text())["frames"] if state.exists() else 0


def members(group: int) -> list[int]:
    """Processes of a group that run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group, *_ = path.read_text().rpartition(")")[2].split()
        except OSError:  # ended meanwhile
            continue
        if int(its_group) == group and state not in "ZX":
            found.append(int(path.parent.name))
    return found


def pictures(output: Path) -> list[bytes]:
    if output.is_dir():
        return [path.read_bytes() for path in sorted(output.iterdir())]
    with av.open(str(output)) as container:
        return [frame.to_ndarray(format="gray").tobytes() for frame in container.decode(video=0)]


@pytest.mark.parametrize("method", [TFP, STIR], ids=["tfp", "stir"])
def test_two_processes_give_what_one_gives(
    method: tuple[str, ...], clip: Path, tmp_path: Path
) -> None:
    words = [*method, f"input={clip}", "stop=800", "exposure=auto"]
    if method == STIR:
        network = build("model", "stir", channels=[8, 8, 8, 8, 8])
        save_file(network.state_dict(), tmp_path / "stir.safetensors")
        words.append(f"checkpoint={tmp_path / 'stir.safetensors'}")
    for devices in (1, 2):
        finish(*words, f"devices={devices}", f"output={tmp_path / f'{devices}.npy'}")
    one, two = (np.load(tmp_path / f"{devices}.npy") for devices in (1, 2))
    assert len(one) > 30
    if method == TFP:
        assert np.array_equal(one, two)
    else:  # the first windows of a run are encoded in another batch
        np.testing.assert_allclose(two, one, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("name", "devices", "end"),
    [("car.mp4", 1, "SIGKILL"), ("car", 1, "SIGKILL"), ("car", 2, "SIGKILL"), ("car", 2, "SIGINT")],
)
def test_what_is_ended_goes_on_to_the_same_result(
    name: str, devices: int, end: str, clip: Path, tmp_path: Path, spikerec_command: Command
) -> None:
    words = (*TFP, f"input={clip}")
    output, whole = tmp_path / "out" / name, tmp_path / "whole" / name
    process = start(*words, f"output={output}", f"devices={devices}")
    wait_for(lambda: kept(output) >= 250)
    if end == "SIGINT":
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    else:
        process.kill()
    out, err = process.communicate(timeout=60)
    wait_for(lambda: not members(process.pid), seconds=20)

    assert err == ""
    assert process.returncode == (130 if end == "SIGINT" else -signal.SIGKILL)
    if end == "SIGINT":
        assert "interrupted: continue with the same command and resume=true" in out
    assert [path.name for path in output.parent.iterdir()] == [f"{name}.partial"]
    assert 250 <= kept(output) < 3990

    words = ("reconstruct", *words)
    assert spikerec_command(*words, f"output={output}", "resume=true").status == 0
    assert spikerec_command(*words, f"output={whole}").status == 0
    assert [path.name for path in output.parent.iterdir()] == [name]
    assert pictures(output) == pictures(whole)
    assert len(pictures(whole)) == 3990


def test_a_process_that_dies_is_told_in_one_line(clip: Path, tmp_path: Path) -> None:
    output = tmp_path / "car.npy.npy"
    process = start(*TFP, f"input={clip}", "devices=2", f"output={output}")
    wait_for(lambda: kept(output) >= 250)
    workers = set(members(process.pid)) - {process.pid}
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in workers}
    victim = max(pid for pid, words in commands.items() if b"spawn_main" in words)
    os.kill(victim, signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.startswith("spikerec: ProcessError: process 1 (cpu) was killed by SIGKILL")
    assert err.count("\n") == 1
    assert not output.exists()
    assert kept(output) >= 250
    wait_for(lambda: not members(process.pid), seconds=20)
