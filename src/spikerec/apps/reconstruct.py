"""Turn streams into images or videos: spikerec reconstruct car.dat car.mp4."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
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

from spikerec.apps._checks import FOLDER_SUFFIX, check_is_set, open_stream, recordings_of, texts
from spikerec.apps._networks import choice, trained_network
from spikerec.apps._printing import pattern_taken, say, shell_word
from spikerec.configs import plain
from spikerec.errors import ConfigError, DataError, RecordingWarning, one_line
from spikerec.memory import keep_freed_memory
from spikerec.models.base import Network, default_label
from spikerec.overrides import quoted, text_words, unquoted
from spikerec.spikes.pattern import unfit
from spikerec.spikes.recordings import output_paths, placed
from spikerec.streaming import FixedPattern, Tone, Video, reconstruct
from spikerec.weights.trained import load

#: Words of a command that no result depends on.
UNREPEATED = ("input", "output", "folder", "resume", "overwrite", "device", "devices")


def run(config: DictConfig) -> None:
    """Reconstruct the images that the configuration asks for, of one recording or of many."""
    console = Console()
    check_is_set(config, "input", "output")
    outputs = texts(config.output)
    recordings, are_several = recordings_of(config)
    keep_freed_memory()
    makes = partial(_video, config, _networks(config), _calibration(config))
    if are_several:
        _run_many(config, recordings, outputs, makes, console)
        return
    paths = [Path(placed(one, recordings[0])) for one in outputs]
    with _progress(console) as progress:
        try:
            video, made = _save(config, makes, recordings[0], paths, progress, config.resume)
        except KeyboardInterrupt:
            told = "interrupted: continue with the same command and resume=true"
            raise KeyboardInterrupt(told) from None
    _report(console, config, video, paths, made)


def _run_many(
    config: DictConfig,
    recordings: Sequence[Path],
    outputs: Sequence[str],
    makes: Callable[[Path], Video],
    console: Console,
) -> None:
    """Reconstruct each recording; a failure is reported, and the others continue.

    Raises:
        DataError: some failed; it names the first of them.
    """
    targets = list(zip(*(output_paths(recordings, o, FOLDER_SUFFIX) for o in outputs), strict=True))
    failed: list[tuple[Path, str]] = []
    done = made = 0
    with _progress(console) as progress:
        whole = progress.add_task("recordings", total=len(recordings))
        try:
            for recording, paths in zip(recordings, targets, strict=True):
                try:
                    video, frames = _save(config, makes, recording, paths, progress, True)
                except Exception as error:  # noqa: BLE001 (one recording must not end the rest)
                    failed.append((recording, one_line(error)))
                    say(console, f"failed: {recording}: {failed[-1][1]}", "red")
                else:
                    made, done = made + bool(frames), done + (not frames)
                    count = len(video)
                    state = f"{count} frame{'s' * (count != 1)}" if frames else "done before"
                    if taken := _pattern_taken(video):
                        state += f"; {taken}"
                    say(console, f"{recording} → {', '.join(map(str, paths))}: {state}")
                progress.advance(whole)
        except KeyboardInterrupt:
            told = f"interrupted after {made + done} of {_counted(len(recordings))}: the same "
            raise KeyboardInterrupt(f"{told}command goes on.") from None
    counts = f"{made} made, {done} done before, {len(failed)} failed"
    say(console, f"{_counted(len(recordings))}: {counts}")
    if failed:
        more = f", and {len(failed) - 1} more" if failed[1:] else ""
        raise DataError(
            f"{len(failed)} of {_counted(len(recordings))} failed: {failed[0][0]} "
            f"({failed[0][1].rstrip('.')}){more}. The same command tries them again."
        )


def _pattern_taken(video: Video) -> str:
    """The line about an estimated fixed pattern; empty where none was taken out."""
    spread = video.calibration and video.calibration.spread
    return pattern_taken(spread) if spread else ""


def _counted(number: int) -> str:
    return f"{number} recording{'' if number == 1 else 's'}"


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        FrameRate(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


class FrameRate(ProgressColumn):
    """Frames made in a second."""

    def render(self, task: Task) -> Text:
        """The rate so far; nothing before the first frames."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f}/s")


