"""torch.compile: PyTorch's own compiler, on any device it supports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from spikerec.errors import ConfigError
from spikerec.inference.wrapped import Wrapped
from spikerec.kernels.devices import has_values
from spikerec.models.base import Network, Reconstruction, check_output
from spikerec.models.reconstructors import ByWindows, Reconstructor


class Compiled(Wrapped):
    """A network that torch.compile has compiled, anew for each size of picture.

    Args:
        network: as published, in eval mode.
    """

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self._compiled: Callable[[Tensor], Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """All but the compiled code, which another process makes for itself."""
        return self.__dict__ | {"_compiled": None}

    def along(self, stride: int) -> Reconstructor:
        """Each window on its own, a batch in one call."""
        del stride
        return ByWindows(self, together=True)

    def forward(self, spikes: Tensor) -> Reconstruction:
        """See `Network.forward`.

        Raises:
            ConfigError: the compiler cannot work here; the message says why.
        """
        if not has_values(spikes):
            return self.network.run(spikes)
        if self._compiled is None:
            self._compiled = torch.compile(self.network, dynamic=False)
        try:
            output = self._compiled(spikes)
        except torch._dynamo.exc.TorchDynamoException as error:
            reason = " ".join(str(error).split())[:300]
            raise ConfigError(
                f"{type(self.network).__name__} cannot run by torch.compile: {reason}. Set "
                "engine=torch."
            ) from error
        return Reconstruction(check_output(self.network, output, spikes.shape).image)
