"""WGSE laid out as its paper describes it: the yardstick for `spikerec.models.wgse`.

Every pixel is a batch entry, a signal of one channel; the transforms are strided convolutions with
the wavelet's filters, level by level, and so are the coefficient filters. The names of the
parameters are the published ones, so published weights load as they are, and

    reference.load_state_dict(published, strict=False)

leaves nothing missing and only the wavelet's filters unused. Values agree with ours to rounding.
"""

from __future__ import annotations

import pywt
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class WGSEReference(nn.Module):
    """WGSE with zero borders and no norms.

    Args:
        window: readouts, odd.
        wavelet: PyWavelets' name of a discrete wavelet.
        levels: of the transform.
        kernel_size: of the coefficient filters, odd.
        blocks: residual blocks.
    """

    def __init__(
        self,
        window: int = 41,
        wavelet: str = "db8",
        levels: int = 5,
        kernel_size: int = 3,
        blocks: int = 3,
    ) -> None:
        super().__init__()
        self.wvl = PixelwiseWavelets(wavelet, levels, kernel_size)
        self.conv = nn.Sequential(nn.Conv2d(window + window % 2, 256, 3, padding=1), nn.ReLU())
        self.resblocks = nn.ModuleList(ResidualBlock() for _ in range(blocks))
        self.tail = nn.Sequential(
            nn.Conv2d(256, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 1, 3, padding=1), nn.ReLU()
        )

    def forward(self, spikes: Tensor) -> Tensor:
        """(B, window, H, W) → image (B, 1, H, W)."""
        x = self.conv(self.wvl(spikes))
        for block in self.resblocks:
            x = block(x)
        image: Tensor = self.tail(x)
        return image


class PixelwiseWavelets(nn.Module):
    """Transform, filter and transform back (B·H·W, 1, T) signals."""

    def __init__(self, wavelet: str, levels: int, kernel_size: int) -> None:
        super().__init__()
        self.levels = levels
        self.yh_blocks = nn.ModuleList(_coefficient_filter(kernel_size) for _ in range(levels))
        self.yl_block = _coefficient_filter(kernel_size)
        taps = pywt.Wavelet(wavelet)
        decompose = torch.tensor([taps.dec_lo[::-1], taps.dec_hi[::-1]])[:, None]  # (2, 1, L)
        self.register_buffer("decompose", decompose, persistent=False)
        compose = torch.tensor([taps.rec_lo, taps.rec_hi])[:, None]  # (2, 1, L)
        self.register_buffer("compose", compose, persistent=False)

    def forward(self, spikes: Tensor) -> Tensor:
        """(B, T, H, W) → (B, T or T + 1, H, W)."""
        batch, time, height, width = spikes.shape
        low = spikes.permute(0, 2, 3, 1).reshape(-1, 1, time)  # (B·H·W, 1, T)
        highs = []
        for _ in range(self.levels):
            low, high = self._split(low)
            highs.append(high)
        low = self.yl_block(low)
        filtered = [block(high) for block, high in zip(self.yh_blocks, highs, strict=True)]
        for high in reversed(filtered):
            low = self._merge(low[..., : high.shape[-1]], high)
        return low.reshape(batch, height, width, -1).permute(0, 3, 1, 2)

    def _split(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        """One level down: (N, 1, n) → twice (N, 1, ⌊(n + L − 1) / 2⌋)."""
        length = self.decompose.shape[-1]
        total = 2 * ((signal.shape[-1] + length - 1) // 2 - 1) - signal.shape[-1] + length
        padded = F.pad(signal, (total // 2, total - total // 2))
        low, high = F.conv1d(padded, self.decompose, stride=2).split(1, dim=1)
        return low, high

    def _merge(self, low: Tensor, high: Tensor) -> Tensor:
        """One level up: twice (N, 1, n) → (N, 1, 2n − L + 2)."""
        bands = torch.cat([low, high], dim=1)
        padding = self.compose.shape[-1] - 2
        return F.conv_transpose1d(bands, self.compose, stride=2, padding=padding)


class ResidualLayer(nn.Module):
    """Two convolutions over time; the input is added to each of the 32 features."""

    def __init__(self, kernel_size: int) -> None:
        super().__init__()
        padding = kernel_size // 2
        self.tcn0 = nn.Sequential(nn.Conv1d(1, 32, kernel_size, padding=padding), nn.ReLU())
        self.tcn1 = nn.Sequential(nn.Conv1d(32, 32, kernel_size, padding=padding))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, n) → (N, 32, n)."""
        return F.relu(self.tcn1(self.tcn0(x)) + x)


def _coefficient_filter(kernel_size: int) -> nn.Sequential:
    project = nn.Conv1d(32, 1, kernel_size, padding=kernel_size // 2)
    return nn.Sequential(ResidualLayer(kernel_size), project, nn.ReLU())


class ResidualBlock(nn.Module):
    """Two convolutions, 256 channels wide."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(256, 256, 3, padding=1)
        self.conv2 = nn.Conv2d(256, 256, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 256, H, W) → the same shape."""
        return F.relu(self.conv2(F.relu(self.conv1(x))) + x)
