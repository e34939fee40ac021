from __future__ import annotations

import pytest

from spikerec.data.epochs import EpochSampler


@pytest.mark.parametrize("samples", [None, 3, 10, 25])
def test_processes_share_the_steps_of_one(samples: int | None) -> None:
    one = list(EpochSampler(10, samples_per_epoch=samples, seed=0))
    two = [
        EpochSampler(10, samples_per_epoch=samples, seed=0, rank=r, world_size=2) for r in (0, 1)
    ]
    joined = [draw for pair in zip(*two, strict=True) for draw in pair]
    assert joined == one[: len(one) // 2 * 2]


def test_an_epoch_visits_items_evenly() -> None:
    items = [draw.item for draw in EpochSampler(4, samples_per_epoch=12, seed=0)]
    assert sorted(items) == sorted([0, 1, 2, 3] * 3)
