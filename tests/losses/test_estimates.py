"""The term on Spk2ImgNet's estimates."""

from __future__ import annotations

import pytest
import torch

from spikerec.errors import InputError
from spikerec.losses.estimates import WindowEstimates
from spikerec.models.base import Reconstruction

TERM = WindowEstimates(weight=0.02)


def reconstruction() -> Reconstruction:
    estimates = tuple(torch.rand(2, 4, 3, 5) for _ in range(5))
    return Reconstruction(torch.rand(2, 1, 3, 5), {"estimates": estimates})


def test_sums_the_l1_of_each_window_and_branch() -> None:
    given, targets = reconstruction(), torch.rand(2, 5, 3, 5)
    expected = sum(
        (given.extras["estimates"][k][:, b] - targets[:, k]).abs().mean()
        for k in range(5)
        for b in range(4)
    )
    value = TERM(given, {"target": targets[:, 2:3], "targets": targets})
    torch.testing.assert_close(value, expected)


def test_takes_the_middle_window_alone_where_only_the_key_image_is_known() -> None:
    given, target = reconstruction(), torch.rand(2, 1, 3, 5)
    middle = given.extras["estimates"][2]
    expected = sum((middle[:, b : b + 1] - target).abs().mean() for b in range(4))
    torch.testing.assert_close(TERM(given, {"target": target}), expected)


def test_refuses_another_number_of_targets_than_windows() -> None:
    with pytest.raises(InputError, match=r"one image for each of 5 windows, found 3"):
        TERM(reconstruction(), {"targets": torch.rand(2, 3, 3, 5)})
