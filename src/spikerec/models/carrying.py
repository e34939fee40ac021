"""Carrying a state along a stream: which windows come before a window, and where history ends.

With `carry`, the image of key readout k is the last of a chain of windows at

    k − n·hop, …, k − hop, k

of which the first begins from the network's initial state. n is the number that is asked for, or
as many as the stream holds. So an image follows from the stream, the key readout and `carry` alone:
not from the order in which images are made, nor from the process that makes them.
"""

from __future__ import annotations

from typing import Literal, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from spikerec.errors import ConfigError
from spikerec.models.base import Network, carries_none

#: Windows through which the state reaches a window: a number of them, or all from the stream's
#: start on; None for windows on their own.
Carry = int | Literal["start"] | None

AnyState = TypeVar("AnyState")


def check_carry(carry: object) -> None:
    """Refuse what is no `Carry`.

    Raises:
        ConfigError: naming `carry`.
    """
    if carry is None or carry == "start":
        return
    if not isinstance(carry, int) or isinstance(carry, bool) or carry < 1:
        raise ConfigError(
            f"carry must be a number of windows above 0, start (all from the stream's start), or "
            f"null (windows on their own), found {carry!r}."
        )


def hop_of(network: Network) -> int:
    """Readouts from window to window of a network that carries a state.

    Raises:
        ConfigError: it carries none.
    """
    if network.hop is None:
        raise carries_none(network)
    return network.hop


def windows_before(key_readout: int, before: int, hop: int, carry: Carry) -> int:
    """The number of windows that a window's state comes through.

    Windows that would begin before the stream are left out: the state is made of what was
    recorded, never of mirrored readouts.

    Args:
        key_readout: of the window, counted in the stream.
        before: readouts of a window that lie before its key readout.
        hop: readouts from window to window.
        carry: what is asked for.

    Example:
        >>> windows_before(100, 20, 20, "start")
        4
        >>> [windows_before(readout, 20, 20, 3) for readout in (100, 50, 5)]
        [3, 1, 0]
    """
    if carry is None:
        return 0
    possible = max(0, (key_readout - before) // hop)
    return possible if carry == "start" else min(carry, possible)


def detached(state: AnyState) -> AnyState:
    """The same state without its history: gradients end here."""
    cut: AnyState = tree_map_only(Tensor, torch.Tensor.detach, state)
    return cut
