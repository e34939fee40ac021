"""TFP, TFI and intervals: published outputs, laws, and the ends of the stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

from spikerec.errors import InputError, WindowError
from spikerec.spikes import (
    isi,
    nested_means,
    tfi,
    tfi_interval,
    tfp,
    tfp_sequence,
)
from spikerec.spikes.representations import inverse_interval
from tests.golden_cases import GoldenCase, load_case
from tests.spikes.edge import edge_input

small_streams = hnp.arrays(
    np.uint8,
    st.tuples(st.just(1), st.integers(1, 12), st.integers(1, 2), st.integers(1, 3)),
    elements=st.integers(0, 1),
).map(torch.from_numpy)


def as_stored(rate: Tensor) -> Tensor:
    """Rates in [0, 1] as SpikeCV stores them: 255 · rate with the fraction cut off."""
    return (255 * rate).to(torch.uint8)


def random_spikes(*shape: int, rate: float = 0.3) -> Tensor:
    return (torch.rand(shape) < rate).to(torch.uint8)


def golden_input(case: GoldenCase, prefix: str) -> Tensor:
    return edge_input(case.spikes()) if prefix else case.spikes()


@pytest.mark.parametrize("prefix", ["", "edge_"])
class TestPublishedOutputs:
    @pytest.mark.parametrize("half_window", [20, 30])
    def test_tfp_at_the_key_readout(self, prefix: str, half_window: int) -> None:
        case = load_case("tfp")
        rate = tfp(golden_input(case, prefix), key_readout=30, window=2 * half_window + 1)[0, 0]
        assert torch.equal(rate, case.output(f"{prefix}key_h{half_window}_raw"))
        assert torch.equal(as_stored(rate), case.output(f"{prefix}key_h{half_window}"))

    def test_tfp_at_every_readout(self, prefix: str) -> None:
        case = load_case("tfp")
        rate = tfp_sequence(golden_input(case, prefix), window=41)[0]
        assert torch.equal(rate, case.output(f"{prefix}sequence_h20_raw"))
        assert torch.equal(as_stored(rate), case.output(f"{prefix}sequence_h20"))

    @pytest.mark.parametrize("half_window", [20, 30])
    def test_tfi_by_the_key_rule(self, prefix: str, half_window: int) -> None:
        case = load_case("tfi")
        spikes = golden_input(case, prefix)
        interval = tfi_interval(
            spikes, key_readout=30, half_window=half_window, include_first=False
        )
        rate = tfi(spikes, key_readout=30, half_window=half_window, include_first=False)[0, 0]
        name = f"{prefix}key_m{half_window}"
        assert torch.equal(interval[0, 0], case.output(f"{name}_interval").int())
        assert torch.equal(as_stored(rate), case.output(name))
        if half_window == 20:
            assert torch.equal(rate, case.output(f"{name}_raw"))

    def test_tfi_by_the_sequence_rule(self, prefix: str) -> None:
        case = load_case("tfi")
        spikes = golden_input(case, prefix)
        expected = case.output(f"{prefix}sequence_interval").int()
        arguments: dict[str, Any] = {"half_window": 1, "rule": "sequence"}
        for readout in range(61):
            interval = tfi_interval(spikes, key_readout=readout, **arguments)[0, 0]
            assert torch.equal(interval, expected[readout])
            image = as_stored(tfi(spikes, key_readout=readout, **arguments))[0, 0]
            for margin in (1, 20):  # of readouts at both ends that the published images leave out
                if margin <= readout < 61 - margin:
                    published = case.output(f"{prefix}sequence_m{margin}")[readout - margin]
                    assert torch.equal(image, published)


def test_published_tfp_is_cut_short_where_ours_refuses() -> None:
    case = load_case("tfp")
    with pytest.raises(WindowError, match=r"hold 61 readouts, expected those in \[51, 62\)"):
        tfp(case.spikes(), key_readout=56, window=11)
    cut = tfp(case.spikes(), key_readout=56, window=10)[0, 0]  # what SpikeCV averages instead
    assert torch.equal(as_stored(cut), case.output("key_h5_at_56"))


@settings(max_examples=60)
@given(spikes=small_streams)
def test_intervals_are_those_a_search_finds(spikes: Tensor) -> None:
    right, left = isi(spikes, closed="right"), isi(spikes, closed="left")
    for y, x in np.ndindex(*spikes.shape[2:]):
        train = spikes[0, :, y, x].tolist()
        for readout in range(len(train)):
            previous = [t for t in range(readout + 1) if train[t]]
            following = [t for t in range(readout, len(train)) if train[t]]
            before = [t for t in previous if t < readout]
            after = [t for t in following if t > readout]
            expected_right = following[0] - before[-1] if before and following else 0
            expected_left = after[0] - previous[-1] if previous and after else 0
            assert right[0, readout, y, x] == expected_right
            assert left[0, readout, y, x] == expected_left


@settings(max_examples=60)
@given(spikes=small_streams, data=st.data())
def test_the_key_rule_searches_its_half_windows(spikes: Tensor, data: st.DataObject) -> None:
    size = spikes.shape[1]
    key_readout = data.draw(st.integers(0, size - 1))
    half_window = data.draw(st.integers(1, 2 * size))
    found = tfi_interval(spikes, key_readout=key_readout, half_window=half_window)
    for y, x in np.ndindex(*spikes.shape[2:]):
        train = spikes[0, :, y, x]
        first = max(0, key_readout - half_window + 1)
        before = train[first : key_readout + 1].nonzero()
        after = train[key_readout + 1 : key_readout + half_window + 1].nonzero()
        expected = 2 * half_window
        if len(before) and len(after):
            expected = int(key_readout + 1 + after[0] - first - before[-1])
        assert found[0, 0, y, x] == expected


@pytest.mark.parametrize("interval", [1, 2, 3, 7, 19])
def test_tfi_of_a_periodic_stream_is_exact(interval: int) -> None:
    spikes = torch.zeros(1, 61, 1, interval)
    for phase in range(interval):
        spikes[0, phase::interval, 0, phase] = 1
    expected = torch.full((1, 1, 1, interval), 1 / interval)
    for rule in ("key", "sequence"):
        assert torch.equal(tfi(spikes, key_readout=30, half_window=20, rule=rule), expected)


def test_tfp_of_a_periodic_stream_is_exact_over_whole_periods() -> None:
    spikes = torch.zeros(1, 60, 1, 5)
    for phase in range(5):
        spikes[0, phase::5, 0, phase] = 1
    assert torch.equal(tfp_sequence(spikes, window=20), torch.full((1, 41, 1, 5), 0.2))


PER_PIXEL: dict[str, Callable[[Tensor], Tensor]] = {
    "tfp": lambda spikes: tfp(spikes, key_readout=10, window=8),
    "tfp_sequence": lambda spikes: tfp_sequence(spikes, window=5),
    "tfi": lambda spikes: tfi(spikes, key_readout=10, half_window=6),
    "tfi by the sequence rule": lambda spikes: tfi(
        spikes, key_readout=10, half_window=6, rule="sequence"
    ),
    "isi": lambda spikes: isi(spikes, closed="left"),
    "nested_means": nested_means,
}


@pytest.mark.parametrize("name", PER_PIXEL)
def test_cropping_before_equals_cropping_after(name: str) -> None:
    spikes = random_spikes(2, 21, 6, 7)
    function = PER_PIXEL[name]
    assert torch.equal(function(spikes[..., 1:4, 2:6]), function(spikes)[..., 1:4, 2:6])


@pytest.mark.parametrize("name", PER_PIXEL)
@pytest.mark.parametrize("dtype", [torch.bool, torch.float32, torch.float16])
def test_the_type_of_the_spikes_does_not_matter(name: str, dtype: torch.dtype) -> None:
    spikes = random_spikes(2, 21, 3, 4)
    before = spikes.clone()
    function = PER_PIXEL[name]
    assert torch.equal(function(spikes.to(dtype)), function(spikes))
    assert torch.equal(spikes, before)


@pytest.mark.parametrize("window", [1, 4, 5, 21])
def test_the_sequence_is_the_key_readout_everywhere(window: int) -> None:
    spikes = random_spikes(2, 21, 3, 4)
    images = tfp_sequence(spikes, window=window)
    assert images.shape[1] == 21 - window + 1
    for index in range(images.shape[1]):
        one = tfp(spikes, key_readout=index + window // 2, window=window)
        assert torch.equal(one[:, 0], images[:, index])


@pytest.mark.parametrize(("size", "lengths"), [(21, (21, 17, 13, 9, 5)), (6, (2, 6, 4)), (3, (1,))])
def test_nested_means_are_the_means_of_centred_windows(size: int, lengths: tuple[int, ...]) -> None:
    block = random_spikes(2, size, 3, 4).float()
    means = nested_means(block, lengths)
    for index, length in enumerate(lengths):
        first = (size - length) // 2
        assert torch.equal(means[:, index], block[:, first : first + length].mean(1))


def test_long_streams_keep_their_intervals() -> None:
    spikes = torch.zeros(1, 40_000, 1, 1)  # more readouts than an int16 counts
    spikes[0, [0, 39_999]] = 1
    assert isi(spikes, closed="right")[0, 5].item() == 39_999
    assert tfi_interval(spikes, key_readout=0, half_window=40_000).item() == 39_999


def test_the_first_readout_begins_an_interval_unless_excluded() -> None:
    spikes = torch.zeros(1, 9, 1, 1)
    spikes[0, [0, 6]] = 1
    assert tfi_interval(spikes, key_readout=4, half_window=5).item() == 6
    excluded = tfi_interval(spikes, key_readout=4, half_window=5, include_first=False)
    assert excluded.item() == 10


def test_a_single_readout_has_no_interval() -> None:
    spikes = torch.ones(1, 1, 2, 2)
    assert tfi_interval(spikes, key_readout=0, half_window=3).unique().tolist() == [6]
    by_sequence = tfi_interval(spikes, key_readout=0, half_window=3, rule="sequence")
    assert by_sequence.unique().tolist() == [257]
    assert tfp(spikes, key_readout=0, window=1).unique().tolist() == [1]


@pytest.mark.parametrize(
    "call",
    [
        lambda spikes: tfp(spikes, key_readout=2, window=9),
        lambda spikes: tfp(spikes, key_readout=2, window=0),
        lambda spikes: tfp_sequence(spikes, window=8),
        lambda spikes: tfi(spikes, key_readout=7, half_window=3),
        lambda spikes: tfi(spikes, key_readout=-1, half_window=3),
        lambda spikes: tfi(spikes, key_readout=3, half_window=0),
        lambda spikes: nested_means(spikes, (7, 4)),
        lambda spikes: nested_means(spikes, (9,)),
    ],
)
def test_windows_that_leave_the_stream_are_refused(call: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(WindowError):
        call(random_spikes(1, 7, 2, 2))


@pytest.mark.parametrize("name", PER_PIXEL)
def test_a_missing_axis_is_named(name: str) -> None:
    with pytest.raises(InputError, match=r"must be \(B, T, H, W\), found 3 axes"):
        PER_PIXEL[name](random_spikes(21, 4, 4))


def test_inverse_interval_of_every_pair_of_spikes() -> None:
    def length(*fired: int) -> float:
        spikes = torch.zeros(1, 41, 1, 1)
        spikes[0, list(fired)] = 1
        return float(1 / inverse_interval(spikes, 20, 12))

    assert length(18, 23) == pytest.approx(5)
    assert length(20, 21) == pytest.approx(1)
    assert length(2, 9, 12, 32, 40) == pytest.approx(20)
    assert length(8, 25) == pytest.approx(17)  # readout 8 is out of reach, and stands for none
    assert length(18) == pytest.approx(14)  # the second is taken to be at 32
    assert length() == pytest.approx(24)


def test_a_search_beyond_the_window_is_refused() -> None:
    with pytest.raises(InputError, match="12 readouts around readout 10 leaves the window of 21"):
        inverse_interval(torch.zeros(1, 21, 2, 2), 10, 12)
