"""The validation score that chooses the best weights of a run."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from spikerec.data import SpikeDataModule
from spikerec.errors import ConfigError
from spikerec.kinds import checked
from spikerec.metrics import Protocol

Mode = Literal["max", "min"]

_log = logging.getLogger(__name__)


class Monitor(NamedTuple):
    """A validation score that chooses the best weights.

    Attributes:
        name: as it is logged: `val/psnr`, `val/loss`, `val/SET/psnr`.
        mode: `max` where more of it is better, `min` where less is.
    """

    name: str
    mode: str


def choose_monitor(asked: Monitor, data: SpikeDataModule, protocol: Protocol) -> Monitor:
    """Choose the score that is asked for, or the loss where there are no true images.

    Args:
        asked: the score.
        data: what is validated on.
        protocol: the metrics of validation.

    Raises:
        ConfigError: validation does not compute that score, or it is better the other way.
    """
    modes, (name, mode) = validation_modes(data, protocol), asked
    if name not in modes and "val/loss" in modes:
        _log.info("validation has no true images for %s: judged by val/loss", name)
        name, mode = "val/loss", "min"
    if name not in modes:
        raise ConfigError(
            f"monitor {name} is not a score of validation: expected one of {', '.join(modes)}."
        )
    if mode != modes[name]:
        raise ConfigError(f"monitor {name} must have the mode {modes[name]}, found {mode}.")
    return Monitor(name, mode)


def validation_modes(data: SpikeDataModule, protocol: Protocol) -> dict[str, Mode]:
    """Validation score → whether more (`max`) or less (`min`) of it is better."""
    has_images = any(data.sets[name].has_images() for name in data.validated)
    modes: dict[str, Mode] = {
        name: "max" if higher else "min"
        for name, higher in protocol.higher_is_better.items()
        if has_images or not protocol.needs_target[name]
    }
    if not has_images:
        modes["loss"] = "min"
    groups = ["", *(f"{name}/" for name in data.validated if len(data.validated) > 1)]
    return {f"val/{group}{name}": mode for group in groups for name, mode in modes.items()}


@checked
def sweep_score(report: Mapping[str, Any]) -> float | None:
    """The score that a search maximises; None if there is no finite score."""
    best = report.get("best")
    if best is None or not math.isfinite(best):
        return None
    return float(best) * (-1 if report["mode"] == "min" else 1)
