"""SwinSF: a Swin Transformer over three streams of a window (SwinSpikeFormer).

Jiang, Zhu, Chen, "SwinSpikeFormer: Learning Comprehensive Spatial-Temporal Representation to
Reconstruct Dynamic Scenes from Spike Streams", ICVRV 2024.

    readouts   |---- earlier ----|
               |-------- middle ---------|
                       |----- later -----|

One convolution turns each stream into features; in two groups of blocks, windows of the middle
stream attend to themselves and, weakly, across the streams; the image is read off all three.

The published code differs from the paper's figure, and the published numbers come from the code,
which is followed here: the two attentions are added (the figure joins them by an MLP), no skip goes
round the groups, one projection makes queries, keys and values of the attention across streams, and
the side streams pass each block with their channels and tokens interchanged, no attention.

Departures from the published code, none of which changes a value:

* Weights that it holds and never uses are left out, which distributed training would stumble over.
* The mask of shifted windows is built once for a picture, on its device.
* The image is in intensity, not in grey levels: the last convolutions are divided by 255 on import.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import stochastic_depth

from spikerec.errors import ConfigError
from spikerec.models.base import Network, Reconstruction, check_window
from spikerec.models.padding import Padding
from spikerec.models.short_windows import conv

#: Published names as patterns, and ours.
RENAMES = (
    (r"^conv_first_ref\.", "side_stem."),
    (r"^conv_first\.", "stem."),
    (r"^layers\.(\d+)\.residual_group\.blocks\.", r"groups.\1.blocks."),
    (r"^layers\.(\d+)\.patch_embed\.proj\.", r"groups.\1.down."),
    (r"^layers\.(\d+)\.patch_unembed\.unproj\.", r"groups.\1.up."),
    (r"^layers\.(\d+)\.conv\.", r"groups.\1.conv."),
    (r"^patch_embed\.proj\.", "down."),
    (r"^patch_embed\.norm\.", "stem_norm."),
    (r"^patch_unembed\.unproj\.", "up."),
    (r"^conv_last\.0\.", "last."),
    (r"^conv_lm\.0\.", "side_last."),
    (r"attn_mul\.to_q\.", "across.to_qkv."),
    (r"attn_mul\.", "across."),
    (r"attn\.", "within."),
    (r"within\.qkv\.", "within.to_qkv."),
    (r"relative_position_bias_table", "bias_table"),
    (r"mlp\.fc1\.", "mlp.0."),
    (r"mlp\.fc2\.", "mlp.2."),
)
#: Published entries that are not weights in use: buffers that follow from the sizes, and layers
#: that no value passes through.
UNUSED = re.compile(r"relative_position_index$|attn_mask$|attn_mul\.to_[kv]\.|conv_after_body\.")
#: Published images are grey levels.
GREY_LEVELS = 255.0

#: Added to the logits of tokens that only the roll has made neighbours.
MASKED = -100.0


class SwinSF(Network):
    """Window attention over three streams; the defaults are the published network for 250 × 400.

    In training mode the images of the side streams are returned as `sides`: the earlier one and the
    later one, (B, 1, H, W) each, of the readouts in the middle of these streams.

    Args:
        window: readouts of the middle stream, all that the network sees.
        side_window: readouts of the earlier and of the later stream.
        channels: width, of which each head has its share.
        patch: side of the squares of pixels that become one token each.
        groups: groups of blocks.
        depth: blocks in a group; every second one shifts its windows.
        heads: of each attention.
        attention_window: side of the squares of tokens that attend to one another.
        across_weight: factor of the attention across the streams.
        drop_path: rate at which training skips the last block of a sample; the first is never
            skipped, and the rate rises evenly in between.
        output_scale: see `Network`; the image is not negative.

    Raises:
        ConfigError: a value out of its range.
    """

    padding: ClassVar[Padding] = Padding("symmetric", "end")
    provides: ClassVar[tuple[str, ...]] = ("sides",)
    image_extras = provides
    published_names = RENAMES
    published_output_scale: ClassVar[float | None] = 0.6

    def __init__(
        self,
        window: int = 41,
        side_window: int = 28,
        channels: int = 96,
        patch: int = 1,
        groups: int = 2,
        depth: int = 6,
        heads: int = 2,
        attention_window: int = 5,
        across_weight: float = 0.1,
        drop_path: float = 0.1,
        output_scale: float | None = 1.0,
    ) -> None:
        super().__init__(window, output_scale)
        if not 1 <= side_window <= window:
            raise ConfigError(f"side_window must be 1 to window={window}, found {side_window}.")
        if heads < 1 or channels % heads:
            raise ConfigError(f"heads must divide channels={channels}, found {heads}.")
        if not 0 <= drop_path < 1:
            raise ConfigError(f"drop_path must be in [0, 1), found {drop_path}.")
        sizes = {"patch": patch, "groups": groups, "depth": depth}
        for name, size in {**sizes, "attention_window": attention_window}.items():
            if size < 1:
                raise ConfigError(f"{name} must be at least 1, found {size}.")
        self.multiple = patch * attention_window  # type: ignore[misc]  # a class's own elsewhere
        self.side_window = side_window
        self.attention_window = attention_window
        self.stem = conv(window, channels)
        self.side_stem = conv(side_window, channels)
        self.down = _down(channels, patch)
        self.stem_norm = nn.LayerNorm(channels)
        blocks = groups * depth
        rates = [drop_path * block / max(blocks - 1, 1) for block in range(blocks)]
        self.groups = nn.ModuleList(
            Group(
                channels,
                patch,
                heads,
                attention_window,
                across_weight,
                rates[first : first + depth],
            )
            for first in range(0, blocks, depth)
        )
        self.norm = nn.LayerNorm(channels)
        self.up = _up(channels, patch)
        self.last = conv(3 * channels, 1)
        self.side_last = conv(channels, 1)

    @classmethod
    def from_published(cls, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Network.from_published`; the authors' class is `SwinSpikeFormer`."""
        used = {name: value for name, value in state.items() if not UNUSED.search(name)}
        renamed = super().from_published(used)
        for name in renamed:
            if name.startswith(("last.", "side_last.")):
                renamed[name] = renamed[name] / GREY_LEVELS
        return renamed

    def forward(self, spikes: Tensor) -> Reconstruction:
        """Reconstruct the key readout (see `Network.forward`)."""
        check_window(spikes, self.window, self.multiple)
        batch = len(spikes)
        parts = spikes[:, : self.side_window], spikes, spikes[:, -self.side_window :]
        stems = self.side_stem, self.stem, self.side_stem
        features = torch.cat([stem(part) for stem, part in zip(stems, parts, strict=True)])
        x = self.stem_norm(_tokens(self.down(features)))  # (3·B, h, w, C), the stream slowest
        mask = shift_mask(x.shape[1], x.shape[2], self.attention_window, x.device)
        for group in self.groups:
            x = group(x, mask)
        x = self.up(_picture(self.norm(x)))  # (3·B, C, H, W)
        earlier, middle, later = x.split(batch)
        image = F.relu(self.last(torch.cat((earlier, middle, later), 1))).to(self.dtype)
        if not self.training:
            return Reconstruction(image)
        sides = tuple(F.relu(self.side_last(side)).to(self.dtype) for side in (earlier, later))
        return Reconstruction(image, {"sides": sides})


