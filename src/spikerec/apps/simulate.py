"""Make spikes of a video or of photographs: spikerec simulate input=clip.mp4 output=scene/."""

from __future__ import annotations

from pathlib import Path

import torch
from omegaconf import DictConfig, ListConfig
from rich.console import Console
from rich.progress import Progress

from spikerec.configs import instantiate
from spikerec.errors import ConfigError
from spikerec.simulation import Camera, SceneStyle
from spikerec.simulation.footage import Footage
from spikerec.simulation.images import IMAGE_SUFFIXES, read_grey
from spikerec.simulation.layout import Recording, write_scene, write_stream
from spikerec.simulation.scenes import DETAIL, RandomScene, Scene
from spikerec.simulation.video import VideoScene

PHOTOGRAPH_IMAGES = 24  # of a moving photograph, where `images` is not set: as many as SREDS has


def run(config: DictConfig) -> None:
    """Simulate what the configuration asks for."""
    console = Console()
    for key in ("input", "output"):
        if not config[key]:
            raise ConfigError(f"{key} is not set: name {key}=PATH.")
    inputs = _inputs(config)
    with console.status(f"reading {inputs[0].name}"):
        scene, images = _scene(config, inputs)
    camera = instantiate(config.simulation, Camera, "simulation")
    recording = Recording(scene, camera, config.seed, images, config.readouts_per_image)
    output = Path(config.output)
    with Progress(console=console) as progress:
        task = progress.add_task(output.name, total=images)
        if output.suffix:
            write_stream(output, recording, on_image=lambda: progress.advance(task))
        else:
            name = config.scene or inputs[0].stem
            write_scene(
                output, config.split, name, recording, on_image=lambda: progress.advance(task)
            )
    readouts = images * config.readouts_per_image
    size = f"{scene.height} × {scene.width}"
    console.print(
        f"{readouts} readouts of {size} with {recording.num_images} true images in {output}"
    )


def _inputs(config: DictConfig) -> list[Path]:
    several = isinstance(config.input, ListConfig)
    return [Path(one) for one in (config.input if several else [config.input])]


def _scene(config: DictConfig, inputs: list[Path]) -> tuple[Scene, int]:
    """The scene, and how many images are to be written of it."""
    if all(path.suffix.lower() in IMAGE_SUFFIXES for path in inputs):
        images = PHOTOGRAPH_IMAGES if config.images is None else config.images
        return _moving_photographs(config, inputs), images
    if len(inputs) > 1:
        raise ConfigError(
            f"input names {len(inputs)} files that are not all images: expected one video, one "
            "folder of frames, or photographs only."
        )
    footage = Footage(
        inputs[0],
        size=_size(config),
        frames=config.images and config.images + 1,
        detail=DETAIL,
    )
    scene = VideoScene(
        footage,
        readouts_per_frame=config.readouts_per_image,
        interpolation=config.interpolation,
    )
    return scene, scene.num_readouts // config.readouts_per_image


def _moving_photographs(config: DictConfig, inputs: list[Path]) -> RandomScene:
    photographs = [read_grey(path) for path in inputs]
    height, width = _size(config) or photographs[0].shape
    device = config.device or ("cuda" if torch.cuda.is_available() else "cpu")
    style = instantiate(config.style, SceneStyle, "style")
    return RandomScene(
        photographs, height=height, width=width, seed=config.seed, style=style, device=device
    )


def _size(config: DictConfig) -> tuple[int, int] | None:
    if config.size is None:
        return None
    if len(config.size) != 2 or any(not isinstance(one, int) or one < 1 for one in config.size):
        raise ConfigError(f"size must be [height, width] in pixels, found {config.size}.")
    return config.size[0], config.size[1]
