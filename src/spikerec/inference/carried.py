"""A network along a stream, whose images go on from the state that earlier windows left."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from spikerec.inference.wrapped import Wrapped
from spikerec.models.base import Network, Reconstruction, State
from spikerec.models.carrying import Carry, check_carry, hop_of, windows_before
from spikerec.models.reconstructors import Reconstructor, Spikes


class Carried(Wrapped):
    """A network that gives its state from window to window along a stream.

    A window on its own is reconstructed as the network does it.

    Args:
        network: one that carries a state, in eval mode.
        carry: windows before each image's own through which the state comes: a number of them, or
            `start` for all from the stream's start on (see `spikerec.models.carrying`).

    Raises:
        ConfigError: a network without state, or another value of `carry`.
    """

    def __init__(self, network: Network, carry: Carry) -> None:
        super().__init__(network)
        check_carry(carry)
        self.hop = hop_of(network)
        self._carry = carry

    def forward(self, spikes: Tensor) -> Reconstruction:
        """See `Network.forward`."""
        return self.network.run(spikes)

    def initial_state(self, spikes: Tensor) -> State:
        """See `Network.initial_state`."""
        return self.network.initial_state(spikes)

    def step(self, spikes: Tensor, state: State) -> tuple[Reconstruction, State]:
        """See `Network.step`."""
        return self.network.run_step(spikes, state)

    def along(self, stride: int) -> Reconstructor:
        """Go through the windows before each image, too (see `Network.along`)."""
        del stride
        return ByChains(self.network, self._carry)


class ByChains(Reconstructor):
    """Each image is the last of a chain of windows, through which the state is carried.

    A chain that begins at the stream's start serves all images that are whole hops apart. Else
    each image has a chain of its own.

    Args:
        network: in eval mode.
        carry: see `Carried`.
    """

    def __init__(self, network: Network, carry: Carry) -> None:
        self._network = network
        self._hop = hop_of(network)
        self._carry = carry
        self._chains: dict[int, list[int]] = defaultdict(list)  # by the key readout of a window
        self._states: dict[int, State] = {}  # by chain

    def windows_besides(self, key_readouts: Sequence[int]) -> list[int]:
        """See `Reconstructor.windows_besides`."""
        wanted = set(key_readouts)
        for chain, last in {self._chain(one): one for one in key_readouts}.items():
            for window in self._before(last):
                if window not in wanted or self._chain(window) != chain:
                    self._chains[window].append(chain)
        return sorted(self._chains)

    def see(self, key_readout: int, spikes: Spikes) -> None:
        """See `Reconstructor.see`."""
        for chain in self._chains.pop(key_readout, ()):
            self._step(chain, key_readout, spikes)

    def images(self, key_readouts: Sequence[int], spikes: Spikes) -> Tensor:
        """See `Reconstructor.images`."""
        images = []
        for key_readout in key_readouts:
            chain = self._chain(key_readout)
            images.append(self._step(chain, key_readout, spikes))
            if self._carry != "start":
                del self._states[chain]
        return torch.cat(images)

    def _chain(self, key_readout: int) -> int:
        """The chain that ends at an image: from the start one a phase of the hop, else its own."""
        return key_readout % self._hop if self._carry == "start" else key_readout

    def _before(self, key_readout: int) -> range:
        """Key readouts of the windows through which the state of an image comes."""
        network, hop = self._network, self._hop
        count = windows_before(key_readout, network.key_readout, hop, self._carry)
        return range(key_readout - count * hop, key_readout, hop)

    def _step(self, chain: int, key_readout: int, spikes: Spikes) -> Tensor:
        """Carry the state of a chain through a window; the window's image, (1, 1, H, W)."""
        network = self._network
        first = key_readout - network.key_readout
        window = spikes.part(first, first + network.window)[None]
        margins = network.margins(*window.shape[-2:])
        padded = margins.pad(window).to(network.dtype)
        state = self._states.get(chain) if self._before(key_readout) else None
        if state is None:
            state = network.initial_state(padded)
        output, self._states[chain] = network.run_step(padded, state)
        return margins.crop(output.image).float()