class Group(nn.Module):
    """Blocks, a convolution over the picture, and the group's input added.

    Args:
        channels: C.
        patch: side of a token in pixels; the convolution works on pixels.
        heads: of each attention.
        window: side of the squares of tokens.
        across_weight: factor of the attention across the streams.
        rates: at which training skips each block of a sample.
    """

    def __init__(
        self,
        channels: int,
        patch: int,
        heads: int,
        window: int,
        across_weight: float,
        rates: list[float],
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(channels, heads, window, across_weight, rate, is_shifted=index % 2 == 1)
            for index, rate in enumerate(rates)
        )
        self.up = _up(channels, patch)
        self.conv = conv(channels, channels)
        self.down = _down(channels, patch)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Tokens of the streams, (3·B, h, w, C) → the same shape."""
        y = x
        for block in self.blocks:
            y = block(y, mask)
        return _tokens(self.down(self.conv(self.up(_picture(y))))) + x


class Block(nn.Module):
    """Attention within the middle stream and across the streams, then an MLP on each.

    Args:
        channels: C.
        heads: of each attention.
        window: side of the squares of tokens.
        across_weight: factor of the attention across the streams.
        rate: at which training skips each addition of a sample.
        is_shifted: cut the squares half a square further down and right.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        window: int,
        across_weight: float,
        rate: float,
        *,
        is_shifted: bool,
    ) -> None:
        super().__init__()
        self.window = window
        self.shift = window // 2 if is_shifted else 0
        self.across_weight = across_weight
        self.rate = rate
        self.norm1 = nn.LayerNorm(channels)
        self.within = WindowAttention(channels, 3 * channels, heads, window)
        self.across = WindowAttention(channels, channels, heads, window)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(
            nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels)
        )

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Tokens of the streams, (3·B, h, w, C) → the same shape."""
        height, width = x.shape[1:3]
        normed = self.norm1(x).roll((-self.shift, -self.shift), (1, 2))
        earlier, middle, later = _windows(normed, self.window).chunk(3)  # (B·n, tokens, C) each
        own_mask = mask if self.shift else None
        query, key, value = self.within.to_qkv(middle).chunk(3, -1)
        attended = self.within.attend(query, key, value, own_mask)
        # One projection for all: queries of the earlier stream, keys of the later, values between.
        query, key, value = (self.across.to_qkv(part) for part in (earlier, later, middle))
        across = self.across.attend(query, key, value, own_mask)
        attended = attended + self.across_weight * across
        joined = torch.cat((interchanged(earlier), attended, interchanged(later)))
        joined = _unwindowed(joined, self.window, height, width)
        x = x + self._dropped(joined.roll((self.shift, self.shift), (1, 2)))
        return x + self._dropped(self.mlp(self.norm2(x)))

    def _dropped(self, x: Tensor) -> Tensor:
        return stochastic_depth(x, self.rate, "row", self.training) if self.rate else x


class WindowAttention(nn.Module):
    """Attention among the tokens of a square, with a learned bias for each relative position.

    Args:
        channels: C.
        projected: channels of the one projection that queries, keys and values come from.
        heads: that share the channels.
        window: side of the square.
    """

    index: Tensor

    def __init__(self, channels: int, projected: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Linear(channels, projected)
        self.proj = nn.Linear(channels, channels)
        self.bias_table = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.bias_table, std=0.02)
        self.register_buffer("index", relative_positions(window), persistent=False)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Values weighed by how queries meet keys: (B·n, tokens, C) each → the same shape.

        Args:
            query: of the tokens that are computed.
            key: of the tokens that they look at.
            value: of these.
            mask: (n, tokens, tokens), added to the logits of each of the n squares; None for 0.
        """
        tokens = query.shape[1]
        bias = self.bias_table[self.index].view(tokens, tokens, -1).permute(2, 0, 1)
        if mask is not None:
            bias = bias + mask.to(bias.dtype)[:, None]  # (n, heads, tokens, tokens)
            bias = bias.repeat(len(query) // len(mask), 1, 1, 1)
        shape = (*query.shape[:2], self.heads, -1)
        query, key, value = (part.view(shape).transpose(1, 2) for part in (query, key, value))
        y = F.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype))
        result: Tensor = self.proj(y.transpose(1, 2).flatten(2))
        return result


