from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikerec.errors import WindowError
from spikerec.spikes import mirrored
from spikerec.spikes.ends import count_mirrored


@given(st.integers(-200, 200), st.integers(0, 100), st.integers(1, 60))
def test_mirroring_keeps_what_is_inside_and_the_distance_to_the_ends(
    start: int, length: int, num_readouts: int
) -> None:
    found = mirrored(start, start + length, num_readouts)
    assert found.shape == (length,)
    assert ((found >= 0) & (found < num_readouts)).all()
    for wanted, readout in zip(range(start, start + length), found, strict=True):
        last = num_readouts - 1
        if 0 <= wanted <= last:
            assert readout == wanted
        elif -last <= wanted < 0:
            assert readout == -wanted
        elif last < wanted <= 2 * last:
            assert last - readout == wanted - last
    assert (np.abs(np.diff(found)) == (num_readouts > 1)).all()
    outside = [t for t in range(start, start + length) if not 0 <= t < num_readouts]
    assert count_mirrored(start, start + length, num_readouts) == len(outside)


def test_a_stream_without_readouts_has_no_mirror() -> None:
    with pytest.raises(WindowError, match="without readouts"):
        mirrored(0, 3, 0)
