"""A split window: what the network sees holds nothing of what its image is held against."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from spikerec.errors import ConfigError, InputError
from spikerec.losses.halves import OtherHalf
from spikerec.models.base import Reconstruction


def batch_of(spikes: Tensor, light_scale: float = 0.5) -> dict[str, Any]:
    return {"spikes": spikes, "light_scale": torch.full((len(spikes),), light_scale)}


def random_spikes(*shape: int) -> Tensor:
    return (torch.rand(shape) < 0.3).to(torch.uint8)


@pytest.mark.parametrize("window", [40, 41])
def test_the_hidden_half_can_be_anything(window: int) -> None:
    term, spikes = OtherHalf(length=9, gap=2).eval(), random_spikes(2, window, 5, 6)
    key = window // 2
    seen = term.hide(batch_of(spikes))["spikes"]
    changed = spikes.clone()
    changed[0, key + 1 :] = 1 - changed[0, key + 1 :]  # of the first, the later half is hidden
    changed[1, :key] = 1 - changed[1, :key]
    again = term.hide(batch_of(changed))
    assert torch.equal(again["spikes"], seen)
    assert not torch.equal(again["other_half"], term.hide(batch_of(spikes))["other_half"])


def test_what_is_seen_is_mirrored_at_the_key_readout() -> None:
    spikes = random_spikes(2, 41, 3, 3)
    seen = OtherHalf().eval().hide(batch_of(spikes))["spikes"]
    assert torch.equal(seen[:, 20], spikes[:, 20])
    assert torch.equal(seen, seen.flip(1))
    assert torch.equal(seen[0, :20], spikes[0, :20])
    assert torch.equal(seen[1, 21:], spikes[1, 21:])


def test_the_other_half_is_the_mean_beyond_the_gap() -> None:
    spikes = random_spikes(2, 41, 3, 3)
    rate = OtherHalf(length=5, gap=3).eval().hide(batch_of(spikes))["other_half"]
    torch.testing.assert_close(rate[0, 0], spikes[0, 24:29].float().mean(0))
    torch.testing.assert_close(rate[1, 0], spikes[1, 12:17].float().mean(0))


def test_training_draws_the_half() -> None:
    batch = batch_of(random_spikes(1, 41, 3, 3))
    term = OtherHalf().train()
    drawn = {tuple(term.hide(batch)["other_half"].flatten().tolist()) for _ in range(30)}
    assert len(drawn) == 2


def test_the_right_rate_costs_nothing() -> None:
    batch = OtherHalf().hide(batch_of(random_spikes(2, 41, 4, 4)))
    image = batch["other_half"] / 0.5
    assert OtherHalf()(Reconstruction(image), batch) == pytest.approx(0, abs=1e-10)
    assert OtherHalf()(Reconstruction(image + 2), batch) == pytest.approx(4)


def test_halves_too_short_are_refused() -> None:
    with pytest.raises(InputError, match=r"window of 31 readouts are shorter .* 3 \+ 15"):
        OtherHalf().hide(batch_of(random_spikes(1, 31, 3, 3)))
    with pytest.raises(ConfigError, match="found 0 and 3"):
        OtherHalf(length=0)
