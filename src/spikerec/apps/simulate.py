"""Simulate spikes from a video or photographs: spikerec simulate input=clip.mp4 output=scene/."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from spikerec.apps._checks import check_is_set
from spikerec.apps._printing import say
from spikerec.configs import instantiate, plain
from spikerec.errors import ConfigError
from spikerec.kernels.devices import present_device
from spikerec.simulation import Camera, SceneStyle
from spikerec.simulation.colour import BayerScene
from spikerec.simulation.footage import Footage
from spikerec.simulation.images import COLOURS, IMAGE_SUFFIXES, Light, read_colour, read_grey
from spikerec.simulation.layers import Scene
from spikerec.simulation.layout import (
    Recording,
    SREDSLayout,
    write_scene,
    write_stream,
    written_before,
)
from spikerec.simulation.scenes import DETAIL, RandomScene
from spikerec.simulation.video import VideoScene
from spikerec.spikes.folders import in_order

PHOTOGRAPH_IMAGES = 24  # of a moving photograph, where `images` is not set: as many as SREDS has


def run(config: DictConfig) -> None:
    """Simulate what the configuration asks for."""
    console = Console()
    check_is_set(config, "input", "output")
    inputs = _inputs(config)
    if config.bayer is not None and not Path(config.output).suffix:
        raise ConfigError(
            f"bayer={config.bayer} needs output=NAME.dat, .npy, .npz or .h5: a folder in SREDS "
            "layout cannot state colours."
        )
    with console.status(f"reading {inputs[0].name}"):
        scene, images = _scene(config, inputs)
    camera = instantiate(config.simulation, Camera, "simulation")
    recording = Recording(
        scene, camera, config.seed, images, config.readouts_per_image, _source(config, inputs)
    )
    output, name = Path(config.output), config.scene or inputs[0].stem
    layout = SREDSLayout(output, camera.light_scale, config.readouts_per_image)
    target = output if output.suffix else layout.spikes(config.split, name)
    done = written_before(target, recording, overwrite=config.overwrite)
    if not done:
        _write(recording, output, name, config, console)
    readouts = images * config.readouts_per_image
    size = f"{scene.height} × {scene.width}"
    say(
        console,
        f"{'done before with the same settings: ' if done else ''}{readouts} readouts of {size} "
        f"with {recording.num_images} true images in {output}",
    )


def _write(
    recording: Recording, output: Path, name: str, config: DictConfig, console: Console
) -> None:
    with Progress(console=console) as progress:
        task = progress.add_task(output.name, total=recording.images)
        settings: dict[str, Any] = {
            "on_image": lambda: progress.advance(task),
            "overwrite": config.overwrite,
        }
        if output.suffix:
            write_stream(output, recording, **settings)
        else:
            write_scene(output, config.split, name, recording, **settings)


def _inputs(config: DictConfig) -> list[Path]:
    several = isinstance(config.input, ListConfig)
    return [Path(one) for one in (config.input if several else [config.input])]


def _source(config: DictConfig, inputs: list[Path]) -> dict[str, Any]:
    """Inputs by name and content, and the settings that make a scene of them."""
    return {
        "input": [path.name for path in inputs],
        "sha256": [_digest(path) for path in inputs],
        **{key: plain(config)[key] for key in ("size", "interpolation", "style")},
        **({} if config.bayer is None else {"bayer": config.bayer}),
    }


def _digest(path: Path) -> str:
    """SHA-256 of a file, or of the files of a folder in their order."""
    total = hashlib.sha256()
    for one in in_order(path.iterdir()) if path.is_dir() else [path]:
        if one.is_file():
            with one.open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def _scene(config: DictConfig, inputs: list[Path]) -> tuple[Scene, int]:
    """The scene, and how many images are to be written of it."""
    if all(path.suffix.lower() in IMAGE_SUFFIXES for path in inputs):
        images = PHOTOGRAPH_IMAGES if config.images is None else config.images
        return _moving_photographs(config, inputs, images), images
    if len(inputs) > 1:
        raise ConfigError(
            f"input names {len(inputs)} files that are not all images: expected one video, one "
            "folder of frames, or photographs only."
        )
    grey = _video(config, inputs[0])
    images = grey.num_readouts // config.readouts_per_image
    if config.bayer is None:
        return grey, images
    channels = [_video(config, inputs[0], light, moves_as=grey) for light in COLOURS]
    return BayerScene(channels, config.bayer), images


def _video(
    config: DictConfig, path: Path, light: Light = "grey", moves_as: VideoScene | None = None
) -> VideoScene:
    footage = Footage(
        path,
        size=_size(config),
        frames=config.images and config.images + 1,
        detail=DETAIL,
        light=light,
    )
    return VideoScene(
        footage,
        readouts_per_frame=config.readouts_per_image,
        interpolation=config.interpolation,
        moves_as=moves_as,
    )


def _moving_photographs(config: DictConfig, inputs: list[Path], images: int) -> Scene:
    """A scene of photographs: grey, or in colour behind a Bayer mosaic."""
    middle = images // 2 * config.readouts_per_image
    if config.bayer is None:
        return _random_scene(config, [read_grey(path) for path in inputs], middle)
    colours = [read_colour(path) for path in inputs]
    # One seed: all that is drawn, but for the light, is the same in each colour.
    channels = [
        _random_scene(config, [image[index] for image in colours], middle) for index in range(3)
    ]
    return BayerScene(channels, config.bayer)


def _random_scene(config: DictConfig, photographs: list[Tensor], middle: int) -> RandomScene:
    height, width = _size(config) or photographs[0].shape
    device = present_device(config.device)
    style = instantiate(config.style, SceneStyle, "style")
    return RandomScene(
        photographs,
        height=height,
        width=width,
        seed=config.seed,
        style=style,
        key_readout=middle,
        device=device,
    )


def _size(config: DictConfig) -> tuple[int, int] | None:
    if config.size is None:
        return None
    if len(config.size) != 2 or any(not isinstance(one, int) or one < 1 for one in config.size):
        raise ConfigError(f"size must be [height, width] in pixels, found {config.size}.")
    return config.size[0], config.size[1]
