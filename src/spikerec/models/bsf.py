"""BSF: boosting spike camera reconstruction by temporal alignment (Zhao et al., CVPR 2024).

Each readout of each pixel is described by the interval between the two spikes around it and by
that interval merged with the next one, the previous one, or both (the authors' DSFT 11, 12, 21,
22: n intervals take d readouts, so the light is n / d). These volumes are cut into five short
windows, whose features are aligned to the middle one's by attention and deformable convolutions on
a pyramid, coarse to fine, and fused into an image in firing rates.

Kept from the published code, as published weights need it:

* A level takes the coarser level's features one place late from the middle on (`right_pairing`).
* The merge towards the next interval is written for intervals that own their first spike, while
  the authors' preparation makes intervals that own their last (`interval`); with these the merge
  mostly repeats the interval itself.
* What goes up the pyramid is the raw guide of the deformable convolution, mask logits included.

Not kept: the authors measure intervals on the whole recording; here the network sees its window
alone (see `measure_intervals`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikerec.errors import ConfigError
from spikerec.models.base import Network, Reconstruction, check_window
from spikerec.models.deform import DeformConv2d
from spikerec.models.padding import Padding
from spikerec.models.short_windows import check_levels, conv, fusion, upsample, window_length
from spikerec.spikes.representations import isi, running_maximum

Interval = Literal["right_closed", "left_closed"]

#: The value that the authors store, in 8 bits, where an interval is longer or has no end.
LONGEST_INTERVAL = 255

#: Intervals in a merged one.
MERGED_COUNTS = {12: 2, 21: 2, 22: 3}

#: Added to the attention's logits outside the picture; the authors' stand-in for -∞.
OUTSIDE_LOGIT = -99.0

#: The authors' names as patterns, and ours.
RENAMES = (
    (r"^rep\.conv1\.", r"representation.first."),
    (r"^rep\.conv_for_others\.", r"representation.others."),
    (r"^rep\.conv_fuse\.", r"representation.fuse."),
    (r"^encoder\.conv_list\.", r"encoder."),
    (r"^align\.conv_ds_(L\d)\.", r"pyramid.\1."),
    (r"^align\.kpa\.", r"align.attention."),
    (r"^align\.deform_conv\.", r"align.deform."),
    (r"^align\.align_(L\d)\.", r"align.levels.\1."),
    (r"\.offset_conv_1\.", r".guide."),
    (r"\.offset_conv2_1\.", r".guide_join."),
    (r"\.fuse_feat\.", r".join."),
    (r"^recons\.", r"fuse."),
)


class Intervals(NamedTuple):
    """Interval lengths in readouts, each (B, T, H, W) of integers ≥ 1.

    Attributes:
        dsft11: the interval around the readout.
        dsft12: with the next interval added.
        dsft21: with the previous one added.
        dsft22: with both added.
    """

    dsft11: Tensor
    dsft12: Tensor
    dsft21: Tensor
    dsft22: Tensor


class BSF(Network):
    """BSF; the defaults are the published network.

    Spike-Zoo's variant of 41 readouts is `win_r=6, win_step=7`.

    Args:
        num_windows: N, odd: short windows, the middle one being the reference.
        win_r: readouts of a short window on each side of its centre.
        win_step: readouts from one centre to the next.
        channels: width of the features.
        representation: `intervals`, or the `spikes` themselves.
        interval: which end of an interval owns its spike, see `measure_intervals`. The authors
            trained on right_closed, Spike-Zoo runs their weights on left_closed.
        merged: merged intervals to add, of 12 (with the next), 21 (the previous), 22 (both).
        align: align neighbours to the reference; else their features are fused as they are.
        levels: levels of the alignment's pyramid, 1 to 3.
        attention: attend to the reference before each deformable convolution.
        cell: side of the attention's cells; each attends to 3 × 3 cells.
        deform_groups: runs of channels with offsets of their own.
        memory: fuse a level's features with the coarser level's.
        right_pairing: fuse each neighbour with its own coarser features; false as published, where
            the neighbours after the reference meet those of the window before them (the first of
            these is the reference itself). Never true with published weights.
        output_scale: see `Network`; 1 since the image is in rates.

    Raises:
        ConfigError: a value out of its range, or merged intervals of spikes.
    """

    multiple: ClassVar[int] = 4
    padding: ClassVar[Padding] = Padding("symmetric", "end")
    published_names = RENAMES

    def __init__(
        self,
        *,
        num_windows: int = 5,
        win_r: int = 10,
        win_step: int = 10,
        channels: int = 64,
        representation: Literal["intervals", "spikes"] = "intervals",
        interval: Interval = "right_closed",
        merged: Sequence[int] = (12, 21, 22),
        align: bool = True,
        levels: int = 3,
        attention: bool = True,
        cell: int = 3,
        deform_groups: int = 4,
        memory: bool = True,
        right_pairing: bool = False,
        output_scale: float | None = 1.0,
    ) -> None:
        super().__init__(window_length(num_windows, win_r, win_step), output_scale)
        check_levels(levels)
        _check_representation(representation, interval, merged)
        self.num_windows, self.win_step = num_windows, win_step
        self.win_length = 2 * win_r + 1
        self.interval: Interval | None = interval if representation == "intervals" else None
        self.merged = tuple(merged)
        self.representation = Representation(self.win_length, channels, len(merged))
        self.encoder = nn.Sequential(*(ResidualPair(channels) for _ in range(4)))
        self.pyramid = nn.ModuleDict(
            {
                f"L{level}": pair(channels, channels, stride=2)
                for level in range(2, levels + 1 if align else 2)
            }
        )
        self.align = (
            BidirectionalAlign(
                channels,
                levels,
                cell=cell if attention else None,
                groups=deform_groups,
                memory=memory,
                right_pairing=right_pairing,
            )
            if align
            else None
        )
        self.fuse = fusion(num_windows, channels)

    def forward(self, spikes: Tensor) -> Reconstruction:
        """See `Network.forward`."""
        check_window(spikes, self.window, self.multiple)
        if self.interval is None:
            return self._reconstruct_from([spikes])
        return self.from_intervals(
            merge_intervals(measure_intervals(spikes, self.interval), spikes)
        )

    def from_intervals(self, intervals: Intervals) -> Reconstruction:
        """The image from interval volumes prepared elsewhere, each (B, window, H, W)."""
        counts = {11: 1} | {name: MERGED_COUNTS[name] for name in self.merged}
        return self._reconstruct_from(
            [
                count / getattr(intervals, f"dsft{name}").to(self.dtype)
                for name, count in counts.items()
            ]
        )

    def _reconstruct_from(self, volumes: list[Tensor]) -> Reconstruction:
        """The image from estimates of the light, (B, window, H, W) each."""
        starts = range(0, self.num_windows * self.win_step, self.win_step)
        features = [
            self.encoder(
                self.representation(
                    [
                        torch.cat([volume[:, t : t + self.win_length] for t in starts])
                        for volume in volumes  # (N·B, win_length, H, W)
                    ]
                )
            )
        ]
        for down in self.pyramid.values():
            features.append(down(features[-1]))
        windows = [list(level.chunk(self.num_windows)) for level in features]
        aligned = windows[0] if self.align is None else self.align(windows)
        return Reconstruction(self.fuse(torch.cat(aligned, 1)).to(self.dtype))


class Representation(nn.Module):
    """Features of the interval's light, and of the merged intervals' fused into them.

    Args:
        length: T, readouts of a short window.
        channels: C, of the features.
        num_merged: merged volumes beside the first.
    """

    def __init__(self, length: int, channels: int, num_merged: int) -> None:
        super().__init__()
        self.first = pair(length, channels)
        self.others = nn.ModuleList(pair(channels, channels) for _ in range(num_merged))
        self.fuse = pair(num_merged * channels, channels) if num_merged else None

    def forward(self, volumes: Sequence[Tensor]) -> Tensor:
        """1 + num_merged volumes (B, T, H, W) → (B, C, H, W)."""
        feature: Tensor
        feature, *others = (self.first(volume) for volume in volumes)
        if self.fuse is not None:
            merged = [convs(x) for convs, x in zip(self.others, others, strict=True)]
            feature = feature + self.fuse(torch.cat(merged, 1))
        return feature


class ResidualPair(nn.Sequential):
    """Two convolutions around which the input passes."""

    def __init__(self, channels: int) -> None:
        super().__init__(*pair(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, H, W)."""
        conv1, relu, conv2 = self
        y: Tensor = conv2(relu(conv1(x))) + x
        return F.relu(y)


