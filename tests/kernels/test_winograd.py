"""Winograd's convolution is the convolution."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from spikerec.kernels import winograd
from spikerec.kernels.winograd import WinogradConv2d, suits_winograd


@pytest.fixture(autouse=True)
def any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd, "LEAST_TILES", 1)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("slopes", [None, 1, 3])
@pytest.mark.parametrize("size", [(1, 1), (4, 4), (7, 13), (9, 70), (75, 5)])
def test_it_is_the_convolution(size: tuple[int, int], slopes: int | None, bias: bool) -> None:
    conv = nn.Conv2d(21, 3, 3, padding=1, bias=bias)
    expected: nn.Module = conv
    fast, x = WinogradConv2d(conv), torch.randn(2, 21, *size)
    if slopes:
        activation = nn.PReLU(slopes)
        nn.init.normal_(activation.weight)
        fast.absorb(activation)
        expected = nn.Sequential(conv, activation)
    with torch.no_grad():
        torch.testing.assert_close(fast(x), expected(x), rtol=0, atol=2e-5)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_and_order_of_memory_do_not_matter(threads: int) -> None:
    conv, x = nn.Conv2d(17, 33, 3, padding=1), torch.randn(1, 17, 66, 50)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            found = WinogradConv2d(conv)(x.to(memory_format=torch.channels_last))
    finally:
        torch.set_num_threads(before)
    with torch.no_grad():
        torch.testing.assert_close(found, conv(x), rtol=0, atol=2e-5)
    assert found.is_contiguous(memory_format=torch.channels_last)


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
