"""STIR: spatio-temporal interactive learning for efficient reconstruction of spiking cameras.

Fan et al., NeurIPS 2024. A window is cut into three blocks, earlier, centre and later. Each is
embedded (HSER: means of nested windows beside learned channels) and encoded to a feature pyramid.
At the coarsest level the centre attends to both neighbours (SIA). From there, level by level to
full size, decoders refine an image and the motion toward both neighbours together; the finest one
warps with several motion fields (MMFE). 5,107,960 parameters as published.

Departures from the published code, none of which changes a value: sampling grids are made on the
device, in float32 under autocast too (bfloat16 cannot count the pixels of a row); names are ours
(see `published_names`); and the training output holds each thing once. The published initialisation
is kept as it acts, not as it is written: its loop over modules never matches one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikerec.errors import ConfigError
from spikerec.models.base import Reconstruction
from spikerec.models.blocks import BlockNetwork, Blocks
from spikerec.spikes.representations import nested_means

Representation = Literal["hybrid", "tfp", "learned"]
Attention = Literal["symmetric", "one_sided", "none"]

#: Each nested window drops two more readouts at both ends than the one before (TFP step 2).
NESTING = 4
#: Width of the gated feed-forward over the width of its input, cut to an integer.
EXPANSION = 2.66
#: Components of a pair of motion fields: x and y toward the earlier block, then the later.
PAIR = 4

#: The authors' names as patterns, and ours.
RENAMES: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"^resnet\.conv3\.", "embedding.learned.shortcut."),
    (r"^resnet\.", "embedding.learned."),
    (r"^encoder\.conv0\.net\.(\d)\.", r"encoder.stem.\1."),
    (r"^encoder\.conv(\d)\.net\.(\d)\.", r"encoder.stages.\1.\2."),
    (r"^encoder\.resblocks(\d)\.", r"encoder.stages.\1.residual."),
    (r"^transformer\.norm1\.body\.", "attention.norm_centre."),
    (r"^transformer\.norm_kv(\d)\.body\.", r"attention.sides.\1.norm."),
    (r"^transformer\.norm2\.body\.", "attention.feed_forward.norm."),
    (r"^transformer\.ffn\.dwconv\.", "attention.feed_forward.depthwise."),
    (r"^transformer\.ffn\.", "attention.feed_forward."),
    (r"^transformer\.attn\.temperature(\d)$", r"attention.sides.\1.temperature"),
    (r"^transformer\.attn\.kv(\d)\.", r"attention.sides.\1.key_value."),
    (r"^transformer\.attn\.kv(\d)_dwconv\.", r"attention.sides.\1.depthwise."),
    (r"^transformer\.attn\.q\.", "attention.query."),
    (r"^transformer\.attn\.q_dwconv\.", "attention.query_grouped."),
    (r"^decorder_(\d)(?:st|nd|rd)\.", r"decoders.\1."),  # sic
    (r"\.convrelu\.conv1\.(\d)\.", r".fuse.\1."),
    (r"\.convrelu\.conv2\.0\.", r".fuse.2."),
    (r"\.convrelu\.conv2\.1\.", r".fuse.3."),
    (r"\.convrelu\.(\d)\.", r".fuse.\1."),
    (r"\.predict_(?:img|img_flow)\.", ".predict."),
    (r"\.deconv_(flow|hidden)\.", r".up_\1."),
    (r"\.predict_flow_group\.", ".extra_fields.0."),
    (r"\.deconv_flow_group\.", ".extra_fields.1."),
    (r"\.(?:resblocks|residual)\.net\.0\.conv_block\.0\.net\.0\.", ".residual.conv1."),
    (r"\.(?:resblocks|residual)\.net\.0\.conv_block\.1\.net\.0\.", ".residual.conv2."),
    # Ours count from 0 what the authors count from 1.
    (
        r"^(encoder\.stages|attention\.sides|decoders)\.(\d)",
        lambda found: f"{found[1]}.{int(found[2]) - 1}",
    ),
)


class STIR(BlockNetwork):
    """The network of the paper, and the ablations of its parts.

    The image is in [0, 1]. In training mode the extras are `pyramid`, the images from full size to
    the coarsest level, and `flows`, the pairs of fields that each level but the coarsest warped
    with, from full size down.

    Args:
        window: odd number of readouts ≥ 7. With stride s = (window − 1) // 3, the blocks are
            window − 2·s readouts long and s apart: 21 and 20 for the published 61.
        output_scale: of the training set (see `Network`).
        channels: width of each level of the pyramid, full size first; at least three levels.
        representation: what embeds a block: `hybrid` as published; `tfp`, a linear map of the
            nested means alone; `learned` channels alone. The number of channels stays.
        attention: at the coarsest level, `symmetric` as published; `one_sided`, to the earlier
            block only; `none`, the features of the blocks as they are.
        heads: of the attention; divides the coarsest width.
        motion_fields: pairs of fields that the finest level warps with (MMFE); 3 as published, 1
            for none but the main pair, 0 for no motion and no warping at any level.
        hidden_channels: channels of the hidden state handed from level to level; 8 as published.
        image_guidance: hand the image of each level to the next finer one, as published.

    Raises:
        ConfigError: an argument out of its range, or widths that cannot be split as needed.
    """

    multiple = 16
    provides = ("pyramid", "flows")
    image_extras = ("pyramid",)
    published_output_scale = 0.4
    published_names = RENAMES

    def __init__(
        self,
        window: int = 61,
        output_scale: float | None = 1.0,
        channels: Sequence[int] = (16, 24, 32, 64, 96),
        representation: Representation = "hybrid",
        attention: Attention = "symmetric",
        heads: int = 4,
        motion_fields: int = 3,
        hidden_channels: int = 8,
        image_guidance: bool = True,
    ) -> None:
        super().__init__(window, output_scale)
        if window < 7 or window % 2 == 0:
            raise ConfigError(f"window must be odd and at least 7, found {window}.")
        if not 3 <= len(channels) <= 5:
            raise ConfigError(f"channels must name 3 to 5 widths, found {list(channels)}.")
        if motion_fields < 0 or hidden_channels < 0:
            raise ConfigError(
                "motion_fields and hidden_channels must be at least 0, "
                f"found {motion_fields} and {hidden_channels}."
            )
        stride = (window - 1) // 3
        self.blocks = Blocks(length=window - 2 * stride, stride=stride, count=3)
        self.embedding = HybridSpikeEmbedding(self.blocks.length, channels[0], representation)
        self.encoder = Encoder(channels)
        self.attention = _attention(attention, channels[-1], heads)
        has_motion = motion_fields > 0
        self.decoders = nn.ModuleList(
            Decoder(
                channels[level],
                3 * channels[level + 1],
                hidden_channels,
                extra_fields=max(motion_fields - 1, 0) if level == 0 else 0,
                has_motion=has_motion,
                refines_motion=has_motion and level > 0,
                image_guidance=image_guidance,
            )
            for level in range(len(channels) - 1)
        )
        self.decoders.append(CoarsestDecoder(channels[-1], has_motion))

    def encode(self, block: Tensor) -> tuple[Tensor, ...]:
        """The feature pyramid of blocks, full size first (see `BlockNetwork.encode`)."""
        embedding = self.embedding(block)
        return (embedding, *self.encoder(embedding))

    def join(self, features: Sequence[tuple[Tensor, ...]]) -> Reconstruction:
        """Attend at the coarsest level, then decode down to full size."""
        pyramid = list(zip(*features, strict=True))  # per level: earlier, centre, later
        coarsest, *finer = reversed(list(self.decoders))
        levels: list[Level] = [coarsest(torch.cat(self.attention(*pyramid[-1]), 1))]
        for decoder, blocks in zip(finer, pyramid[-2::-1], strict=True):
            levels.append(decoder(*blocks, above=levels[-1]))
        # Clamped only here: each level hands its image on as it is.
        images = tuple(level.image.clamp(0, 1).to(self.dtype) for level in reversed(levels))
        if not self.training:
            return Reconstruction(images[0])
        flows = tuple(
            level.warped_by.chunk(2, 1) for level in levels[:0:-1] if level.warped_by is not None
        )
        return Reconstruction(images[0], {"pyramid": images, "flows": flows})


class HybridSpikeEmbedding(nn.Module):
    """HSER: means over nested windows of a block, beside channels learned from its readouts."""

    def __init__(self, length: int, channels: int, representation: Representation) -> None:
        super().__init__()
        if representation not in ("hybrid", "tfp", "learned"):
            raise ConfigError(
                f"representation must be hybrid, tfp or learned, found {representation!r}."
            )
        self.lengths = () if representation == "learned" else tuple(range(length, 2, -NESTING))
        num_means = len(self.lengths)
        if representation == "hybrid" and num_means >= channels:
            raise ConfigError(
                f"channels[0] must exceed the {num_means} nested means, found {channels}."
            )
        self.project = nn.Conv2d(num_means, channels, 1) if representation == "tfp" else None
        is_learned = representation != "tfp"
        self.learned = LearnedEmbedding(length, channels - num_means) if is_learned else None

    def forward(self, block: Tensor) -> Tensor:
        """(B, length, H, W) → (B, channels, H, W)."""
        parts = [nested_means(block, self.lengths).to(block.dtype)] if self.lengths else []
        if self.project is not None:
            parts = [self.project(part) for part in parts]
        if self.learned is not None:
            parts.append(self.learned(block))
        return torch.cat(parts, 1)


class LearnedEmbedding(nn.Module):
    """Two normalised convolutions over a block's readouts, and a linear shortcut."""

    def __init__(self, length: int, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(length, channels, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Conv2d(length, channels, 1)

    def forward(self, block: Tensor) -> Tensor:
        """(B, length, H, W) → (B, channels, H, W), ≥ 0."""
        x = F.relu(self.bn1(self.conv1(block)))
        return F.relu(self.bn2(self.conv2(x)) + self.shortcut(block))


class ResidualBlock(nn.Module):
    """x + conv(ReLU(conv(x))), with nothing after the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = _conv(channels, channels, 3, init=nn.init.xavier_normal_)
        self.conv2 = _conv(channels, channels, 3, init=nn.init.xavier_normal_)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → the same."""
        return torch.add(x, self.conv2(F.relu(self.conv1(x))))


class Encoder(nn.Module):
    """The feature pyramid below full size, the same for every block."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            _conv(channels[0], channels[0], 7, init=nn.init.xavier_uniform_), nn.PReLU()
        )
        self.stages = nn.ModuleList(
            EncoderStage(inner, outer) for inner, outer in pairwise(channels)
        )

    def forward(self, embedding: Tensor) -> list[Tensor]:
        """(B, C₀, H, W) → features (B, C_l, H/2ˡ, W/2ˡ) of the levels l = 1, 2, …."""
        x = self.stem(embedding)
        pyramid = []
        for stage in self.stages:
            x = stage(x)
            pyramid.append(x)
        return pyramid


class EncoderStage(nn.Sequential):
    """Halve the size: strided convolution, PReLU with one slope, residual block."""

    def __init__(self, channels: int, wider: int) -> None:
        super().__init__(
            _conv(channels, wider, 3, stride=2, init=nn.init.xavier_uniform_), nn.PReLU()
        )
        self.add_module("residual", ResidualBlock(wider))


class LayerNorm(nn.LayerNorm):
    """Layer norm over the channels of each pixel."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) → the same."""
        normalised: Tensor = super().forward(x.permute(0, 2, 3, 1))
        return normalised.permute(0, 3, 1, 2)


class SymmetricAttention(nn.Module):
    """SIA: the centre block queries its neighbours, channel by channel.

    Args:
        channels: width C of the features.
        heads: heads of C / heads channels each.
        sides: neighbours attended to, the earlier one first; the rest pass as they are.

    Raises:
        ConfigError: heads do not divide the channels.
    """

    def __init__(self, channels: int, heads: int, sides: int) -> None:
        super().__init__()
        if heads < 1 or channels % heads:
            raise ConfigError(
                f"heads must divide the coarsest of channels, found {heads} heads for "
                f"{channels} channels."
            )
        queries = sides * channels
        self.norm_centre = LayerNorm(channels)
        self.query = nn.Conv2d(channels, queries, 1, bias=False)
        # As many groups as features, so that with two sides each mixes two queries.
        self.query_grouped = nn.Conv2d(queries, queries, 3, padding=1, groups=channels, bias=False)
        self.sides = nn.ModuleList(SideAttention(channels, heads) for _ in range(sides))
        self.feed_forward = GatedFeedForward(channels)

    def forward(self, earlier: Tensor, centre: Tensor, later: Tensor) -> tuple[Tensor, ...]:
        """Features (B, C, h, w) of the blocks → what takes their places, centre unchanged."""
        neighbours = [earlier, later]
        queries = self.query_grouped(self.query(self.norm_centre(centre)))
        queries = queries.chunk(len(self.sides), 1)
        for index, (side, query) in enumerate(zip(self.sides, queries, strict=True)):
            neighbours[index] = self.feed_forward(side(query, neighbours[index]))
        return neighbours[0], centre, neighbours[1]


class SideAttention(nn.Module):
    """Attention of the centre's queries across the channels of one neighbour."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = LayerNorm(channels)
        self.key_value = nn.Conv2d(channels, 2 * channels, 1, bias=False)
        self.depthwise = nn.Conv2d(
            2 * channels, 2 * channels, 3, padding=1, groups=2 * channels, bias=False
        )
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))

    def forward(self, query: Tensor, neighbour: Tensor) -> Tensor:
        """Queries and neighbour (B, C, h, w) → (B, C, h, w)."""
        key, value = self.depthwise(self.key_value(self.norm(neighbour))).chunk(2, 1)
        query, key, value = (  # (B, heads, C/heads, h·w)
            x.flatten(2).unflatten(1, (self.heads, -1)) for x in (query, key, value)
        )
        query, key = F.normalize(query, dim=-1), F.normalize(key, dim=-1)
        weights = (query @ key.transpose(-2, -1) * self.temperature).softmax(-1)
        attended: Tensor = weights @ value
        return attended.reshape(neighbour.shape)


class GatedFeedForward(nn.Module):
    """Normalise, then one half of the widened features gates the other."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = int(EXPANSION * channels)
        self.norm = LayerNorm(channels)
        self.project_in = nn.Conv2d(channels, 2 * wide, 1, bias=False)
        self.depthwise = nn.Conv2d(2 * wide, 2 * wide, 3, padding=1, groups=2 * wide, bias=False)
        self.project_out = nn.Conv2d(wide, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) → the same."""
        gate, value = self.depthwise(self.project_in(self.norm(x))).chunk(2, 1)
        gated: Tensor = self.project_out(F.gelu(gate) * value)
        return gated


class PlainConcatenation(nn.Module):
    """No attention: the features of the three blocks as they are."""

    def forward(self, earlier: Tensor, centre: Tensor, later: Tensor) -> tuple[Tensor, ...]:
        """Features (B, C, h, w) of the blocks → the same."""
        return earlier, centre, later


class Level(NamedTuple):
    """The inputs of a decoder at its level of the pyramid.

    Attributes:
        image: (B, 1, h, w), not clamped.
        hidden: (B, 3·C, h, w).
        flow: (B, 4, h, w) refined fields, in pixels of this level; None where none are made.
        warped_by: (B, 4, h, w) fields that this level warped with; None at the coarsest.
    """

    image: Tensor
    hidden: Tensor
    flow: Tensor | None
    warped_by: Tensor | None


class CoarsestDecoder(nn.Module):
    """The first image and motion, from the attended features of all blocks."""

    def __init__(self, channels: int, has_motion: bool) -> None:
        super().__init__()
        width = 3 * channels
        self.fuse = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.PReLU(width))
        self.residual = ResidualBlock(width)
        self.predict = nn.Conv2d(width, PAIR * has_motion + 1, 3, padding=1)

    def forward(self, features: Tensor) -> Level:
        """(B, 3·C, h, w) → the level's image and fields."""
        hidden = self.residual(self.fuse(features))
        flow, image = _split_prediction(self.predict(hidden))
        return Level(image, hidden, flow, None)


class Decoder(nn.Module):
    """Align the neighbours' features and filter, from what the coarser level found.

    Args:
        channels: width C of each block's features.
        above: width of the coarser level's hidden features.
        hidden_channels: of them that come up to this level; 0 for none.
        extra_fields: further pairs of fields (MMFE), predicted from above.
        has_motion: take fields from above and warp with them.
        refines_motion: predict corrections to these fields.
        image_guidance: take the image from above.
    """

    def __init__(
        self,
        channels: int,
        above: int,
        hidden_channels: int,
        *,
        extra_fields: int,
        has_motion: bool,
        refines_motion: bool,
        image_guidance: bool,
    ) -> None:
        super().__init__()
        pairs = extra_fields + has_motion
        self.image_guidance = image_guidance
        self.num_extra = extra_fields
        self.extra_fields = (
            nn.Sequential(
                nn.Conv2d(above, PAIR * extra_fields, 3, padding=1),
                _double(PAIR * extra_fields, PAIR * extra_fields),
            )
            if extra_fields
            else None
        )
        self.up_flow = _double(PAIR, PAIR) if has_motion else None
        self.up_hidden = _double(above, hidden_channels) if hidden_channels else None
        blocks = channels * (1 + 2 * max(pairs, 1))
        fused = blocks + PAIR * pairs + hidden_channels + image_guidance
        width = 3 * channels
        self.fuse = nn.Sequential(
            nn.Conv2d(fused, fused, 3, padding=1),
            nn.PReLU(fused),
            nn.Conv2d(fused, width, 3, padding=1),
            nn.PReLU(width),
        )
        self.residual = ResidualBlock(width)
        self.predict = nn.Conv2d(width, PAIR * refines_motion + 1, 3, padding=1)

    def forward(self, earlier: Tensor, centre: Tensor, later: Tensor, *, above: Level) -> Level:
        """Features (B, C, H, W) of the blocks, and the level of half the size, → this level."""
        fields = self._fields(above)
        parts = [centre, *_aligned(earlier, later, fields)]
        if self.image_guidance:
            parts.insert(0, F.interpolate(above.image, scale_factor=2.0, mode="bilinear"))
        if self.up_hidden is not None:
            parts.append(self.up_hidden(above.hidden))
        hidden = self.residual(self.fuse(torch.cat([*parts, *fields], 1)))
        correction, image = _split_prediction(self.predict(hidden))
        main = fields[0] if fields else None
        flow = None if main is None or correction is None else main + correction
        return Level(image, hidden, flow, main)

    def _fields(self, above: Level) -> list[Tensor]:
        """Pairs of fields (B, 4, H, W) to warp with, the main one first."""
        if self.up_flow is None or above.flow is None:
            return []
        fields = [self.up_flow(above.flow)]
        if self.extra_fields is not None and above.warped_by is not None:
            # Published as it is: these start from the fields that the level above warped with,
            # the main pair from those it refined.
            predict, double = self.extra_fields
            start = above.warped_by.repeat(1, self.num_extra, 1, 1)
            fields += double(predict(above.hidden) + start).split(PAIR, 1)
        return fields


def _aligned(earlier: Tensor, later: Tensor, fields: Sequence[Tensor]) -> Sequence[Tensor]:
    """Both neighbours warped by each pair of fields; as they are where there is none."""
    if not fields:
        return [earlier, later]
    flows = [flow for pair in fields for flow in pair.chunk(2, 1)]
    return warp(torch.cat([earlier, later] * len(fields)), torch.cat(flows)).chunk(len(flows))


def warp(features: Tensor, flow: Tensor) -> Tensor:
    """Sample features where a flow points: bilinear, the border repeated.

    Args:
        features: (B, C, H, W).
        flow: (B, 2, H, W) in pixels, x then y.

    Returns:
        (B, C, H, W), which at pixel p holds the features at p + flow(p).
    """
    height, width = features.shape[-2:]
    exact = torch.promote_types(flow.dtype, torch.float32)
    columns = torch.arange(width, dtype=exact, device=flow.device)
    rows = torch.arange(height, dtype=exact, device=flow.device)[:, None]
    # −1 and 1 are the centres of the corner pixels; a side of one pixel has no extent to move in.
    grid_x = (columns + flow[:, 0]) * (2 / max(width - 1, 1)) - 1
    grid_y = (rows + flow[:, 1]) * (2 / max(height - 1, 1)) - 1
    grid = torch.stack([grid_x, grid_y], -1)  # (B, H, W, 2)
    warped = F.grid_sample(features.to(exact), grid, padding_mode="border", align_corners=True)
    return warped.to(features.dtype)


def _split_prediction(prediction: Tensor) -> tuple[Tensor | None, Tensor]:
    """Fields, where predicted, and the image, which is the last channel."""
    fields, image = prediction[:, :-1], prediction[:, -1:]
    return (fields if fields.shape[1] else None), image


def _attention(kind: Attention, channels: int, heads: int) -> nn.Module:
    match kind:
        case "symmetric":
            return SymmetricAttention(channels, heads, sides=2)
        case "one_sided":
            return SymmetricAttention(channels, heads, sides=1)
        case "none":
            return PlainConcatenation()
    raise ConfigError(f"attention must be symmetric, one_sided or none, found {kind!r}.")


def _conv(
    channels: int, out: int, kernel: int, stride: int = 1, *, init: Callable[[Tensor], Tensor]
) -> nn.Conv2d:
    """A convolution that keeps size / stride, its weights by `init` and its biases 0."""
    conv = nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2)
    init(conv.weight)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


def _double(channels: int, out: int) -> nn.ConvTranspose2d:
    """A learned upsampling to twice the size."""
    return nn.ConvTranspose2d(channels, out, 4, stride=2, padding=1)
