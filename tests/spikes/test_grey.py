from __future__ import annotations

import numpy as np
import pytest

from spikerec.spikes.grey import grey_levels


def test_levels_are_rounded_and_clipped() -> None:
    found = grey_levels(np.array([-1, 0, 0.5, 1, 2], np.float32))
    assert found.tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize("bits", [8, 16])
def test_every_level_is_found_again(bits: int) -> None:
    most = 2**bits - 1
    levels = np.arange(most + 1)
    found = grey_levels(levels / most, bits)
    assert found.dtype == f"uint{bits}"
    assert np.array_equal(found, levels)