def _save(
    config: DictConfig,
    makes: Callable[[Path], Video],
    recording: Path,
    paths: Sequence[Path],
    progress: Progress,
    resume: bool,
) -> tuple[Video, int]:
    """The video of a recording, and how many of its frames were made now."""
    video = makes(recording)
    for concern in video.concerns:
        say(progress.console, f"{recording.name}: {concern}", "yellow")
    with video.stream:
        task = progress.add_task(recording.name, total=len(video))
        try:
            made = video.save(
                list(paths),
                fps=config.fps,
                bits=config.bits,
                resume=resume,
                overwrite=config.overwrite,
                about={"command": _command(config, recording, paths, video)},
                on_frame=lambda done: progress.update(task, completed=done),
            )
        finally:
            progress.remove_task(task)
    return video, made


def _report(
    console: Console, config: DictConfig, video: Video, paths: Sequence[Path], made: int
) -> None:
    """Print the result, the settings that made it, and possible next steps."""
    count, stride, fps = len(video), video.key_readouts.stride, config.fps
    before = "" if made else "done before by the same settings: "
    what = f"{before}{count} frame{'' if count == 1 else 's'} in {', '.join(map(str, paths))}"
    if count > 1:
        speed = video.slow_motion(fps)
        shown = "" if speed is None else f", {speed:.4g}× slow motion at {fps:g} frames a second"
        every = f"one every {stride} readouts" if stride > 1 else "one for every readout"
        every = "" if video.key_readouts.listed else f", {every}"
        what += f"{shown}: {count / fps:.3g} s{every}"
    say(console, what)
    methods = video.methods()
    numbers = video.precisions
    by = (
        f"{name}{_particulars(name, one, video.engine, numbers[name])}"
        for name, one in methods.items()
    )
    exposure = f"; {video.exposure}" if made else ""  # it may have to be measured
    say(console, f"by {', '.join(by)}{exposure}")
    if taken := _pattern_taken(video):
        say(console, taken)
    say(console, f"to see its settings: spikerec data inspect {shell_word(str(paths[0]))}")


def _particulars(name: str, method: dict[str, Any], engine: str, precision: str) -> str:
    """Window and weights of a method, in brackets, and what computed it if not PyTorch in float32.

    A window that the name states is not repeated.
    """
    window = "" if name.endswith(f"({method['window']})") else f"window {method['window']}"
    weights = f"weights {method['weights']}" if method["weights"] else ""
    is_usual = not weights or (engine, precision) == ("torch", "float32")
    computed = "" if is_usual else f"{precision} by {engine}"
    told = ", ".join(filter(None, (window, weights, computed)))
    return f" ({told})" if told else ""


def _command(config: DictConfig, recording: Path, paths: Sequence[Path], video: Video) -> str:
    """A command that makes the result again, in the folder where this one was given.

    Files that are read have the names that were typed, outputs have theirs without folders. An
    engine that was chosen is named, and so is a precision that was, if all methods have it.
    """
    words = [_files("input", [str(recording)]), _files("output", [one.name for one in paths])]
    if HydraConfig.initialized():
        hydra = HydraConfig.get()
        sources = hydra.runtime.config_sources
        words += [f"--config-dir={one.path}" for one in sources if one.provider == "command-line"]
        typed = hydra.overrides.task
        words += [_legible(word) for word in typed if word.partition("=")[0] not in UNREPEATED]
        if not any(word.startswith(("model=", "checkpoint=")) for word in typed):
            words.append(f"model={choice('model')}")  # the default of another year may be another
    precisions = set(video.precisions.values())
    has_weights = any(one["weights"] for one in video.methods().values())
    if config.engine == "auto":
        words = _set(words, "engine", video.engine)
    if config.precision == "auto" and has_weights and len(precisions) == 1:
        words = _set(words, "precision", *precisions)
    if recording.is_dir():
        words.append("folder=parts")
    return " ".join(map(shell_word, ["spikerec", "reconstruct", *words]))


