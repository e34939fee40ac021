"""Packing and unpacking bits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from spikerec.errors import InputError
from spikerec.spikes import PackedSpikes, pack_bits, unpack_bits
from spikerec.spikes.bits import _pack_by_shifts, _unpack_by_shifts

rows = hnp.arrays(
    np.uint8, st.tuples(st.integers(1, 3), st.integers(1, 40)), elements=st.integers(0, 1)
)
bits_and_part = st.tuples(
    hnp.arrays(np.uint8, st.tuples(st.integers(1, 3), st.integers(1, 5))), st.data()
)


@settings(max_examples=50)
@given(spikes=rows)
def test_unpacking_undoes_packing(spikes: np.ndarray) -> None:
    width = spikes.shape[1]
    np.testing.assert_array_equal(unpack_bits(pack_bits(spikes), width), spikes)
    tensor = torch.from_numpy(spikes)
    assert torch.equal(unpack_bits(pack_bits(tensor), width), tensor)


@settings(max_examples=50)
@given(drawn=bits_and_part)
def test_an_offset_skips_pixels(drawn: tuple[np.ndarray, st.DataObject]) -> None:
    bits, data = drawn
    offset = data.draw(st.integers(0, 8 * bits.shape[1]))
    width = data.draw(st.integers(0, 8 * bits.shape[1] - offset))
    whole = unpack_bits(bits, 8 * bits.shape[1])
    part = unpack_bits(bits, width, offset)
    np.testing.assert_array_equal(part, whole[:, offset : offset + width])


def test_the_first_pixel_is_the_least_significant_bit() -> None:
    assert pack_bits(np.array([1, 0, 0, 0, 0, 0, 0, 0, 0, 1])).tolist() == [1, 2]


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float32])
def test_tensors_of_any_type_are_packed(dtype: torch.dtype) -> None:
    spikes = (torch.rand(2, 3, 19) < 0.5).to(dtype)
    assert torch.equal(unpack_bits(pack_bits(spikes), 19), spikes.to(torch.uint8))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_device_packs_and_unpacks_like_the_processor() -> None:
    spikes = (torch.rand(2, 3, 37) < 0.5).to(torch.uint8)
    bits = pack_bits(spikes.cuda())
    assert torch.equal(bits.cpu(), pack_bits(spikes))
    assert torch.equal(unpack_bits(bits, 20, 11).cpu(), spikes[..., 11:31])


def test_shifts_do_what_numpy_does() -> None:
    spikes = (torch.rand(2, 3, 37) < 0.5).to(torch.uint8)
    bits = _pack_by_shifts(spikes)
    assert torch.equal(bits, pack_bits(spikes))
    assert torch.equal(_unpack_by_shifts(bits)[..., :37], spikes)


def test_too_few_bits_are_refused() -> None:
    with pytest.raises(InputError, match="hold 16 pixels a row, expected at least offset"):
        unpack_bits(np.zeros((1, 2), np.uint8), 10, 7)


def test_spikes_are_not_taken_for_bits() -> None:
    with pytest.raises(InputError, match=r"bits must be uint8, found torch\.float32"):
        unpack_bits(torch.zeros(1, 2), 8)


def test_packed_spikes_unpack_to_their_width() -> None:
    spikes = np.random.default_rng(0).integers(0, 2, (4, 3, 21), dtype=np.uint8)
    np.testing.assert_array_equal(
        PackedSpikes(pack_bits(spikes), offset=5, width=13).unpack(), spikes[..., 5:18]
    )
