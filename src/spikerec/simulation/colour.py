"""A scene in colour behind a Bayer mosaic: each pixel sees the light of one colour."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from spikerec.errors import InputError
from spikerec.simulation.layers import Filmed, Scene
from spikerec.spikes.bayer import BayerPattern, check_bayer, mosaic


class BayerScene:
    """Three scenes that move alike, of red, green and blue light, seen through a mosaic.

    Args:
        channels: red, green and blue; scenes of one size and length, which differ in colour alone.
        pattern: which colour each pixel sees.

    Raises:
        InputError: not three, or of different sizes.
        ConfigError: another pattern.
    """

    def __init__(self, channels: Sequence[Scene], pattern: BayerPattern) -> None:
        check_bayer(pattern)
        sizes = {(one.height, one.width) for one in channels}
        if len(channels) != 3 or len(sizes) != 1:
            raise InputError(
                f"a scene in colour has three channels of one size, found {len(channels)} of "
                f"{sorted(sizes)}."
            )
        self.channels = tuple(channels)
        self.pattern = pattern
        ((self.height, self.width),) = sizes
        colours = mosaic(pattern, self.height, self.width)
        self._masks = [torch.from_numpy(colours == colour) for colour in "rgb"]

    @property
    def num_readouts(self) -> int | None:
        """See `Scene.num_readouts`."""
        return self.channels[0].num_readouts

    def is_seen(self, readout: int) -> bool:
        """See `Filmed.is_seen`."""
        scene = self.channels[0]
        return scene.is_seen(readout) if isinstance(scene, Filmed) else True

    def frames(self, start: int, stop: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """See `Scene.frames`: the light that each pixel sees."""
        seen = torch.zeros(())
        for scene, mask in zip(self.channels, self._masks, strict=True):
            light = scene.frames(start, stop, dtype)
            seen = torch.where(mask.to(light.device), light, seen.to(light))
        return seen

    def true_colours(self, readout: int) -> Tensor:
        """Red, green and blue intensity at a readout: (3, H, W) float32."""
        return torch.cat([scene.frames(readout, readout + 1) for scene in self.channels])
