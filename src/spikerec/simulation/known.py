"""Facts of a simulated clip that its card states: the camera's noise, and the exact motion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache, lru_cache
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from spikerec.configs import config_names, load_config
from spikerec.errors import DataError, printable
from spikerec.kinds import checked
from spikerec.parsing import shown
from spikerec.simulation.camera import Camera
from spikerec.simulation.cards import (
    CLIP_BOUNDS,
    MOST_IMAGES,
    MOST_READOUTS,
    plain_values,
    read_card,
)
from spikerec.simulation.layout import MOTION
from spikerec.simulation.sums import SUMS
from spikerec.spikes.files import state_of
from spikerec.spikes.geometry import is_number

UNKNOWN = "unknown"
#: Settings of a camera that are no noise: the light, and which sensor of its kind it is.
NOT_NOISE = ("light_scale", "sensor_seed")
LONGEST_LABEL = 100  # characters
FASTEST = 1e6  # pixels a readout


@dataclass(frozen=True)
class Known:
    """Facts of a simulated clip.

    Attributes:
        noise: see `noise_label`.
        motion: mean length of the exact flow at each image, in pixels a readout; empty if unknown.
        readouts_per_image: readouts from one image to the next.
        light_scale: of the camera; None if unknown.
        sums: checksums of its `readouts` and `images` (see `spikerec.simulation.sums`); empty if
            unknown.
    """

    noise: str = UNKNOWN
    motion: tuple[float, ...] = ()
    readouts_per_image: int = 1
    light_scale: float | None = None
    sums: Mapping[str, str] = field(default_factory=dict)

    def motion_at(self, readout: int) -> float | None:
        """Motion at a readout, linear between two images; None where it is not known."""
        if not self.motion:
            return None
        times = np.arange(len(self.motion)) * self.readouts_per_image
        return float(np.interp(readout, times, self.motion))


def read_known(card: Path) -> Known:
    """Read what a simulated clip's card states; of older cards some facts are unknown.

    Raises:
        DataError: not a card.
    """
    return _read_known(card, state_of(card))


@lru_cache(maxsize=64)  # the samples of a clip ask for it one after another
def _read_known(card: Path, _state: tuple[int, ...] | None) -> Known:
    """Read a card whose file is in a state."""
    content = read_card(card, CLIP_BOUNDS)
    camera, motion = content.get("camera"), content.get(MOTION, [])
    step = content.get("readouts_per_image", 1)
    if (
        not isinstance(motion, list)
        or len(motion) > MOST_IMAGES
        or not all(map(_is_motion, motion))
    ):
        raise DataError(
            f"{card}: {MOTION} must list up to {MOST_IMAGES:,} numbers from 0 to {FASTEST:,.0f}, "
            f"found {shown(motion)}."
        )
    if type(step) is not int or not 1 <= step <= MOST_READOUTS:
        raise DataError(
            f"{card}: readouts_per_image must be a whole number from 1 to {MOST_READOUTS:,}, found "
            f"{shown(step)}."
        )
    sums = content.get(SUMS, {})
    if not isinstance(sums, dict) or (sums and set(sums) != {"readouts", "images"}):
        raise DataError(
            f"{card}: {SUMS} must state a sum of readouts and one of images, found {shown(sums)}."
        )
    noise, light_scale = UNKNOWN, None
    if isinstance(camera, Mapping):
        noise, light_scale = noise_label(camera), camera.get("light_scale")
    if not is_number(light_scale):
        light_scale = None
    return Known(noise, tuple(map(float, motion)), step, light_scale, sums)


def _is_motion(value: object) -> bool:
    return is_number(value) and 0 <= value <= FASTEST


@checked
def noise_label(camera: Camera | Mapping[str, Any]) -> str:
    """Name the noise of a camera.

    Args:
        camera: or its settings, as a card states them.

    Returns:
        The choice of `conf/simulation` that the camera is, whatever its light scale; else the
        settings in which it differs from an ideal one: files by their names alone, and all on one
        line of at most `LONGEST_LABEL` characters.

    Example:
        >>> noise_label(Camera(0.1)), noise_label(Camera(gain=0.99, stray_rate=0.007))
        ('ideal', 'spikingsim')
        >>> noise_label(Camera(threshold=255.0, shot_noise=True))
        'threshold=255.0, shot_noise=True'
    """
    noise = _noise(asdict(camera) if isinstance(camera, Camera) else camera)
    for name, preset in _presets().items():
        if noise == preset:
            return name
    if isinstance(maps := noise.get("maps"), str):
        noise["maps"] = PureWindowsPath(maps).name  # it splits at / as well
    label = printable(", ".join(f"{key}={value}" for key, value in noise.items()))
    return label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 1]}…"


def _noise(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a camera that make it differ from an ideal one."""
    ideal = asdict(Camera())
    return {
        key: value
        for key, value in plain_values(settings).items()
        if key not in NOT_NOISE and (key not in ideal or value != ideal[key])
    }


@cache
def _presets() -> dict[str, dict[str, Any]]:
    presets = {name: load_config("simulation", name) for name in config_names("simulation")}
    for preset in presets.values():
        del preset["_target_"]
    return {name: _noise(preset) for name, preset in presets.items()}
