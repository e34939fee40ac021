"""Spk2ImgNet: high-speed images from spikes (Zhao et al., CVPR 2021, Fig. 2).

The window is cut into five short ones of 13 readouts at step 7. One extractor turns each into
features: four convolutional branches of shrinking temporal reach give four estimates of the firing
rate, a gate weighs them, and a residual trunk lifts them. The features of every short window are
aligned to those of the middle one by pyramid, cascading and deformable convolutions, weighed by a
mask and fused into the image.

Kept from the published code, as published weights need it: no activation after the last fusion of
the alignment, offset features doubled as they go up the pyramid (features, not offsets), and
estimates taken before the gate. Activations are in place, as theirs: fresh memory costs a tenth of
the time of an image. Spk2ImgNet computes firing rates: image and estimates are to be divided by the
light scale, which `Network.reconstruct` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikerec.errors import ConfigError
from spikerec.models.base import Reconstruction
from spikerec.models.blocks import BlockNetwork, Blocks
from spikerec.models.deform import DeformConv2d
from spikerec.models.padding import Padding
from spikerec.models.short_windows import check_levels, conv, fusion, upsample, window_length

#: The authors' names as patterns, and ours.
RENAMES = (
    (r"extractor\.conv0_(\d)", r"extractor.branches.\1.0"),
    (r"extractor\.conv1_(\d)", r"extractor.branches.\1.2"),
    (r"extractor\.ca\.ca_block", r"extractor.gate"),
    (r"extractor\.conv\.", r"extractor.lift."),
    (r"extractor\.net", r"extractor.trunk"),
    (r"mask(\d)\.conv0", r"masks.\1.0"),
    (r"mask(\d)\.prelu0", r"masks.\1.1"),
    (r"mask(\d)\.conv1", r"masks.\1.2"),
    (r"mask(\d)\.prelu1", r"masks.\1.3"),
    (r"mask(\d)\.conv2", r"masks.\1.4"),
    (r"rec_conv0", r"fuse.0"),
    (r"rec_conv1", r"fuse.2"),
    (r"rec_conv2", r"fuse.4"),
    (r"pcd_align\.fea_(L\d)_conv1", r"pyramid.\1.0"),
    (r"pcd_align\.fea_(L\d)_conv2", r"pyramid.\1.2"),
    (r"pcd_align\.pcd_align\.cas_", r"align.cascade."),
    (r"pcd_align\.pcd_align\.(L\d)_", r"align.levels.\1."),
    (r"offset_conv1(_1)?\b", r"offset_in"),
    (r"(L3|cascade)\.offset_conv2(_1)?\b", r"\1.offset_out"),
    (r"offset_conv2_1\b", r"offset_join"),
    (r"offset_conv3_1\b", r"offset_out"),
    (r"fea_conv_1\b", r"join"),
    (r"dcnpack(_1)?\.conv_offset_mask", r"deform.guide"),
    (r"dcnpack(_1)?\b", r"deform.deform"),
)

#: Channels between the two convolutions of a branch.
BRANCH_CHANNELS = 16


class Spk2ImgNet(BlockNetwork):
    """Spk2ImgNet; the defaults are the published network.

    In training mode it returns `estimates`: for each short window, from first to last, (B,
    branches, H, W) rates at its centre.

    Args:
        num_windows: N, odd: short windows, the middle one being the reference.
        win_r: readouts of a short window on each side of its centre.
        win_step: readouts from one centre to the next.
        channels: width of the features.
        branches: estimates per short window; branch b leaves out b readouts at both ends.
        gate: weigh the estimates by attention before lifting them.
        depth: residual blocks of the extractor.
        align: align neighbours to the reference; else their features are fused as they are.
        levels: levels of the alignment's pyramid, 1 to 3.
        cascade: end the alignment with a deformable convolution of its own.
        modulation: deformable convolutions weigh their samples.
        deform_groups: runs of channels with offsets of their own.
        mask_fusion: weigh aligned features by masks before fusion.
        output_scale: see `Network`; 1 since the image is in rates.

    Raises:
        ConfigError: a value out of its range.
    """

    multiple: ClassVar[int] = 4
    padding: ClassVar[Padding] = Padding("symmetric", "end")
    provides: ClassVar[tuple[str, ...]] = ("estimates",)
    image_extras = provides
    published_names = RENAMES

    def __init__(
        self,
        *,
        num_windows: int = 5,
        win_r: int = 6,
        win_step: int = 7,
        channels: int = 64,
        branches: int = 4,
        gate: bool = True,
        depth: int = 10,
        align: bool = True,
        levels: int = 3,
        cascade: bool = True,
        modulation: bool = True,
        deform_groups: int = 8,
        mask_fusion: bool = True,
        output_scale: float | None = 1.0,
    ) -> None:
        super().__init__(window_length(num_windows, win_r, win_step), output_scale)
        check_levels(levels)
        if not 1 <= branches <= win_r + 1:
            raise ConfigError(
                f"branches must be 1 to {win_r + 1} (each takes a readout from both ends of "
                f"{2 * win_r + 1}), found {branches}."
            )
        self.blocks = Blocks(2 * win_r + 1, win_step, num_windows)
        self.extractor = Extractor(2 * win_r + 1, branches, gate, channels, depth)
        self.pyramid = nn.ModuleDict(
            {
                f"L{level}": nn.Sequential(
                    conv(channels, channels, stride=2),
                    nn.LeakyReLU(0.1, inplace=True),
                    conv(channels, channels),
                    nn.LeakyReLU(0.1, inplace=True),
                )
                for level in range(2, levels + 1 if align else 2)
            }
        )
        self.align = (
            PCDAlign(channels, levels, cascade, deform_groups, modulation) if align else None
        )
        neighbours = [k for k in range(num_windows) if k != num_windows // 2]
        self.masks = nn.ModuleDict(
            {str(k): fusion_mask(channels) for k in neighbours if mask_fusion}
        )
        self.fuse = fusion(num_windows, channels)

    def encode(self, block: Tensor) -> tuple[Tensor, ...]:
        """Feature pyramid of a short window from full size down, then its estimates."""
        feature, estimates = self.extractor(block)
        features = [feature]
        for down in self.pyramid.values():
            features.append(down(features[-1]))
        return (*features, estimates)

    def join(self, features: Sequence[tuple[Tensor, ...]]) -> Reconstruction:
        """Align each short window's features to the middle one's, weigh and fuse them."""
        middle = len(features) // 2
        reference = features[middle][:-1]
        aligned = []
        for k, (*neighbour, _) in enumerate(features):
            x = neighbour[0]
            if k != middle:
                x = x if self.align is None else self.align(neighbour, reference)
                if self.masks:
                    x = x * self.masks[str(k)](torch.cat((x, reference[0]), 1))
            aligned.append(x)
        image = self.fuse(torch.cat(aligned, 1)).to(self.dtype)
        estimates = tuple(estimates.to(self.dtype) for *_, estimates in features)
        return Reconstruction(image, {"estimates": estimates} if self.training else {})


class Extractor(nn.Module):
    """Features and rate estimates of one short window.

    Args:
        length: T, its readouts.
        branches: E, number of estimates.
        gate: weigh the estimates before lifting them.
        channels: C, of the features.
        depth: residual blocks.
    """

    def __init__(self, length: int, branches: int, gate: bool, channels: int, depth: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(
                conv(length - 2 * branch, BRANCH_CHANNELS),
                nn.ReLU(inplace=True),
                conv(BRANCH_CHANNELS, 1),
            )
            for branch in range(branches)
        )
        self.gate = (
            nn.Sequential(
                conv(branches, 2 * branches),
                nn.ReLU(inplace=True),
                conv(2 * branches, branches),
                nn.Sigmoid(),
            )
            if gate
            else None
        )
        self.lift = conv(branches, channels)
        self.trunk = nn.Sequential(*(ResidualBlock(channels) for _ in range(depth)))

    def forward(self, block: Tensor) -> tuple[Tensor, Tensor]:
        """Spikes (B, T, H, W) → features (B, C, H, W), estimates (B, E, H, W)."""
        length = block.shape[1]
        estimates = torch.cat(
            [branch(block[:, b : length - b]) for b, branch in enumerate(self.branches)], 1
        )
        gated = estimates if self.gate is None else self.gate(estimates) * estimates
        feature = F.relu_(self.lift(gated))
        return self.trunk(feature) + feature, estimates


class ResidualBlock(nn.Module):
    """Three convolutions around which the input passes."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = conv(channels, channels)
        self.conv2 = conv(channels, channels)
        self.conv3 = conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, H, W)."""
        y = F.relu_(self.conv2(F.relu_(self.conv1(x))))
        return F.relu_(self.conv3(y).add_(x))


class PCDAlign(nn.Module):
    """Pyramid, cascading and deformable alignment (EDVR, Wang et al., CVPR Workshops 2019).

    Args:
        channels: C, of the features.
        levels: of the pyramid.
        cascade: align once more at full size.
        groups: runs of channels with offsets of their own.
        modulation: weigh the samples.
    """

    def __init__(
        self, channels: int, levels: int, cascade: bool, groups: int, modulation: bool
    ) -> None:
        super().__init__()
        self.levels = nn.ModuleDict(
            {
                f"L{level}": AlignLevel(
                    channels, groups, modulation, coarsest=level == levels, finest=level == 1
                )
                for level in range(1, levels + 1)
            }
        )
        self.cascade = (
            AlignLevel(channels, groups, modulation, coarsest=True, finest=True)
            if cascade
            else None
        )

    def forward(self, neighbour: Sequence[Tensor], reference: Sequence[Tensor]) -> Tensor:
        """Feature pyramids, from full size down → the neighbour's (B, C, H, W), aligned."""
        levels = list(zip(self.levels.values(), neighbour, reference, strict=True))
        coarser: tuple[Tensor, Tensor] | None = None
        for level, x, key in reversed(levels):
            aligned, offsets = level(x, key, coarser)
            coarser = aligned, offsets
        if self.cascade is not None:
            aligned, _ = self.cascade(aligned, reference[0], None)
        result: Tensor = aligned
        return result


