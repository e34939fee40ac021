"""The engine: a stream read once, through one or several networks, to images in order.

Three things happen at a time, each in a thread: readouts are read (`reading.read`), windows become
images (`make_frames`), and images are drawn and written by whoever asks for the frames. Bounded
queues lie between them, so that memory does not grow with the length of the stream.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from contextlib import closing
from typing import NamedTuple

import torch
from torch import Tensor

from spikerec.kinds import checked
from spikerec.models.base import Network, Reconstruction, darken
from spikerec.models.modes import for_inference
from spikerec.models.reconstructors import Reconstructor
from spikerec.spikes import SpikeStream
from spikerec.spikes.defects import Repair
from spikerec.streaming.ahead import DEPTH, ahead
from spikerec.streaming.calibrated import Calibrated
from spikerec.streaming.colour import ByPlanes
from spikerec.streaming.key_readouts import KeyReadouts, reach
from spikerec.streaming.reading import read
from spikerec.streaming.readouts import Readouts
from spikerec.streaming.tiles import Tiled, Tiling


class Frame(NamedTuple):
    """The images and the spikes that become one picture of a video.

    Attributes:
        key_readout: the key readout.
        images: (M, H, W) float32 on the CPU, in intensity, not clipped; one a network. Of a colour
            camera the engine makes mosaics, and a `Video` makes (M, H, W, 3) of them.
        spikes: (H, W) uint8, the key readout itself.
    """

    key_readout: int
    images: Tensor
    spikes: Tensor


@checked
def make_frames(
    stream: SpikeStream,
    networks: Sequence[Network],
    key_readouts: KeyReadouts,
    *,
    light_scale: float = 1.0,
    batch_size: int = 1,
    device: torch.device | str = "cpu",
    tilings: Sequence[Tiling | None] | None = None,
    repair: Repair | Calibrated | None = None,
) -> Generator[Frame, None, None]:
    """Make the frame of each key readout, in order.

    Args:
        stream: read once, as packed bits that are unpacked on the device.
        networks: all see the same stream. One in training mode is copied, and stays as it is.
        key_readouts: which readouts.
        light_scale: of the stream, in (0, 1].
        batch_size: windows that go through a network at once.
        device: where the networks compute.
        tilings: of each network, how its pictures are split (`tiles.choose_tiling`); None for whole
            pictures. Those of a colour camera are of its largest plane.
        repair: replaces broken pixels, or takes a fixed pattern out; None for none.

    Yields:
        Frames, made ahead of the reader in a thread of their own.
    """
    device = torch.device(device)
    networks = [for_inference(network).to(device) for network in networks]
    stride = key_readouts.stride
    ways = [
        _way(network, tiling, stride, stream)
        for network, tiling in zip(networks, tilings or [None] * len(networks), strict=True)
    ]
    before, after = reach(networks)
    wanted = list(key_readouts)
    besides = deque(sorted({one for way in ways for one in way.windows_besides(wanted)}))
    if besides:
        batch_size = 1  # so that all that lies between two images is seen between them

    @torch.inference_mode()
    def made() -> Generator[Frame, None, None]:
        readouts = Readouts(device, repair)
        windows = sorted({*besides, *wanted})
        with closing(ahead(read(stream, windows, before, after), DEPTH)) as chunks:

            def hold(key_readout: int) -> None:
                while readouts.stop < key_readout + after:
                    readouts.add(next(chunks))

            for first in range(0, len(wanted), batch_size):
                batch = wanted[first : first + batch_size]
                while besides and besides[0] <= batch[-1]:
                    window = besides.popleft()
                    hold(window)
                    for way in ways:
                        way.see(window, readouts)
                    readouts.forget(window - before)
                hold(batch[-1])
                images = [
                    network.to_intensity(
                        Reconstruction(way.images(batch, readouts)), light_scale
                    ).image
                    for network, way in zip(networks, ways, strict=True)
                ]
                ready = torch.cat(images, 1).cpu()  # (B, M, H, W)
                for key_readout, image in zip(batch, ready, strict=True):
                    fired = readouts.fired(key_readout, key_readout + 1)[0].cpu()
                    if not fired.any():
                        image = _darkened(image, networks, key_readout, readouts)
                    yield Frame(key_readout, image, fired)
                readouts.forget(batch[-1] - before)

    return ahead(made(), DEPTH)


def _way(
    network: Network, tiling: Tiling | None, stride: int, stream: SpikeStream
) -> Reconstructor:
    """The way of a network along a stream: by planes, by tiles, or as the network chooses."""
    if stream.bayer is not None:
        return ByPlanes(network, stride, stream.height, stream.width, tiling)
    return network.along(stride) if tiling is None else Tiled(network, tiling, stride)


def _darkened(
    image: Tensor, networks: Sequence[Network], key_readout: int, readouts: Readouts
) -> Tensor:
    """The images (M, H, W) of a key readout without spikes, as `Network.reconstruct` has them."""
    windows = (
        readouts.fired(first, first + network.window)[None]
        for network in networks
        for first in [key_readout - network.key_readout]
    )
    pairs = zip(image[:, None, None], windows, networks, strict=True)
    return torch.cat([darken(one, window.cpu(), n.key_readout)[:, 0] for one, window, n in pairs])
