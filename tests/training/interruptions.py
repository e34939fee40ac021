"""Callbacks that end a process where a test wants it to end."""

from __future__ import annotations

import os
import signal
from typing import Any

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