class AlignLevel(nn.Module):
    """One level: offset features from both pictures, a deformable convolution, the coarser level.

    Args:
        channels: C, of the features.
        groups: runs of channels with offsets of their own.
        modulation: weigh the samples.
        coarsest: no coarser level is there to join.
        finest: at full size, where the joined features stay without activation.
    """

    def __init__(
        self, channels: int, groups: int, modulation: bool, *, coarsest: bool, finest: bool
    ) -> None:
        super().__init__()
        self.offset_in = conv(2 * channels, channels)
        self.offset_join = None if coarsest else conv(2 * channels, channels)
        self.offset_out = conv(channels, channels)
        self.deform = GuidedDeformConv2d(channels, groups, modulation)
        self.join = None if coarsest else conv(2 * channels, channels)
        self.finest = finest

    def forward(
        self, x: Tensor, reference: Tensor, coarser: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor]:
        """Align x to the reference, both (B, C, h, w).

        `coarser`, like the result, is the aligned features and the offset features.
        """
        offsets = lrelu(self.offset_in(torch.cat((x, reference), 1)))
        if self.offset_join is not None and coarser is not None:
            # doubled as offsets in pixels would be, though these are features
            offsets = lrelu(self.offset_join(torch.cat((offsets, 2 * upsample(coarser[1])), 1)))
        offsets = lrelu(self.offset_out(offsets))
        aligned = self.deform(x, offsets)
        if self.join is None or coarser is None:
            return lrelu(aligned), offsets
        aligned = self.join(torch.cat((aligned, upsample(coarser[0])), 1))
        return aligned if self.finest else lrelu(aligned), offsets


