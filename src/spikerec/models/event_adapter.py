"""Event-camera networks fed with spikes: one adapter for ET-Net and HyperE2VID.

An event network maps a voxel grid of `num_bins` channels and a state to an image and a state. The
STIR paper (Fan et al., NeurIPS 2024) retrains both networks on spikes but publishes no code for
that, so how spikes become voxel grids is our choice (`Feeding`): by default raw readouts, one a
channel, in blocks of 21 that share their end readouts, as STIR cuts its own input. 21 channels fit
the parameter and operation counts of that paper's table for both networks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import count
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from spikerec.errors import ConfigError
from spikerec.models.base import (
    Reconstruction,
    StatefulNetwork,
    check_window,
)
from spikerec.models.blocks import BlockNetwork, Blocks
from spikerec.models.padding import Padding
from spikerec.models.recurrent import RecurrentState

#: Ways of making calls of a window. `key_frame`: blocks of num_bins readouts from the start on,
#: each from the last readout of the one before, up to the last block that holds the key readout;
#: the image of that call is the result. `look_ahead`: one block more. `binned`: one call, the key
#: readout alone in the middle bin, means of equally many readouts in the others.
Feeding = Literal["key_frame", "look_ahead", "binned"]

#: The part of a call that a core computes from a voxel grid alone, before any state.
Features = tuple[Tensor, ...]


class EventCore(nn.Module, ABC):
    """A recurrent event-camera network proper, with its state passed in and out.

    A call is `encode`, which knows only the voxel grid, then `advance`, which knows the state too.
    Height and width must be multiples of 8.
    """

    @abstractmethod
    def encode(self, bins: Tensor) -> Features:
        """The part of a call that needs no state: (B, num_bins, H, W) → features."""

    @abstractmethod
    def advance(
        self, features: Features, state: RecurrentState | None
    ) -> tuple[Tensor, RecurrentState]:
        """The rest of a call: the image, (B, 1, H, W), and the state after it."""

    def observe(self, features: Features, state: RecurrentState | None) -> RecurrentState:
        """The state after a call whose image nobody asks for."""
        return self.advance(features, state)[1]

    def forward(
        self, bins: Tensor, state: RecurrentState | None = None
    ) -> tuple[Tensor, RecurrentState]:
        """One call of the published network.

        Args:
            bins: (B, num_bins, H, W).
            state: what the call before returned; None starts from zeros.

        Returns:
            The image, (B, 1, H, W), and the state for the next call.

        Raises:
            InputError: the state comes from another batch or image size.
        """
        return self.advance(self.encode(bins), state)


class EventNetwork(BlockNetwork, StatefulNetwork):
    """An event-camera network that reconstructs the key readout of a window of spikes.

    A window on its own starts from zero state and runs through its blocks; the image of the last
    call is the result. Along a stream, windows `hop` readouts apart are one long run: the blocks
    that lie before the last one of the first window belong to its initial state (`initial_state`),
    and each window makes one call, on its last block (`step`).

    Args:
        core: the published network.
        num_bins: its input channels.
        window: readouts the network sees.
        feeding: how a window becomes calls (`Feeding`).
        output_scale: as in `Network`.

    Raises:
        ConfigError: the window does not fit the feeding.
    """

    multiple = 8
    padding = Padding("zeros", "centre_first")

    def __init__(
        self,
        core: EventCore,
        *,
        num_bins: int,
        window: int,
        feeding: Feeding,
        output_scale: float | None = None,
    ) -> None:
        super().__init__(window, output_scale)
        self.core = core
        self.num_bins = num_bins
        self.blocks = cut_window(window, num_bins, feeding)
        self.hop = num_bins - 1  # of all feedings: a call of `binned` sees some readouts again

    def encode(self, block: Tensor) -> Features:
        """The part of a call that needs no state, for blocks (B, blocks.length, H, W)."""
        return self.core.encode(to_bins(block, self.num_bins))

    def join(self, features: Sequence[Features]) -> Reconstruction:
        """Run the calls of one window from zero state; the image is the last call's."""
        *context, last = features
        state = None
        for block in context:
            state = self.core.observe(block, state)
        return Reconstruction(self.core.advance(last, state)[0].float())

    def initial_state(self, spikes: Tensor) -> RecurrentState:
        """The state after the calls on all blocks of a first window but the last."""
        check_window(spikes, self.window, self.multiple)
        *context, last = self.blocks.split(spikes)
        state = None
        for block in context:
            state = self.core.observe(self.encode(block), state)
        if state is None:  # a window of one call begins from zeros
            state = tree_map_only(
                Tensor, torch.zeros_like, self.core.observe(self.encode(last), None)
            )
        return state

    def step(self, spikes: Tensor, state: RecurrentState) -> tuple[Reconstruction, RecurrentState]:
        """One call on the last block of a window (see `Network.step`)."""
        check_window(spikes, self.window, self.multiple)
        features = self.encode(self.blocks.split(spikes)[-1])
        image, state = self.core.advance(features, state)
        return Reconstruction(image.float()), state

    def call(
        self, block: Tensor, state: RecurrentState | None = None
    ) -> tuple[Reconstruction, RecurrentState]:
        """One call of the published network on a block of readouts, with the state before it.

        Args:
            block: (B, blocks.length, H, W), values 0 and 1, any height and width.
            state: what the call before returned; None starts a video. It lives at the padded size.

        Returns:
            The image, (B, 1, H, W), in the unit that `output_scale` states (`to_intensity` converts
            it), and the state for the next call.

        Raises:
            InputError: wrong shape, or a state of another batch or image size.
            WindowError: another number of readouts.
        """
        check_window(block, self.blocks.length)
        margins = self.margins(*block.shape[-2:])
        padded = margins.pad(block).to(self.dtype)
        image, state = self.core(to_bins(padded, self.num_bins), state)
        return Reconstruction(margins.crop(image).float()), state


