from __future__ import annotations

import math

import pytest
import torch

from spikerec.errors import ConfigError
from spikerec.losses.pixel import LogMSE
from spikerec.models import Reconstruction


def loss_of(*errors: float) -> float:
    images = torch.stack([torch.full((1, 4, 4), 0.5 + error) for error in errors])
    batch = {"target": torch.full_like(images, 0.5)}
    return LogMSE(floor=1e-5)(Reconstruction(images), batch).item()


def test_log_mse_counts_a_decibel_alike_wherever_it_is_gained() -> None:
    halved = math.log(4)  # half the error is a quarter of its square
    assert loss_of(0.2) - loss_of(0.1) == pytest.approx(halved, rel=0.01)
    assert loss_of(0.08) - loss_of(0.04) == pytest.approx(halved, rel=0.02)


def test_log_mse_does_not_ask_for_more_than_its_floor() -> None:
    assert loss_of(0.0) == 0
    assert loss_of(1e-4) == pytest.approx(1e-3, rel=0.01)


def test_log_mse_averages_over_samples_not_over_pixels() -> None:
    assert loss_of(0.1, 0.01) == pytest.approx((loss_of(0.1) + loss_of(0.01)) / 2, rel=1e-5)


def test_log_mse_needs_a_floor() -> None:
    with pytest.raises(ConfigError, match="floor must be above 0, found 0"):
        LogMSE(floor=0)
