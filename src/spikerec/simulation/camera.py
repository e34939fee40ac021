"""The integrate-and-fire camera: intensity in, spikes out.

A pixel gathers charge, fires at the readout where the charge reaches the threshold θ, and keeps
what lies above it (reset by subtraction; a reset to zero would lose charge and bias the rate). With
c_t the charge of readout t and q₀ ~ U(0, θ) the charge at the start,

    n_t = ⌊(q₀ + c_0 + … + c_t) / θ⌋,    spike_t = n_t − n_(t−1) ∈ {0, 1},

so that all readouts of a chunk follow from one cumulative sum. A readout gathers at most θ: beyond
that the pixel is saturated, and the excess is lost. Hence at most one spike a readout.

Charge is counted in whole units of θ / 2²⁴. Integer sums do not depend on order, so the spikes are
the same however the scene is cut into chunks, on the CPU and on a GPU, and nothing drifts over long
streams. The grain makes a rate at most 2⁻²⁴ spikes a readout too low.

From intensity to charge, in the order in which a sensor does it:

    electrons = α·θ·I                          I: intensity in [0, 1]; α: light scale
    electrons ← Poisson(electrons)             shot noise
    charge    = gain · electrons / θ           gain map, mean `gain`
    charge    ← charge + dark current          dark-current map
    charge    ← charge / threshold             threshold map
    spikes    ← spikes or stray                stray spikes

Sources: ideal camera, SpikeCV and Spike-Zoo's simulators; `gain` and `stray_rate`, SpikingSIM
(ISCAS 2022); shot noise, response and dark current, RSIR (ACM MM 2023). RSIR applies response and
dark current to the inter-spike interval less one, here they apply to the charge; and RSIR adds
U(0, 1) to the interval for the wait until the next readout, which here follows from firing at
readouts only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikerec.errors import ConfigError, InputError
from spikerec.kernels.compiled import compiled
from spikerec.kernels.memory import empty_pages
from spikerec.kernels.threads import each_part
from spikerec.simulation.sensor import SensorMaps, draw_maps, read_maps

THETA_BITS = 24  # a threshold is 2²⁴ units of charge: the precision of float32 intensities
THETA = 1 << THETA_BITS
CHUNK = 64  # readouts summed at once on a GPU: (64 + 1)·2²⁴ units stay inside int32


@dataclass(frozen=True)
class Camera:
    """A spike camera: light scale, threshold and noise.

    Args:
        light_scale: α, firing rate of a pixel of intensity 1 (before `gain`), in (0, 1].
        threshold: θ, photo-electrons that make a pixel fire, > 0. Sets the strength of shot noise
            (relative deviation 1/√(α·θ·I) a readout) and nothing else.
        shot_noise: draw the electrons of a readout from a Poisson law.
        gain: mean response, ≥ 0; the mean rate is `gain · light_scale · I`.
        gain_spread: standard deviation between pixels of the response, relative, ≥ 0.
        dark_current: median charge gathered without light, in thresholds a readout, ≥ 0.
        dark_spread: standard deviation between pixels of its logarithm, ≥ 0.
        threshold_spread: standard deviation between pixels of the threshold, relative, ≥ 0. No
            published value is known.
        stray_rate: probability that a bit is set without charge, in [0, 1].
        maps: `.npz` with the maps of a real sensor, in place of drawn ones (`read_maps`); then
            `gain_spread`, `dark_current`, `dark_spread` and `threshold_spread` are not used.
        sensor_seed: seed of the drawn maps: one sensor for all scenes. None draws a new sensor
            with every exposure.

    Raises:
        ConfigError: a value outside its range.

    Example:
        >>> camera = Camera(light_scale=0.5)
        >>> spikes = camera.expose(torch.full((100, 4, 4), 0.4), seed=0)
        >>> spikes.shape, spikes.float().mean()
        (torch.Size([100, 4, 4]), tensor(0.2000))
    """

    light_scale: float
    threshold: float = 1.0
    shot_noise: bool = False
    gain: float = 1.0
    gain_spread: float = 0.0
    dark_current: float = 0.0
    dark_spread: float = 0.0
    threshold_spread: float = 0.0
    stray_rate: float = 0.0
    maps: str | Path | None = None
    sensor_seed: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.light_scale <= 1:
            raise ConfigError(
                f"simulation.light_scale must lie in (0, 1], found {self.light_scale}: it is the "
                "firing rate of a pixel of intensity 1."
            )
        if not 0 < self.threshold < math.inf:
            raise ConfigError(f"simulation.threshold must be above 0, found {self.threshold}.")
        if not 0 <= self.stray_rate <= 1:
            raise ConfigError(f"simulation.stray_rate must lie in [0, 1], found {self.stray_rate}.")
        for name in ("gain", "gain_spread", "dark_current", "dark_spread", "threshold_spread"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(
                    f"simulation.{name} must be 0 or above, found {getattr(self, name)}."
                )

    def expose(self, intensity: Tensor, *, seed: int) -> Tensor:
        """The spikes of a scene held in memory.

        Args:
            intensity: (T, H, W) float in [0, 1], the light of each readout.
            seed: of the initial charge and of all noise.

        Returns:
            (T, H, W) uint8 of 0 and 1, on the device of the intensity.

        Raises:
            InputError: not (T, H, W) floats in [0, 1].
        """
        return self.start(seed=seed).add(intensity)

    def stream(self, chunks: Iterable[Tensor], *, seed: int) -> Iterator[Tensor]:
        """The spikes of a long scene, chunk by chunk; the same for any cut into chunks.

        Args:
            chunks: (t, H, W) floats in [0, 1] that follow one another in time.
            seed: of the initial charge and of all noise.

        Yields:
            (t, H, W) uint8 of 0 and 1 for each chunk.
        """
        exposure = self.start(seed=seed)
        for chunk in chunks:
            yield exposure.add(chunk)

    def start(self, *, seed: int) -> Exposure:
        """Begin a stream whose readouts are handed in as they come."""
        return Exposure(self, seed)

    def sensor(self, height: int, width: int, generator: torch.Generator) -> SensorMaps:
        """The maps of a sensor of this size, on the CPU.

        Args:
            height: rows.
            width: columns.
            generator: on the CPU; used where `sensor_seed` is None.
        """
        if self.maps is not None:
            return read_maps(self.maps, height, width)
        if self.sensor_seed is not None:
            generator = torch.Generator().manual_seed(self.sensor_seed)
        return draw_maps(
            height,
            width,
            gain_spread=self.gain_spread,
            dark_current=self.dark_current,
            dark_spread=self.dark_spread,
            threshold_spread=self.threshold_spread,
            generator=generator,
        )

    @property
    def has_fixed_pattern(self) -> bool:
        """Whether pixels differ, or gather charge in the dark."""
        spreads = (self.gain_spread, self.dark_current, self.threshold_spread)
        return self.maps is not None or any(spreads)


class Exposure:
    """A stream being recorded: the charge in the pixels, and the noise still to be drawn.

    Args:
        camera: what records.
        seed: of the initial charge and of all noise.
    """

    def __init__(self, camera: Camera, seed: int) -> None:
        self.camera = camera
        self._seed = seed
        self._charge: Tensor | None = None  # (H, W) int32 in [0, THETA)
        self._sensor: SensorMaps | None = None
        # One generator each, so that the draws of one kind of noise do not shift the other's.
        self._shot: torch.Generator
        self._stray: torch.Generator

    def add(self, intensity: Tensor) -> Tensor:
        """Record the next readouts.

        Args:
            intensity: (t, H, W) float in [0, 1]; size and device stay the same over a stream.

        Returns:
            (t, H, W) uint8 of 0 and 1.

        Raises:
            InputError: not (t, H, W) floats in [0, 1], or another size than before.
        """
        self._check(intensity)
        charge = self._begin(intensity) if self._charge is None else self._charge
        on_cpu = intensity.device.type == "cpu"
        empty = empty_pages if on_cpu else partial(torch.empty, device=intensity.device)
        spikes = empty(intensity.shape, dtype=torch.uint8)
        # Noise is drawn for whole readouts, one after the other; the rest is for each pixel alone.
        step = CHUNK if self.camera.shot_noise else len(intensity)
        for part in (slice(start, start + step) for start in range(0, len(intensity), step)):
            self._fire(self._with_shot_noise(intensity[part]), charge, spikes[part])
            self._add_stray(spikes[part])
        self._charge = charge
        return spikes

    def _begin(self, intensity: Tensor) -> Tensor:
        """Draw the sensor and its initial charge, on the CPU so that devices agree."""
        _, height, width = intensity.shape
        device = intensity.device
        generator = torch.Generator().manual_seed(self._seed)
        charge = torch.randint(THETA, (height, width), generator=generator, dtype=torch.int32)
        if self.camera.has_fixed_pattern:
            self._sensor = self.camera.sensor(height, width, generator).to(device)
        shot_seed, stray_seed = torch.randint(1 << 62, (2,), generator=generator).tolist()
        self._shot = torch.Generator(device).manual_seed(shot_seed)
        self._stray = torch.Generator(device).manual_seed(stray_seed)
        return charge.to(device)

    def _fire(self, intensity: Tensor, charge: Tensor, spikes: Tensor) -> None:
        """Gather charge and fire.

        Args:
            intensity: (t, H, W).
            charge: (H, W) int32 in [0, THETA), left from the readout before; afterwards, from the
                last.
            spikes: (t, H, W) uint8 to fill.
        """
        if intensity.device.type == "cpu":
            self._fire_by_pixel(intensity, charge, spikes)
            return
        for start in range(0, len(intensity), CHUNK):
            part = slice(start, start + CHUNK)
            _integrate(charge, self._gathered(intensity[part].float()), spikes[part])

    def _gathered(self, intensity: Tensor) -> Tensor:
        """The charge of each readout: (t, H, W) float32 → int32 in [0, THETA]."""
        light = intensity * self._scale
        if self._sensor is not None:
            sensor = self._sensor
            light.mul_(sensor.gain).add_(sensor.dark_current * THETA).div_(sensor.threshold)
        return light.clamp_(max=THETA).int()

    @property
    def _scale(self) -> float:
        """Units of charge that a pixel of intensity 1 gathers in a readout."""
        return self.camera.light_scale * self.camera.gain * THETA

    def _fire_by_pixel(self, intensity: Tensor, charge: Tensor, spikes: Tensor) -> None:
        """`_fire` on a CPU, to the same bits, in one pass over memory."""
        seen = intensity.detach().float().flatten(1).contiguous()  # (t, H·W)
        maps = torch.empty(3, 0)
        if (sensor := self._sensor) is not None:
            maps = torch.stack([sensor.gain, sensor.dark_current * THETA, sensor.threshold])
            maps = maps.flatten(1)

        def fire(_: int, pixels: slice) -> None:
            _gather_and_fire(
                seen.numpy(),
                np.float32(self._scale),
                maps.numpy(),
                charge.view(-1).numpy(),
                spikes.flatten(1).numpy(),
                pixels.start,
                pixels.stop,
            )

        each_part(fire, intensity[None])

    def _with_shot_noise(self, intensity: Tensor) -> Tensor:
        """Intensity as counted in whole electrons."""
        if not self.camera.shot_noise:
            return intensity
        electrons = self.camera.light_scale * self.camera.threshold
        # Readout by readout: what is drawn for one must not depend on how the scene is cut.
        counts = [torch.poisson(image * electrons, self._shot) for image in intensity.float()]
        return torch.stack(counts) / electrons

    def _add_stray(self, spikes: Tensor) -> None:
        """Set bits of `spikes` that no charge has set."""
        if not self.camera.stray_rate:
            return
        for readout in spikes:
            drawn = torch.rand(readout.shape, generator=self._stray, device=readout.device)
            readout |= drawn < self.camera.stray_rate

    def _check(self, intensity: Tensor) -> None:
        if intensity.ndim != 3 or not intensity.is_floating_point() or not intensity.numel():
            raise InputError(
                "intensity must be a float tensor (T, H, W) with T, H, W ≥ 1, found "
                f"{tuple(intensity.shape)} {intensity.dtype}."
            )
        low, high = (value.item() for value in torch.aminmax(intensity))
        if not (low >= 0 and high <= 1):
            raise InputError(f"intensity must lie in [0, 1], found [{low:.4g}, {high:.4g}].")
        if self._charge is not None and intensity.shape[1:] != self._charge.shape:
            raise InputError(
                f"intensity must stay {tuple(self._charge.shape)} over a stream, found "
                f"{tuple(intensity.shape[1:])}."
            )


def _integrate(charge: Tensor, gathered: Tensor, spikes: Tensor) -> None:
    """Fire.

    Args:
        charge: (H, W) int32 in [0, THETA), left from the readout before; afterwards, from the last.
        gathered: (t, H, W) int32 in [0, THETA]; used up.
        spikes: (t, H, W) uint8 to fill.
    """
    gathered[0] += charge
    total = torch.cumsum(gathered, 0, dtype=torch.int32)
    torch.bitwise_and(total[-1], THETA - 1, out=charge)
    fired = total.bitwise_right_shift_(THETA_BITS).to(torch.uint8)  # spikes so far in the chunk
    spikes[0] = fired[0]
    torch.sub(fired[1:], fired[:-1], out=spikes[1:])


@compiled()
def _gather_and_fire(
    intensity: NDArray[np.float32],
    scale: np.float32,
    maps: NDArray[np.float32],
    charge: NDArray[np.int32],
    spikes: NDArray[np.uint8],
    first: int,
    stop: int,
) -> None:
    """`Exposure._gathered` and `_integrate` for the pixels [first, stop).

    Args:
        intensity: (t, N).
        scale: units of charge at intensity 1.
        maps: (3, N) gain, dark current in units of charge, threshold; (3, 0) for an even sensor.
        charge: (N,) in [0, THETA), left from the readout before; afterwards, from the last.
        spikes: (t, N) to fill.
        first: the first pixel.
        stop: where to stop.
    """
    full = np.float32(THETA)
    gathered = np.empty(1024, np.float32)
    for left in range(first, stop, 1024):
        right = min(left + 1024, stop)
        kept = charge[left:right]
        for t in range(len(intensity)):
            light, fired = intensity[t, left:right], spikes[t, left:right]
            for p in range(len(light)):
                gathered[p] = light[p] * scale
            if maps.shape[1]:
                gain, dark, threshold = (
                    maps[0, left:right],
                    maps[1, left:right],
                    maps[2, left:right],
                )
                for p in range(len(light)):
                    gathered[p] = (gathered[p] * gain[p] + dark[p]) / threshold[p]
            for p in range(len(light)):
                unit = gathered[p] if gathered[p] < full else full
                total = np.int32(kept[p] + np.int32(unit))
                fired[p] = total >> np.int32(THETA_BITS)
                kept[p] = total & np.int32(THETA - 1)
