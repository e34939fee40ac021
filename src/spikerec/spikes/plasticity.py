"""TFSTP: texture from short-term plasticity, two state maps that spikes drive.

Each pixel is a synapse with a recovery state R and a facilitation state u. They change only when
the pixel fires, by the interval d since its previous spike (R first, with the old u):

    R ← 1 − (1 − R (1 − u)) exp(−d / D)
    u ← u0 + (u + f (1 − u) − u0) exp(−d / F)

At constant d both have a fixed point that can be inverted to the firing rate 1 / d; the image is
the sum of the two inversions, so about twice the rate with `exact`, and the rate plus a small
offset without.

Source: Zheng et al., "Capture the moment: high-speed imaging with spiking cameras through
short-term plasticity", TPAMI 2023, in the form of SpikeCV. Departures: no state is kept between
calls; the fixed point of u can be inverted exactly (`exact`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from spikerec.errors import InputError, WindowError
from spikerec.kernels.dispatch import served_by
from spikerec.kernels.plasticity import SETTLE
from spikerec.kinds import checked

PlasticityMode = Literal["offline", "online"]

GRAY_LEVELS = 256


@checked
@dataclass(frozen=True)
class Plasticity:
    """The synapse: its constants, its states after some spikes, and their inversion to a rate.

    Args:
        mode: `offline` updates at every spike of a pixel but its first; `online` at every spike,
            counting the first one's interval from before readout 0, in `time_unit`.
        u0: facilitation at rest.
        recovery_time: D, in readouts.
        facilitation_time: F, in readouts.
        f: facilitation per spike.
        time_unit: readouts per unit of the interval; offline ignores it, as published.
        exact: invert u exactly. The published form has F in place of f in the denominator, and
            runs only from 0.033 at d = 1 to 0.016 at d = 20.
    """

    mode: PlasticityMode = "offline"
    u0: float = 0.15
    recovery_time: float = 1.0
    facilitation_time: float = 10.0
    f: float = 0.15
    time_unit: float = 1.0
    exact: bool = False

    @property
    def raised_step(self) -> float:
        """Return the number in the place of f in the inversion of u (see `exact`)."""
        return self.f if self.exact else self.facilitation_time

    @checked
    def states(self, spikes: Tensor) -> tuple[Tensor, Tensor]:
        """Return R and u after the last readout.

        Args:
            spikes: (B, T, H, W), 0 and 1, any dtype.

        Returns:
            R and u, (B, H, W) float32 each: 1 and u0 where no spike has changed them.
        """
        intervals = torch.arange(spikes.shape[1] + 1, dtype=torch.float32, device=spikes.device)
        if self.mode == "online":
            intervals = intervals / self.time_unit
        decays = torch.stack(
            [
                torch.exp(-intervals / self.recovery_time),
                torch.exp(-intervals / self.facilitation_time),
            ]
        )
        return _settle(spikes.detach() != 0, decays, self.u0, self.f, self.mode == "online")

    @checked
    def rate(self, recovery: Tensor, facilitation: Tensor) -> Tensor:
        """Invert states of any shape to the image; 0 where no spike has updated them.

        In float32 and at D = 1 the recovery of a pixel with intervals above about 16 is exactly 1,
        and its part of the image 0.
        """
        spent = (1 - recovery) / (1 - recovery * (1 - facilitation))
        divisor = self.raised_step - self.u0 + facilitation * (1 - self.f)
        raised = (facilitation - self.u0) / divisor
        # The logarithm of 0 is −∞, whose inverse is the wanted 0.
        return -1 / (self.recovery_time * spent.log()) - 1 / (self.facilitation_time * raised.log())


@checked
def tfstp(spikes: Tensor, *, key_readout: int, plasticity: Plasticity | None = None) -> Tensor:
    """Texture from short-term plasticity at the key readout, from all readouts up to it.

    Args:
        spikes: (B, T, H, W), 0 and 1, any dtype.
        key_readout: in [0, T); those after it are not looked at. The state needs about
            2 F readouts to settle.
        plasticity: the synapse; None for the published one, offline.

    Returns:
        (B, 1, H, W) float32, 0 or more; not equalised. Gradients are not finite.

    Raises:
        InputError: not four axes.
        WindowError: the key readout is not in the stream.
    """
    if spikes.ndim != 4:
        raise InputError(
            f"spikes must be (B, T, H, W), found {spikes.ndim} axes: {tuple(spikes.shape)}."
        )
    if not 0 <= key_readout < spikes.shape[1]:
        raise WindowError(
            f"spikes hold {spikes.shape[1]} readouts, expected key readout {key_readout} among "
            f"them: choose one in [0, {spikes.shape[1]})."
        )
    plasticity = plasticity or Plasticity()
    return plasticity.rate(*plasticity.states(spikes[:, : key_readout + 1])).unsqueeze(1)


@served_by(SETTLE)
def _settle(
    fired: Tensor, decays: Tensor, u0: float, f: float, from_start: bool
) -> tuple[Tensor, Tensor]:
    """Return R and u after the last readout.

    Args:
        fired: (B, T, H, W) bool.
        decays: (2, T + 1), exp(−d / D) and exp(−d / F) of the intervals d = 0, …, T.
        u0: facilitation at rest.
        f: facilitation per spike.
        from_start: count the interval of a pixel's first spike from before the first readout;
            otherwise the first spike changes nothing.
    """
    recovery = torch.ones_like(fired[:, 0], dtype=torch.float32)
    facilitation = torch.full_like(recovery, u0)
    interval = torch.zeros_like(recovery, dtype=torch.int64)
    is_counted = torch.full_like(fired[:, 0], from_start, dtype=torch.bool)
    for has_fired in fired.unbind(1):
        interval = interval + 1
        of_recovery, of_facilitation = decays[:, interval]
        unrecovered = (1 - recovery * (1 - facilitation)) * of_recovery
        gained = facilitation + f * (1 - facilitation) - u0
        is_updated = has_fired & is_counted
        recovery = torch.where(is_updated, 1 - unrecovered, recovery)
        facilitation = torch.where(is_updated, u0 + gained * of_facilitation, facilitation)
        interval = interval.masked_fill(has_fired, 0)
        is_counted = is_counted | has_fired
    return recovery, facilitation


@checked
def stretch_to_uint8(images: Tensor) -> Tensor:
    """Stretch each image to 0…255 by its minimum and maximum, and cut off the fraction.

    Args:
        images: (..., H, W) float.

    Returns:
        (..., H, W) uint8; 0 for an image of one value.
    """
    low, high = images.amin((-2, -1), keepdim=True), images.amax((-2, -1), keepdim=True)
    stretched = (images - low) / (high - low) * (GRAY_LEVELS - 1)
    return stretched.nan_to_num(0).to(torch.uint8)


@checked
def equalise_histogram(images: Tensor) -> Tensor:
    """Equalise the histogram of each image, by OpenCV's rules.

    The darkest level in use becomes 0; a level above it becomes the number of pixels above the
    darkest and up to it, scaled so that the brightest is 255. An image of one level stays as it is.

    Args:
        images: (..., H, W) uint8.

    Returns:
        (..., H, W) uint8.
    """
    pixels = images.reshape(-1, images.shape[-2] * images.shape[-1]).long()  # (N, H·W)
    counts = pixels.new_zeros(len(pixels), GRAY_LEVELS)
    counts.scatter_add_(1, pixels, torch.ones_like(pixels))
    total = counts.cumsum(1)
    darkest = counts.gather(1, (counts > 0).int().argmax(1, keepdim=True))
    above = pixels.shape[1] - darkest  # (N, 1)
    scale = torch.full_like(above, GRAY_LEVELS - 1, dtype=torch.float32) / above
    levels = ((total - darkest).clamp(min=0) * scale).round()  # half to even
    equalised = levels.nan_to_num(0).gather(1, pixels)
    return torch.where(above > 0, equalised, pixels).to(torch.uint8).reshape(images.shape)
