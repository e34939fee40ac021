"""Check of continued runs: each optimizer step must see the samples it would have seen.

A checkpoint states them, since a position among an epoch's samples means nothing without them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
from lightning.fabric.plugins import TorchCheckpointIO

from spikerec.data import SpikeDataModule, Windows
from spikerec.errors import ConfigError

#: Key of a checkpoint that holds them.
CONDITIONS = "spikerec_conditions"


def conditions(trainer: L.Trainer, data: SpikeDataModule) -> dict[str, int | str | None]:
    """Config key → its value, for all that decides which samples a step sees.

    Args:
        trainer: knows its processes, though they need not run yet.
        data: set up for training.
    """
    windows = data.train_windows
    return {
        "trainer.devices × trainer.num_nodes": trainer.world_size,
        "trainer.accumulate_grad_batches": trainer.accumulate_grad_batches,
        "data.batch_size": data.batch_size,
        "data.samples_per_epoch": data.samples_per_epoch,
        "seed": data.crop.seed,
        "data.sets": _describe(windows) if isinstance(windows, Windows) else ",".join(data.sets),
    }


def _describe(windows: Windows) -> str:
    """Clips, samples, and a digest of their names and sizes; contents would take too long."""
    text = repr(
        [
            (clip.name, clip.light_scale, stream.num_readouts, stream.height, stream.width)
            for clip, stream in zip(windows.clips, windows.streams, strict=True)
        ]
        + windows.items
    )
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{len(windows)} samples of {len(windows.clips)} clips ({digest})"


def check_conditions(path: Path, found: Mapping[str, int | str | None]) -> None:
    """Refuse to continue a checkpoint under other conditions.

    Args:
        path: the checkpoint.
        found: the `conditions` now.

    Raises:
        ConfigError: one differs; the message names it, what it was and what it is.
    """
    checkpoint: dict[str, Any] = TorchCheckpointIO().load_checkpoint(path, weights_only=True)
    for key, expected in checkpoint.get(CONDITIONS, {}).items():
        if found[key] != expected:
            raise ConfigError(
                f"{path} was written with {_argument(key)} = {expected}, found {found[key]}: its "
                f"steps would see other samples. Continue it with {expected}, or start a run in "
                "another folder (`name`)."
            )


def _argument(key: str) -> str:
    """The names of arguments, without the parts that checkpoints state before them."""
    return " × ".join(part.rpartition(".")[2] for part in key.split(" × "))
