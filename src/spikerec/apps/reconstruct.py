"""Turn a stream into images or a video: spikerec reconstruct input=car.dat output=car.mp4."""

from __future__ import annotations

from pathlib import Path

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import Progress

from spikerec import spikes
from spikerec.configs import plain
from spikerec.errors import ConfigError
from spikerec.models.base import Network
from spikerec.models.trained import load_trained
from spikerec.spikes import Geometry, SpikeStream
from spikerec.streaming import KeyReadouts, images, open_sink
from spikerec.training.callbacks import to_uint8


def run(config: DictConfig) -> None:
    """Reconstruct the images that the configuration asks for."""
    console = Console()
    for key in ("input", "output"):
        if config[key] is None:
            raise ConfigError(f"{key} is not set: name {key}=PATH.")
    network: Network = instantiate(config.model, _convert_="all")
    load_trained(network, config.checkpoint)
    stream = _open(config)
    stride = config.stride or max(network.window // 2, 1)
    keys = KeyReadouts.of(stream, network, stride, config.start, config.stop)
    light_scale = config.light_scale or stream.light_scale or 1.0
    device = torch.device(config.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    output = Path(config.output)
    with open_sink(output, config.fps) as sink, Progress(console=console) as progress:
        sequence = images(
            stream,
            network,
            keys,
            light_scale=light_scale,
            batch_size=config.batch_size,
            device=device,
        )
        for image in progress.track(sequence, total=len(keys), description=output.name):
            sink.write(to_uint8(image))
    console.print(f"{len(keys)} images in {output}{_speed(stream, stride, config.fps)}")


def _open(config: DictConfig) -> SpikeStream:
    stated = plain(config.geometry)
    geometry = Geometry(**stated) if stated.get("height") and stated.get("width") else None
    return spikes.open(
        config.input, geometry=geometry, rate_hz=config.rate_hz, dataset=config.dataset
    )


def _speed(stream: SpikeStream, stride: int, fps: float) -> str:
    """How much slower than life the video is; nothing where the sampling rate is unknown."""
    if stream.rate_hz is None:
        return ""
    return f", {stream.rate_hz / stride / fps:.0f}× slow motion at {fps:g} images a second"
