"""Modules rewritten to compute the same result faster, for a copy of a network in eval mode."""

from __future__ import annotations

from functools import singledispatch

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from spikerec.models import base_net, stir, wgse


@singledispatch
def rewritten(module: nn.Module) -> nn.Module:
    """Return a faster form of a module, which may take over its parts; itself if none is known."""
    return module


@rewritten.register
def _(embedding: stir.HybridSpikeEmbedding) -> nn.Module:
    """Merge the convolutions of the published representation."""
    is_hybrid = embedding.learned is not None and embedding.lengths
    return MergedEmbedding(embedding) if is_hybrid else embedding


@rewritten.register
def _(block: wgse.ResidualBlock) -> nn.Module:
    """Fold batch norms into the convolutions before them."""
    if isinstance(block.norm1, nn.BatchNorm2d) and isinstance(block.norm2, nn.BatchNorm2d):
        block.conv1, block.norm1 = fuse_conv_bn_eval(block.conv1, block.norm1), nn.Identity()
        block.conv2, block.norm2 = fuse_conv_bn_eval(block.conv2, block.norm2), nn.Identity()
    return block


@rewritten.register
def _(stage: base_net.Stage) -> nn.Module:
    """Fold the batch norm, if any, into the convolution before it."""
    conv, *between, activation = stage
    if not between or not isinstance(between[0], nn.BatchNorm2d):
        return stage
    assert isinstance(conv, nn.Conv2d)
    return nn.Sequential(fuse_conv_bn_eval(conv, between[0]), activation)


class MergedEmbedding(nn.Module):
    """The hybrid embedding in two convolutions, batch norms folded in, for inference.

    The nested means, the shortcut and the first convolution are all linear in the readouts, so they
    are one convolution, whose kernel has the first two in its middle column.
    """

    def __init__(self, embedding: stir.HybridSpikeEmbedding) -> None:
        super().__init__()
        learned = embedding.learned
        assert learned is not None
        first, shortcut = fuse_conv_bn_eval(learned.conv1, learned.bn1), learned.shortcut
        assert first.bias is not None
        assert shortcut.bias is not None
        length = first.in_channels
        means = first.weight.new_zeros(len(embedding.lengths), length)
        for row, size in zip(means, embedding.lengths, strict=True):
            row[(length - size) // 2 : (length + size) // 2] = 1 / size
        middle = torch.cat([means[..., None, None], shortcut.weight])  # 1 × 1 kernels
        self.sizes = [len(means), shortcut.out_channels, first.out_channels]
        self.linear = nn.Conv2d(length, sum(self.sizes), 3, padding=1)
        self.linear.weight = nn.Parameter(torch.cat([F.pad(middle, (1, 1, 1, 1)), first.weight]))
        no_bias = means.new_zeros(len(means))
        self.linear.bias = nn.Parameter(torch.cat([no_bias, shortcut.bias, first.bias]))
        self.conv2 = fuse_conv_bn_eval(learned.conv2, learned.bn2)

    def forward(self, block: Tensor) -> Tensor:
        """(B, length, H, W) → (B, channels, H, W)."""
        means, shortcut, x = self.linear(block).split(self.sizes, 1)
        return torch.cat([means, F.relu_(self.conv2(F.relu(x)).add_(shortcut))], 1)
