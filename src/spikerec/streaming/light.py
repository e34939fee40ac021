"""From intensity to what a screen shows: exposure, tone curve, and fixed-pattern correction.

The gain is one for a whole clip: what flickers in the video flickered in the scene.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from spikerec.errors import ConfigError, GeometryError
from spikerec.kinds import checked
from spikerec.spikes import SpikeStream
from spikerec.spikes.bayer import BayerPattern, mosaic
from spikerec.spikes.defects import Sample
from spikerec.spikes.pattern import estimate_pattern

Curve = Literal["linear", "reinhard", "log"]
CURVES = ("linear", "reinhard", "log")

#: Percentage of the places and times of a clip that are darker than a measured white; the others,
#: 0.5 %, are overexposed.
WHITE_PERCENTILE = 99.5
#: Side of the squares over which rates are averaged before the percentile is taken: at a rate of
#: 3 %, 64 readouts of one pixel give it to 70 %, of 16 pixels to 17 %.
SQUARE = 4
#: Firing rate from which a pixel is saturated, so that its rate no longer follows the light.
SATURATED_RATE = 0.97
#: Standard deviation of the spikes that a pixel without noise counts, whose charge at first is by
#: chance: the variance is f·(1 − f) for the fraction f of its expected spikes, 1/6 on average.
COUNT_DEVIATION = 1 / 6**0.5
#: Largest gain, white or gamma; 1 / STRONGEST is the smallest.
STRONGEST = 1e6
#: Steepness of the logarithmic curve.
LOG_STRENGTH = 50.0


@checked
def white_rate(sample: Sample, broken: NDArray[np.bool_] | None = None) -> float:
    """Estimate the firing rate of white in a clip whose light scale is not stated.

    Nearly all of the clip is darker: the 99.5th percentile over squares of pixels and pieces of
    time. A few hot pixels or a glint do not move it.

    Args:
        sample: of the clip.
        broken: (H, W) pixels to leave out; None for none.

    Returns:
        A rate in (0, 1].
    """
    rates = sample.rates
    if broken is not None and not broken.all():
        rates = np.where(broken, np.nan, rates)
    side = min(SQUARE, *rates.shape[1:])
    least = 1 / (sample.num_readouts * side**2)  # one spike: a stream of darkness has no white
    return float(np.clip(white_level(rates), least, 1))


def white_level(images: NDArray[np.float32]) -> float:
    """The value that nearly all of some images are below, see `white_rate`.

    Args:
        images: (N, H, W); NaN where a pixel does not count.
    """
    height, width = images.shape[1:]
    side = min(SQUARE, height, width)
    rows, columns = height // side, width // side
    squares = images[:, : rows * side, : columns * side].reshape(-1, rows, side, columns, side)
    counted = np.isfinite(squares).sum((2, 4))
    means = np.nansum(squares, (2, 4)) / np.maximum(counted, 1)
    return float(np.percentile(means[counted > 0], WHITE_PERCENTILE))


@checked
@dataclass(frozen=True)
class Tone:
    """The mapping of intensity to grey, in this order: gain, curve, gamma.

    Args:
        curve: `linear` clips at 1; `reinhard` is x·(1 + x/w²) / (1 + x), which bends highlights
            down and meets 1 at the white point w (Reinhard et al., SIGGRAPH 2002); `log` is
            log(1 + 50·x/w) / log(51).
        gamma: the grey is the curve's value to the power of 1 / gamma.
        white: intensity shown as white by `reinhard` and `log`.
        gain: intensity is multiplied by it first.

    Raises:
        ConfigError: an unknown curve, or a number that is not above 0, or beyond `STRONGEST`.
    """

    curve: Curve = "linear"
    gamma: float = 1.0
    white: float = 4.0
    gain: float = 1.0

    def __post_init__(self) -> None:
        if self.curve not in CURVES:
            raise ConfigError(f"curve must be one of {', '.join(CURVES)}, found {self.curve}.")
        for name in ("gamma", "white", "gain"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be above 0, found {getattr(self, name)}.")
            if not 1 / STRONGEST <= getattr(self, name) <= STRONGEST:
                raise ConfigError(
                    f"{name} must be {1 / STRONGEST:g} to {STRONGEST:g}, found "
                    f"{getattr(self, name)}."
                )

    def __call__(self, intensity: NDArray[np.float32]) -> NDArray[np.float32]:
        """Grey in [0, 1] of intensity ≥ 0, of any shape."""
        x: NDArray[Any] = np.maximum(intensity, 0) * np.float32(self.gain)
        if self.curve == "reinhard":
            x = x * (1 + x / self.white**2) / (1 + x)
        elif self.curve == "log":
            x = np.log1p(LOG_STRENGTH / self.white * x) / np.log1p(LOG_STRENGTH)
        grey: NDArray[np.float32] = np.clip(x, 0, 1).astype(np.float32)
        if self.gamma != 1:
            np.power(grey, np.float32(1 / self.gamma), out=grey)
        return grey


@checked
@dataclass(frozen=True)
class FixedPattern:
    """The offset and gain of each pixel of a sensor, measured lens covered and evenly lit.

    corrected = (rate − dark) / (flat − dark) · mean(flat − dark)

    Without an evenly lit stream the gain may be estimated from one in which the scene moves.

    Behind a Bayer mosaic the mean is that of the pixel's own colour: the evenly lit surface need
    not be white, and its colour is no part of the pattern.

    Attributes:
        dark: (H, W) firing rate without light.
        gain: (H, W), mean(flat − dark) / (flat − dark); 1 where flat is no brighter than dark.
        bayer: colours of the pixels by which the gain was measured; None where it holds for any.
        spread: standard deviation of the pixels' responses, of an estimated gain; None of a
            measured one.
        dark_error: standard deviation of the rates in `dark` due to their being counts of whole
            spikes; 0 where none was recorded.
        gain_error: the same of the gains, relative to them; 0 where none was measured.
    """

    dark: NDArray[np.float32]
    gain: NDArray[np.float32]
    bayer: BayerPattern | Literal["grey"] | None = None
    spread: float | None = None
    dark_error: float = 0.0
    gain_error: float = 0.0

    @classmethod
    @checked
    def measured(cls, dark: SpikeStream | None, flat: SpikeStream | None) -> FixedPattern:
        """From calibration streams.

        Args:
            dark: with the lens covered; None to add nothing.
            flat: of an evenly lit surface; None to multiply by 1.

        Raises:
            ConfigError: neither is given, or `flat` shows no response: in most pixels it is no
                brighter than `dark`, or fires at almost every readout.
            GeometryError: they differ in size.
        """
        streams = [stream for stream in (dark, flat) if stream is not None]
        if not streams:
            raise ConfigError("a calibration needs calibration.dark, calibration.flat, or both.")
        sizes = {stream.shape[1:] for stream in streams}
        if len(sizes) > 1:
            raise GeometryError(
                f"{streams[1].path} is {streams[1].height} × {streams[1].width}, expected "
                f"{streams[0].height} × {streams[0].width} as {streams[0].path}."
            )
        offset = np.zeros(streams[0].shape[1:], np.float32) if dark is None else mean_rate(dark)
        dark_error = 0.0 if dark is None else COUNT_DEVIATION / dark.num_readouts
        if flat is None:
            return cls(offset, np.ones_like(offset), dark_error=dark_error)
        rates = mean_rate(flat)
        response = rates - offset
        typical = float(np.median(response))
        _check_lit(flat, float(np.median(rates)), typical)
        is_lit = response > 0
        gain = np.ones_like(offset)
        colours = None if flat.bayer is None else mosaic(flat.bayer, flat.height, flat.width)
        for lit in [is_lit] if colours is None else [is_lit & (colours == one) for one in "rgb"]:
            if lit.any():
                gain[lit] = response[lit].mean() / response[lit]
        gain_error = COUNT_DEVIATION / (flat.num_readouts * typical)
        return cls(
            *(offset, gain, flat.bayer or "grey"), dark_error=dark_error, gain_error=gain_error
        )

    @classmethod
    @checked
    def estimated(
        cls, moving: SpikeStream, dark: FixedPattern | None = None
    ) -> FixedPattern | None:
        """From a stream in which the scene moves (see `spikes.pattern`).

        Args:
            moving: the stream that is to be corrected, or another one of the same camera.
            dark: states the firing rates without light; None for none.

        Returns:
            The pattern; None where the scene does not move enough, or where no pattern is seen.

        Raises:
            GeometryError: they differ in size.
        """
        if dark is not None:
            dark.check(moving)
        pattern = estimate_pattern(moving, None if dark is None else dark.dark)
        if pattern is None:
            return None
        offset = np.zeros_like(pattern.response) if dark is None else dark.dark
        gain = np.reciprocal(pattern.response)
        dark_error = 0.0 if dark is None else dark.dark_error
        return cls(offset, gain, moving.bayer or "grey", pattern.spread, dark_error)

    @property
    def digest(self) -> str:
        """Digest of the offsets and gains, by which two patterns are told apart."""
        return sha256(self.dark.tobytes() + self.gain.tobytes()).hexdigest()[:16]

    @property
    def has_gain(self) -> bool:
        """False if only the firing rates without light are known."""
        return self.bayer is not None

    def __call__(self, intensity: NDArray[np.float32], light_scale: float) -> NDArray[np.float32]:
        """Correct intensity (..., H, W) of a stream of this light scale.

        Raises:
            GeometryError: another size.
        """
        self._check_size(*intensity.shape[-2:])
        corrected: NDArray[np.float32] = (intensity - self.dark / light_scale) * self.gain
        return np.maximum(corrected, 0, dtype=np.float32)

    @checked
    def check(self, stream: SpikeStream) -> None:
        """Refuse a stream of another camera.

        Raises:
            GeometryError: the size is not that of the pattern.
            ConfigError: the stream of the gain states other colours.
        """
        self._check_size(stream.height, stream.width)
        if self.bayer not in (None, stream.bayer or "grey"):
            stated = "no colours" if self.bayer == "grey" else f"bayer={self.bayer}"
            source = "flat" if self.spread is None else "moving"
            raise ConfigError(
                f"calibration.{source} states {stated}, but {stream.path} bayer={stream.bayer}: "
                "state the same for both, beside the files or by bayer=PATTERN."
            )

    def _check_size(self, height: int, width: int) -> None:
        if (height, width) != self.dark.shape:
            raise GeometryError(
                f"calibration is {self.dark.shape[0]} × {self.dark.shape[1]}, but the stream is "
                f"{height} × {width}: use the same camera's."
            )


def _check_lit(flat: SpikeStream, rate: float, response: float) -> None:
    """Check the median rate of an evenly lit stream, and the median of what it is above the dark's.

    Raises:
        ConfigError: it shows no response.
    """
    found = f"in half of its pixels and more, found a median rate of {rate:.3g}"
    if response <= 0:
        raise ConfigError(
            f"calibration.flat: {flat.path} is no brighter than without light {found}. Expected a "
            "recording of an evenly lit surface."
        )
    if rate >= SATURATED_RATE:
        raise ConfigError(
            f"calibration.flat: {flat.path} is saturated {found}, so that no response is seen. "
            "Record the surface with less light."
        )


def mean_rate(stream: SpikeStream, readouts_at_once: int = 64) -> NDArray[np.float32]:
    """The firing rate of each pixel over a whole stream, (H, W)."""
    total = np.zeros(stream.shape[1:], np.int64)
    for first in range(0, stream.num_readouts, readouts_at_once):
        total += stream[first : first + readouts_at_once].sum(0, dtype=np.int64)
    rate: NDArray[np.float32] = (total / stream.num_readouts).astype(np.float32)
    return rate
