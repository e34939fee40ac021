"""The engine: windows of a stream through a network, in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from spikerec.errors import ConfigError, WindowError
from spikerec.models.base import Network
from spikerec.spikes import SpikeStream, unpack_bits


@dataclass(frozen=True)
class KeyReadouts:
    """Which readouts of a stream become images.

    Attributes:
        first: the first of them.
        stop: they are below it.
        stride: readouts from one to the next.
    """

    first: int
    stop: int
    stride: int

    @classmethod
    def of(
        cls, stream: SpikeStream, network: Network, stride: int, start: int, stop: int | None
    ) -> KeyReadouts:
        """Every `stride`-th readout of [start, stop) that has a whole window inside it.

        Raises:
            ConfigError: a stride below 1.
            WindowError: the part is shorter than the network's window.
        """
        if stride < 1:
            raise ConfigError(f"stride must be at least 1, found {stride}.")
        end = stream.num_readouts if stop is None else min(stop, stream.num_readouts)
        if end - start < network.window:
            raise WindowError(
                f"{stream.path}: readouts [{start}, {end}) are {max(end - start, 0)}, but "
                f"{type(network).__name__} needs a window of {network.window}. Give a longer part, "
                "or set model.window."
            )
        after_key = network.window - network.key_readout
        return cls(start + network.key_readout, end - after_key + 1, stride)

    def __len__(self) -> int:
        return len(range(self.first, self.stop, self.stride))

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.first, self.stop, self.stride))


@torch.inference_mode()
def images(
    stream: SpikeStream,
    network: Network,
    keys: KeyReadouts,
    *,
    light_scale: float,
    batch_size: int,
    device: torch.device,
) -> Iterator[Tensor]:
    """The image of each key readout, in order.

    Args:
        stream: read window by window, as packed bits that are unpacked on the device.
        network: in eval mode.
        keys: which readouts.
        light_scale: of the stream, in (0, 1].
        batch_size: windows that go through the network at once.
        device: where the network computes.

    Yields:
        (H, W) float32 on the CPU, in intensity, not clipped.
    """
    network.to(device)
    pending = list(keys)
    for index in range(0, len(pending), batch_size):
        windows = [
            _window(stream, key - network.key_readout, network.window, device)
            for key in pending[index : index + batch_size]
        ]
        batch = network.reconstruct(torch.stack(windows), light_scale, validate=False)
        yield from batch.image[:, 0].float().cpu()


def _window(stream: SpikeStream, first: int, length: int, device: torch.device) -> Tensor:
    packed = stream.packed(first, first + length)
    bits = torch.from_numpy(packed.bits).to(device)
    return unpack_bits(bits, packed.width, packed.offset)
