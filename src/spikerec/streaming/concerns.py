"""Concerns about a clip that would spoil its pictures, told in a line each before the first.

They come from the sample of the clip that exposure and broken pixels are measured by: nothing is
read a second time.
"""

from __future__ import annotations

import numpy as np

from spikerec.spikes.defects import find_defects
from spikerec.streaming.video import Video

#: Spikes of the median pixel in a window, below which a picture is mostly noise.
FEWEST_SPIKES = 2.0
#: Firing rate from which a pixel counts as saturated, and the share of a picture that is told.
SATURATED_RATE = 0.97
SATURATED_SHARE = 0.01


def concerns(video: Video) -> list[str]:
    """List what would spoil the pictures of a video, the worst first; empty if nothing is seen."""
    seen = video.looked_at
    if seen is None:
        return []
    rate = seen.rate
    if not rate.any():
        return ["no pixel fires in the part that was looked at: its pictures are black."]
    told = []
    window = min(network.window for network in video.networks.values())
    spikes = float(np.median(rate)) * window
    if spikes < FEWEST_SPIKES:
        told.append(
            f"half of the pixels fire less than {spikes:.2g} times in a window of {window} "
            "readouts: the pictures will be noisy; a method with a longer window sees more."
        )
    saturated = float((seen.rates > SATURATED_RATE).mean())
    if saturated > SATURATED_SHARE:
        told.append(
            f"{saturated:.1%} of the clip fires at almost every readout: it is saturated, and "
            "has no detail there."
        )
    return told + _defects(video)


def _defects(video: Video) -> list[str]:
    seen, masked = video.looked_at, video.defects
    if seen is None or masked is None:
        return []
    told = []
    hot, dead = int(masked.hot.sum()), int(masked.dead.sum())
    if hot or dead:
        told.append(
            f"{hot} hot and {dead} dead pixels are given a neighbour's spikes (mask_defects=false "
            "leaves them)."
        )
    is_mosaic = video.stream.bayer is not None
    found = find_defects(seen.rate, seen.num_readouts, is_mosaic=is_mosaic)
    left = int((found.broken & ~masked.broken).sum())
    if left:
        told.append(
            f"{left} pixels may be hot or dead, or detail of the scene: mask_defects=true gives "
            "them a neighbour's spikes too."
        )
    return told
