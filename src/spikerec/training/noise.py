"""Lightning's lines that say nothing of a run: devices that are absent, tips, its own choices."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

#: Loggers of such lines. What they say of faults is a warning, which stays.
LOGGERS = ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero")

#: Warnings that do not concern a run of ours.
WARNINGS = (
    # Lightning 2.6 meets PyTorch 2.15 with a deprecation of its own at every start.
    ".*LeafSpec.*",
    # The folder is the run's own, and not empty when the run is continued.
    "Checkpoint directory .* exists and is not",
    # Parts that their owner froze stay so.
    "Found .* in eval mode at the start of training",
    # A run that ends before its first validation says so, and a wrong monitor is an error.
    r"`ModelCheckpoint\(monitor=.*could not find the monitored key",
    # Curves have a row an epoch in any case; a loader's workers are the user's choice.
    "The number of training batches",
    "The '.*_dataloader' does not have many workers",
)


@contextmanager
def without_noise() -> Iterator[None]:
    """Keep those lines from being printed during a block."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(max(logger.level, logging.WARNING))
        with warnings.catch_warnings():
            for message in WARNINGS:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
