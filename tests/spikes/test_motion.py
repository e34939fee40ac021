from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from spikerec.simulation import Camera, bundled_images
from spikerec.spikes.motion import fastest_motion


def moving(speed: float, *, light_scale: float = 0.6, seed: int = 0) -> NDArray[np.uint8]:
    """Spikes of a photograph that moves to the left by so many pixels a readout."""
    image = bundled_images()[seed].image
    starts = [round(2 * speed * readout) for readout in range(48)]
    parts = torch.stack([image[100:356, start : start + 256] for start in starts])
    return Camera(light_scale).expose(F.avg_pool2d(parts, 2), seed=seed).numpy()


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("speed", [0.1, 0.2, 0.7])
def test_speed_is_found(speed: float, seed: int) -> None:
    found = fastest_motion(moving(speed, seed=seed))
    assert found is not None
    assert found == pytest.approx(speed, rel=0.2, abs=0.03)


@pytest.mark.parametrize("light_scale", [0.05, 0.6, 1.0])
def test_what_stands_still_does_not_move(light_scale: float) -> None:
    assert fastest_motion(moving(0.0, light_scale=light_scale)) in (None, 0.0)


def test_noise_does_not_move() -> None:
    random = np.random.default_rng(0)
    assert not fastest_motion((random.random((48, 128, 128)) < 0.3).astype(np.uint8))


def test_one_of_two_halves_that_moves_is_seen() -> None:
    halves = [moving(0.0), moving(0.4)]
    found = fastest_motion(np.concatenate(halves, 2))
    assert found is not None
    assert found > 0.15


@pytest.mark.parametrize("shape", [(1, 8, 8), (11, 30, 30), (60, 1, 1), (60, 3, 200)])
def test_any_size_is_taken(shape: tuple[int, int, int]) -> None:
    spikes = (np.random.default_rng(0).random(shape) < 0.3).astype(np.uint8)
    assert not fastest_motion(spikes)
