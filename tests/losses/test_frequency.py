"""The Fourier term keeps energy, and sees a wave at its frequency alone."""

from __future__ import annotations

import math

import torch

from spikerec.losses.frequency import FourierL1
from spikerec.models.base import Reconstruction


def test_a_wave_costs_one_coefficient() -> None:
    x = torch.arange(16) * 2 * math.pi / 16
    wave = torch.cos(3 * x).expand(1, 1, 16, 16)
    value = FourierL1()(Reconstruction(wave), {"target": torch.zeros_like(wave)})
    # the orthonormal spectrum holds amplitude · √(H·W) / 2 at one of 16 × 9 complex places
    torch.testing.assert_close(value, torch.tensor(8.0 / (16 * 9 * 2)), atol=1e-6, rtol=1e-5)


def test_half_precision_images_are_taken() -> None:
    image = torch.rand(1, 1, 6, 10, dtype=torch.bfloat16)
    value = FourierL1()(Reconstruction(image), {"target": torch.rand(1, 1, 6, 10)})
    assert value.isfinite()
