"""Variation between the pixels of a sensor: response, dark current, threshold.

The maps are drawn from a seed, or read from a calibration of a real sensor. A calibration after
RSIR ("Recurrent Spike-based Image Restoration under General Illumination", ACM MM 2023, section 3)
states per pixel a response R, a dark light L_d (lux) and an interval D_light (readouts) under even
light of E₃ = 335 lux; the light that fills a pixel in one readout is then Q = D_light · (E₃ + L_d),
and the dark current L_d / Q thresholds a readout.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from spikerec.errors import DataError, DataNotFoundError, GeometryError
from spikerec.kinds import checked
from spikerec.spikes.numpy_files import read_npz

CALIBRATION_LUX = 335.0  # E₃, the brightest of the three even lights of RSIR's calibration
MAP_KEYS = ("gain", "dark_current", "threshold")
#: Bound of a map: its pixels (2048²), as six of them may be in memory in double precision.
MAX_MAP_VALUES = 1 << 22
CALIBRATION_KEYS = ("Nl", "Nd", "D_light")  # R, L_d and D_light, as published with SpikeNeRF


@checked
@dataclass(frozen=True)
class SensorMaps:
    """Fixed pattern of a sensor, one value a pixel.

    Attributes:
        gain: (H, W) float32 ≥ 0, response relative to the sensor's mean.
        dark_current: (H, W) float32 ≥ 0, in thresholds a readout.
        threshold: (H, W) float32 > 0, relative to the nominal threshold.
    """

    gain: Tensor
    dark_current: Tensor
    threshold: Tensor

    def to(self, device: torch.device) -> SensorMaps:
        """The same maps on another device."""
        return SensorMaps(
            self.gain.to(device), self.dark_current.to(device), self.threshold.to(device)
        )


@checked
def draw_maps(
    height: int,
    width: int,
    *,
    gain_spread: float,
    dark_current: float,
    dark_spread: float,
    threshold_spread: float,
    generator: torch.Generator,
) -> SensorMaps:
    """Draw the fixed pattern of a sensor.

    Gain and threshold are normal around 1, dark current is log-normal: it has the long bright tail
    ("hot pixels") that calibrations show.

    Args:
        height: rows.
        width: columns.
        gain_spread: standard deviation of the gain, ≥ 0.
        dark_current: median dark current in thresholds a readout, ≥ 0.
        dark_spread: standard deviation of the logarithm of the dark current, ≥ 0.
        threshold_spread: standard deviation of the relative threshold, ≥ 0.
        generator: on the CPU.
    """
    gain, dark, threshold = torch.randn(3, height, width, generator=generator)
    return SensorMaps(
        gain=(1 + gain_spread * gain).clamp_min(0),
        dark_current=dark_current * torch.exp(dark_spread * dark),
        # A threshold near 0 would fire without light: no working pixel deviates that far.
        threshold=(1 + threshold_spread * threshold).clamp_min(0.1),
    )


@checked
def read_maps(path: str | Path, height: int, width: int) -> SensorMaps:
    """Read the fixed pattern of a real sensor and cut it to size around its centre.

    Args:
        path: `.npz` that holds `gain`, `dark_current` and `threshold` as in `SensorMaps` (those
            that are missing are even), or a calibration `Nl`, `Nd`, `D_light` as in the module's
            text, whose gain is divided by its mean.
        height: rows needed.
        width: columns needed.

    Raises:
        DataNotFoundError: no such file.
        DataError: not an `.npz`, one beyond the bounds, none of these names in it, or values that
            are negative or not finite.
        GeometryError: maps smaller than needed, or of different sizes.
    """
    path = Path(path)
    if not path.is_file():
        raise DataNotFoundError(f"maps={path} does not exist: name an .npz file, or null.")
    arrays = read_npz(path, (*MAP_KEYS, *CALIBRATION_KEYS), MAX_MAP_VALUES)
    if all(key in arrays for key in CALIBRATION_KEYS):
        sizes = {arrays[key].shape for key in CALIBRATION_KEYS}
        if len(sizes) > 1:
            raise GeometryError(f"maps={path} holds maps of {len(sizes)} sizes.")
        arrays = _from_calibration(arrays)
    known = {key: arrays[key] for key in MAP_KEYS if key in arrays}
    if not known:
        raise DataError(
            f"maps={path} holds none of the arrays expected: gain, dark_current, "
            f"threshold, or {', '.join(CALIBRATION_KEYS)}."
        )
    cut = {key: _centre(array, height, width, f"{path}:{key}") for key, array in known.items()}
    for key, array in cut.items():
        if not (
            array.isfinite().all() and array.min() >= 0 and (key != "threshold" or array.all())
        ):
            raise DataError(
                f"maps={path}:{key} holds values that are not finite, negative, or a "
                "threshold of 0."
            )
    return SensorMaps(
        gain=cut.get("gain", torch.ones(height, width)),
        dark_current=cut.get("dark_current", torch.zeros(height, width)),
        threshold=cut.get("threshold", torch.ones(height, width)),
    )


def _from_calibration(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    response, dark_lux, interval = (arrays[key] for key in CALIBRATION_KEYS)
    with np.errstate(divide="ignore", invalid="ignore"):  # what comes of it is checked
        return {
            "gain": response / response.mean(),
            "dark_current": dark_lux / (interval * (CALIBRATION_LUX + dark_lux)),
        }


def _centre(array: np.ndarray, height: int, width: int, name: str) -> Tensor:
    if array.ndim != 2 or array.shape[0] < height or array.shape[1] < width:
        raise GeometryError(
            f"maps={name} is {' × '.join(map(str, array.shape))}: expected at least "
            f"{height} × {width}. Simulate a smaller scene, or set maps=null."
        )
    top, left = (array.shape[0] - height) // 2, (array.shape[1] - width) // 2
    return torch.from_numpy(array[top : top + height, left : left + width].astype(np.float32))
