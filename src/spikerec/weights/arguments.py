"""A network built by arguments that a file states, where it is no larger than the file's weights.

A checkpoint of a few kilobytes may state a network of terabytes, or one of a billion layers. So the
values are bounded first, and the network is then built on PyTorch's `meta` device, which holds
shapes and no numbers, by a counter that stops where a network would be larger than its file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from spikerec.configs import build
from spikerec.errors import SpikerecError, WeightsError, root_cause

if TYPE_CHECKING:
    from spikerec.models.base import Network

#: A network has at most twice as many numbers as its file, and some more that are not kept.
TIMES_THE_FILE, MORE_NUMBERS = 2, 1_000_000

#: While it is built, some numbers are made more than once, and thrown away.
TIMES_WHILE_BUILT = 8

#: Calls of PyTorch that build a network: ET-Net takes 2,100.
MOST_CALLS = 20_000


def build_stated(
    name: str, arguments: Mapping[str, Any], state: Mapping[str, Tensor], path: str | Path
) -> Network:
    """Build the network of `conf/model` by arguments that a file states beside its weights.

    Args:
        name: the choice of `conf/model`.
        arguments: as `read_arguments` returns them.
        state: the file's weights, which bound the network's size.
        path: the file, for errors.

    Raises:
        ConfigError: no such model.
        WeightsError: a value is beyond its bound; the network does not take an argument, or cannot
            be built by it; or it would be larger than the file's weights.
    """
    make = partial(build, "model", name, **arguments)
    check_size(make, state, f"{path} states arguments of model={name}")
    network: Network = make()
    return network


def check_size(make: Callable[[], nn.Module], state: Mapping[str, Tensor], source: str) -> None:
    """Build a network without its numbers, and refuse one that is larger than its weights.

    Args:
        make: builds it.
        state: its weights.
        source: the subject of the error: what states the arguments.

    Raises:
        WeightsError: it cannot be built, or would be larger.
    """
    stated = sum(tensor.numel() for tensor in state.values())
    most = TIMES_THE_FILE * stated + MORE_NUMBERS
    try:
        with torch.device("meta"), _Counter(TIMES_WHILE_BUILT * most):
            network = make()
        if sum(tensor.numel() for tensor in network.state_dict().values()) > most:
            raise _TooLargeError
    except _TooLargeError:
        raise WeightsError(
            f"{source} that make a network of more than {most:,} numbers, where the file holds "
            f"{stated:,}: refused. Get the file again from its authors."
        ) from None
    except SpikerecError as error:
        raise WeightsError(f"{source} by which it cannot be built: {root_cause(error)}") from error
    except Exception as error:
        # The values are a stranger's: they make a constructor fail wherever they happen to.
        raise WeightsError(
            f"{source} by which it cannot be built ({type(error).__name__}): give the right model, "
            "or get the file again."
        ) from error


class _TooLargeError(Exception):
    """A network grows beyond what its file can hold."""


class _Counter(TorchFunctionMode):
    """Counts the numbers and the calls that building takes, and stops at a bound."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self._numbers = self._calls = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 (PyTorch's signature)
        del types
        result = func(*args, **(kwargs or {}))
        self._calls += 1
        if isinstance(result, Tensor) and not any(isinstance(one, Tensor) for one in args):
            self._numbers += result.numel()  # made of a stated size, not of other tensors
        if self._numbers > self.most or self._calls > MOST_CALLS:
            raise _TooLargeError
        return result
