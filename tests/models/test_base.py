"""The form of what a network returns is checked wherever images come out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from spikerec.errors import ConfigError
from spikerec.losses import L1, Loss
from spikerec.models import BlockNetwork, Blocks, Network, Reconstruction
from spikerec.training.rehearsal import rehearse
from tests.fakes import fake_spikes


class Custom(Network):
    """A firing rate, returned in a form of the test's choice."""

    multiple = 4

    def __init__(self, form: Callable[[Tensor], Any]) -> None:
        super().__init__(window=5, output_scale=1.0)
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.form = form

    def forward(self, spikes: Tensor) -> Reconstruction:
        returned: Reconstruction = self.form(self.weight * spikes.mean(1, keepdim=True))
        return returned


class Held:
    """A short stream in memory."""

    def __init__(self) -> None:
        self.spikes = torch.from_numpy(fake_spikes(9, 10, 14))

    def part(self, first: int, stop: int) -> Tensor:
        return self.spikes[first:stop]


WRONG: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "narrow": (lambda rate: Reconstruction(rate[..., :-1]), r"\(B, 1, H, W\), here .* found \("),
    "half": (lambda rate: Reconstruction(rate[..., ::2, ::2]), r"here \(2, 1, .* found \(2, 1, "),
    "colours": (lambda rate: Reconstruction(rate.repeat(1, 3, 1, 1)), r"found \(2, 3, "),
    "no channel": (lambda rate: Reconstruction(rate[:, 0]), r"here \(2, 1, .* found \(2, \d+, "),
    "one of the batch": (lambda rate: Reconstruction(rate[:1]), r"here \(2, .* found \(1, "),
    "bytes": (lambda rate: Reconstruction(rate.byte()), "floating-point .* found torch.uint8"),
    "truths": (lambda rate: Reconstruction(rate > 0), "floating-point .* found torch.bool"),
    "tensor": (lambda rate: rate, r"Reconstruction\(image, extras\), found a Tensor \(2, 1"),
    "pair": (lambda rate: (rate, {}), r"found a tuple: return Reconstruction\(image\)"),
    "nothing": (lambda _: None, "found None: return"),
    "array": (lambda rate: Reconstruction(rate.detach().numpy()), "a tensor, found a ndarray"),
    "extras": (lambda rate: Reconstruction(rate, [rate]), r"extras by their names.* found a list"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_an_output_of_another_form_is_told_wherever_images_come_out(kind: str) -> None:
    form, message = WRONG[kind]
    message = rf"^Custom\.forward must return .*{message}"
    network, held = Custom(form).eval(), Held()
    with pytest.raises(ConfigError, match=message):
        network.reconstruct(torch.stack([held.part(0, 5), held.part(4, 9)]))
    with torch.no_grad(), pytest.raises(ConfigError, match=message):
        network.along(1).images([3, 5], held)
    with pytest.raises(ConfigError, match=message):
        rehearse(network.train(), Loss(l1=L1()), (32, 32), samples=2)


def test_an_image_of_doubles_is_as_good() -> None:
    network, held = Custom(lambda rate: Reconstruction(rate.double())).eval(), Held()
    with torch.no_grad():
        image = network.reconstruct(held.part(0, 5)).image
        assert torch.equal(network.along(1).images([2], held), image.float())
    assert np.array_equal(image[0, 0], held.part(0, 5).float().mean(0))


def test_the_image_of_joined_blocks_is_checked() -> None:
    class Joined(BlockNetwork):
        def __init__(self) -> None:
            super().__init__(window=4)
            self.blocks = Blocks(count=2, length=2, stride=2)

        def encode(self, block: Tensor) -> tuple[Tensor, ...]:
            return (block.float(),)

        def join(self, features: Any) -> Reconstruction:
            return Reconstruction(torch.cat([one for (one,) in features], 1).mean(1))

    way = Joined().eval().along(2)
    with pytest.raises(ConfigError, match=r"Joined\.join must .* here \(2, 1, 10, 14\), found \("):
        way.images([2, 4], Held())
