"""The engine: a stream read once, through one or several networks, to images in order.

Three things happen at a time, each in a thread: readouts are read (`readouts.read`), windows become
images (`frames`), and images are drawn and written by whoever asks for the frames. Bounded queues
lie between them, so that memory does not grow with the length of the stream.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from typing import NamedTuple

import torch
from torch import Tensor

from spikerec.models.base import Network, Reconstruction
from spikerec.spikes import SpikeStream
from spikerec.spikes.defects import Repair
from spikerec.streaming.keys import KeyReadouts, reach
from spikerec.streaming.readouts import Readouts, ahead, read
from spikerec.streaming.reconstructors import reconstructor
from spikerec.streaming.tiles import Tiling, fitting_side

#: Items ready between two threads: one in use, one waiting.
DEPTH = 2
#: Pixels that neighbouring tiles share where nothing else is said.
TILE_OVERLAP = 64


class Frame(NamedTuple):
    """What becomes one picture of a video.

    Attributes:
        key: the key readout.
        images: (M, H, W) float32 on the CPU, in intensity, not clipped; one a network.
        spikes: (H, W) uint8, the key readout itself.
    """

    key: int
    images: Tensor
    spikes: Tensor


def frames(
    stream: SpikeStream,
    networks: Sequence[Network],
    keys: KeyReadouts,
    *,
    light_scale: float = 1.0,
    batch_size: int = 1,
    device: torch.device | str = "cpu",
    tile: int | None = None,
    tile_overlap: int = TILE_OVERLAP,
    repair: Repair | None = None,
) -> Generator[Frame, None, None]:
    """The frame of each key readout, in order.

    Args:
        stream: read once, as packed bits that are unpacked on the device.
        networks: in eval mode; all see the same stream.
        keys: which readouts.
        light_scale: of the stream, in (0, 1].
        batch_size: windows that go through a network at once.
        device: where the networks compute.
        tile: side of the tiles of a larger picture; None to split only what free memory needs.
        tile_overlap: pixels that neighbouring tiles share.
        repair: replaces broken pixels; None for none.

    Yields:
        Frames, made ahead of the reader in a thread of their own.
    """
    device = torch.device(device)
    ways = []
    for network in networks:
        network.to(device).eval()
        tiling = choose_tiling(network, stream, batch_size, device, tile, tile_overlap)
        ways.append(reconstructor(network, keys.stride, tiling))
    before, after = reach(networks)

    @torch.inference_mode()
    def made() -> Generator[Frame, None, None]:
        readouts = Readouts(device, repair)
        with closing(ahead(read(stream, keys, before, after), DEPTH)) as chunks:
            for first in range(0, len(keys), batch_size):
                batch = list(keys[first : first + batch_size])
                while readouts.stop < batch[-1] + after:
                    readouts.add(next(chunks))
                images = [
                    _intensity(network, way.images(batch, readouts), light_scale)
                    for network, way in zip(networks, ways, strict=True)
                ]
                ready = torch.cat(images, 1).cpu()  # (B, M, H, W)
                for key, image in zip(batch, ready, strict=True):
                    yield Frame(key, image, readouts.part(key, key + 1)[0].cpu())
                readouts.forget(batch[-1] - before)

    return ahead(made(), DEPTH)


def _intensity(network: Network, image: Tensor, light_scale: float) -> Tensor:
    return network.to_intensity(Reconstruction(image), light_scale).image


def choose_tiling(
    network: Network,
    stream: SpikeStream,
    batch_size: int,
    device: torch.device,
    tile: int | None,
    tile_overlap: int,
) -> Tiling | None:
    """How the pictures of a stream are split for a network; None for whole ones."""
    height, width = stream.height, stream.width
    side = tile or fitting_side(network, height, width, batch_size, device)
    if side is None or side >= max(height, width):
        return None
    overlap = tile_overlap if tile else min(tile_overlap, side // 2)
    return Tiling(network, height, width, side, overlap)
