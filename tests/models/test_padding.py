from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spikerec.models.padding import Padding

sides = st.integers(1, 40)


@given(
    height=sides,
    width=sides,
    multiple=st.sampled_from([1, 2, 4, 8, 16]),
    mode=st.sampled_from(["replicate", "zeros", "symmetric"]),
    place=st.sampled_from(["centre", "centre_first", "end"]),
)
def test_cropping_takes_off_what_padding_added(
    height: int, width: int, multiple: int, mode: Any, place: Any
) -> None:
    picture = torch.rand(2, 3, height, width)
    margins = Padding(mode, place).margins(height, width, multiple)
    padded = margins.pad(picture)
    assert padded.shape[-2:] == margins.padded_size
    assert not any(side % multiple for side in margins.padded_size)
    assert max(a - b for a, b in zip(margins.padded_size, (height, width), strict=True)) < multiple
    assert torch.equal(margins.crop(padded), picture)
    assert bool(margins) == (padded.shape != picture.shape)


@pytest.mark.parametrize(
    ("mode", "place", "expected"),
    [
        ("replicate", "centre", [1, 1, 2, 3, 3, 3]),
        ("zeros", "centre_first", [0, 0, 1, 2, 3, 0]),
        ("symmetric", "end", [1, 2, 3, 3, 2, 1]),
    ],
)
def test_margins_hold_what_the_mode_says(mode: Any, place: Any, expected: list[int]) -> None:
    row = torch.tensor([[1, 2, 3]])
    assert Padding(mode, place).margins(6, 3, 6).pad(row.expand(6, 3))[0].tolist() == expected
