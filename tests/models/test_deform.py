"""The deformable convolution and both of its implementations."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from spikerec.errors import ConfigError
from spikerec.models.deform import DeformConv2d, deform_conv2d


def draw(groups: int = 2, kernel: int = 3, reach: float = 3.0) -> tuple[Tensor, ...]:
    """Input, offset, mask, weight, bias; float64, so that equality is meant."""
    taps = kernel**2
    x, offset, mask, weight, bias = (
        torch.randn(shape, dtype=torch.float64)
        for shape in (
            (2, 4, 6, 7),
            (2, 2 * groups * taps, 6, 7),
            (2, groups * taps, 6, 7),
            (5, 4, kernel, kernel),
            (5,),
        )
    )
    return x, reach * offset, mask.sigmoid(), weight, bias


def convolve_by_the_equation(
    x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor
) -> Tensor:
    """The sum in the module's docstring, one sample at a time."""
    batch, channels, height, width = x.shape
    kh, kw = weight.shape[2:]
    taps = kh * kw
    groups = mask.shape[1] // taps
    y = bias[:, None, None].expand(batch, -1, height, width).clone()
    for b in range(batch):
        for row in range(height):
            for column in range(width):
                for tap in range(taps):
                    for c in range(channels):
                        g = c // (channels // groups)
                        dy, dx = offset[b, 2 * (taps * g + tap) :, row, column][:2].tolist()
                        at_y = row + tap // kw - kh // 2 + dy
                        at_x = column + tap % kw - kw // 2 + dx
                        factor = mask[b, taps * g + tap, row, column]
                        sample = factor * interpolate(x[b, c], at_y, at_x)
                        y[b, :, row, column] += weight[:, c, tap // kw, tap % kw] * sample
    return y


def interpolate(picture: Tensor, y: float, x: float) -> Tensor:
    top, left = int(y // 1), int(x // 1)
    value = picture.new_zeros(())
    for row in (top, top + 1):
        for column in (left, left + 1):
            if 0 <= row < picture.shape[0] and 0 <= column < picture.shape[1]:
                weight = (1 - abs(y - row)) * (1 - abs(x - column))
                value = value + weight * picture[row, column]
    return value


@pytest.mark.parametrize("use_operator", [True, False])
def test_is_the_sum_of_the_equation(use_operator: bool) -> None:
    inputs = draw()
    y = deform_conv2d(*inputs, use_operator=use_operator)
    torch.testing.assert_close(y, convolve_by_the_equation(*inputs))


@pytest.mark.parametrize("use_operator", [True, False])
def test_without_offset_and_mask_is_a_convolution(use_operator: bool) -> None:
    x, offset, _, weight, bias = draw(kernel=5)
    y = deform_conv2d(x, 0 * offset, None, weight, bias, use_operator=use_operator)
    torch.testing.assert_close(y, F.conv2d(x, weight, bias, padding=2))


@pytest.mark.parametrize("with_mask", [True, False])
def test_both_implementations_have_the_same_gradients(with_mask: bool) -> None:
    x, offset, mask, weight, bias = (each.requires_grad_() for each in draw(reach=0.7))
    inputs = (x, offset, *([mask] if with_mask else []), weight, bias)

    def gradients(use_operator: bool) -> tuple[Tensor, ...]:
        factors = mask if with_mask else None
        y = deform_conv2d(x, offset, factors, weight, bias, use_operator=use_operator)
        return torch.autograd.grad(y.sin().sum(), inputs)

    for operator, composed in zip(gradients(True), gradients(False), strict=True):
        torch.testing.assert_close(operator, composed)


def test_float32_implementations_agree_on_a_wide_picture() -> None:
    x, offset, mask = torch.rand(1, 2, 3, 1280), 4 * torch.randn(1, 18, 3, 1280), None
    weight, bias = torch.randn(2, 2, 3, 3), torch.randn(2)
    operator, composed = (
        deform_conv2d(x, offset, mask, weight, bias, use_operator=use) for use in (True, False)
    )
    torch.testing.assert_close(operator, composed, atol=1e-3, rtol=0)  # measured: 2e-4


def test_half_precision_is_kept_while_sampling_in_float32() -> None:
    inputs = tuple(each.bfloat16() for each in draw())
    y = deform_conv2d(*inputs)
    assert y.dtype == torch.bfloat16
    exact = deform_conv2d(*(each.float() for each in inputs))
    torch.testing.assert_close(y, exact.bfloat16())


@pytest.mark.parametrize("modulation", [True, False])
def test_guide_is_offsets_then_logits_of_the_masks(modulation: bool) -> None:
    layer = DeformConv2d(4, groups=2, modulation=modulation)
    x, guide = torch.randn(1, 4, 6, 7), torch.randn(1, layer.guide_channels, 6, 7)
    mask = guide[:, 36:].sigmoid() if modulation else None
    y = deform_conv2d(x, guide[:, :36], mask, layer.weight, layer.bias)
    assert layer.guide_channels == (54 if modulation else 36)
    torch.testing.assert_close(layer(x, guide), y)


def test_groups_that_do_not_divide_the_channels_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"deform_groups"):
        DeformConv2d(4, groups=3)


def test_export_and_devices_without_the_operator_use_pytorch_alone() -> None:
    layer = DeformConv2d(4, groups=2)
    x, guide = torch.randn(1, 4, 6, 7), torch.randn(1, layer.guide_channels, 6, 7)
    program = torch.export.export(layer, (x, guide))
    assert "torchvision" not in str(program.graph)
    torch.testing.assert_close(program.module()(x, guide), layer(x, guide))
    assert layer.to("meta")(x.to("meta"), guide.to("meta")).shape == x.shape


def test_a_processor_takes_pytorchs_own_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("torchvision's operator is slower on a CPU")

    monkeypatch.setattr("torchvision.ops.deform_conv2d", refuse)
    inputs = draw()
    assert torch.equal(deform_conv2d(*inputs), deform_conv2d(*inputs, use_operator=False))
    with pytest.raises(AssertionError, match="slower"):
        deform_conv2d(*inputs, use_operator=True)
