from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spikerec import spikes
from spikerec.streaming import reconstruct
from spikerec.streaming.concerns import concerns
from tests.fakes import fake_spikes


def told(path: Path, array: np.ndarray) -> str:
    spikes.save(path, array)
    return " ".join(concerns(reconstruct(spikes.open(path), "tfp")))


def test_a_usual_clip_raises_no_concern(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    assert told(tmp_path / "a.npy", (random.random((200, 20, 20)) < 0.3).astype(np.uint8)) == ""


@pytest.mark.parametrize(
    ("rate", "words"),
    [(0.0, "no pixel fires"), (0.02, "the pictures will be noisy"), (1.0, "it is saturated")],
)
def test_what_spoils_the_pictures_is_told(rate: float, words: str, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    array = (random.random((200, 20, 20)) < rate).astype(np.uint8)
    assert words in told(tmp_path / "a.npy", array)


def test_broken_pixels_are_counted(tmp_path: Path) -> None:
    array = fake_spikes(200, 20, 20, rate=0.1)
    array[:, 7, 8] = 1
    assert "1 hot and 0 dead pixels are given" in told(tmp_path / "a.npy", array)
