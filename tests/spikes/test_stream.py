"""Laws of streams of every format: indices, windows, processes, open files."""

from __future__ import annotations

import copy
import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikerec import spikes
from spikerec.errors import ConfigError, WindowError
from spikerec.spikes import reflect
from spikerec.spikes import stream as stream_module
from spikerec.spikes.stream import FileStream, SpikeStream

SUFFIXES = ["dat", "npy", "npz", "h5"]
ARRAY = np.random.default_rng(0).integers(0, 2, (12, 5, 9), dtype=np.uint8)


@pytest.fixture(params=SUFFIXES)
def stream(request: pytest.FixtureRequest, tmp_path: Path) -> SpikeStream:
    spikes.save(tmp_path / f"a.{request.param}", ARRAY)
    return spikes.open(tmp_path / f"a.{request.param}")


@pytest.mark.parametrize(
    "index",
    [
        np.s_[3],
        np.s_[-1],
        np.s_[2:99],
        np.s_[-4:-1, 1],
        np.s_[..., 4],
        np.s_[1, ..., 2:3],
        np.s_[1, 2, 3],
        np.s_[:, 1:4, -5:],
        np.s_[1:10:4, ...],
        np.s_[5:5],
        np.s_[7:2, 1:1],
        np.int64(4),
    ],
)
def test_indices_mean_what_they_mean_for_an_array(stream: SpikeStream, index: Any) -> None:
    found = stream[index]
    np.testing.assert_array_equal(found, ARRAY[index])
    assert found.shape == ARRAY[index].shape


@pytest.mark.parametrize(
    "index",
    [np.s_[12], np.s_[0, -6], np.s_[:, ::2], np.s_[::-1], np.s_[0, 0, 0, 0], np.s_[..., 0, ...]],
)
def test_other_indices_are_refused(stream: SpikeStream, index: Any) -> None:
    with pytest.raises(IndexError):
        stream[index]


def test_a_stream_is_iterated_by_readout(stream: SpikeStream) -> None:
    assert len(stream) == 12
    np.testing.assert_array_equal(np.stack(list(stream)), ARRAY)


@pytest.mark.parametrize(("length", "first"), [(5, 4), (4, 4), (1, 6)])
def test_a_window_lies_around_its_centre(stream: SpikeStream, length: int, first: int) -> None:
    np.testing.assert_array_equal(stream.window(6, length), ARRAY[first : first + length])


@pytest.mark.parametrize(("centre", "length"), [(1, 5), (10, 5), (6, 13), (6, 0), (-3, 1)])
def test_a_window_that_leaves_the_stream_is_refused(
    stream: SpikeStream, centre: int, length: int
) -> None:
    with pytest.raises(WindowError, match=r"a\.\w+ holds 12 readouts, expected those in \["):
        stream.window(centre, length, ends="drop")


@pytest.mark.parametrize(("centre", "length"), [(0, 5), (11, 4), (6, 12), (6, 61), (3, 300)])
def test_a_window_that_leaves_the_stream_is_mirrored(
    stream: SpikeStream, centre: int, length: int
) -> None:
    readouts = reflect(centre - length // 2 + np.arange(length), 12)
    np.testing.assert_array_equal(stream.window(centre, length), ARRAY[readouts])
    packed = stream.packed(
        centre - length // 2, centre - length // 2 + length, 1, 4, 2, 7, ends="reflect"
    )
    np.testing.assert_array_equal(packed.unpack(), ARRAY[readouts, 1:4, 2:7])


def test_only_a_readout_of_the_stream_has_a_window(stream: SpikeStream) -> None:
    for centre, length in ((-1, 3), (12, 3), (5, 0)):
        with pytest.raises(WindowError, match="holds 12 readouts, expected those in"):
            stream.window(centre, length)
    with pytest.raises(ConfigError, match="ends must be reflect or drop, found the text 'mirror'"):
        stream.window(5, 3, ends="mirror")  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [1, 2])
def test_a_stream_too_short_to_be_mirrored_is_refused(count: int, tmp_path: Path) -> None:
    spikes.save(tmp_path / "a.npy", ARRAY[:count])
    short = spikes.open(tmp_path / "a.npy")
    np.testing.assert_array_equal(short.window(0, 1), ARRAY[:1])
    with pytest.raises(WindowError, match=rf"a\.npy holds {count} readouts?: .* at least 3"):
        short.window(0, 3)


@pytest.mark.parametrize("part", [(0, 13), (3, 3), (0, 1, 2, 2), (0, 1, 0, 6), (0, 1, 0, 5, -1)])
def test_packed_parts_must_lie_in_the_stream(stream: SpikeStream, part: tuple[int, ...]) -> None:
    with pytest.raises(WindowError, match=r"a\.\w+"):
        stream.packed(*part)


def test_a_copy_carries_no_content_and_reads_on_its_own(stream: SpikeStream) -> None:
    stream[:]  # opens the file
    assert "_opened" not in stream.__getstate__()
    other = copy.deepcopy(stream)
    stream.close()
    np.testing.assert_array_equal(other[:], ARRAY)


def _window_sum(stream: SpikeStream) -> int:
    return int(stream.window(6, 5).sum())


@pytest.mark.slow  # a new process imports PyTorch
def test_a_stream_travels_to_another_process(stream: SpikeStream) -> None:
    stream[:]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_window_sum, (stream,)) == ARRAY[4:9].sum()


def test_a_closed_stream_opens_again(stream: SpikeStream) -> None:
    with stream:
        stream[0]
    np.testing.assert_array_equal(stream[:], ARRAY)


def test_what_was_decoded_outlives_the_stream(stream: SpikeStream) -> None:
    decoded, packed = stream[1:3], stream.packed(1, 3)
    stream.close()
    stream.path.write_bytes(bytes(stream.path.stat().st_size))
    np.testing.assert_array_equal(decoded, ARRAY[1:3])
    np.testing.assert_array_equal(packed.unpack(), ARRAY[1:3])


def test_few_files_are_open_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "MAX_OPEN_FILES", 3)
    monkeypatch.setattr(FileStream, "_open_streams", type(FileStream._open_streams)())
    streams = []
    for index in range(8):
        spikes.save(tmp_path / f"{index}.npy", ARRAY)
        streams.append(spikes.open(tmp_path / f"{index}.npy"))
    for _ in range(2):
        for one in streams:
            np.testing.assert_array_equal(one[2:4], ARRAY[2:4])
            assert sum(other._opened is not None for other in streams) <= 3


def test_a_stream_says_what_it_is(stream: SpikeStream) -> None:
    assert repr(stream).endswith("12 × 5 × 9)")
    assert Path(stream.path).name in repr(stream)
