"""TFI of a whole stream as the field's public code does: loops over time, masked assignment."""

from __future__ import annotations

import torch
from torch import Tensor

#: The interval of a pixel that has none.
UNDEFINED = 257


def tfi_sequence(spikes: Tensor) -> Tensor:
    """1 / interval at every readout, (T, H, W) from spikes (T, H, W).

    The interval at t ends at the first spike at or after t and begins at the last before t.
    """
    num_readouts, height, width = spikes.shape
    previous = torch.full((height, width), -1.0)
    interval = torch.full((num_readouts, height, width), float(UNDEFINED))
    for t in range(num_readouts):
        fired = spikes[t] == 1
        found = fired & (previous >= 0)
        interval[t][found] = t - previous[found]
        previous[fired] = t
    following = torch.full((height, width), float(UNDEFINED))
    for t in reversed(range(num_readouts)):
        fired = spikes[t] == 1
        following[fired] = interval[t][fired]
        interval[t] = following
    return 1 / interval
