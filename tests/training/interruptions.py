"""Callbacks that end a process where a test wants it to end, or watch what it uses."""

from __future__ import annotations

import gc
import os
import signal
import time
from pathlib import Path
from typing import Any, ClassVar

import lightning as L
from lightning.pytorch.callbacks import Callback


class SendSignal(Callback):
    """Sends this process a signal, once.

    Args:
        signum: name of the signal.
        hook: the trainer's hook at which to send it.
        step: optimizer steps that must have been taken by then.
    """

    def __init__(self, signum: str, hook: str, step: int) -> None:
        self.signum = signal.Signals[signum]
        self.step = step
        self.sent = False
        setattr(self, hook, self._send)

    def _send(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step >= self.step and not self.sent:
            self.sent = True
            os.kill(os.getpid(), self.signum)


class Watch(Callback):
    """Notes the memory, open files and time of a process as it trains.

    Attributes:
        notes: (resident bytes, open files, seconds a step) after each so many steps.
    """

    notes: ClassVar[list[tuple[int, int, float]]] = []

    def __init__(self, every_n_steps: int) -> None:
        self.every_n_steps = every_n_steps
        self._began = time.process_time()

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step % self.every_n_steps:
            return
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        files = len(list(Path("/proc/self/fd").iterdir()))
        now = time.process_time()
        self.notes.append(
            (pages * os.sysconf("SC_PAGE_SIZE"), files, (now - self._began) / self.every_n_steps)
        )
        self._began = now