class GuidedDeformConv2d(nn.Module):
    """Deformable convolution that draws its guide from offset features.

    It starts without offsets and with masks of 1/2.

    Args:
        channels: C, of input, offset features and output.
        groups: runs of channels with offsets of their own.
        modulation: weigh the samples by masks.
    """

    def __init__(self, channels: int, groups: int, modulation: bool) -> None:
        super().__init__()
        self.deform = DeformConv2d(channels, groups, modulation)
        self.guide = conv(channels, self.deform.guide_channels)
        for starts_at_zero in (self.deform.bias, *self.guide.parameters()):
            nn.init.zeros_(starts_at_zero)

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        """(B, C, H, W) twice → (B, C, H, W)."""
        aligned: Tensor = self.deform(x, self.guide(features))
        return aligned


def fusion_mask(channels: int) -> nn.Sequential:
    """(B, 2·C, H, W), an aligned feature and the reference → its factors (B, C, H, W) in (0, 1)."""
    return nn.Sequential(
        conv(2 * channels, channels),
        nn.PReLU(),
        conv(channels, channels),
        nn.PReLU(),
        conv(channels, channels),
        nn.Sigmoid(),
    )


def lrelu(x: Tensor) -> Tensor:
    """The alignment's activation, in place."""
    return F.leaky_relu_(x, 0.1)
