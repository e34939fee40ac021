"""Fixtures that every test may use."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

# One thread here as in the processes that tests start: sums are then split alike, and equal bits
# can be asked for. And wandb must never look for a server.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("WANDB_SILENT", "true")

import hypothesis
import pytest
import torch

from tests.golden_cases import SHARED

# No test depends on how busy the machine is.
hypothesis.settings.register_profile("spikerec", deadline=None)
hypothesis.settings.load_profile("spikerec")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Tests draw from PyTorch's global generator as they like, and repeat."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _same_log_handlers() -> Iterator[None]:
    """Take away the log handlers of a command that ran in this process: its streams are closed."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    for handler in set(root.handlers) - set(handlers):
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)
    if "absl.logging" in sys.modules:  # OpenVINO imports it; its handler closes a stream it keeps
        sys.modules["absl.logging"].get_absl_handler().python_handler.stream = sys.__stderr__


@pytest.fixture
def shared() -> Path:
    """The folder of shared development data; the test skips where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("the shared development data is not here")
    return SHARED