def cut_window(window: int, num_bins: int, feeding: Feeding) -> Blocks:
    """The blocks of a window, one a call (see `Feeding`).

    Example:
        >>> cut_window(61, 21, "key_frame")
        Blocks(length=21, stride=20, count=2)
        >>> cut_window(61, 21, "look_ahead").count
        3

    Raises:
        ConfigError: num_bins < 2, an unknown feeding, or a window that does not fit it.
    """
    if feeding not in get_args(Feeding):
        names = ", ".join(get_args(Feeding))
        raise ConfigError(f"feeding must be one of {names}, found {feeding}.")
    if num_bins < 2:
        raise ConfigError(f"num_bins must be at least 2, found {num_bins}.")
    stride = num_bins - 1  # blocks share their end readouts
    if feeding == "binned":
        if num_bins % 2 == 0 or window < num_bins or (window - 1) % stride:
            raise ConfigError(
                "feeding=binned needs an odd num_bins n and a window k·(n-1) + 1 "
                f"with k ≥ 1, found n={num_bins}, window={window}. Try num_bins=21 "
                "window=61."
            )
        return Blocks(length=window, stride=window, count=1)
    calls = _num_calls(window, num_bins, feeding)
    if not calls:
        larger = next(w for w in count(window + 1) if _num_calls(w, num_bins, feeding))
        raise ConfigError(
            f"window={window} does not hold the blocks of feeding={feeding} with "
            f"num_bins={num_bins}. The next larger window that does is {larger}."
        )
    return Blocks(num_bins, stride, calls)


def _num_calls(window: int, num_bins: int, feeding: Feeding) -> int:
    """Blocks up to the one whose image is read; 0 where the window does not hold them."""
    stride = num_bins - 1
    fitting = (window - num_bins) // stride + 1
    calls = min(window // 2 // stride + 1, fitting) + (feeding == "look_ahead")
    return calls if 0 < calls <= fitting else 0


def to_bins(block: Tensor, num_bins: int) -> Tensor:
    """A block of readouts as a voxel grid.

    Args:
        block: (B, T, H, W).
        num_bins: T, or an odd number n with T - 1 divisible by n - 1.

    Returns:
        (B, num_bins, H, W): the block itself if it has that many readouts; else its middle readout
        in the middle bin, and the means of equally many readouts in each other bin.
    """
    length = block.shape[1]
    if length == num_bins:
        return block
    half = length // 2
    sides = (block[:, :half], block[:, half + 1 :])
    before, after = (
        torch.stack([part.mean(dim=1) for part in side.chunk(num_bins // 2, dim=1)], dim=1)
        for side in sides
    )
    return torch.cat((before, block[:, half : half + 1], after), dim=1)
