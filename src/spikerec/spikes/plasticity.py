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

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikerec.errors import InputError, WindowError
from spikerec.kernels.compiled import compiled, suits_compiled
from spikerec.kernels.memory import empty_pages
from spikerec.kernels.threads import each_part
from spikerec.spikes.bits import spike_bytes

PlasticityMode = Literal["offline", "online"]

GRAY_LEVELS = 256

#: Time constants after which nothing is left of a state in float32.
FORGOTTEN = 105.0
#: The interval of a pixel that has not fired yet, in readouts: more than any stream has.
NEVER = 1 << 29

# Numbers of float32: with Python's own the kernel would compute in float64.
ONE, HALF = np.float32(1), np.float32(0.5)
#: (ln(1 + m) − m + m² / 2) / m³ as a polynomial, lowest power first: least squares of the error
#: relative to ln(1 + m), for m from √½ − 1 to √2 − 1. The logarithm is wrong by 0.8 ulp at most.
C0, C1, C2, C3, C4, C5, C6, C7, C8 = (
    np.float32(number)
    for number in (
        0.333333109,
        -0.250000163,
        0.200022042,
        -0.166676437,
        0.142178915,
        -0.124112687,
        0.119047121,
        -0.116464344,
        0.0667527189,
    )
)
#: √½ as the bits of a float32: what begins a mantissa in [√½, √2), where its logarithm is small.
ROOT_HALF = np.int32(0x3F3504F3)
#: ln 2 in two parts, of which the first times an exponent is exact.
LN2_HIGH = np.float32(0.693359375)
LN2_LOW = np.float32(math.log(2) - 0.693359375)
#: What stands for 0 before a logarithm, and a logarithm that nothing but it is below.
FLOOR = np.float32(2.0**-120)
LOG_FLOOR = np.float32(-83)


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
        updated = fired & (last_spike >= 0) if self.mode == "offline" else fired
        of_recovery, of_facilitation = self.decays(readout - last_spike)
        unrecovered = (1 - recovery * (1 - facilitation)) * of_recovery
        gained = facilitation + self.f * (1 - facilitation) - self.u0
        return PlasticityState(
            torch.where(updated, 1 - unrecovered, recovery),
            torch.where(updated, self.u0 + gained * of_facilitation, facilitation),
            torch.where(fired, readout, last_spike),
            readout + 1,
        )

    def decays(self, interval: Tensor) -> tuple[Tensor, Tensor]:
        """exp(−d / D) and exp(−d / F) for intervals d in readouts."""
        d = interval.float()
        if self.mode == "online":
            d = d / self.time_unit
        return torch.exp(-d / self.recovery_time), torch.exp(-d / self.facilitation_time)

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
    start = plasticity.start(spikes)
    return _run(plasticity, spikes[:, : key_readout + 1], start, 1)[0]


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
    return _run(plasticity, spikes, state, spikes.shape[1])


@torch.no_grad()
def _run(
    plasticity: Plasticity, spikes: Tensor, state: PlasticityState, count: int
) -> tuple[Tensor, PlasticityState]:
    """Images (B, count, H, W) of the last readouts of the spikes, and the state after them."""
    run = _run_kernel if suits_compiled(spikes) else _run_steps
    return run(plasticity, spikes, state, count)


def _run_steps(
    plasticity: Plasticity, spikes: Tensor, state: PlasticityState, count: int
) -> tuple[Tensor, PlasticityState]:
    """`_run` by one step after another, on any device and for an export."""
    images = []
    for t, readout in enumerate(spikes.unbind(1)):
        state = plasticity.step(state, readout)
        if t >= spikes.shape[1] - count:
            images.append(plasticity.rate(state.recovery, state.facilitation))
    return torch.stack(images, 1), state


def _run_kernel(
    plasticity: Plasticity, spikes: Tensor, state: PlasticityState, count: int
) -> tuple[Tensor, PlasticityState]:
    """`_run` on a CPU: the same states, and images by a logarithm that rounds differently."""
    images = empty_pages((len(spikes), count, *spikes.shape[2:]), torch.float32)
    fired = spike_bytes(spikes).flatten(2)  # (B, T, H·W)
    recovery, facilitation, last_spike = (
        part.clone(memory_format=torch.contiguous_format) for part in state[:3]
    )
    interval = state.readout - 1 - last_spike
    if plasticity.mode == "offline":
        interval[last_spike < 0] = NEVER
    readout = state.readout + spikes.shape[1]
    decays = _table_of_decays(plasticity, readout).numpy()
    synapse = np.array(
        [
            plasticity.u0,
            plasticity.f,
            plasticity.raised_step - plasticity.u0,
            1 - plasticity.f,
            plasticity.recovery_time,
            plasticity.facilitation_time,
        ],
        np.float32,
    )

    def run(sample: int, pixels: slice) -> None:
        _take_spikes(
            fired[sample].numpy(),
            recovery[sample].view(-1).numpy(),
            facilitation[sample].view(-1).numpy(),
            interval[sample].view(-1).numpy(),
            decays,
            synapse,
            images[sample].flatten(1).numpy(),
            pixels.start,
            pixels.stop,
        )

    each_part(run, spikes)
    last_spike = (readout - 1 - interval).clamp_(min=-1)
    return images, PlasticityState(recovery, facilitation, last_spike, readout)