def relative_positions(window: int) -> Tensor:
    """Row of the bias table for each pair of tokens of a square, query slowest: (tokens²,)."""
    rows, columns = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
    rows, columns = (axis.flatten() for axis in (rows, columns))
    down = rows[:, None] - rows + window - 1
    right = columns[:, None] - columns + window - 1
    return (down * (2 * window - 1) + right).flatten()


def shift_mask(height: int, width: int, window: int, device: torch.device) -> Tensor:
    """Mask that keeps apart tokens of a shifted square that the roll brought from two edges.

    Returns:
        (squares, tokens, tokens), `MASKED` between tokens of different parts of the picture, else
        0; squares row by row.
    """
    shift = window // 2
    rows, columns = (
        (torch.arange(size, device=device) >= size - window).int()
        + (torch.arange(size, device=device) >= size - shift).int()
        for size in (height, width)
    )
    parts = _windows((3 * rows[:, None] + columns)[None, ..., None], window)[..., 0]
    return (parts[:, :, None] != parts[:, None]).float() * MASKED


def interchanged(x: Tensor) -> Tensor:
    """Tokens and channels of a square interchanged, and read as if they were not.

    (n, tokens, C) → the same shape: transposed, and then read row by row.
    """
    return x.transpose(1, 2).reshape(x.shape)


def _windows(x: Tensor, window: int) -> Tensor:
    """(B, h, w, C) → (B·n, window², C): squares row by row, tokens of a square row by row."""
    batch, height, width, channels = x.shape
    x = x.view(batch, height // window, window, width // window, window, channels)
    return x.transpose(2, 3).reshape(-1, window * window, channels)


def _unwindowed(x: Tensor, window: int, height: int, width: int) -> Tensor:
    """Undo `_windows`."""
    x = x.view(-1, height // window, width // window, window, window, x.shape[-1])
    return x.transpose(2, 3).reshape(-1, height, width, x.shape[-1])


def _picture(x: Tensor) -> Tensor:
    """(B, h, w, C) → (B, C, h, w)."""
    return x.permute(0, 3, 1, 2)


def _tokens(x: Tensor) -> Tensor:
    """(B, C, h, w) → (B, h, w, C)."""
    return x.permute(0, 2, 3, 1)


def _down(channels: int, patch: int) -> nn.Module:
    """From pixels to tokens."""
    return nn.Conv2d(channels, channels, patch, patch) if patch > 1 else nn.Identity()


def _up(channels: int, patch: int) -> nn.Module:
    """From tokens to pixels."""
    return nn.ConvTranspose2d(channels, channels, patch, patch) if patch > 1 else nn.Identity()
