"""ET-Net: event-based video reconstruction with a transformer over a token pyramid.

Weng, Zhang and Xiong, "Event-based Video Reconstruction Using Transformer", ICCV 2021; here fed
with spikes (`spikerec.models.event_adapter`), as the STIR paper compares it (Fan et al., NeurIPS
2024).

Departures from the published code (class `EITR`), none of which changes an image it can compute:

* the state is an argument and a result, and one of another size is refused;
* the position table has as many rows as there are tokens (published: 8000, so that 720 × 1280 with
  its 14,400 tokens fails);
* attention is fused: a matrix of tokens × tokens is never formed (published: 6.6 GB a layer at
  720 × 1280);
* the padding to multiples of 8 is the network's `padding`, done once outside.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikerec.errors import ConfigError
from spikerec.models.event_adapter import EventCore, EventNetwork, Features, Feeding
from spikerec.models.recurrent import RecurrentEncoder, RecurrentState, UpConv

NUM_HEADS = 8
ENCODER_LAYERS = 3
DECODER_LAYERS = 2


def position_table(num_tokens: int, width: int, device: torch.device | None = None) -> Tensor:
    """Sinusoidal positions (Vaswani et al., NeurIPS 2017, section 3.5).

    angle(p, j) = p / 10000^(2·⌊j/2⌋ / width); sine on even channels j, cosine on odd ones.

    Computed in double, since single precision loses three digits of the angle at 10,000 tokens.

    Returns:
        (num_tokens, width) float32.
    """
    even = torch.arange(0, width, 2, dtype=torch.float64, device=device)
    position = torch.arange(num_tokens, dtype=torch.float64, device=device)
    angle = torch.outer(position, 10000.0 ** (-even / width))  # (N, width/2)
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(1).float()  # (N, width)


class Attention(nn.Module):
    """Multi-head attention with the weights laid out as in `nn.MultiheadAttention`.

    That module forms the tokens × tokens matrix on some of its paths; this one never does.
    """

    #: Published counts of operations leave this module out, as they do `nn.MultiheadAttention`.
    unseen_by_thop = True

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))  # query, key, value
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        """Queries (B, N, width) gather from the memory (B, M, width) → (B, N, width)."""
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        q, k, v = (
            _split_heads(F.linear(x, weight, bias))
            for x, weight, bias in zip((query, memory, memory), weights, biases, strict=True)
        )
        dropout = self.dropout if self.training else 0.0
        gathered = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
        return cast(Tensor, self.out_proj(gathered.transpose(1, 2).flatten(2)))


def _split_heads(x: Tensor) -> Tensor:
    batch, tokens, width = x.shape
    return x.reshape(batch, tokens, NUM_HEADS, width // NUM_HEADS).transpose(
        1, 2
    )  # (B, heads, N, d)


class EncoderLayer(nn.Module):
    """Pre-norm self-attention and feed-forward, each added to its input; no norm at the end."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.self_attn = Attention(width, dropout)
        self.norm2 = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, 4 * width)
        self.linear2 = nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, N, width) in and out."""
        normed = self.norm1(x)
        x = x + self.dropout(self.self_attn(normed, normed))
        hidden = self.dropout(F.relu(self.linear1(self.norm2(x))))
        return cast(Tensor, x + self.dropout(self.linear2(hidden)))


class DecoderLayer(nn.Module):
    """Pre-norm self-attention, cross-attention to a memory, and feed-forward; no closing norm."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.self_attn = Attention(width, dropout)
        self.norm21 = nn.LayerNorm(width)  # of the query
        self.norm22 = nn.LayerNorm(width)  # of the memory
        self.cross_attn = Attention(width, dropout)
        self.norm3 = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, 4 * width)
        self.linear2 = nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """Tokens (B, N, width) and memory (B, M, width) → tokens."""
        normed = self.norm1(x)
        x = x + self.dropout(self.self_attn(normed, normed))
        x = x + self.dropout(self.cross_attn(self.norm21(x), self.norm22(memory)))
        hidden = self.dropout(F.relu(self.linear1(self.norm3(x))))
        return cast(Tensor, x + self.dropout(self.linear2(hidden)))


