"""Winograd's convolution is the convolution."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from spikerec.inference.winograd import WinogradConv2d, suits_winograd
from spikerec.kernels import switched


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("slopes", [None, 1, 3])
@pytest.mark.parametrize("size", [(40, 41), (5, 7)])  # many tiles, and too few to gain by
@pytest.mark.parametrize("on", [True, False])
def test_it_is_the_convolution(
    size: tuple[int, int], slopes: int | None, bias: bool, on: bool
) -> None:
    conv = nn.Conv2d(21, 3, 3, padding=1, bias=bias)
    expected: nn.Module = conv
    fast, x = WinogradConv2d(conv), torch.randn(2, 21, *size)
    if slopes:
        fast.activation = nn.PReLU(slopes)
        nn.init.normal_(fast.activation.weight)
        expected = nn.Sequential(conv, fast.activation)
    with torch.no_grad(), switched(on):
        torch.testing.assert_close(fast(x), expected(x), rtol=0, atol=2e-5)


@pytest.mark.parametrize("sixteen_bits", ["autocast", "weights"])
def test_sixteen_bits_are_left_to_the_plain_convolution(sixteen_bits: str) -> None:
    conv = nn.Conv2d(192, 192, 3, padding=1).requires_grad_(False)
    fast, x = WinogradConv2d(conv), torch.randn(1, 192, 8, 8)
    if sixteen_bits == "weights":
        fast, conv, x = fast.bfloat16(), conv.bfloat16(), x.bfloat16()
    with torch.autocast("cpu", torch.bfloat16, enabled=sixteen_bits == "autocast"):
        torch.testing.assert_close(fast(x), conv(x), rtol=0, atol=0.02)


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(64, 64, 3),
        nn.Conv2d(64, 64, 3, padding=1, stride=2),
        nn.Conv2d(64, 64, 3, padding=1, groups=2),
        nn.Conv2d(64, 64, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(64, 64, 1),
        nn.Conv2d(64, 8, 3, padding=1),
        nn.Conv2d(64, 64, 3, padding=1).bfloat16(),
    ],
)
def test_what_it_cannot_do_better_is_left_alone(conv: nn.Conv2d) -> None:
    assert not suits_winograd(conv)
