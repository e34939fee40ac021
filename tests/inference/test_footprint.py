from __future__ import annotations

import pytest
from torch import Tensor

from spikerec.configs import build, config_names
from spikerec.inference.footprint import peak_memory
from spikerec.inference.rearrangement import optimised
from spikerec.models.base import Network, Reconstruction

PIXELS = 8 * 12


def test_peak_memory_is_that_of_the_tensors_alive_together() -> None:
    class Chain(Network):
        def __init__(self) -> None:
            super().__init__(window=2)

        def forward(self, spikes: Tensor) -> Reconstruction:
            for _ in range(5):  # the one before is freed as soon as the next exists
                spikes = spikes + 1
            return Reconstruction(spikes[:, :1].clone())

    window = 4 * 2 * PIXELS
    # the caller's window, and two of the chain
    assert peak_memory(Chain(), (8, 12)) == 3 * window


@pytest.mark.parametrize("name", config_names("model"))
def test_memory_of_every_rearranged_network_is_found(name: str) -> None:
    network: Network = optimised(build("model", name))
    assert peak_memory(network, (32, 32)) >= 4 * network.window * 32 * 32