class TokenPyramid(nn.Module):
    """The token pyramid aggregation: transformers over three scales of tokens on one grid.

    Every scale gives the tokens of the 1/8 grid: the coarsest level as it is, the others by
    convolutions that cut them into patches. Each scale has its encoder and its decoder; the result
    is the mean of the six.
    """

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        width = 8 * channels
        self.split1 = nn.Conv2d(4 * channels, width, 2, stride=2)
        self.split2 = nn.Conv2d(2 * channels, width, 4, stride=4)
        self.encoders = nn.ModuleList(
            nn.Sequential(*(EncoderLayer(width, dropout) for _ in range(ENCODER_LAYERS)))
            for _ in range(3)
        )
        self.decoders = nn.ModuleList(
            nn.ModuleList(DecoderLayer(width, dropout) for _ in range(DECODER_LAYERS))
            for _ in range(3)
        )
        for stack in (self.encoders, self.decoders):
            for parameter in stack.parameters():
                if parameter.ndim > 1:
                    nn.init.xavier_uniform_(parameter)

    def forward(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> Tensor:
        """The three levels, (B, C, H, W) at 1/2, 1/4 and 1/8 → one map (B, width, H/8, W/8)."""
        width, rows, columns = coarse.shape[1:]
        positions = position_table(rows * columns, width, coarse.device)
        maps = (coarse, self.split1(middle), self.split2(fine))
        tokens = (x.flatten(2).mT + positions for x in maps)  # (B, N, width) each
        e0, e1, e2 = (encoder(x) for encoder, x in zip(self.encoders, tokens, strict=True))
        # The memory is the encoder output of the next coarser scale, never a decoder's output.
        d0, d1, d2 = (
            self._decode(k, x, memory)
            for k, (x, memory) in enumerate(((e0, e0), (e1, e0), (e2, e1)))
        )
        fused: Tensor = (e0 + e1 + e2 + d0 + d1 + d2) / 6
        return fused.mT.reshape(coarse.shape)

    def _decode(self, scale: int, x: Tensor, memory: Tensor) -> Tensor:
        for layer in cast(nn.ModuleList, self.decoders[scale]):
            x = layer(x, memory)
        return x


class EITR(EventCore):
    """ET-Net proper: one call maps a voxel grid and a state to an image in (0, 1) and a state.

    Args:
        num_bins: input channels.
        channels: width of the head; the transformers are 8 times as wide.
        dropout: of the transformers, in training.
    """

    def __init__(self, num_bins: int, channels: int, dropout: float) -> None:
        super().__init__()
        self.encoder = RecurrentEncoder(num_bins, channels)
        self.pyramid = TokenPyramid(channels, dropout)
        self.up = nn.ModuleList(UpConv(channels << k, channels << (k - 1)) for k in (3, 2, 1))
        self.pred = nn.Conv2d(channels, 1, 1)

    def encode(self, bins: Tensor) -> Features:
        """The head's map and the first strided map."""
        return self.encoder.embed(bins)

    def observe(self, features: Features, state: RecurrentState | None) -> RecurrentState:
        """The state after a call, without the transformers and the way up."""
        return RecurrentState(self.encoder(features[1], state and state.memory))

    def advance(
        self, features: Features, state: RecurrentState | None
    ) -> tuple[Tensor, RecurrentState]:
        """The image, (B, 1, H, W), and the state after the call."""
        state = self.observe(features, state)
        levels = [hidden for hidden, _ in state.memory]
        x = self.pyramid(*levels)
        for up, skip in zip(self.up, reversed(levels), strict=True):
            x = up(x + skip)
        # In float32 also under autocast: a sigmoid in bfloat16 has 8 bits at best.
        return self.pred(x + features[0]).float().sigmoid(), state


class ETNet(EventNetwork):
    """ET-Net, fed with spikes.

    Args:
        window: readouts the network sees.
        num_bins: readouts (or bins) of a call.
        feeding: how a window becomes calls (`event_adapter.Feeding`).
        channels: width of the head, 32 as published; the transformers are 8 times as wide.
        dropout: of the transformers, in training; 0.1 as published.
        output_scale: as in `Network`. The sigmoid ends at 1, so at 1.0 (firing rates) the network
            reaches every intensity at any light scale.

    Raises:
        ConfigError: the window does not fit the feeding, channels < 1, or dropout not in [0, 1).
    """

    published_names = (
        (r"^head\.conv2d\.", "core.encoder.head."),
        (r"^DownsampleConv\.(\d)\.conv\.conv2d\.", r"core.encoder.down.\1."),
        (r"^DownsampleConv\.(\d)\.recurrent_block\.Gates\.", r"core.encoder.lstm.\1.gates."),
        (r"^trans_encoder(\d)\.encoder\.layers\.", r"core.pyramid.encoders.\1."),
        (r"^trans_decoder(\d)\.decoder\.layers\.", r"core.pyramid.decoders.\1."),
        (r"^split(\d)\.", r"core.pyramid.split\1."),
        (r"^UpsampleConv\.(\d)\.conv2d\.", r"core.up.\1.conv."),
        (r"^pred\.conv2d\.", "core.pred."),
    )

    def __init__(
        self,
        window: int = 61,
        num_bins: int = 21,
        feeding: Feeding = "key_frame",
        channels: int = 32,
        dropout: float = 0.1,
        output_scale: float | None = 1.0,
    ) -> None:
        if channels < 1:
            raise ConfigError(f"channels must be at least 1, found {channels}.")
        if not 0 <= dropout < 1:
            raise ConfigError(f"dropout must be in [0, 1), found {dropout}.")
        super().__init__(
            EITR(num_bins, channels, dropout),
            num_bins=num_bins,
            window=window,
            feeding=feeding,
            output_scale=output_scale,
        )
