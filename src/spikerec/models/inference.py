"""The same images sooner: a network rearranged for inference.

`optimised(network)` gives a copy that computes the same function with

* batch norms folded into the convolutions before them, and convolutions of one input merged
  (whatever a module's `for_inference` knows);
* wide 3 × 3 convolutions by Winograd's algorithm, where the CPU computes them;
* deformable convolutions composed of PyTorch's own operations, which use all cores of a CPU
  (torchvision's operator uses one for its sampling);
* channels-last weights, which PyTorch's convolutions prefer on the CPU and the tensor cores of a
  GPU.

Values differ by rounding: up to 1e-5 of an image in [0, 1].
"""

from __future__ import annotations

import copy
from typing import Protocol, TypeVar, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikerec.models.base import Network
from spikerec.models.deform import DeformConv2d

AnyNetwork = TypeVar("AnyNetwork", bound=Network)

#: Channels, in and out, from which Winograd's algorithm is faster on a CPU. Measured on one core of
#: an AMD EPYC (AVX-512): 0.9 × at 64 channels, 1.7 × at 256; at 133 nothing in all, as the
#: transforms' traffic is what the products save.
WINOGRAD_CHANNELS = 192
#: Tiles transformed at once, so that they stay in the cache.
WINOGRAD_TILES = 256


@runtime_checkable
class Rearrangeable(Protocol):
    """A module that knows a faster form of itself."""

    def for_inference(self) -> nn.Module:
        """What gives the same as this module, which is in eval mode and may lend its parts."""
        ...


def optimised(network: AnyNetwork, device: torch.device | None = None) -> AnyNetwork:
    """A copy of a network that gives the same images sooner.

    Args:
        network: any; left as it is.
        device: where the copy will run; None for where the network is.

    Returns:
        A copy in eval mode whose parameters need no gradient and have other names: not to be
        trained or saved.
    """
    fast = copy.deepcopy(network).eval()
    device = device or next((p.device for p in fast.parameters()), torch.device("cpu"))
    with torch.no_grad():  # merged weights must not drag along how they were made
        _rearrange(fast, on_cpu=device.type == "cpu")
    return fast.requires_grad_(False).to(memory_format=torch.channels_last)


def _rearrange(module: nn.Module, *, on_cpu: bool) -> None:
    """Replace the children of a module, and theirs, by what is faster."""
    for name, child in module.named_children():
        replacement = child.for_inference() if isinstance(child, Rearrangeable) else child
        if on_cpu and isinstance(child, DeformConv2d):
            child.use_operator = False
        if on_cpu and isinstance(child, nn.Conv2d) and _suits_winograd(child):
            replacement = WinogradConv2d(child)
        else:
            _rearrange(replacement, on_cpu=on_cpu)
        setattr(module, name, replacement)


def _suits_winograd(conv: nn.Conv2d) -> bool:
    is_plain = (conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups) == (
        (3, 3),
        (1, 1),
        (1, 1),
        (1, 1),
        1,
    )
    is_wide = min(conv.in_channels, conv.out_channels) >= WINOGRAD_CHANNELS
    return is_plain and is_wide and conv.weight.dtype == torch.float32


class WinogradConv2d(nn.Conv2d):
    """A 3 × 3 convolution that keeps the size, with a quarter of the multiplications.

    With d a tile of 6 × 6 pixels and g a kernel, the 4 × 4 pixels in the middle of the tile are

        Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A

    where ⊙ sums over input channels: 36 matrix products over all tiles. Both transforms are one
    matrix product each, with Kronecker products of the small matrices.

    Source: Lavin & Gray, "Fast algorithms for convolutional neural networks", CVPR 2016: F(4×4,
    3×3).

    Args:
        conv: what to replace: 3 × 3, stride 1, padding 1.
    """

    kernels: Tensor
    to_tiles: Tensor
    from_tiles: Tensor

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(conv.in_channels, conv.out_channels, 3, padding=1)
        self.weight, self.bias = conv.weight, conv.bias  # kept for modules that look at them
        kernels = torch.einsum("xi,yj,ocij->xyco", KERNEL, KERNEL, conv.weight.double())
        self.register_buffer("kernels", kernels.flatten(0, 1).float().contiguous())  # (36, C, C')
        self.register_buffer("to_tiles", torch.kron(INPUT, INPUT).float())  # (36, 36)
        self.register_buffer("from_tiles", torch.kron(OUTPUT, OUTPUT).float())  # (16, 36)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C', H, W) in channels-last order."""
        kind = x.device.type
        on_meta = kind == "meta"  # which has shapes alone, and knows no autocast
        if on_meta or torch.is_autocast_enabled(kind) or x.dtype != torch.float32:
            # The transforms' sums and differences would magnify the roundings of 16 bits.
            return super().forward(x)
        batch, _, height, width = x.shape
        rows, columns = -(-height // 4), -(-width // 4)  # of tiles
        padded = F.pad(x, (1, 4 * columns - width + 1, 1, 4 * rows - height + 1))
        pixels = padded.permute(0, 2, 3, 1).contiguous()  # (B, 4·rows + 2, 4·columns + 2, C)
        tiles = pixels.unfold(1, 6, 4).unfold(2, 6, 4)  # (B, rows, columns, C, 6, 6)
        tiles = tiles.permute(0, 1, 4, 5, 2, 3)  # (B, rows, 6, 6, columns, C)
        y = x.new_empty((batch, rows, 4, columns, 4, self.out_channels))
        step = max(WINOGRAD_TILES // columns, 1)
        for image, tiled in zip(y, tiles, strict=True):
            for first in range(0, rows, step):
                part = tiled[first : first + step].permute(
                    1, 2, 0, 3, 4
                )  # (6, 6, rows, columns, C)
                image[first : first + step] = self._convolve(part).permute(2, 0, 3, 1, 4)
        y = y.reshape(batch, 4 * rows, 4 * columns, -1)[:, :height, :width]
        y = y if self.bias is None else y.add_(self.bias)
        return y.permute(0, 3, 1, 2)

    def _convolve(self, tiles: Tensor) -> Tensor:
        """(6, 6, rows, columns, C) → (4, 4, rows, columns, C')."""
        *_, rows, columns, channels = tiles.shape
        transformed = self.to_tiles @ tiles.reshape(36, -1)
        products = torch.bmm(transformed.reshape(36, -1, channels), self.kernels)
        return (self.from_tiles @ products.reshape(36, -1)).reshape(4, 4, rows, columns, -1)


#: Bᵀ, G and Aᵀ of F(4, 3).
INPUT = torch.tensor(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    dtype=torch.float64,
)
KERNEL = torch.tensor(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
    dtype=torch.float64,
)
OUTPUT = torch.tensor(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
    dtype=torch.float64,
)
