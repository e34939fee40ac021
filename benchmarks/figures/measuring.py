"""The networks that are measured, and the quality of one image."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import spikerec
from benchmarks.zoo import ROOT
from spikerec.configs import build
from spikerec.data import SpikeDataModule, SpikeSet
from spikerec.metrics import PSNR
from spikerec.models.base import Network
from spikerec.results import Record
from spikerec.simulation import Camera
from spikerec.spikes import SpikeStream
from spikerec.training.standard import named_protocol
from spikerec.weights.checkpoint import read_metadata

DATA = ROOT / "data"
SHIPPED = Path(str(files("spikerec.weights").joinpath("shipped")))
CARD = SHIPPED / "README.md"

#: Readouts of a calibration.
CALIBRATION = 400


@cache
def shipped() -> tuple[str, ...]:
    """Names of the networks that ship, the largest first."""
    names = [read_metadata(path)["model"] for path in SHIPPED.glob("*.safetensors")]
    return tuple(sorted(names, key=lambda name: (-parameters(name), name)))


def parameters(name: str) -> int:
    """The number of parameters of a choice of `conf/model`."""
    return sum(parameter.numel() for parameter in build("model", name).parameters())


@cache
def loaded(name: str) -> Network:
    """A choice of `conf/model`, with the weights that ship where it has any."""
    return spikerec.load(name).eval()


def score(
    network: Network,
    data: SpikeSet | SpikeDataModule,
    protocol: str = "corrected",
    metrics: Sequence[str] = ("psnr",),
    **options: Any,  # noqa: ANN401 (those of `spikerec.evaluate`)
) -> Record:
    """Evaluate a network on one set by some of a protocol's metrics; no record is written."""
    chosen = named_protocol(protocol).only(metrics)
    found = spikerec.evaluate(network, data, chosen, efficiency=None, **options)
    return found[0] if isinstance(found, list) else found


def evenly_lit(
    camera: Camera, height: int, width: int, *, seed: int, intensity: float = 1.0
) -> SpikeStream:
    """Record an evenly lit surface to calibrate by, with the sensor that the seed draws."""
    light = torch.full((CALIBRATION, height, width), intensity)
    return spikerec.open(camera.expose(light, seed=seed))


@torch.inference_mode()
def quality(network: Network, spikes: Tensor, truth: Tensor, light_scale: float) -> float:
    """PSNR in dB of the image at the middle readout of a stream.

    Args:
        network: with its weights.
        spikes: (T, H, W), as long as the network's window at least.
        truth: (H, W) in [0, 1], the intensity at the middle readout.
        light_scale: of the stream.
    """
    first = len(spikes) // 2 - network.key_readout
    window = spikes[first : first + network.window][None]
    return psnr(network.reconstruct(window, light_scale).image[0, 0], truth)


def psnr(image: Tensor, truth: Tensor) -> float:
    """PSNR in dB of an image (H, W), clipped to [0, 1]."""
    return float(PSNR().measure(image.clamp(0, 1)[None, None], truth[None, None]))
