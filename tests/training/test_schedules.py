from __future__ import annotations

import pytest
import torch

from spikerec.errors import ConfigError
from spikerec.training.schedules import WarmupCosine


def rates(total_steps: int, warmup: float, floor: float) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule = WarmupCosine(optimizer, total_steps=total_steps, warmup=warmup, floor=floor)
    found = []
    for _ in range(total_steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_rate_rises_to_the_optimizers_and_falls_to_the_floor() -> None:
    found = rates(100, warmup=0.1, floor=0.05)
    assert found[0] == pytest.approx(2.0 / 10)
    assert max(found) == found[9] == pytest.approx(2.0)
    assert found[-1] == pytest.approx(2.0 * 0.05)
    assert found[:10] == sorted(found[:10])
    assert found[9:] == sorted(found[9:], reverse=True)


def test_half_way_down_is_the_mean_of_both_ends() -> None:
    assert rates(100, warmup=0.0, floor=0.2)[49] == pytest.approx(2.0 * 0.6)


@pytest.mark.parametrize(("warmup", "floor"), [(1.0, 0.1), (-0.1, 0.1), (0.1, 1.5)])
def test_parts_out_of_range_are_refused(warmup: float, floor: float) -> None:
    with pytest.raises(ConfigError, match=r"(warmup|floor) must be in"):
        rates(10, warmup, floor)


def test_a_continued_schedule_ends_where_the_new_run_does() -> None:
    def made(total_steps: int) -> WarmupCosine:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
        return WarmupCosine(optimizer, total_steps=total_steps, warmup=0.1, floor=0.01)

    before, after = made(100), made(60)
    for _ in range(40):
        before.optimizer.step()
        before.step()
    after.load_state_dict(before.state_dict())
    assert after.last_epoch == 40
    assert after.factor(59) == pytest.approx(0.01)
    assert before.factor(59) > 0.3
