"""Agreement between two reconstructions of one instant from disjoint halves of the readouts."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from spikerec.metrics.psnr import PSNR
from spikerec.metrics.recording import Recording, RecordingMetric
from spikerec.spikes.ends import mirrored

#: PSNR of an error of half an 8-bit level, above which no display tells the halves apart.
MOST_DB = 20 * math.log10(255 / 0.5)


class Agreement(RecordingMetric):
    """PSNR between the image from the readouts before and that from those after; higher is better.

    One half is the readouts before the key readout and the key readout, the other those after it;
    each is completed to a whole window by its own mirror image in time, as windows at the ends of a
    stream are (`spikerec.spikes.ends`), so that the network sees windows of its own length, at the
    stream's own firing rate and light scale. No readout stands beside its own copy, which would be
    two spikes in a row that no pixel fired. The second half is mirrored about the readout after the
    key readout, and its image is of that instant.

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
    revision = 2
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
    """A window (B, T, H, W) of the readouts up to T // 2 alone, mirrored about the last of them.

    Example:
        >>> before_key(torch.arange(7).reshape(1, 7, 1, 1)).flatten().tolist()
        [0, 1, 2, 3, 2, 1, 0]
    """
    size = spikes.shape[1]
    return _mirrored(spikes[:, : size // 2 + 1], 0, size)


def after_key(spikes: Tensor) -> Tensor:
    """A window (B, T, H, W) of the readouts after T // 2 alone, mirrored about the first of them.

    Example:
        >>> after_key(torch.arange(7).reshape(1, 7, 1, 1)).flatten().tolist()
        [5, 6, 5, 4, 5, 6, 5]
    """
    size = spikes.shape[1]
    return _mirrored(spikes[:, size // 2 + 1 :], -(size // 2), size)


def _mirrored(half: Tensor, start: int, size: int) -> Tensor:
    """So many readouts of a half from one on, which may lie before it."""
    return half[:, torch.from_numpy(mirrored(start, start + size, half.shape[1]))]
