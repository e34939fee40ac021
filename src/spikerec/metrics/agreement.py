"""Agreement between two reconstructions of one instant from disjoint halves of the readouts."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from spikerec.metrics.psnr import PSNR
from spikerec.metrics.recording import Recording, RecordingMetric

#: PSNR of an error of half an 8-bit level, above which no display tells the halves apart.
MOST_DB = 20 * math.log10(255 / 0.5)


class Agreement(RecordingMetric):
    """PSNR between the image from the readouts before and that from those after; higher is better.

    One half is the readouts before the key readout and the key readout, the other those after it;
    each is completed to a whole window by its own mirror image in time, as windows at the ends of a
    stream are (`spikerec.spikes.ends`), so that the network sees windows of its own length, at the
    stream's own firing rate and light scale.

    Halves of alternate readouts are not used: a pixel that fires at even intervals has all of its
    spikes in one of them where it fires every second readout, so that the two are no recordings of
    one scene.

    It tells noise, which differs between the halves, and motion blur, which lies on one side of a
    moving edge in one half and on the other in the other. It cannot tell what is the same in both:
    a wrong brightness, lost texture, a fixed pattern; a grey picture agrees perfectly. Perfect
    agreement counts as 54.15 dB (`MOST_DB`), as does whatever is above it, so that it enters the
    mean.

    A half is a harder input than the window, so the value says nothing of the image itself in
    decibels, and a network that never saw mirrored windows may do worse on halves than it does on
    windows.
    """

    name = "agreement"
    unit = "dB"
    higher_is_better = True
    needs_network = True
    undefined = "networks whose state is carried from window to window"

    def compare(self, image: Tensor, recording: Recording) -> Tensor:
        """See `RecordingMetric.compare`."""
        del image
        assert recording.again is not None
        agreement = PSNR().score(recording.again(before_key), recording.again(after_key))
        return agreement.clamp(max=MOST_DB)


def before_key(spikes: Tensor) -> Tensor:
    """A window (B, T, H, W) with the readouts after T // 2 replaced by the mirror of those before.

    Example:
        >>> before_key(torch.arange(5).reshape(1, 5, 1, 1)).flatten().tolist()
        [0, 1, 2, 1, 0]
    """
    return spikes[:, (spikes.shape[1] // 2 - _distances(spikes)).clamp(min=0)]


def after_key(spikes: Tensor) -> Tensor:
    """A window (B, T, H, W) with the readouts up to T // 2 replaced by the mirror of those after.

    Example:
        >>> after_key(torch.arange(5).reshape(1, 5, 1, 1)).flatten().tolist()
        [4, 3, 3, 3, 4]
    """
    size = spikes.shape[1]
    return spikes[:, (size // 2 + _distances(spikes).clamp(min=1)).clamp(max=size - 1)]


def _distances(spikes: Tensor) -> Tensor:
    """Readouts between each readout of a window (B, T, H, W) and its key readout, (T,)."""
    size = spikes.shape[1]
    return (torch.arange(size, device=spikes.device) - size // 2).abs()