def _table_of_decays(plasticity: Plasticity, longest: int) -> Tensor:
    """What `Plasticity.decays` gives for intervals 0, 1, …: (2, n), the last for all longer ones.

    Args:
        plasticity: the synapse.
        longest: the longest interval that there can be, in readouts.
    """
    unit = plasticity.time_unit if plasticity.mode == "online" else 1
    slowest = max(plasticity.recovery_time, plasticity.facilitation_time)
    size = min(longest, math.ceil(FORGOTTEN * slowest * unit)) + 2
    decays = torch.stack(plasticity.decays(torch.arange(size, dtype=torch.int32)))
    # Numbers below the normal ones make no difference, but take a hundred times as long.
    decays[decays < torch.finfo(torch.float32).tiny] = 0
    decays[:, -1] = 0
    return decays


@compiled()
def _take_spikes(
    fired: NDArray[np.uint8],
    recovery: NDArray[np.float32],
    facilitation: NDArray[np.float32],
    interval: NDArray[np.int32],
    decays: NDArray[np.float32],
    synapse: NDArray[np.float32],
    images: NDArray[np.float32],
    first: int,
    stop: int,
) -> None:
    """`Plasticity.step` and `Plasticity.rate` for the pixels [first, stop), readout by readout.

    Args:
        fired: (T, N), 0 and 1.
        recovery: R, (N,), to be changed.
        facilitation: u, likewise.
        interval: readouts since the latest spike, likewise.
        decays: (2, n), see `_table_of_decays`.
        synapse: u0, f, f − u0 with the f of the inversion, 1 − f, D, F.
        images: (up to T, N) of the last readouts, to fill.
        first: the first pixel.
        stop: where to stop.
    """
    u0, f, raised_rest, kept, recovery_time, facilitation_time = synapse
    of_recovery, of_facilitation = decays
    longest = np.int32(decays.shape[1] - 1)
    # What a step of 256 pixels keeps. Each in one array, so that the compiler knows which places
    # differ and can compute many pixels at once.
    s = np.zeros(1792, np.float32)  # R, u, both decays, whether a pixel fired, exponents of x
    d = np.zeros(512, np.int32)  # interval, and where its decays are
    bits = np.zeros(512, np.int32)
    x = bits.view(np.float32)  # what the logarithms are of, those of R first
    for left in range(first, stop, 256):
        right = min(left + 256, stop)
        for p in range(right - left):
            s[p], s[256 + p], d[p] = recovery[left + p], facilitation[left + p], interval[left + p]
        for t in range(len(fired)):
            spikes = fired[t, left:right]
            for p in range(len(spikes)):
                so_far = np.int32(d[p] + np.int32(1))
                d[p] = np.int32(0) if spikes[p] else so_far
                d[256 + p] = so_far if so_far < longest else longest
                s[1024 + p] = np.float32(spikes[p])
            for p in range(256):
                s[512 + p] = of_recovery[d[256 + p]]
                s[768 + p] = of_facilitation[d[256 + p]]
            for p in range(256):
                r, u = s[p], s[256 + p]
                recovered = ONE - (ONE - r * (ONE - u)) * s[512 + p]
                facilitated = u0 + (u + f * (ONE - u) - u0) * s[768 + p]
                s[p] = recovered if s[1024 + p] > 0 else r
                s[256 + p] = facilitated if s[1024 + p] > 0 else u
            if t < len(fired) - len(images):
                continue
            for p in range(256):
                r, u = s[p], s[256 + p]
                spent = (ONE - r) / (ONE - r * (ONE - u))
                raised = (u - u0) / (raised_rest + u * kept)
                x[p] = spent if spent > FLOOR else FLOOR
                x[256 + p] = raised if raised > FLOOR else FLOOR
            # ln x = e · ln 2 + ln(1 + m), where x = (1 + m) · 2ᵉ
            for p in range(512):
                exponent = np.int32(bits[p] - ROOT_HALF) >> np.int32(23)
                bits[p] = np.int32(bits[p] - np.int32(exponent << np.int32(23)))
                s[1280 + p] = np.float32(np.int32(exponent))
            for p in range(512):
                m, exponent32 = x[p] - ONE, s[1280 + p]
                y = C8
                y = y * m + C7
                y = y * m + C6
                y = y * m + C5
                y = y * m + C4
                y = y * m + C3
                y = y * m + C2
                y = y * m + C1
                y = y * m + C0
                y = y * m * (m * m) + exponent32 * LN2_LOW - HALF * (m * m)
                x[p] = m + y + exponent32 * LN2_HIGH
            image = images[t - len(fired) + len(images), left:right]
            for p in range(len(image)):
                by_recovery = -ONE / (recovery_time * x[p])
                by_facilitation = -ONE / (facilitation_time * x[256 + p])
                by_recovery = by_recovery if x[p] > LOG_FLOOR else np.float32(0)
                by_facilitation = by_facilitation if x[256 + p] > LOG_FLOOR else np.float32(0)
                image[p] = by_recovery + by_facilitation
        for p in range(right - left):
            recovery[left + p], facilitation[left + p], interval[left + p] = s[p], s[256 + p], d[p]


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
