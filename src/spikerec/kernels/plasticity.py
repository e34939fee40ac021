"""Two state maps that spikes drive (see `spikerec.spikes.plasticity`), pixel by pixel."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikerec.kernels.compiled import compiled
from spikerec.kernels.dispatch import Kernel
from spikerec.kernels.threads import each_alone

#: Pixels that a thread takes at once: their states stay in the cache of a core.
PIXELS_AT_ONCE = 1 << 13
#: The interval of a pixel that has not fired yet: below 0 for longer than any stream lasts.
NEVER = np.int32(-(1 << 30))

# With Python's own numbers the kernel would compute in 64 bits.
ZERO, ONE = np.int32(0), np.float32(1)


def _settle(
    fired: Tensor, decays: Tensor, u0: float, f: float, from_start: bool
) -> tuple[Tensor, Tensor]:
    batch, _, *size = fired.shape
    spikes = fired.flatten(2).contiguous().numpy()
    pixels = spikes.shape[2]
    recovery = np.ones((batch, pixels), np.float32)
    facilitation = np.full((batch, pixels), u0, np.float32)
    table, numbers = decays.contiguous().numpy(), (np.float32(u0), np.float32(f))

    def run(part: tuple[int, int]) -> None:
        sample, first = part
        stop = min(first + PIXELS_AT_ONCE, pixels)
        states = recovery[sample, first:stop], facilitation[sample, first:stop]
        _take_spikes(spikes[sample, :, first:stop], table, *numbers, from_start, *states)

    each_alone(
        run, [(b, first) for b in range(batch) for first in range(0, pixels, PIXELS_AT_ONCE)]
    )
    states = torch.from_numpy(np.stack([recovery, facilitation])).view(2, batch, *size)
    return states[0], states[1]


@compiled()
def _take_spikes(
    spikes: NDArray[np.bool_],
    decays: NDArray[np.float32],
    u0: np.float32,
    f: np.float32,
    from_start: bool,
    recovery: NDArray[np.float32],
    facilitation: NDArray[np.float32],
) -> None:
    """Change the states (N,) of pixels by their spikes (T, N); `decays` is (2, T + 1)."""
    pixels = len(recovery)
    interval = np.full(pixels, ZERO if from_start else NEVER, np.int32)
    decay = np.empty((2, pixels), np.float32)
    for t in range(len(spikes)):
        fired = spikes[t]
        # Looked up for all pixels first, so that the rest is arithmetic on many pixels at once.
        for p in range(pixels):
            interval[p] += np.int32(1)
            d = max(interval[p], ZERO)
            decay[0, p], decay[1, p] = decays[0, d], decays[1, d]
        for p in range(pixels):
            r, u = recovery[p], facilitation[p]
            recovered = ONE - (ONE - r * (ONE - u)) * decay[0, p]
            facilitated = u0 + (u + f * (ONE - u) - u0) * decay[1, p]
            is_updated = fired[p] & (interval[p] > ZERO)
            recovery[p] = recovered if is_updated else r
            facilitation[p] = facilitated if is_updated else u
            interval[p] = ZERO if fired[p] else interval[p]


def _example(height: int, width: int) -> tuple[Tensor, Tensor, float, float, bool]:
    fired = torch.rand(2, 9, height, width) < 0.4
    return fired, torch.rand(2, 10), 0.15, 0.2, False


#: See `spikerec.spikes.plasticity`.
SETTLE = Kernel(_settle, _example)
