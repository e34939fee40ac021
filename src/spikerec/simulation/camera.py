"""The integrate-and-fire camera: intensity in, spikes out.

A pixel gathers charge, fires at the readout where the charge reaches the threshold θ, and keeps
what lies above it (reset by subtraction; a reset to zero would lose charge and bias the rate). With
c_t the charge of readout t and q₀ ~ U(0, θ) the charge at the start,

    n_t = ⌊(q₀ + c_0 + … + c_t) / θ⌋,    spike_t = n_t − n_(t−1) ∈ {0, 1},

so that the spikes of a few readouts follow from one cumulative sum, and only what the charge
exceeds whole thresholds by has to be kept for the next ones. A readout gathers at most θ: beyond
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
import operator
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from spikerec.errors import ConfigError, InputError
from spikerec.kernels.devices import at_once
from spikerec.kinds import checked
from spikerec.simulation.sensor import SensorMaps, draw_maps, read_maps
from spikerec.spikes.geometry import check_light_scale

THETA_BITS = 24  # a threshold is 2²⁴ units of charge: the precision of float32 intensities
THETA = 1 << THETA_BITS
#: Readouts summed at once on a GPU: the charge of 65 thresholds fits into int32.
READOUTS_AT_ONCE = 64


@checked
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
        threshold_spread: standard deviation between pixels of the threshold, relative, ≥ 0;
            0.0456 in SCSim.
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

    light_scale: float = 0.4
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
        check_light_scale(self.light_scale, "light_scale")
        if not 0 < self.threshold < math.inf:
            raise ConfigError(f"threshold must be above 0, found {self.threshold}.")
        if not 0 <= self.stray_rate <= 1:
            raise ConfigError(f"stray_rate must lie in [0, 1], found {self.stray_rate}.")
        for name in ("gain", "gain_spread", "dark_current", "dark_spread", "threshold_spread"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be 0 or above, found {getattr(self, name)}.")

    @checked
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

    @checked
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

    @checked
    def start(self, *, seed: int) -> Exposure:
        """Begin a stream whose readouts are handed in as they come."""
        return Exposure(self, operator.index(seed))

    @checked
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
        """True if pixels differ from one another or gather charge in the dark."""
        spreads = (self.gain_spread, self.dark_current, self.threshold_spread)
        return self.maps is not None or any(spreads)


@checked
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

    @checked
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
        spikes = torch.empty(intensity.shape, dtype=torch.uint8, device=intensity.device)
        step = at_once(intensity.device, in_cache=1, in_bulk=READOUTS_AT_ONCE)
        for light, fired in zip(
            torch.split(intensity, step), torch.split(spikes, step), strict=True
        ):
            self._fire(charge, self._with_shot_noise(light.float()), fired)
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

    def _fire(self, charge: Tensor, intensity: Tensor, spikes: Tensor) -> None:
        """Gather charge and fire.

        Args:
            charge: (H, W), left by the readout before; afterwards, by the last of these.
            intensity: (t, H, W) float32, t ≤ READOUTS_AT_ONCE.
            spikes: (t, H, W) to fill.
        """
        total = self._gathered(intensity)
        total[0] += charge
        if len(total) > 1:
            total = total.cumsum(0, dtype=torch.int32)
        torch.bitwise_and(total[-1], THETA - 1, out=charge)
        torch.bitwise_right_shift(total, THETA_BITS, out=spikes)  # spikes so far
        if len(total) > 1:
            spikes[1:] -= spikes[:-1].clone()
        for fired in spikes:
            self._add_stray(fired)

    def _gathered(self, intensity: Tensor) -> Tensor:
        """Return the charge that readouts gather: (t, H, W) float32 → int32 in [0, THETA]."""
        light = intensity * self._scale
        if self._sensor is not None:
            sensor = self._sensor
            light.mul_(sensor.gain).add_(sensor.dark_current * THETA).div_(sensor.threshold)
        return light.clamp_(max=THETA).int()

    @property
    def _scale(self) -> float:
        """Units of charge that a pixel of intensity 1 gathers in a readout."""
        return self.camera.light_scale * self.camera.gain * THETA

    def _with_shot_noise(self, intensity: Tensor) -> Tensor:
        """Return the intensity (t, H, W) as counted in whole electrons."""
        if not self.camera.shot_noise:
            return intensity
        electrons = self.camera.light_scale * self.camera.threshold
        # Drawn readout by readout, so that no draw depends on how the scene is cut.
        counts = [torch.poisson(light, self._shot) for light in intensity * electrons]
        return torch.stack(counts) / electrons

    def _add_stray(self, fired: Tensor) -> None:
        """Set bits of a readout (H, W) that no charge has set."""
        if self.camera.stray_rate:
            drawn = torch.rand(fired.shape, generator=self._stray, device=fired.device)
            fired |= drawn < self.camera.stray_rate

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