class BidirectionalAlign(nn.Module):
    """Align windows before and after the middle one to it, level by level, coarse to fine.

    One attention and one deformable convolution are shared by all levels and neighbours.

    Args:
        channels: C, of the features.
        levels: of the pyramid.
        cell: side of the attention's cells; None for no attention.
        groups: runs of channels with offsets of their own.
        memory: fuse a level's features with the coarser level's.
        right_pairing: each with its own, see `BSF`.
    """

    def __init__(
        self,
        channels: int,
        levels: int,
        *,
        cell: int | None,
        groups: int,
        memory: bool,
        right_pairing: bool,
    ) -> None:
        super().__init__()
        self.attention = None if cell is None else CellAttention(channels, cell)
        self.deform = DeformConv2d(channels, groups)
        self.levels = nn.ModuleDict(
            {
                f"L{level}": AlignLevel(
                    channels, self.deform.guide_channels, coarsest=level == levels, memory=memory
                )
                for level in range(1, levels + 1)
            }
        )
        self.right_pairing = right_pairing

    def forward(self, pyramid: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """Levels from full size down, each of N windows (B, C, h, w) → N aligned at full size."""
        middle = len(pyramid[0]) // 2
        neighbours = [k for k in range(len(pyramid[0])) if k != middle]
        coarser = neighbours if self.right_pairing else range(len(neighbours))
        aligned: list[Tensor] = []
        guides: dict[int, Tensor] = {}
        levels = list(zip(self.levels.values(), pyramid, strict=True))
        for level, windows in reversed(levels):
            previous, aligned = aligned, list(windows)
            for k, other in zip(neighbours, coarser, strict=True):
                x = windows[k]
                if self.attention is not None:
                    x = self.attention(windows[middle], x)
                below = (previous[other], guides[k]) if previous else None
                aligned[k], guides[k] = level(x, windows[middle], self.deform, below)
        return aligned


class AlignLevel(nn.Module):
    """The convolutions that a level does not share: those of its guide and of its memory.

    Args:
        channels: C, of the features.
        guide_channels: G, of the deformable convolution's guide.
        coarsest: no coarser level is there to join.
        memory: fuse features with the coarser level's.
    """

    def __init__(self, channels: int, guide_channels: int, *, coarsest: bool, memory: bool) -> None:
        super().__init__()
        self.guide = pair(2 * channels, guide_channels if coarsest else channels, channels)
        self.guide_join = (
            None if coarsest else pair(channels + guide_channels, guide_channels, channels)
        )
        self.join = pair(2 * channels, channels) if memory and not coarsest else None

    def forward(
        self,
        x: Tensor,
        reference: Tensor,
        deform: DeformConv2d,
        coarser: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, Tensor]:
        """Align x to the reference, both (B, C, h, w).

        `coarser`, like the result, is the aligned features and the guide.
        """
        guide = self.guide(torch.cat((x, reference), 1))
        if self.guide_join is not None and coarser is not None:
            guide = self.guide_join(torch.cat((guide, upsample(coarser[1])), 1))
        aligned = deform(x, guide)
        if self.join is not None and coarser is not None:
            aligned = self.join(torch.cat((aligned, upsample(coarser[0])), 1))
        return aligned, guide


class CellAttention(nn.Module):
    """Each cell of the reference attends to the 3 × 3 cells around it in another picture.

    The result is added to that picture, times γ, which starts at 0.

    Args:
        channels: C, of the features.
        cell: s, side of a cell in pixels.
    """

    def __init__(self, channels: int, cell: int) -> None:
        super().__init__()
        if cell < 1:
            raise ConfigError(f"cell must be at least 1, found {cell}.")
        self.cell = cell
        self.to_q = nn.Conv2d(channels, channels, 1, bias=False)
        self.to_k = nn.Conv2d(channels, channels, 1, bias=False)
        self.to_v = nn.Conv2d(channels, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, reference: Tensor, x: Tensor) -> Tensor:
        """Both (B, C, H, W) → (B, C, H, W)."""
        height, width = x.shape[-2:]
        s = self.cell
        inside = x.new_ones(1, 1, height, width)
        query = _cells(self.to_q(reference), s).flatten(1, 2)  # (B, n, s², C)
        outside = (1 - _around(inside, s)) * OUTSIDE_LOGIT  # (1, n, 9·s², 1)
        key = _around(self.to_k(x), s)  # (B, n, 9·s², C)
        logits = (query * x.shape[1] ** -0.5) @ key.mT + outside.mT  # (B, n, s², 9·s²)
        cells = logits.softmax(-1) @ _around(self.to_v(x), s)  # (B, n, s², C)
        attended = _picture(cells, -(-height // s), -(-width // s))
        return x + self.gamma * attended[..., :height, :width]


def _cells(x: Tensor, size: int) -> Tensor:
    """Square cells of (B, C, H, W), zero to the right and below: (B, rows, columns, size², C)."""
    batch, channels, height, width = x.shape
    rows, columns = -(-height // size), -(-width // size)
    x = F.pad(x, (0, -width % size, 0, -height % size))
    x = x.reshape(batch, channels, rows, size, columns, size)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(batch, rows, columns, size**2, channels)


def _around(x: Tensor, size: int) -> Tensor:
    """The 3 × 3 cells around each cell of (B, C, H, W), row-major: (B, n, 9·size², C)."""
    cells = _cells(x, size)
    rows, columns = cells.shape[1:3]
    cells = F.pad(cells, (0, 0, 0, 0, 1, 1, 1, 1))
    moved = [cells[:, i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
    return torch.cat(moved, dim=3).flatten(1, 2)


def _picture(cells: Tensor, rows: int, columns: int) -> Tensor:
    """Square cells (B, rows·columns, s², C), row-major, put together: (B, C, rows·s, columns·s)."""
    batch, _, area, channels = cells.shape
    s = math.isqrt(area)
    cells = cells.reshape(batch, rows, columns, s, s, channels)
    return cells.permute(0, 5, 1, 3, 2, 4).reshape(batch, channels, rows * s, columns * s)


def measure_intervals(spikes: Tensor, interval: Interval) -> Tensor:
    """Length of the inter-spike interval that holds each readout: the authors' DSFT 11.

    right_closed: an interval owns the readout of the spike that ends it, as in the authors'
    preparation. Where no spike bounds it in the stream given, and where it is longer, the length is
    255. The authors measure on a whole recording and cut afterwards, so that their networks met 255
    in the dark only; on a window alone the readouts up to a pixel's first spike and after its last
    are 255 as well. To give such context, measure on a longer stretch of the stream, cut the
    network's window out of it and call `merge_intervals` and `BSF.from_intervals`.

    left_closed: an interval owns the readout of the spike that begins it, as in Spike-Zoo. Virtual
    spikes stand at the first readout and after the last one. No longest length.

    Args:
        spikes: (B, T, H, W), 0 and 1.
        interval: the convention.

    Returns:
        (B, T, H, W) int32, in readouts.
    """
    if interval == "left_closed":
        bounded = F.pad(spikes, (0, 0, 0, 0, 0, 1), value=1)
        bounded[:, 0] = 1
        return isi(bounded, closed="left")[:, :-1]
    length = isi(spikes, closed="right")
    return torch.where(length > 0, length, LONGEST_INTERVAL).clamp(max=LONGEST_INTERVAL)


def merge_intervals(dsft11: Tensor, spikes: Tensor) -> Intervals:
    """Add to each readout's interval the next one, the previous one, and both.

    Follows the authors' rule for left-closed intervals: the next interval is the value at the next
    spike, the previous one the value just before the last spike. With no two spikes from the
    readout on (for the next) or up to it (for the previous), the interval itself is added.

    Args:
        dsft11: (B, T, H, W) interval lengths, of either convention.
        spikes: (B, T, H, W), 0 and 1.
    """
    length = spikes.shape[1]
    t = torch.arange(length, device=spikes.device)[:, None, None]
    fired = spikes != 0
    last = running_maximum(torch.where(fired, t, -1))
    first = -running_maximum(torch.where(fired, -t, -length).flip(1)).flip(1)
    after_this = F.pad(first[:, 1:], (0, 0, 0, 0, 0, 1), value=length)
    num_up_to = fired.long().cumsum(1)
    num_after = num_up_to[:, -1:] - num_up_to
    # with one spike left after the readout, their recursion stops at the readout that follows
    towards_next = torch.where(num_after == 1, t + 1, after_this)
    towards_next = torch.where(num_after + fired < 2, t, towards_next)
    towards_previous = torch.where(num_up_to < 2, t, last - 1)
    following = dsft11.gather(1, towards_next)
    preceding = dsft11.gather(1, towards_previous)
    return Intervals(dsft11, dsft11 + following, dsft11 + preceding, dsft11 + following + preceding)


def pair(inputs: int, outputs: int, hidden: int | None = None, *, stride: int = 1) -> nn.Sequential:
    """Two convolutions with a ReLU between them; the first one takes the stride."""
    hidden = hidden or outputs
    return nn.Sequential(conv(inputs, hidden, stride), nn.ReLU(), conv(hidden, outputs))


def _check_representation(representation: str, interval: str, merged: Sequence[int]) -> None:
    if representation not in ("intervals", "spikes"):
        raise ConfigError(f"representation must be intervals or spikes, found {representation}.")
    if interval not in ("right_closed", "left_closed"):
        raise ConfigError(f"interval must be right_closed or left_closed, found {interval}.")
    if len(set(merged)) < len(merged) or not set(merged) <= set(MERGED_COUNTS):
        raise ConfigError(
            f"merged must hold 12, 21 and 22 at most once each, found {list(merged)}."
        )
    if representation == "spikes" and merged:
        raise ConfigError("representation=spikes has no intervals: set merged=[].")
