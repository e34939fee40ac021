"""A network that a program other than PyTorch computes: converted once for each size of picture."""

from __future__ import annotations

import ctypes
import os
from abc import abstractmethod
from collections.abc import Callable
from threading import Lock
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn

from spikerec.errors import ConfigError
from spikerec.inference.wrapped import Wrapped
from spikerec.kernels.devices import has_values
from spikerec.models.base import Network, Reconstruction, check_output
from spikerec.models.reconstructors import ByWindows, Reconstructor

#: A program ready to run: windows (B, T, H, W) uint8 to images (B, 1, H, W) float32.
Program = Callable[[Tensor], Tensor]


class Served(Wrapped):
    """A network whose images an engine computes, on the CPU.

    Windows go to the engine as the bytes they are. It is given a network as published: engines
    fold and merge layers by themselves.

    Args:
        network: in eval mode; moved to the CPU.
        precision: `float32`, `bf16`, `fp16` or `int8`.

    Raises:
        ConfigError: the package is not installed, or the processor lacks the precision.
    """

    #: The engine's name, as `engine=` has it.
    engine: str

    def __init__(self, network: Network, precision: str) -> None:
        super().__init__(network.cpu())
        self.precision = precision
        self.threads = torch.get_num_threads()
        self._programs: dict[tuple[int, ...], Program] = {}
        self._converting = Lock()

    def __getstate__(self) -> dict[str, Any]:
        """All but the programs, which another process makes or reads for itself."""
        return self.__dict__ | {"_programs": {}, "_converting": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._converting = Lock()
        self.threads = torch.get_num_threads()

    @property
    def dtype(self) -> torch.dtype:
        """Windows are taken as bytes."""
        return torch.uint8

    def along(self, stride: int) -> Reconstructor:
        """Windows by batches: the engine shares out the threads by itself."""
        del stride
        return ByWindows(self, together=True)

    def forward(self, spikes: Tensor) -> Reconstruction:
        """See `Network.forward`.

        Raises:
            ConfigError: the engine lacks an operation of the network; the message names it.
        """
        if not has_values(spikes):  # memory is being counted: that of the network as PyTorch has it
            return self.network.run(spikes.to(self.network.dtype))
        output = Reconstruction(self._program(spikes.shape)(spikes.to(torch.uint8)))
        return check_output(self.network, output, spikes.shape)

    def _program(self, shape: torch.Size) -> Program:
        """The program for windows of a size, made at its first use.

        One that takes several windows at once is another than one that gives all threads to one.
        """
        key = (min(shape[0], 2), *shape[1:])
        with self._converting:
            if key not in self._programs:
                try:
                    with torch.inference_mode(False), torch.no_grad():
                        program = self.convert(tuple(shape[1:]), alone=shape[0] == 1)
                except Exception as error:
                    reason = " ".join(str(error).split())[:300] or type(error).__name__
                    raise ConfigError(
                        f"{type(self.network).__name__} cannot run by {self.engine}: {reason}. "
                        "Set engine=torch."
                    ) from error
                _alive.add(program)
                self._programs[key] = program
            return self._programs[key]

    @abstractmethod
    def convert(self, size: tuple[int, ...], *, alone: bool) -> Program:
        """Make the program for windows of T, H, W.

        Args:
            size: T, H, W.
            alone: windows come one by one; else several at once.
        """


#: The programs of this process.
_alive: WeakSet[Program] = WeakSet()


def _keep_inherited() -> None:
    """Keep a parent's programs in a forked process, by a reference without an owner.

    Engines have threads, which the process does not inherit. Where it frees a program, as Python's
    garbage collector does at any time, OpenVINO aborts it.
    """
    for program in _alive:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(program))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep_inherited)


class ImageOnly(nn.Module):
    """The module to convert: a window (1, T, H, W) of float32 in, the image (1, 1, H, W) out."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, spikes: Tensor) -> Tensor:
        """(1, T, H, W) → (1, 1, H, W)."""
        image: Tensor = self.network(spikes).image
        return image
