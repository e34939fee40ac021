"""Parts shared out over threads."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest
import torch

from spikerec.kernels.threads import each_alone


@pytest.fixture
def _two_threads() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_two_threads")
def test_each_part_runs_in_one_thread_of_its_own() -> None:
    meet = threading.Barrier(2, timeout=10)

    def run(part: int) -> tuple[int, int]:
        meet.wait()  # both are under way at once
        return 10 * part, torch.get_num_threads()

    assert each_alone(run, [1, 2]) == [(10, 1), (20, 1)]
    assert torch.get_num_threads() == 2
    fresh = []
    thread = threading.Thread(target=lambda: fresh.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert fresh == [2]


@pytest.mark.usefixtures("_two_threads")
def test_parts_of_a_part_stay_in_its_thread() -> None:
    def run(part: int) -> list[int]:
        here = threading.get_ident()
        return each_alone(
            lambda inner: int(threading.get_ident() == here) * inner, [part, 2 * part]
        )

    assert each_alone(run, [1, 2, 3]) == [[1, 2], [2, 4], [3, 6]]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that fork")
def test_a_forked_process_starts_threads_of_its_own() -> None:
    script = """
import os, torch
from spikerec.kernels.threads import each_alone
torch.set_num_threads(2)
each_alone(abs, [-1, -2])
child = os.fork()
if not child:
    os._exit(0 if each_alone(abs, [-3, -4]) == [3, 4] else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


@pytest.mark.usefixtures("_two_threads")
def test_an_error_of_a_part_is_raised_and_the_threads_are_given_back() -> None:
    with pytest.raises(ZeroDivisionError):
        each_alone(lambda part: 1 // part, [1, 0])
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_gradients_are_recorded_as_the_caller_would(mode: type) -> None:
    def states(_: int) -> tuple[bool, bool]:
        return torch.is_grad_enabled(), torch.is_inference_mode_enabled()

    with mode():
        assert each_alone(states, [0]) == [states(0)]
