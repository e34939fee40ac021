"""Parts shared out over threads."""

from __future__ import annotations

import threading

import pytest
import torch

from spikerec.threads import each_alone


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
def test_an_error_of_a_part_is_raised_and_the_threads_are_given_back() -> None:
    with pytest.raises(ZeroDivisionError):
        each_alone(lambda part: 1 // part, [1, 0])
    assert torch.get_num_threads() == 2
