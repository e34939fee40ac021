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
calls but the one that is handed on; the fixed point of u can be inverted exactly (`exact`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from spikerec.errors import InputError, WindowError
from spikerec.threads import each_part

PlasticityMode = Literal["offline", "online"]

GRAY_LEVELS = 256

#: Pixels whose states stay in the cache of one core.
PIXELS_AT_ONCE = 1 << 16
#: Time constants after which nothing is left of a state in float32: exp(−87) is its least normal
#: number. Below it a CPU's exponential takes a hundred times as long.
FORGOTTEN = 87.0
#: The interval of a pixel that has not fired yet, in readouts.
NEVER = 1e30
#: What stands for 0 before a logarithm, which takes fifty times as long for 0, and a logarithm
#: that nothing but it is below.
FLOOR = 2.0**-120
LOG_FLOOR = -83.0


class PlasticityState(NamedTuple):
    """The state of every pixel after a readout.

    Attributes:
        recovery: R, (B, H, W) float32, 1 before the first update.
        facilitation: u, (B, H, W) float32, u0 before the first update.
        last_spike: readout of the latest spike, (B, H, W) int32, −1 before the first.
        readout: number of readouts seen, which is the index of the next.
    """

    recovery: Tensor
    facilitation: Tensor
    last_spike: Tensor
    readout: int


@dataclass(frozen=True)
class Plasticity:
    """The synapse: its constants, one step, and the inversion to a rate.

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

    def __post_init__(self) -> None:
        if self.mode not in ("offline", "online"):
            raise InputError(f"mode must be offline or online, found {self.mode!r}.")

    @property
    def raised_step(self) -> float:
        """What stands for f in the inversion of u (see `exact`)."""
        return self.f if self.exact else self.facilitation_time

    def start(self, spikes: Tensor) -> PlasticityState:
        """The state before the first readout of (B, T, H, W) spikes."""
        like = spikes[:, 0]
        return PlasticityState(
            torch.ones_like(like, dtype=torch.float32),
            torch.full_like(like, self.u0, dtype=torch.float32),
            torch.full_like(like, -1, dtype=torch.int32),
            0,
        )

    def step(self, state: PlasticityState, spikes: Tensor) -> PlasticityState:
        """The state after one more readout, (B, H, W)."""
        recovery, facilitation, last_spike, readout = state
        fired = spikes != 0
        interval = (readout - last_spike).float()
        updated = fired
        if self.mode == "offline":
            updated = fired & (last_spike >= 0)
        else:
            interval = interval / self.time_unit
        unrecovered = (1 - recovery * (1 - facilitation)) * torch.exp(
            -interval / self.recovery_time
        )
        gained = facilitation + self.f * (1 - facilitation) - self.u0
        decay = torch.exp(-interval / self.facilitation_time)
        return PlasticityState(
            torch.where(updated, 1 - unrecovered, recovery),
            torch.where(updated, self.u0 + gained * decay, facilitation),
            torch.where(fired, readout, last_spike),
            readout + 1,
        )

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
    _check_axes(spikes)
    if not 0 <= key_readout < spikes.shape[1]:
        raise WindowError(
            f"spikes hold {spikes.shape[1]} readouts, expected key readout {key_readout} among "
            f"them: choose one in [0, {spikes.shape[1]})."
        )
    plasticity = plasticity or Plasticity()
    state = plasticity.start(spikes)
    if torch.compiler.is_compiling():  # threads and states in place cannot be exported
        for readout in spikes[:, : key_readout + 1].unbind(1):
            state = plasticity.step(state, readout)
        return plasticity.rate(state.recovery, state.facilitation).unsqueeze(1)
    images = spikes.new_empty((len(spikes), 1, *spikes.shape[2:]), dtype=torch.float32)
    _run(plasticity, spikes[:, : key_readout + 1], state, images)
    return images


def tfstp_sequence(
    spikes: Tensor, *, plasticity: Plasticity | None = None, state: PlasticityState | None = None
) -> tuple[Tensor, PlasticityState]:
    """TFSTP at every readout, and the state to go on from.

    A stream cut into chunks, each given the state of the one before, has the images of the whole.

    Args:
        spikes: (B, T, H, W), 0 and 1, any dtype.
        plasticity: the synapse; None for the published one, offline.
        state: what the readouts before these left; None at the start of a stream.

    Returns:
        Images (B, T, H, W) float32 as from `tfstp`, and the state after the last readout.

    Raises:
        InputError: not four axes.
    """
    _check_axes(spikes)
    plasticity = plasticity or Plasticity()
    state = state or plasticity.start(spikes)
    images = torch.empty(spikes.shape, dtype=torch.float32, device=spikes.device)
    return images, _run(plasticity, spikes, state, images)


@torch.no_grad()
def _run(
    plasticity: Plasticity, spikes: Tensor, state: PlasticityState, images: Tensor
) -> PlasticityState:
    """The state after (B, T, H, W) spikes; fills (B, n, H, W) images of the last n readouts."""
    recovery, facilitation, last_spike, readout = state
    after = PlasticityState(
        recovery.clone(memory_format=torch.contiguous_format),
        facilitation.clone(memory_format=torch.contiguous_format),
        last_spike.clone(memory_format=torch.contiguous_format),
        readout + spikes.shape[1],
    )

    def run(sample: int, pixels: slice) -> None:
        synapses = _Synapses(plasticity, _part(state, sample, pixels))
        synapses.run(spikes[sample].flatten(1)[:, pixels], images[sample].flatten(1)[:, pixels])
        synapses.write(_part(after, sample, pixels))

    each_part(run, spikes, PIXELS_AT_ONCE)
    return after


def _part(state: PlasticityState, sample: int, pixels: slice) -> PlasticityState:
    """Views (n,) of some pixels of one sample."""
    return PlasticityState(
        state.recovery[sample].flatten()[pixels],
        state.facilitation[sample].flatten()[pixels],
        state.last_spike[sample].flatten()[pixels],
        state.readout,
    )


class _Synapses:
    """The equations of `Plasticity.step` and `Plasticity.rate` for pixels in a row, in place.

    Each row of a (2, n) tensor is for one of the two states, −R and u, so that one operation does
    both: (−R, u) ← (q, g) · exp(−d / (D, F)) + (−1, u0), where q = 1 − R (1 − u) and
    g = u + f (1 − u) − u0. Every rounding is as in `step` and `rate`. Nothing is selected by a
    mask, which on a CPU takes thirty times as long as an interpolation that ends in 0 or 1.
    """

    def __init__(self, plasticity: Plasticity, state: PlasticityState) -> None:
        self.plasticity = plasticity
        self.readout = state.readout
        device = state.recovery.device
        self.states = torch.stack([-state.recovery, state.facilitation])  # (2, n)
        self.interval = (state.readout - 1 - state.last_spike).float()
        if plasticity.mode == "offline":
            self.interval[state.last_spike < 0] = NEVER
        times = torch.tensor([[plasticity.recovery_time], [plasticity.facilitation_time]])
        self.times = -times.to(device)
        self.longest = FORGOTTEN * times.to(device)
        self.rest = torch.tensor([[-1.0], [plasticity.u0]]).to(device)
        self.factors = torch.empty_like(self.states)  # q, g
        self.divisors = torch.empty_like(self.states)  # of the two inversions
        self.work = torch.empty_like(self.states)
        self.fired = torch.empty_like(self.interval)
        self._derive()

    def run(self, spikes: Tensor, images: Tensor) -> None:
        """Take (T, n) spikes in, and write the images of the last of them, (up to T, n)."""
        first = len(spikes) - len(images)
        for t, readout in enumerate(spikes):
            self.fired.copy_(readout)
            self._update()
            if t >= first:
                self._invert(images[t - first])
        self.readout += len(spikes)

    def write(self, state: PlasticityState) -> None:
        """Hand the states on."""
        torch.neg(self.states[0], out=state.recovery)
        state.facilitation.copy_(self.states[1])
        interval = self.interval.clamp(max=self.readout).int()
        state.last_spike.copy_((self.readout - 1 - interval).clamp_(min=-1))

    def _update(self) -> None:
        self.interval += 1
        interval = self.interval
        if self.plasticity.mode == "online":
            interval = interval / self.plasticity.time_unit
        torch.minimum(interval, self.longest, out=self.work)
        self.work.div_(self.times).exp_().mul_(self.factors).add_(self.rest)
        self.states.lerp_(self.work, self.fired)
        self.interval.addcmul_(self.interval, self.fired, value=-1)
        self._derive()

    def _derive(self) -> None:
        """Set q and g, and what the inversion divides by, from the states."""
        recovery, facilitation = self.states
        (q, g), (spent_by, raised_by) = self.factors, self.divisors
        plasticity = self.plasticity
        unfacilitated = torch.sub(1, facilitation, out=raised_by)
        torch.mul(recovery, unfacilitated, out=q).add_(1)
        torch.mul(unfacilitated, plasticity.f, out=g).add_(facilitation).sub_(plasticity.u0)
        spent_by.copy_(q)
        torch.mul(facilitation, 1 - plasticity.f, out=raised_by)
        raised_by.add_(plasticity.raised_step - plasticity.u0)

    def _invert(self, image: Tensor) -> None:
        torch.sub(self.states, self.rest, out=self.work)
        self.work.div_(self.divisors).clamp_(min=FLOOR).log_()
        F.threshold(self.work, LOG_FLOOR, -math.inf, inplace=True)
        self.work.mul_(self.times).reciprocal_()
        torch.add(*self.work, out=image)


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


def _check_axes(spikes: Tensor) -> None:
    if spikes.ndim != 4:
        raise InputError(
            f"spikes must be (B, T, H, W), found {spikes.ndim} axes: {tuple(spikes.shape)}."
        )
