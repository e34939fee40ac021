"""Pictures too large for memory: overlapping tiles, and their images joined without a seam."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from spikerec.errors import ConfigError, SpikerecError
from spikerec.inference.footprint import peak_memory
from spikerec.kernels.devices import free_bytes, images_at_once, processes_on
from spikerec.kinds import checked
from spikerec.models.base import Network
from spikerec.models.reconstructors import Reconstructor, Spikes
from spikerec.streaming.readouts import Cut

#: Pixels that neighbouring tiles share where nothing else is said.
TILE_OVERLAP = 64
#: Share of an overlap at either end where a tile's image is not used, or used alone: near its cut
#: a tile does not see what the whole picture would show it.
MARGIN = 0.25
#: Share of the free memory that images may take; the rest is for what cannot be foreseen.
MEMORY_SHARE = 0.6


@checked
class Tiling:
    """A cut of a picture into overlapping tiles, and the joining of their images.

    Tiles begin and end at multiples of what the network needs, so that its grids of coarser levels
    fall where they would in the whole picture.

    Args:
        network: states the padding and the multiple.
        height: of the picture.
        width: of the picture.
        side: of a tile, in pixels; cut down to the multiple.
        overlap: of neighbouring tiles, in pixels; cut up to the multiple.

    Raises:
        ConfigError: a side that is not larger than the overlap.
    """

    def __init__(self, network: Network, height: int, width: int, side: int, overlap: int) -> None:
        multiple = network.multiple
        found = f"found {side} and {overlap}"
        side, overlap = side // multiple * multiple, -(-overlap // multiple) * multiple
        if side <= overlap:
            name = type(network).__name__
            raise ConfigError(
                f"tile must be larger than tile_overlap, {found}. {name} needs multiples of "
                f"{multiple}: with this overlap, a tile of {overlap + multiple} or more."
            )
        self._side = side
        self.margins = network.margins(height, width)
        rows, columns = self.margins.padded_size
        self._rows, self._columns = _cut(rows, side, overlap), _cut(columns, side, overlap)
        self._overlap = overlap

    @checked
    def for_size(self, network: Network, height: int, width: int) -> Tiling:
        """Tiles of the same side and overlap of another picture."""
        return Tiling(network, height, width, self._side, self._overlap)

    @property
    def parts(self) -> list[tuple[slice, slice]]:
        """Rows and columns of each tile in the padded picture."""
        return list(itertools.product(self._rows, self._columns))

    def joined(self, tiles: Iterable[Tensor]) -> Tensor:
        """The picture from its tiles (..., h, w), in the order of `parts`."""
        size = self.margins.padded_size
        total = weights = torch.zeros(size)
        for (rows, columns), tile in zip(self.parts, tiles, strict=True):
            if total.ndim != tile.ndim:
                total = tile.new_zeros(*tile.shape[:-2], *size)
                weights = tile.new_zeros(size)
            weight = self._weight(rows, size[0])[:, None] * self._weight(columns, size[1])
            weight = weight.to(tile.device)
            total[..., rows, columns] += weight * tile
            weights[rows, columns] += weight
        return self.margins.crop(total / weights)

    def _weight(self, part: slice, size: int) -> Tensor:
        """Weights of the rows or columns of a tile: 1 inside, falling to 0 before a cut."""
        position = torch.arange(part.start, part.stop) + 0.5
        reaches = torch.full_like(position, float(size))
        if part.start > 0:
            reaches = torch.minimum(reaches, position - part.start)
        if part.stop < size:
            reaches = torch.minimum(reaches, part.stop - position)
        margin = MARGIN * self._overlap
        ramp = max(self._overlap - 2 * margin, 1e-6)
        return ((reaches - margin) / ramp).clamp(0, 1)


class Tiled(Reconstructor):
    """Tile by tile, the seams feathered; features are kept within a tile and a batch only.

    Only the state of a network that carries one is kept from image to image.

    Args:
        network: in eval mode.
        tiling: of the padded picture.
        stride: readouts from one key readout to the next.
    """

    def __init__(self, network: Network, tiling: Tiling, stride: int) -> None:
        self.network = network
        self.tiling = tiling
        self._stride = stride
        self._ways = self._begun()

    def windows_besides(self, key_readouts: Sequence[int]) -> Sequence[int]:
        """See `Reconstructor.windows_besides`; of each tile the same."""
        return sorted({one for way in self._ways for one in way.windows_besides(key_readouts)})

    def see(self, key_readout: int, spikes: Spikes) -> None:
        """See `Reconstructor.see`."""
        for way, tile in zip(self._ways, self._tiles(spikes), strict=True):
            way.see(key_readout, tile)

    def images(self, key_readouts: Sequence[int], spikes: Spikes) -> Tensor:
        """See `Reconstructor.images`."""
        ways = self._ways if self.network.hop is not None else self._begun()
        return self.tiling.joined(
            way.images(key_readouts, tile)
            for way, tile in zip(ways, self._tiles(spikes), strict=True)
        )

    def _begun(self) -> list[Reconstructor]:
        """A way for each tile that begins a stream."""
        return [self.network.along(self._stride) for _ in self.tiling.parts]

    def _tiles(self, spikes: Spikes) -> Iterator[Cut]:
        """The spikes of each tile."""
        for rows, columns in self.tiling.parts:
            yield Cut(spikes, self.tiling.margins, rows, columns)


def _cut(size: int, side: int, overlap: int) -> list[slice]:
    """Tiles of `side` along an axis, `overlap` in common; the last is moved back to the end."""
    if size <= side:
        return [slice(0, size)]
    starts = [*range(0, size - side, side - overlap), size - side]
    return [slice(start, start + side) for start in starts]


@checked
def choose_tiling(
    network: Network,
    height: int,
    width: int,
    *,
    batch_size: int,
    devices: Sequence[torch.device],
    tile: int | None = None,
    tile_overlap: int = TILE_OVERLAP,
) -> Tiling | None:
    """Choose how the pictures of a stream are split for a network; None for whole ones.

    The pictures of a method that works pixel by pixel are never split: it holds little beyond the
    window.

    Args:
        network: whose images they are.
        height: of the pictures.
        width: of the pictures.
        batch_size: windows that go through the network at once.
        devices: of each process that runs the network.
        tile: side of the tiles of a larger picture; None to split only what free memory needs.
        tile_overlap: pixels that neighbouring tiles share.

    Raises:
        ConfigError: a tile that is not larger than the overlap, a number below its least, or too
            little memory for any tile.
    """
    if tile is not None and tile < 1:
        raise ConfigError(f"tile must be at least 1, found {tile}.")
    if tile_overlap < 0:
        raise ConfigError(f"tile_overlap must be at least 0, found {tile_overlap}.")
    if network.is_per_pixel:
        return None
    side = tile
    if tile is None:
        side = fitting_side(network, height, width, batch_size, devices)
    if side is None or side >= max(height, width):
        return None
    overlap = tile_overlap if tile else min(tile_overlap, side // 2)
    return Tiling(network, height, width, side, overlap)


@checked
def fitting_side(
    network: Network, height: int, width: int, batch_size: int, devices: Sequence[torch.device]
) -> int | None:
    """The side of the largest square tile that free memory allows; None where the whole fits.

    None as well for a network of one's own whose memory cannot be counted without values.

    Args:
        network: whose memory is counted without running it.
        height: of the picture.
        width: of the picture.
        batch_size: windows at once.
        devices: of each process that runs the network; the CPU's memory is shared among its own.

    Raises:
        ConfigError: not even the smallest tile fits.
    """
    free = min(free_bytes(device) / processes_on(device, devices) for device in devices)
    available = MEMORY_SHARE * free / batch_size
    try:
        if peak_memory(network, (height, width)) <= available:
            return None
    except SpikerecError:
        raise
    except Exception:  # noqa: BLE001 (its own code, which may ask for a device or look at values)
        return None
    side = max(height, width) // 2
    while side >= network.multiple:
        if peak_memory(network, (min(side, height), min(side, width))) <= available:
            return side
        side //= 2
    raise ConfigError(
        f"{type(network).__name__} does not fit into {available / 1e9:.1f} GB even tile by tile: "
        f"lower batch_size ({batch_size}), or free memory on {devices[0]}."
    )


@checked
def choose_layout(
    networks: Sequence[Network],
    height: int,
    width: int,
    *,
    batch_size: int | None,
    devices: Sequence[torch.device],
    tile: int | None = None,
    tile_overlap: int = TILE_OVERLAP,
) -> tuple[int, list[Tiling | None]]:
    """Choose how many windows go through a network at once, and each network's tiling.

    Args:
        networks: whose images they are.
        height: of the pictures.
        width: of the pictures.
        batch_size: the number of windows; None for what is fastest where memory holds whole
            pictures, else 1.
        devices: see `choose_tiling`.
        tile: see `choose_tiling`.
        tile_overlap: see `choose_tiling`.

    Raises:
        ConfigError: see `choose_tiling`.
    """

    def tilings(count: int) -> list[Tiling | None]:
        settings: dict[str, Any] = {"tile": tile, "tile_overlap": tile_overlap}
        return [
            choose_tiling(network, height, width, batch_size=count, devices=devices, **settings)
            for network in networks
        ]

    if batch_size is not None:
        return batch_size, tilings(batch_size)
    most = images_at_once(devices)
    try:
        found = tilings(most)
    except ConfigError:
        if most == 1:
            raise
    else:
        if not any(found):
            return most, found
    return 1, tilings(1)  # one whole picture before several in parts
