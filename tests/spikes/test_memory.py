"""Streams of arrays, and windows that know their light scale."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import spikerec
from spikerec.errors import ArgumentError, GeometryError, SpikerecError
from spikerec.spikes import ArrayStream, as_stream

SPIKES = (np.random.default_rng(0).random((40, 9, 21)) < 0.3).astype(np.uint8)


@pytest.mark.parametrize(
    "given",
    [
        *(SPIKES, SPIKES.astype(bool), SPIKES.astype(np.float32), SPIKES[:, ::-1]),
        *(torch.tensor(SPIKES), torch.tensor(SPIKES).bool(), torch.tensor(SPIKES).double()),
        torch.tensor(SPIKES).float().requires_grad_(),
    ],
)
def test_a_stream_of_an_array_holds_its_spikes(given: Any) -> None:
    stream = spikerec.open(given, light_scale=0.4, rate_hz=20_000)
    values = given.detach() if isinstance(given, torch.Tensor) else given
    expected = np.asarray(values).astype(np.uint8)
    assert isinstance(stream, ArrayStream)
    assert (stream.light_scale, stream.rate_hz) == (0.4, 20_000)
    assert np.array_equal(stream[:], expected)
    assert np.array_equal(stream[3:30:4, 2:7, 5:19], expected[3:30:4, 2:7, 5:19])
    assert np.array_equal(stream.packed(1, 9, 2, 5, 3, 20).unpack(), expected[1:9, 2:5, 3:20])


def test_a_stream_of_an_array_keeps_a_copy() -> None:
    values = SPIKES.copy()
    stream = spikerec.open(values)
    values[:] = 1
    assert np.array_equal(stream[:], SPIKES)
    assert np.array_equal(copy.deepcopy(stream)[:], SPIKES)


def test_streams_of_different_arrays_have_different_names() -> None:
    assert spikerec.open(SPIKES).path == spikerec.open(SPIKES.astype(bool)).path
    assert spikerec.open(SPIKES).path != spikerec.open(1 - SPIKES).path


def test_a_window_knows_what_its_stream_states() -> None:
    stream = spikerec.open(SPIKES, light_scale=0.4, rate_hz=20_000)
    for window in (stream[3:9], stream[3], stream[[1, 2]], stream.window(5, 9), stream[3:9][1:]):
        assert (window.light_scale, window.rate_hz) == (0.4, 20_000)
    assert spikerec.open(stream[3:9]).light_scale == 0.4
    assert spikerec.open(SPIKES)[:].light_scale is None


@pytest.mark.parametrize("places", [[1, 2], [5, -1, 0], [], np.array([3, 3]), (0, np.int64(7))])
def test_a_list_takes_readouts(places: Any) -> None:
    stream = spikerec.open(SPIKES)
    if isinstance(places, tuple):
        places = list(places)
    chosen = [int(place) for place in places]
    assert np.array_equal(stream[places], SPIKES[chosen])
    assert np.array_equal(stream[places, 2:4, 7], SPIKES[chosen, 2:4, 7])


@pytest.mark.parametrize("index", ["a", 1.5, None, [1.5], [True], (0, [1, 2])])
def test_another_index_is_refused(index: Any) -> None:
    with pytest.raises(IndexError, match=r"found the index"):
        spikerec.open(SPIKES)[index]


@pytest.mark.parametrize("path", [3, None, [SPIKES, SPIKES], {"a": 1}, b"car.npy", SPIKES.data])
def test_what_is_neither_paths_nor_an_array_is_refused(path: Any) -> None:
    with pytest.raises(ArgumentError, match=r"open: path(\[0\])? must be a path"):
        spikerec.open(path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (SPIKES[0], r"spikes must be \(T, H, W\)"),
        (SPIKES[:0], r"none of them 0"),
        (3 * SPIKES, "must hold only 0 and 1, found 3"),
        (SPIKES.astype(str), "spikes must be numbers"),
        (torch.tensor(SPIKES).to_sparse(), "a dense tensor of real numbers, found torch.uint8"),
        (torch.tensor(SPIKES).to("meta"), "a dense tensor of real numbers, found .* meta"),
        (torch.tensor(SPIKES).cfloat().conj(), "a dense tensor of real numbers"),
        (np.broadcast_to(np.uint8(1), (2**31 + 1, 2, 2)), "at most, found"),
        (np.broadcast_to(np.uint8(1), (1, 4097, 4096)), "at most, found"),
    ],
)
def test_an_array_that_is_no_stream_is_refused(given: Any, message: str) -> None:
    with pytest.raises(GeometryError, match=message):
        spikerec.open(given)


def test_arguments_for_files_are_none_for_arrays() -> None:
    with pytest.raises(GeometryError, match="an array states its own shape"):
        spikerec.open(SPIKES, geometry=(9, 21))


def test_a_tensor_of_few_bits_is_read_as_it_is() -> None:
    assert np.array_equal(spikerec.open(torch.tensor(SPIKES).bfloat16())[:], SPIKES)
    with pytest.raises(GeometryError, match=r"found 1\.0000000"):
        spikerec.open(torch.tensor(SPIKES).double() * (1 + 1e-10))


@pytest.mark.parametrize("pair", [[9, 21], np.array([9, 21]), torch.tensor([9, 21])])
def test_a_pair_is_given_in_any_form(tmp_path: Path, pair: Any) -> None:
    spikerec.spikes.save(tmp_path / "a.dat", SPIKES)
    assert spikerec.open(tmp_path / "a.dat", geometry=pair).shape == SPIKES.shape


@pytest.mark.parametrize("geometry", [5, object(), {9, 21}, "ab", b"ab", np.array(9)])
def test_what_is_no_geometry_is_refused(tmp_path: Path, geometry: Any) -> None:
    spikerec.spikes.save(tmp_path / "a.dat", SPIKES)
    with pytest.raises(SpikerecError, match=r"geometry must be "):
        spikerec.open(tmp_path / "a.dat", geometry=geometry)


def test_a_pair_is_a_geometry(tmp_path: Path) -> None:
    spikerec.spikes.save(tmp_path / "a.dat", SPIKES)
    (tmp_path / "a.yaml").unlink()
    assert np.array_equal(spikerec.open(tmp_path / "a.dat", geometry=(9, 21))[:], SPIKES)
    with pytest.raises(GeometryError, match=r"geometry must be \(height, width\).*\(9, 21, 4\)"):
        spikerec.open(tmp_path / "a.dat", geometry=(9, 21, 4))


def test_a_stream_is_taken_as_it_is() -> None:
    stream = spikerec.open(SPIKES)
    assert as_stream(stream) is stream
    assert as_stream(SPIKES).shape == SPIKES.shape
