"""TFI: texture from interval, the inverse of the inter-spike interval at the key readout.

Zhu et al., "A retina-inspired sampling method for visual texture reconstruction", ICME 2019, by
either of the two rules of SpikeCV (see `spikerec.spikes.representations.tfi`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from spikerec.errors import ConfigError
from spikerec.models.base import Network, Reconstruction, check_window
from spikerec.models.reconstructors import Reconstructor, Spikes
from spikerec.spikes.representations import UNDEFINED_INTERVAL, TfiRule, tfi

#: Beyond any readout: no spike found.
NEVER = torch.iinfo(torch.int32).max // 2


class TFI(Network):
    """One over the interval that holds the key readout: sharp, and coarse where it is bright.

    The image is a firing rate in (0, 1]: 1, 1/2, 1/3, …

    Args:
        window: readouts searched for the interval's two spikes, half of them on either side.
        rule: `key` or `sequence`. A pixel without an interval has the rate 1 / (2 · half window)
            under `key`, 1 / 257 under `sequence`.

    Raises:
        ConfigError: window < 2, or an unknown rule.
    """

    is_per_pixel = True

    def __init__(self, window: int = 41, rule: TfiRule = "key") -> None:
        super().__init__(window, output_scale=1.0)
        if window < 2:
            raise ConfigError(f"window must be at least 2 for an interval, found {window}.")
        if rule not in ("key", "sequence"):
            raise ConfigError(f"rule must be key or sequence, found {rule!r}.")
        self.rule = rule

    def forward(self, spikes: Tensor) -> Reconstruction:
        """Invert the interval at the key readout (see `Network.forward`)."""
        check_window(spikes, self.window)
        half = self.window // 2
        rate = tfi(spikes, key_readout=self.key_readout, half_window=half, rule=self.rule)
        return Reconstruction(rate)

    def along(self, stride: int) -> Reconstructor:
        """Search only the readouts between two key readouts (see `Network.along`)."""
        return RunningInterval(self, stride) if stride < self.window // 2 else super().along(stride)


class RunningInterval(Reconstructor):
    """TFI from the first and the last spike of each stretch of readouts between two key readouts.

    The interval around key readout k begins at the latest spike of [k + low, k + split) and ends at
    the earliest of [k + split, k + high); see `spikerec.spikes.representations.tfi` for the rules.

    Args:
        network: states the rule and the window.
        stride: readouts from one key readout to the next.
    """

    def __init__(self, network: TFI, stride: int) -> None:
        half, after = network.window // 2, network.window - network.key_readout
        if network.rule == "key":
            self._low, self._split, self._high = 1 - half, 1, min(half + 1, after)
            self._undefined = 2 * half
        else:
            self._low, self._split, self._high = -half, 0, after
            self._undefined = UNDEFINED_INTERVAL
        self._stride = stride
        self._stretches: dict[int, Ends] = {}  # of `stride` readouts, by the first
        self._latest: Tensor | None = None

    def images(self, key_readouts: Sequence[int], spikes: Spikes) -> Tensor:
        """See `Reconstructor.images`."""
        return torch.stack([self._image(key_readout, spikes) for key_readout in key_readouts])[
            :, None
        ]

    def _image(self, key_readout: int, spikes: Spikes) -> Tensor:
        low, split, high = (
            key_readout + self._low,
            key_readout + self._split,
            key_readout + self._high,
        )
        if self._latest is None:
            self._latest = _ends(spikes, low, split).latest
        else:
            passed = self._whole_stretch(spikes, split - self._stride)
            self._latest = torch.maximum(self._latest, passed.latest)
        starts = range(split, high - self._stride + 1, self._stride)
        stretches = [self._whole_stretch(spikes, start) for start in starts]
        rest = split + len(starts) * self._stride
        if rest < high:
            stretches.append(_ends(spikes, rest, high))
        earliest = torch.stack([ends.earliest for ends in stretches]).amin(0)
        for start in [start for start in self._stretches if start < split]:
            del self._stretches[start]
        is_found = (self._latest >= low) & (earliest < high)
        interval = torch.where(is_found, earliest - self._latest, self._undefined)
        return interval.float().reciprocal()

    def _whole_stretch(self, spikes: Spikes, start: int) -> Ends:
        if start not in self._stretches:
            self._stretches[start] = _ends(spikes, start, start + self._stride)
        return self._stretches[start]


class Ends(NamedTuple):
    """First and last spike of each pixel in a stretch of readouts, ±`NEVER` where there is none."""

    earliest: Tensor
    latest: Tensor


def _ends(spikes: Spikes, first: int, stop: int) -> Ends:
    part = spikes.part(first, stop).to(torch.int16)  # (n, H, W); a stretch has fewer than 2¹⁵
    length = len(part)
    ranks = torch.arange(1, length + 1, dtype=torch.int16, device=part.device)[:, None, None]
    since = (part * ranks).amax(0).int()
    until = (part * ranks.flip(0)).amax(0).int()
    return Ends(
        torch.where(until > 0, stop - until, NEVER),
        torch.where(since > 0, first - 1 + since, -NEVER),
    )
