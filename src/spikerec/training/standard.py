"""The parts that a run has where the caller names none: those of `conf/train.yaml`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import (
    Callback,
    LearningRateMonitor,
    ModelCheckpoint,
    ProgressBar,
)
from lightning.pytorch.loggers import Logger

from spikerec.configs import build, config_names, load_config, maker
from spikerec.describing import describe
from spikerec.errors import ConfigError, about
from spikerec.metrics import Protocol
from spikerec.metrics.base import QualityMetric
from spikerec.metrics.protocol import describe_metric
from spikerec.parsing import shown
from spikerec.training.callbacks import ValidationImages, ValidationVideo
from spikerec.training.checkpoints import AtomicCheckpointIO, LastCheckpoint
from spikerec.training.curves import CurveLog
from spikerec.training.monitors import Progress, RunFacts, StepTimes
from spikerec.training.scores import Monitor

#: Settings of a trainer that can move a result; those of a `lightning.Trainer` are read from it.
TRAINER_SETTINGS = (
    *("max_epochs", "max_steps", "precision", "gradient_clip_val", "gradient_clip_algorithm"),
    *("accumulate_grad_batches", "limit_train_batches", "limit_val_batches", "overfit_batches"),
    *("check_val_every_n_epoch", "val_check_interval"),
)


def standard_callbacks(folder: str | Path, monitor: Monitor) -> list[Callback]:
    """Best and last checkpoints, pictures, a video, figures of the run itself, and progress.

    Args:
        folder: the run's.
        monitor: the score that chooses the best weights.
    """
    folder = Path(folder)
    return [
        ModelCheckpoint(
            dirpath=folder / "checkpoints",
            filename="best",
            monitor=monitor.name,
            mode=monitor.mode,
            save_top_k=1,
            enable_version_counter=False,
        ),
        LastCheckpoint(folder / "checkpoints" / "last.ckpt"),
        LearningRateMonitor(),
        ValidationImages(folder / "images"),
        ValidationVideo(folder / "images"),
        RunFacts(),
        StepTimes(),
        Progress(),
    ]


def standard_loggers(folder: str | Path) -> list[Logger]:
    """The curves, in FOLDER/metrics.csv."""
    return [CurveLog(Path(folder) / "metrics.csv")]


def named_protocol(name: str, metrics: Sequence[str] | None = None) -> Protocol:
    """A protocol of `conf/protocol`, with all of its metrics or with some.

    Raises:
        ConfigError: no such protocol, or a metric that it does not have.
    """
    if metrics is None:
        protocol: Protocol = build("protocol", name)
    else:
        known = load_config("protocol", name)["metrics"]
        check_metrics(metrics, known, name)
        protocol = build("protocol", name, metrics={metric: known[metric] for metric in metrics})
    return protocol


def check_definitions(protocol: Protocol) -> None:
    """Refuse a protocol of the name of a choice of `conf/protocol` that defines figures otherwise.

    Records of both would state one name. Other metrics beside the choice's, or fewer of them, and
    arguments that it leaves open (null), change no definition.

    Raises:
        ConfigError: naming the first setting that differs.
    """
    if protocol.name not in config_names("protocol"):
        return
    shipped = {"alignment": "none"} | load_config("protocol", protocol.name)
    for setting in ("alignment", "border", "clip", "rounding"):
        if (own := getattr(protocol, setting)) != shipped[setting]:
            raise _changed(protocol, setting, own, shipped[setting])
    for metric, own in protocol.describe()["metrics"].items():
        stated = shipped["metrics"].get(metric)
        if stated is None:
            continue
        place = f"metrics.{metric} of {protocol.name}"
        usual = describe_metric(maker(stated, QualityMetric, place))
        for name in own["arguments"].keys() | usual["arguments"].keys():
            values = own["arguments"].get(name), usual["arguments"].get(name)
            if values[0] != values[1] and stated.get(name, "") is not None:
                raise _changed(protocol, f"metrics.{metric}.{name}", *values)
        for fact in ("metric", "implementation", "code"):
            if own.get(fact) != usual.get(fact):
                raise _changed(protocol, f"metrics.{metric}", own.get(fact), usual.get(fact))


def _changed(protocol: Protocol, argument: str, own: object, usual: object) -> ConfigError:
    name = protocol.name
    told = (
        f"{argument} is {shown(own)}, but {shown(usual)} in the protocol {name} that is shipped: "
        f"give a changed protocol a name of its own, as name={name}_changed."
    )
    return about(protocol, ConfigError(told))


def check_metrics(metrics: Sequence[str], known: Any, protocol: str) -> None:  # noqa: ANN401
    """Refuse metrics of validation that a protocol does not have.

    Raises:
        ConfigError: naming the first.
    """
    if unknown := [name for name in metrics if name not in known]:
        raise ConfigError(
            f"validation names {unknown[0]}, which protocol {protocol} does not have: expected "
            f"some of {', '.join(known)}."
        )


class TrainerMaker:
    """Makes the trainers of a run, all of the same settings; or uses the one that was given.

    Args:
        trainer: a `lightning.Trainer`, or what makes one (`functools.partial(lightning.Trainer,
            …)`); None for that of `conf/trainer/default.yaml`.
        max_epochs: replaces the trainer's; None keeps it.

    Raises:
        ConfigError: `max_epochs` beside a trainer that has its own.
    """

    def __init__(self, trainer: Any, max_epochs: int | None) -> None:  # noqa: ANN401 (see Args)
        self._own = trainer if isinstance(trainer, L.Trainer) else None
        self._make = trainer
        self._changes = {} if max_epochs is None else {"max_epochs": max_epochs}
        if self._own is not None and max_epochs is not None:
            raise ConfigError(
                f"max_epochs={max_epochs} must be the trainer's own: lightning.Trainer(max_epochs="
                f"{max_epochs}, …), or functools.partial(lightning.Trainer, …) for a trainer."
            )
        if trainer is None:
            content = load_config("trainer", "default")
            content.pop("_target_")
            self._make = partial(L.Trainer, **content)

    def settings(self) -> dict[str, Any]:
        """The settings that can move a result, as plain values."""
        if self._own is not None:
            found = {name: getattr(self._own, name, None) for name in TRAINER_SETTINGS}
            return {key: describe(value, f"trainer.{key}") for key, value in found.items()}
        described: dict[str, Any] = describe(self._make, "trainer") | self._changes
        return described

    @property
    def is_given(self) -> bool:
        """True if the caller's own trainer is used, so that no second one can be made."""
        return self._own is not None

    @cached_property
    def probe(self) -> L.Trainer:
        """A trainer to ask for its processes and steps; nothing is trained with it."""
        return self._own or self._make(**self._changes, logger=False, enable_checkpointing=False)

    def make(self, **options: Any) -> L.Trainer:  # noqa: ANN401 (what `lightning.Trainer` takes)
        """A trainer with further options; not of a given one."""
        assert self._own is None
        trainer: L.Trainer = self._make(**self._changes | options)
        return trainer

    def join(
        self, folder: Path, callbacks: Sequence[Callback], loggers: Sequence[Logger]
    ) -> L.Trainer:
        """The trainer of a run, with its callbacks and loggers, and checkpoints written atomically.

        A given trainer keeps its own callbacks, progress bar and loggers beside these; Lightning's
        default checkpoint, which it has where none was chosen, gives way to the run's.
        """
        if self._own is not None or self.probe.progress_bar_callback is None:
            callbacks = [one for one in callbacks if not isinstance(one, ProgressBar)]
        if self._own is None:
            return self.make(
                default_root_dir=str(folder),
                callbacks=list(callbacks),
                logger=list(loggers) or False,
                plugins=AtomicCheckpointIO(),
            )
        trainer: Any = self._own
        kept = [one for one in trainer.callbacks if not _is_default(one)]
        ordered = trainer._callback_connector._reorder_callbacks([*kept, *callbacks])
        trainer.callbacks = ordered
        trainer.loggers = [*trainer.loggers, *loggers]
        trainer.strategy.checkpoint_io = AtomicCheckpointIO()
        return self._own


def _is_default(callback: Callback) -> bool:
    """True for the checkpoint that Lightning adds by itself."""
    return (
        type(callback) is ModelCheckpoint and callback.dirpath is None and callback.monitor is None
    )
