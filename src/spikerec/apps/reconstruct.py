"""Turn a stream into images or a video: spikerec reconstruct input=car.dat output=car.mp4."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, ListConfig
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from spikerec import spikes
from spikerec.configs import instantiate, plain
from spikerec.errors import ConfigError
from spikerec.kernels.memory import keep_freed_memory
from spikerec.models.base import Network
from spikerec.spikes import SpikeStream
from spikerec.streaming import FixedPattern, Tone, Video, reconstruct
from spikerec.weights.trained import load_trained


def run(config: DictConfig) -> None:
    """Reconstruct the images that the configuration asks for."""
    console = Console()
    for key in ("input", "output"):
        if config[key] is None:
            raise ConfigError(f"{key} is not set: name {key}=PATH.")
    keep_freed_memory()
    video = _video(config, _open(config, config.input))
    several = isinstance(config.output, ListConfig)
    outputs = [Path(one) for one in (config.output if several else [config.output])]
    try:
        made = _save(config, video, outputs, console)
    except KeyboardInterrupt:
        told = "interrupted: continue with the same command and resume=true"
        raise KeyboardInterrupt(told) from None
    speed = video.slow_motion(config.fps)
    shown = "" if speed is None else f", {speed:.4g}× slow motion at {config.fps:g} frames a second"
    names = ", ".join(str(path) for path in outputs)
    before = "" if made else "done before by the same settings: "
    console.print(f"{before}{len(video)} frames in {names}{shown}", soft_wrap=True)


def _save(config: DictConfig, video: Video, outputs: list[Path], console: Console) -> int:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        FrameRate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(outputs[0].name, total=len(video))
        return video.save(
            outputs,
            fps=config.fps,
            bits=config.bits,
            resume=config.resume,
            on_frame=lambda done: progress.update(task, completed=done),
        )


class FrameRate(ProgressColumn):
    """Frames made in a second."""

    def render(self, task: Task) -> Text:
        """The rate so far; nothing before the first frames."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f} frames/s")


def _video(config: DictConfig, stream: SpikeStream) -> Video:
    checkpoint: Any = config.checkpoint
    if isinstance(checkpoint, DictConfig):
        checkpoint = plain(checkpoint)
    names = _several()
    methods: Sequence[str | Network] = names
    if not names:
        make = partial(instantiate, config.model, Network, "model")
        methods, checkpoint = [load_trained(make, checkpoint)], None
    settings: dict[str, Any] = {
        key: config[key]
        for key in (
            *("stride", "start", "stop", "ends", "slow_motion", "fps", "exposure", "mask_defects"),
            *("show_spikes", "caption", "batch_size", "device", "devices"),
            *("tile", "tile_overlap", "optimise"),
        )
    }
    return reconstruct(
        stream,
        *methods,
        checkpoint=checkpoint,
        tone=Tone(**plain(config.tone)),
        calibration=_calibration(config),
        **settings,
    )


def _several() -> list[str]:
    """The names in `model=[tfp,stir]`; none where one method is chosen.

    Hydra would compose the choices of such a list into one model, so each is built on its own.

    Raises:
        ConfigError: arguments of `model` beside it, which could be meant for any of them.
    """
    words = HydraConfig.get().overrides.task if HydraConfig.initialized() else []
    lists = [word for word in words if word.startswith("model=[")]
    if not lists:
        return []
    stray = [word for word in words if word.lstrip("+~").startswith("model.")]
    if stray:
        raise ConfigError(
            f"{stray[0]} beside {lists[-1]}: expected the methods as conf/model states them. "
            "Run one method at a time, or name a variant in conf/model."
        )
    return [name.strip() for name in lists[-1][len("model=[") : -1].split(",") if name.strip()]


def _calibration(config: DictConfig) -> FixedPattern | None:
    paths = {name: config.calibration[name] for name in ("dark", "flat")}
    if not any(paths.values()):
        return None
    return FixedPattern.measured(
        **{name: path and _open(config, path) for name, path in paths.items()}
    )


def _open(config: DictConfig, path: str) -> SpikeStream:
    stated = {key: value for key, value in plain(config.geometry).items() if value is not None}
    return spikes.open(
        path,
        geometry=stated if Path(path).suffix.lower() in ("", ".dat") else None,
        rate_hz=config.rate_hz,
        light_scale=config.light_scale,
        dataset=config.dataset,
        external=config.external,
        rotate=config.rotate,
        flip=config.flip,
        bayer=config.bayer,
    )
