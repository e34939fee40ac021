"""Training and eval mode of networks, and layout of weights, left as their owner set them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from torch import nn
from torch.nn.parameter import is_lazy

N = TypeVar("N", bound=nn.Module)


@contextmanager
def modes_kept(network: nn.Module) -> Iterator[None]:
    """Put every part of a network back into the mode in which it was, at the end of a block."""
    modes = [(part, part.training) for part in network.modules()]
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


@contextmanager
def layout_kept(network: nn.Module) -> Iterator[None]:
    """Put contiguous weights of a network back into that memory format, at the end of a block.

    Another format takes other kernels, whose images differ in their last digits.
    """
    tensors = (*network.parameters(), *network.buffers())
    held = [(one, one.stride()) for one in tensors if not is_lazy(one) and one.is_contiguous()]
    try:
        yield
    finally:
        for one, stride in held:
            if one.stride() != stride:
                laid = one.data.new_empty_strided(one.shape, stride)
                one.data = laid.copy_(one.data)


@contextmanager
def in_eval_mode(network: nn.Module) -> Iterator[None]:
    """Keep a network in eval mode during a block, and restore its modes after it."""
    with modes_kept(network):
        network.eval()
        yield


@contextmanager
def giving_extras(network: nn.Module) -> Iterator[None]:
    """Have a network return its extras during a block, as in training; its parts keep their mode.

    So a loss that needs them can judge a network whose dropout and batch norms are in eval mode.
    """
    with modes_kept(network):
        network.training = True
        yield


def for_inference(network: N) -> N:
    """The network, if all of it is in eval mode; else a copy in eval mode.

    For work that goes on beside the caller's, which may train the network meanwhile.
    """
    if any(part.training for part in network.modules()):
        return copy.deepcopy(network).eval()
    return network
