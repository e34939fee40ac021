"""Conversion of spike windows for an event-camera network."""

import pytest
import torch
from torch import Tensor

from spikerec.errors import ConfigError, InputError, WindowError
from spikerec.models.blocks import Blocks
from spikerec.models.event_adapter import (
    EventCore,
    EventNetwork,
    Features,
    Feeding,
    cut_window,
    to_bins,
)
from spikerec.models.recurrent import RecurrentState


class Counter(EventCore):
    """A core whose image is the sum of all readouts seen, and that logs what was asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def encode(self, bins: Tensor) -> Features:
        self.calls.append(f"encode {len(bins)}")
        return (bins.sum(dim=1, keepdim=True),)

    def advance(
        self, features: Features, state: RecurrentState | None
    ) -> tuple[Tensor, RecurrentState]:
        self.calls.append("advance")
        state = self._add(features, state)
        return state.memory[0][0], state

    def observe(self, features: Features, state: RecurrentState | None) -> RecurrentState:
        self.calls.append("observe")
        return self._add(features, state)

    def _add(self, features: Features, state: RecurrentState | None) -> RecurrentState:
        total = features[0] if state is None else state.memory[0][0] + features[0]
        return RecurrentState(((total, total),))


def counting(window: int, feeding: Feeding = "key_frame") -> EventNetwork:
    return EventNetwork(Counter(), num_bins=21, window=window, feeding=feeding)


def random_spikes(*shape: int) -> Tensor:
    return (torch.rand(shape) < 0.4).float()


@pytest.mark.parametrize(
    ("window", "feeding", "count"),
    [
        (21, "key_frame", 1),
        (25, "key_frame", 1),
        (40, "key_frame", 1),
        (41, "key_frame", 2),
        (61, "key_frame", 2),
        (101, "key_frame", 3),
        (61, "look_ahead", 3),
        (101, "look_ahead", 4),
    ],
)
def test_the_last_block_read_holds_the_key_readout(
    window: int, feeding: Feeding, count: int
) -> None:
    blocks = cut_window(window, 21, feeding)
    assert blocks == Blocks(length=21, stride=20, count=count)
    key_block = count - 1 - (feeding == "look_ahead")
    assert key_block * 20 <= window // 2 <= key_block * 20 + 20
    assert (count - 1) * 20 + 21 <= window


@pytest.mark.parametrize("window", range(21, 122))
def test_every_window_of_at_least_one_block_is_served(window: int) -> None:
    blocks = cut_window(window, 21, "key_frame")
    start = (blocks.count - 1) * blocks.stride
    assert start <= window // 2 < start + blocks.length <= window


@pytest.mark.parametrize(
    ("window", "num_bins", "feeding", "message"),
    [
        (20, 21, "key_frame", r"window=20 does not hold .* is 21\."),
        (41, 21, "look_ahead", r"window=41 does not hold .* is 61\."),
        (20, 21, "look_ahead", r"window=20 does not hold .* is 61\."),
        (50, 21, "binned", "feeding=binned needs an odd"),
        (61, 20, "binned", "feeding=binned needs an odd"),
        (61, 1, "key_frame", "num_bins must be at least 2, found 1"),
        (61, 21, "backwards", "feeding must be one of key_frame, look_ahead, binned"),
    ],
)
def test_a_window_that_does_not_fit_is_refused(
    window: int, num_bins: int, feeding: Feeding, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        cut_window(window, num_bins, feeding)


@pytest.mark.parametrize("window", [41, 61])
def test_bins_keep_the_key_readout_and_average_the_others(window: int) -> None:
    spikes = random_spikes(2, window, 3, 4)
    bins = to_bins(spikes, 21)
    size = (window - 1) // 20
    assert bins.shape == (2, 21, 3, 4)
    assert torch.equal(bins[:, 10], spikes[:, window // 2])
    torch.testing.assert_close(bins[:, 0], spikes[:, :size].mean(dim=1))
    torch.testing.assert_close(bins[:, -1], spikes[:, -size:].mean(dim=1))
    sides = bins.sum(dim=1) - bins[:, 10]
    torch.testing.assert_close(sides * size, spikes.sum(dim=1) - spikes[:, window // 2])


def test_a_window_of_as_many_readouts_as_bins_is_its_own_grid() -> None:
    spikes = random_spikes(1, 21, 2, 2)
    assert torch.equal(to_bins(spikes, 21), spikes)


def test_only_the_last_call_computes_an_image() -> None:
    network = counting(61, "look_ahead")
    network(random_spikes(2, 61, 8, 8))
    assert network.core.calls == ["encode 6", "observe", "observe", "advance"]


def test_calls_see_their_blocks_and_carry_the_state() -> None:
    spikes = random_spikes(2, 61, 8, 8)
    image = counting(61)(spikes).image
    seen = spikes[:, :21].sum(dim=1) + spikes[:, 20:41].sum(dim=1)
    torch.testing.assert_close(image[:, 0], seen)


def test_calls_over_the_blocks_of_a_window_end_in_its_image() -> None:
    network = counting(61)
    spikes = random_spikes(2, 61, 8, 8)
    state = None
    for block in network.blocks.split(spikes):
        reconstruction, state = network.call(block, state)
    assert torch.equal(reconstruction.image, network(spikes).image)


def test_a_call_takes_any_size_and_keeps_the_state_padded() -> None:
    block = random_spikes(1, 21, 13, 9)
    reconstruction, state = counting(61).call(block)
    assert torch.equal(reconstruction.image[:, 0], block.sum(dim=1))
    assert state.memory[0][0].shape[-2:] == (16, 16)


def test_a_call_refuses_another_number_of_readouts() -> None:
    with pytest.raises(WindowError, match="must hold 21 readouts"):
        counting(61).call(random_spikes(1, 61, 8, 8))


def test_forward_refuses_indivisible_sizes() -> None:
    with pytest.raises(InputError, match="multiples of 8"):
        counting(61)(random_spikes(1, 61, 12, 8))
