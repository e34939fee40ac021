"""Memory that an image takes, counted without computing it.

On PyTorch's `meta` device tensors have shapes and no values, so that a 720 × 1280 image costs
neither memory nor time to count.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from spikerec.models.base import Network


def peak_memory(network: Network, size: tuple[int, int]) -> int:
    """Most bytes of tensors alive at once for one image of H × W: weights, window, intermediates.

    Counts each tensor from the operation that makes it until nothing refers to it, without
    gradients. What a device adds (context, workspace of kernels, fragmentation) is not in it; see
    `spikerec.metrics.efficiency.measured_peak_memory`.
    """
    shell = copy.deepcopy(network).to("meta").eval()
    with torch.no_grad(), _LiveBytes() as live:
        live.add(*shell.parameters(), *shell.buffers())
        whole_window(shell, size)()
    return int(live.peak)


def whole_window(shell: Network, size: tuple[int, int]) -> Callable[[], object]:
    """Reconstruction of one window by a network on the meta device."""
    spikes = torch.empty((1, shell.window, *size), dtype=shell.dtype, device="meta")
    return lambda: shell.reconstruct(spikes, 1.0, validate=False)


class _LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows how many bytes of storage are alive, and the most there were."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now: int = 0
        self.peak: int = 0
        self._alive: set[int] = set()

    def add(self, *tensors: Tensor) -> None:
        """Count the storages of tensors until they are freed."""
        for tensor in tensors:
            storage = tensor.untyped_storage()
            key, size = storage._cdata, storage.nbytes()
            if key not in self._alive:
                self._alive.add(key)
                self.now += size
                weakref.finalize(storage, self._free, key, size)
        self.peak = max(self.peak, self.now)

    def _free(self, key: int, size: int) -> None:
        self._alive.discard(key)
        self.now -= size

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        del types
        output = func(*args, **(kwargs or {}))
        self.add(*(leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)))
        return output