def _set(words: Sequence[str], key: str, value: str) -> list[str]:
    return [*(word for word in words if not word.startswith(f"{key}=")), f"{key}={value}"]


def _legible(word: str) -> str:
    """A word without Hydra's quotes, where it is read as the same without them."""
    key, _, value = word.partition("=")
    bare = f"{key}={unquoted(value)}"
    return bare if text_words([bare], sweeps=False) == [word] else word


def _files(key: str, names: Sequence[str]) -> str:
    """A word for files: the bare name of a single one that can be read in one way alone."""
    if len(names) == 1 and re.fullmatch(r"[\w./][\w./-]*", names[0], re.ASCII):
        return names[0]
    quoted_names = ",".join(map(quoted, names))
    return f"{key}=[{quoted_names}]" if names[1:] else f"{key}={quoted_names}"


def _networks(config: DictConfig) -> dict[str, Network]:
    """The methods, by the names that label them, ready to use for any number of recordings."""
    checkpoint: Any = config.checkpoint
    if isinstance(checkpoint, DictConfig):
        checkpoint = plain(checkpoint)
    names = _several()
    if not names:
        if isinstance(checkpoint, dict):
            raise ConfigError(
                "checkpoint must be one file for one method, found files by name: name "
                "checkpoint=FILE, or several methods, as in model=[stir,tfp]."
            )
        network = trained_network(config, checkpoint)
        method = choice("model") if HydraConfig.initialized() else ""
        return {default_label(network, method): network}
    if checkpoint is not None and not isinstance(checkpoint, dict):
        raise ConfigError(
            f"checkpoint={checkpoint} could be of any of {len(names)} methods: say which, "
            "checkpoint.NAME=FILE."
        )
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise ConfigError(f"the method {repeated[0]} is named twice.")
    files = checkpoint or {}
    return {
        name: load(name, files.get(name), weights=None if name in files else config.weights)
        for name in names
    }


def _video(
    config: DictConfig,
    networks: dict[str, Network],
    calibration: FixedPattern | None,
    path: Path,
) -> Video:
    settings: dict[str, Any] = {
        key: config[key]
        for key in (
            *(
                "stride",
                "start",
                "stop",
                "ends",
                "slow_motion",
                "fps",
                "at",
                "exposure",
                "mask_defects",
                "estimate_pattern",
            ),
            *("show_spikes", "caption", "batch_size", "device", "devices"),
            *("tile", "tile_overlap", "optimise", "engine", "precision", "carry"),
        )
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecordingWarning)  # `_save` prints them
        return reconstruct(
            open_stream(config, path),
            networks,
            tone=_tone(config),
            white_balance=plain(config)["white_balance"],
            calibration=calibration,
            **settings,
        )


def _tone(config: DictConfig) -> Tone:
    """The tone curve.

    Raises:
        ConfigError: a value out of range, by its key.
    """
    try:
        return Tone(**plain(config.tone))
    except ConfigError as error:
        error.key = "tone"
        raise


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
    """The fixed pattern of the recordings that measure it; None where none is named.

    Raises:
        ConfigError: no pattern can be estimated from `calibration.moving`.
    """
    dark, flat, moving = (
        path and open_stream(config, Path(path))
        for path in map(config.calibration.get, ("dark", "flat", "moving"))
    )
    measured = FixedPattern.measured(dark, flat) if dark or flat else None
    if not moving:
        return measured
    found = FixedPattern.estimated(moving, measured)
    if found is None:
        reason = unfit(moving) or (
            "shows no fixed pattern, or its scene hardly moves: expected a recording in which a "
            "third of the picture moves at least"
        )
        raise ConfigError(
            f"calibration.moving={config.calibration.moving} {reason}. Name another, or "
            "calibration.flat."
        )
    return found
