"""3 × 3 convolutions with a quarter of the multiplications, on a CPU.

With d a tile of 6 × 6 pixels and g a kernel, the 4 × 4 pixels in the middle of the tile are

    Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A

where ⊙ sums over input channels: 36 matrix products over many tiles at once, which PyTorch's
library computes. What surrounds them is memory traffic, so both transforms are compiled kernels
that touch a pixel once: one gathers tiles with their borders, the other adds the bias, applies a
PReLU and writes the image.

Source: Lavin & Gray, "Fast algorithms for convolutional neural networks", CVPR 2016: F(4×4, 3×3).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from spikerec.kernels.compiled import compiled
from spikerec.kernels.dispatch import Kernel
from spikerec.kernels.threads import each_alone

#: Tiles of an image below which a direct convolution is faster.
LEAST_TILES = 100
#: Tiles transformed at once: enough for the matrix products, few enough for the cache.
TILES_AT_ONCE = 256
#: Channels are padded to a multiple of it: the floats of an AVX-512 register.
LANES = 16

# Numbers of float32: with Python's integers the compiler would compute in float64.
TWO, FOUR, FIVE, EIGHT = (np.float32(number) for number in (2, 4, 5, 8))

#: G of F(4, 3). Bᵀ and Aᵀ are written out in the kernels.
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


def transformed_kernels(weight: Tensor) -> Tensor:
    """Kernels (C', C, 3, 3) → G g Gᵀ of each: (36, C, C'), both channels in whole lanes."""
    out, channels = weight.shape[:2]
    kernels = torch.einsum("xi,yj,ocij->xyco", KERNEL, KERNEL, weight.detach().double())
    padding = (0, _whole_lanes(out) - out, 0, _whole_lanes(channels) - channels)
    return F.pad(kernels.flatten(0, 1).float(), padding)


def _convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, slope: Tensor | None, transformed: Tensor
) -> Tensor:
    if not x.sum().isfinite():  # a tile would spread a NaN over all of its pixels
        y = F.conv2d(x, weight, bias, padding=1)
        return y if slope is None else F.prelu(y, slope)
    out = len(weight)
    _, channels, wide = transformed.shape
    biases, slopes = torch.zeros(wide), torch.ones(wide)
    if bias is not None:
        biases[:out] = bias
    if slope is not None:
        slopes[:out] = slope
    images = _channels_last(x)
    batch, height, width, inner = images.shape
    results = images.new_empty(batch, height, width, out)
    rows, columns = _tiles(height), _tiles(width)
    threads = torch.get_num_threads()
    # As many parts for each thread, and none much larger than the cache.
    rows_each = max(-(-batch * rows // threads), 1)
    step = -(-rows_each // -(-rows_each * columns // TILES_AT_ONCE))
    parts = [(sample, first) for sample in range(batch) for first in range(0, rows, step)]
    of_channels = biases.numpy(), ((1 + slopes) / 2).numpy(), ((1 - slopes) / 2).numpy()
    waiting = iter(parts)  # which threads take one from as they get free
    workers = min(threads, len(parts))
    # Made here and held over all parts: memory fresh to a thread costs as much as the transforms.
    tiles = images.new_empty(workers, 36, step, columns, channels)
    products = images.new_empty(workers, 36, step * columns, wide)

    def run(worker: int) -> None:
        mine, product = tiles[worker], products[worker]
        for sample, first in waiting:
            _to_tiles(images[sample].numpy(), mine.numpy(), first)
            torch.bmm(mine.flatten(1, 2)[..., :inner], transformed[:, :inner], out=product)
            of_tiles = product.view(36, step, columns, wide).numpy()
            _from_tiles(of_tiles, *of_channels, results[sample].numpy(), first)

    each_alone(run, range(workers))
    return results.permute(0, 3, 1, 2)


def _channels_last(x: Tensor) -> Tensor:
    """(B, C, H, W) → (B, H, W, C), contiguous."""
    images = x.permute(0, 2, 3, 1)
    if images.is_contiguous():
        return images
    # PyTorch transposes a matrix block by block, in half the time that it takes to permute axes.
    filled = torch.empty_like(images, memory_format=torch.contiguous_format)
    for image, one in zip(filled, x, strict=True):
        image.flatten(0, 1).copy_(one.flatten(1).T)
    return filled


def _suits(
    x: Tensor, weight: Tensor, bias: Tensor | None, slope: Tensor | None, transformed: Tensor
) -> bool:
    del weight, bias, slope, transformed
    return _tiles(x.shape[2]) * _tiles(x.shape[3]) >= LEAST_TILES


def _example(height: int, width: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    weight = torch.randn(19, 21, 3, 3) / 14
    x, bias, slope = torch.randn(2, 21, height, width), torch.randn(19), torch.randn(19)
    return x, weight, bias, slope, transformed_kernels(weight)


#: See `spikerec.inference.winograd`.
CONVOLVE = Kernel(_convolve, _example, tolerance=5e-5, suits=_suits)


def _tiles(size: int) -> int:
    """Tiles along a side, each of which gives 4 pixels."""
    return -(-size // 4)


def _whole_lanes(channels: int) -> int:
    return -(-channels // LANES) * LANES


# In both kernels `s` is one array for all that a step keeps, so that the compiler knows which
# places differ and can compute many at once. It holds 48 channels: more would leave the cache, and
# fewer would spend more time on where they are than on what they are.


@compiled(contract=True)
def _to_tiles(image: NDArray[np.float32], tiles: NDArray[np.float32], first: int) -> None:
    """Bᵀ d B of rows of tiles.

    Args:
        image: (H, W, C).
        tiles: (36, rows, columns, C in whole lanes) to fill; values beyond C are not used.
        first: the first row of tiles; rows may lie below the image.
    """
    height, width, channels = image.shape
    wide = tiles.shape[3]
    s = np.zeros(2 * 1728, np.float32)  # the result, (6, 6, 48); Bᵀ d, (6, 6, 48)
    outside = np.zeros(48, np.float32)
    for row in range(tiles.shape[1]):
        top = 4 * (first + row) - 1
        for column in range(tiles.shape[2]):
            left = 4 * column - 1
            for c0 in range(0, wide, 48):
                c1 = min(c0 + 48, channels)
                zeros = outside[: c1 - c0]
                for j in range(6):
                    x = left + j
                    is_column = 0 <= x < width
                    p0 = image[top, x, c0:c1] if is_column and 0 <= top < height else zeros
                    p1 = image[top + 1, x, c0:c1] if is_column and top + 1 < height else zeros
                    p2 = image[top + 2, x, c0:c1] if is_column and top + 2 < height else zeros
                    p3 = image[top + 3, x, c0:c1] if is_column and top + 3 < height else zeros
                    p4 = image[top + 4, x, c0:c1] if is_column and top + 4 < height else zeros
                    p5 = image[top + 5, x, c0:c1] if is_column and top + 5 < height else zeros
                    for c in range(len(p0)):
                        d0, d1, d2, d3, d4, d5 = p0[c], p1[c], p2[c], p3[c], p4[c], p5[c]
                        k = 1728 + j * 48 + c
                        s[k] = FOUR * d0 - FIVE * d2 + d4
                        s[k + 288] = (d3 + d4) - FOUR * (d1 + d2)
                        s[k + 576] = FOUR * (d1 - d2) + (d4 - d3)
                        s[k + 864] = TWO * (d3 - d1) + (d4 - d2)
                        s[k + 1152] = TWO * (d1 - d3) + (d4 - d2)
                        s[k + 1440] = FOUR * d1 - FIVE * d3 + d5
                for i in range(6):
                    for c in range(48):
                        k = 1728 + i * 288 + c
                        d0, d1, d2 = s[k], s[k + 48], s[k + 96]
                        d3, d4, d5 = s[k + 144], s[k + 192], s[k + 240]
                        k = i * 288 + c
                        s[k] = FOUR * d0 - FIVE * d2 + d4
                        s[k + 48] = (d3 + d4) - FOUR * (d1 + d2)
                        s[k + 96] = FOUR * (d1 - d2) + (d4 - d3)
                        s[k + 144] = TWO * (d3 - d1) + (d4 - d2)
                        s[k + 192] = TWO * (d1 - d3) + (d4 - d2)
                        s[k + 240] = FOUR * d1 - FIVE * d3 + d5
                for k in range(36):
                    filled = tiles[k, row, column, c0 : min(c0 + 48, wide)]
                    for c in range(len(filled)):
                        filled[c] = s[k * 48 + c]


@compiled(contract=True)
def _from_tiles(
    products: NDArray[np.float32],
    biases: NDArray[np.float32],
    odd: NDArray[np.float32],
    even: NDArray[np.float32],
    image: NDArray[np.float32],
    first: int,
) -> None:
    """Aᵀ m A of rows of tiles, plus the bias, through the PReLU.

    Args:
        products: (36, rows, columns, C in whole lanes).
        biases: (C in whole lanes,).
        odd: likewise, factor of y in odd·y + even·|y|, which is the PReLU of y without a choice.
        even: likewise, factor of |y|.
        image: (H, W, C); the rows of these tiles are filled.
        first: the first row of tiles.
    """
    height, width, channels = image.shape
    wide = products.shape[3]
    # m, (6, 6, 48); Aᵀ m, (4, 6, 48); the result, (4, 4, 48); bias, odd and even, (48,) each
    s = np.zeros(1728 + 1152 + 768 + 144, np.float32)
    for row in range(products.shape[1]):
        top = 4 * (first + row)
        for column in range(products.shape[2]):
            left = 4 * column
            for c0 in range(0, wide, 48):
                c1 = min(c0 + 48, wide)
                for k in range(36):
                    product = products[k, row, column, c0:c1]
                    for c in range(len(product)):
                        s[k * 48 + c] = product[c]
                for c in range(c1 - c0):
                    s[3648 + c] = biases[c0 + c]
                    s[3696 + c] = odd[c0 + c]
                    s[3744 + c] = even[c0 + c]
                for i in range(288):
                    plus, minus = s[288 + i] + s[576 + i], s[288 + i] - s[576 + i]
                    far_plus, far_minus = s[864 + i] + s[1152 + i], s[864 + i] - s[1152 + i]
                    s[1728 + i] = s[i] + plus + far_plus
                    s[2016 + i] = minus + TWO * far_minus
                    s[2304 + i] = plus + FOUR * far_plus
                    s[2592 + i] = minus + EIGHT * far_minus + s[1440 + i]
                for i in range(4):
                    for c in range(48):
                        k = 1728 + i * 288 + c
                        plus, minus = s[k + 48] + s[k + 96], s[k + 48] - s[k + 96]
                        far_plus, far_minus = s[k + 144] + s[k + 192], s[k + 144] - s[k + 192]
                        bias, odd_c, even_c = s[3648 + c], s[3696 + c], s[3744 + c]
                        y0 = s[k] + plus + far_plus + bias
                        y1 = minus + TWO * far_minus + bias
                        y2 = plus + FOUR * far_plus + bias
                        y3 = minus + EIGHT * far_minus + s[k + 240] + bias
                        k = 2880 + i * 192 + c
                        s[k] = odd_c * y0 + even_c * abs(y0)
                        s[k + 48] = odd_c * y1 + even_c * abs(y1)
                        s[k + 96] = odd_c * y2 + even_c * abs(y2)
                        s[k + 144] = odd_c * y3 + even_c * abs(y3)
                for i in range(min(4, height - top)):
                    for j in range(min(4, width - left)):
                        pixel = image[top + i, left + j, c0 : min(c1, channels)]
                        for c in range(len(pixel)):
                            pixel[c] = s[2880 + (4 * i + j) * 48 + c]
