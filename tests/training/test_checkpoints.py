from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from spikerec.training.checkpoints import (
    AtomicCheckpointIO,
    LastCheckpoint,
    generator_states,
    restore_generators,
)


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002, S311


def test_generators_draw_again_what_they_drew() -> None:
    states = generator_states()
    drawn = draw()
    assert draw() != drawn
    restore_generators(states)
    assert draw() == drawn


def test_states_can_be_read_without_unpickling_objects(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"generators": generator_states()}, path)
    loaded = AtomicCheckpointIO().load_checkpoint(path, weights_only=True)
    drawn = draw()
    restore_generators(loaded["generators"])
    assert draw() == drawn


def test_failed_writing_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"step": 1}, path)

    def half(checkpoint: object, file: object) -> None:
        del checkpoint
        file.write(b"half")  # type: ignore[attr-defined]
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError, match="no space"):
        AtomicCheckpointIO().save_checkpoint({"step": 2}, path)
    assert AtomicCheckpointIO().load_checkpoint(path, weights_only=True) == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_time_counts_on_in_a_continued_run(tmp_path: Path) -> None:
    first = LastCheckpoint(tmp_path / "last.ckpt", every_n_steps=1)
    state = first.state_dict()
    second = LastCheckpoint(tmp_path / "last.ckpt", every_n_steps=1)
    second.load_state_dict(state | {"seconds": 100.0})
    assert 0 <= state["seconds"] < 100
    assert 100 <= second.seconds < 200
