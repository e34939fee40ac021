"""Tables of the model card: REDS, still and slow scenes, and a fixed pattern."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from statistics import fmean

import torch
from torch import Tensor

import spikerec
from benchmarks.figures.measuring import evenly_lit, loaded, psnr, quality, shipped
from benchmarks.figures.pages import decibels, table
from benchmarks.figures.records import all_records, record_of
from benchmarks.figures.robustness import reconstructed
from spikerec.data.robustness import CAMERAS
from spikerec.models.base import Network
from spikerec.models.hann import Hann
from spikerec.simulation import Camera, SteadyScene, bundled_images
from spikerec.streaming import FixedPattern
from spikerec.weights.shipped import DEFAULT_MODEL

SIDE = 256
KEY_READOUT = 30  # the middle of 61
SEED = 0
#: Photographs, and light scales of the scenes at rest.
STILL = ("coffee", "camera", "astronaut")
LIGHT_SCALES = (0.2, 0.6, 1.0)
#: Photographs, speeds in pixels a readout and the light scale of the slow scenes.
SLOW = ("coffee", "camera")
SPEEDS = (0.01, 0.05, 0.2, 1.0, 2.0)
SLOW_LIGHT_SCALE = 0.4
#: Windows of the fixed filters, in readouts.
WINDOWS = tuple(range(7, 62, 2))

#: The sensor of the fixed pattern, with shot noise and without.
NOISE = replace(CAMERAS["rsir"], light_scale=0.6)
PATTERN = replace(NOISE, threshold=Camera().threshold, shot_noise=False)
PATTERN_SPEEDS = (0.0, 0.1, 0.3, 1.0)


def reds() -> str:
    """PSNR of each REDS sample under the protocol `stir`."""
    rows = []
    for name in shipped():
        values = record_of(name, "reds", "stir").column("psnr")
        rows.append([name, " / ".join(map(decibels, values)), decibels(fmean(values))])
    (tfp,) = (
        record
        for record in all_records()
        if (record.label, record.protocol.name) == ("TFP (31)", "stir")
    )
    rows.append(["TFP over 31 readouts", "", decibels(tfp.mean("psnr") or 0)])
    return table(["", "PSNR dB", "mean"], rows)


@cache
def scene(photograph: str, speed: float) -> Tensor:
    """The light of a photograph that moves, with a part of itself before it: (61, H, W)."""
    (image,) = (one.image for one in bundled_images() if one.name == f"{photograph}.png")
    shown = SteadyScene(
        [image, image], height=SIDE, width=SIDE, seed=SEED, speed=speed, key_readout=KEY_READOUT
    )
    return shown.frames(0, 2 * KEY_READOUT + 1)


def seen(network: Network, photograph: str, speed: float, light_scale: float) -> float:
    """PSNR in dB by a network, of an ideal camera."""
    light = scene(photograph, speed)
    spikes = Camera(light_scale).expose(light, seed=SEED)
    return quality(network, spikes, light[KEY_READOUT], light_scale)


def best_filter(photograph: str, speed: float, light_scale: float) -> float:
    """The best PSNR of `WINDOWS`."""
    return max(seen(Hann(window), photograph, speed, light_scale) for window in WINDOWS)


def still() -> str:
    """PSNR of scenes at rest and slow ones, beside that of the best fixed filter."""
    methods = [partial(seen, loaded(name)) for name in shipped()] + [best_filter]
    rows = []
    for photograph in STILL:
        scales = " / ".join(f"{scale:g}" for scale in LIGHT_SCALES)
        figures = [
            " / ".join(decibels(method(photograph, 0.0, scale), 1) for scale in LIGHT_SCALES)
            for method in methods
        ]
        rows.append([f"{photograph}, still, α {scales}", *figures])
    for speed in SPEEDS:
        figures = [
            " / ".join(decibels(method(one, speed, SLOW_LIGHT_SCALE), 1) for one in SLOW)
            for method in methods
        ]
        what = f"{' / '.join(SLOW)}, {speed:g} pixels a readout, α {SLOW_LIGHT_SCALE:g}"
        rows.append([what, *figures])
    return table(["", *shipped(), "best fixed filter"], rows)


@torch.inference_mode()
def pattern() -> str:
    """PSNR of the default network under a fixed pattern, by where a calibration takes it out."""
    network = loaded(DEFAULT_MODEL)
    ideal = Camera(PATTERN.light_scale)
    rows = []
    for speed in PATTERN_SPEEDS:
        light = scene("coffee", speed)
        plain = quality(
            network, ideal.expose(light, seed=SEED), light[KEY_READOUT], ideal.light_scale
        )
        rows.append([f"{speed:g}", decibels(plain, 1)])
        for camera in (PATTERN, NOISE):
            figures = _calibrated(network, camera, light)
            rows[-1].append(" / ".join(decibels(one, 1) for one in figures))
    headings = ["ideal sensor", "fixed pattern", "fixed pattern and shot noise (`rsir`)"]
    return table(["pixels a readout", *headings], rows)


def _calibrated(network: Network, camera: Camera, light: Tensor) -> tuple[float, float, float]:
    """PSNR as recorded, calibrated in the picture, and calibrated in the spikes."""
    scale, truth = camera.light_scale, light[KEY_READOUT]
    spikes = camera.expose(light, seed=SEED)
    image = network.reconstruct(spikes[None], scale).image[0, 0]
    even = partial(evenly_lit, camera, SIDE, SIDE, seed=SEED)
    measured = FixedPattern.measured(even(intensity=0.0), even())
    in_picture = torch.from_numpy(measured(image.numpy(), scale))
    stream = spikerec.open(spikes, light_scale=scale)
    in_spikes = reconstructed(network, stream, KEY_READOUT, truth, measured)
    return psnr(image, truth), psnr(in_picture, truth), in_spikes
