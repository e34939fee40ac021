"""Parts of Spk2ImgNet and BSF: short windows whose features are aligned to the middle one's.

readouts   |-- 0 --|
               |-- 1 --|
                   |-- 2 --|        the reference
                       |-- 3 --|
                           |-- 4 --|
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from spikerec.errors import ConfigError


def window_length(num_windows: int, win_r: int, win_step: int) -> int:
    """Readouts that `num_windows` short windows of 2·win_r + 1 at step win_step span.

    Raises:
        ConfigError: an even number of windows, which has no middle one, or a value out of range.
    """
    if num_windows < 1 or num_windows % 2 == 0:
        raise ConfigError(
            f"num_windows must be odd, since the middle one is the reference; found {num_windows}."
        )
    if win_r < 0 or win_step < 1:
        raise ConfigError(
            f"win_r must be at least 0 and win_step at least 1, found {win_r} and {win_step}."
        )
    return (num_windows - 1) * win_step + 2 * win_r + 1


def check_levels(levels: int) -> None:
    """Refuse a pyramid that sides of a multiple of 4 cannot carry.

    Raises:
        ConfigError: levels outside 1 to 3.
    """
    if levels not in (1, 2, 3):
        raise ConfigError(f"levels must be 1, 2 or 3, found {levels}.")


def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """The 3 × 3 convolution that both networks are made of."""
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1)


def fusion(num_windows: int, channels: int) -> nn.Sequential:
    """The convolutions that make the image of the aligned features of all short windows."""
    return nn.Sequential(
        conv(num_windows * channels, 3 * channels),
        nn.ReLU(),
        conv(3 * channels, channels),
        nn.ReLU(),
        conv(channels, 1),
    )


def upsample(x: Tensor) -> Tensor:
    """(B, C, h, w) → (B, C, 2·h, 2·w), bilinear between pixel centres."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
