"""The report of a finished training, as its run keeps it and records copy it."""

from __future__ import annotations

from typing import Any

import lightning as L

from spikerec.data import SpikeDataModule
from spikerec.kernels.devices import device_name
from spikerec.metrics.efficiency import countable, macs, parameters
from spikerec.metrics.sizes import PAPER_SIZE
from spikerec.training.checkpoints import last_checkpoint
from spikerec.training.distributed import describe_batch
from spikerec.training.identity import fingerprints
from spikerec.training.module import ReconstructionModule
from spikerec.training.runs import Run


def best_score(trainer: L.Trainer) -> float | None:
    """The best validation score; None where nothing was validated."""
    for callback in trainer.checkpoint_callbacks:
        score = getattr(callback, "best_model_score", None)
        if getattr(callback, "monitor", None) is not None and score is not None:
            return float(score)
    return None


def training_report(
    trainer: L.Trainer, module: ReconstructionModule, data: SpikeDataModule, run: Run
) -> dict[str, Any]:
    """Facts of a finished run: its training data, its duration, and its network's cost.

    Plain values without a path, the checkpoint's apart; `spikerec evaluate` copies them into
    records, so that a board can say what each row's training was.
    """
    last = last_checkpoint(trainer)
    batch = describe_batch(trainer, data.batch_size)
    return {
        "checkpoint": str(run.checkpoint),
        "steps": trainer.global_step,
        "epochs": trainer.current_epoch,
        "samples": trainer.global_step * batch["effective"],
        "batch": batch["effective"],
        "crop": [data.crop.height, data.crop.width],
        **({} if data.sequences is None else {"sequence": data.sequences.length}),
        "data": fingerprints(data.sets),
        "seconds": round(last.seconds, 1) if last else None,
        "device": str(trainer.strategy.root_device),
        "machine": device_name(trainer.strategy.root_device),
        "processes": trainer.world_size,
        "precision": str(trainer.precision),
        "parameters": parameters(module.network),
        **countable(lambda: {"macs": macs(module.network, PAPER_SIZE)}),
    }
