"""Re-firing: an image simulated back to spikes, and compared with the recording it was made from.

The image is taken to stand still for a short run of readouts around its own, and an ideal
integrate-and-fire pixel of rate r = α·I fires at it (α: the stream's light scale). The charge at
the start is unknown: it is set so that the first simulated spike falls on the first recorded one,
with half a readout's charge left over, which is its mean. A pixel that recorded no spike starts
half full.

These measures say whether an image explains its recording. They cannot say whether it is a picture
of the scene. An image that copies the firing rate of the very readouts that are compared re-fires
perfectly, its noise and its blur included; one that removes the noise does not. They find a wrong
scale of brightness, lost texture and ghosts. docs/real_recordings.md has figures.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from spikerec.errors import ConfigError
from spikerec.kinds import checked
from spikerec.metrics.recording import Recording, RecordingMetric

#: Readouts that are compared: those of the shortest window of a published network, or fewer.
READOUTS = 21

#: Rates below this fire in no stream that anybody has: keeps intervals finite.
LEAST_RATE = 1e-6


@checked
class Refiring(RecordingMetric):
    """Base of the two measures: rates and intervals.

    Args:
        readouts: how many around the key readout are compared; odd. Methods with different windows
            are compared over the same readouts.

    Raises:
        ConfigError: an even number of readouts, or fewer than 3.
    """

    higher_is_better = False
    undefined: ClassVar[str] = "windows that are shorter than the readouts to compare"

    def __init__(self, readouts: int = READOUTS) -> None:
        super().__init__()
        if readouts < 3 or readouts % 2 == 0:
            raise ConfigError(f"readouts must be odd and at least 3, found {readouts}.")
        self.readouts = readouts

    def compare(self, image: Tensor, recording: Recording) -> Tensor:
        """See `RecordingMetric.compare`."""
        if recording.spikes.shape[1] < self.readouts:
            return torch.full((len(image),), torch.nan, dtype=torch.float64)
        spikes, rate = recording.around_key(self.readouts), recording.rate(image)
        return self.difference(spikes, rate, recording.light_scale.to(rate))

    @abstractmethod
    def difference(self, spikes: Tensor, rate: Tensor, light_scale: Tensor) -> Tensor:
        """Values (B,) of spikes (B, readouts, H, W) and rates (B, H, W)."""


class RefiredRate(Refiring):
    """Mean difference between simulated and recorded firing rate, in intensity; lower is better.

    |simulated spikes − recorded spikes| / (readouts · α), averaged over pixels. 0 for an image that
    fires as often as the recording did; at most one spike in `readouts` of it is chance.

    It tells a wrong brightness and lost texture. It cannot tell motion blur: TFP over the same
    readouts scores nearly 0 by construction, however blurred. It counts shot noise that a good
    method removes against it.
    """

    name = "refired_rate"

    def difference(self, spikes: Tensor, rate: Tensor, light_scale: Tensor) -> Tensor:
        """See `Refiring.difference`."""
        recorded = spikes.sum(1)
        simulated = refire(spikes, rate)
        return (simulated - recorded).abs().mean((1, 2)) / (self.readouts * light_scale)


class RefiredInterval(Refiring):
    """Mean relative difference between simulated and recorded interval; lower is better.

    Of the interval that holds the key readout, cut at the last readout compared, for pixels that
    spike before the key readout: |n − m| / max(n, m) of recorded n and simulated m readouts. 0 if
    every pixel fires again when the recording says; below 1.

    It looks at the shortest time that the recording resolves, so that blur of bright things shows,
    which the rate over all readouts hides. It cannot tell anything of pixels too dark to fire, and
    TFI, which inverts this very interval, scores nearly 0 by construction.
    """

    name = "refired_interval"
    undefined = "windows that are too short, or in which no pixel fires before the key readout"

    def difference(self, spikes: Tensor, rate: Tensor, light_scale: Tensor) -> Tensor:
        """See `Refiring.difference`."""
        del light_scale
        key = self.readouts // 2
        readout = torch.arange(self.readouts, device=spikes.device).reshape(1, -1, 1, 1)
        fired = spikes > 0
        begin = torch.where(fired & (readout < key), readout, -1).amax(1)
        end = torch.where(fired & (readout >= key), readout, self.readouts).amin(1)
        longest = self.readouts - begin
        recorded = end - begin
        # the first m with r/2 + m·r ≥ 1
        simulated = (1 / rate.clamp(min=LEAST_RATE) - 0.5).ceil().minimum(longest.float())
        differences = (simulated - recorded).abs() / torch.maximum(simulated, recorded.float())
        is_defined = begin >= 0
        return (differences * is_defined).sum((1, 2)) / is_defined.sum((1, 2))


def refire(spikes: Tensor, rate: Tensor) -> Tensor:
    """Number of spikes of an ideal pixel of constant rate, in phase with the first recorded spike.

    Args:
        spikes: (B, T, H, W) float, 0 and 1: the recording that sets the phase.
        rate: (B, H, W) in [0, 1], spikes per readout.

    Returns:
        (B, H, W) float, whole numbers from 0 to T.

    Example:
        >>> spikes = torch.zeros(1, 9, 1, 1)
        >>> spikes[0, 1::3] = 1
        >>> refire(spikes, torch.full((1, 1, 1), 1 / 3)).item()
        3.0
    """
    size = spikes.shape[1]
    fires = spikes.amax(1) > 0
    left = size - 1 - spikes.argmax(1)  # readouts after the first spike
    in_phase = 1 + (rate / 2 + rate * left).floor()
    return torch.where(fires, in_phase, (0.5 + size * rate).floor())
