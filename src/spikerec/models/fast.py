"""Fast: a small convolutional network made for CPUs, and the one whose weights ship.

No paper describes it. A spike camera is a first-order sigma-delta converter, so smooth temporal
filters read far more from a window than its mean does (their error falls faster than 1/T). The
network therefore begins with learned temporal filters over all readouts, started as Hann windows of
several lengths and places, and spends the rest of its operations at a half, a quarter (and an
eighth) of the resolution, where motion between the filters' images spans few pixels.

How long a filter should be depends on the motion: the longest is best where nothing moves, and
blurs what does. The network therefore has the images of a bank of fixed windows too, long to short
and on either side of the key readout, and chooses among them for each pixel by a softmax. The image
is the chosen mixture plus a correction: no normalisation, no temporal loop, no warping.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikerec.errors import ConfigError
from spikerec.models.base import Network, Reconstruction, check_window
from spikerec.models.hann import hann_weights

BASE_LENGTH = 31  # of the Hann window that one image for all pixels starts from: TFP's best on REDS
SHORTEST = 9  # of the learned filters' Hann windows at the start


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x))), which starts near the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        with torch.no_grad():
            self.second.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) → (B, C, h, w)."""
        correction: Tensor = self.second(F.relu(self.first(x), inplace=True))
        return x + correction


class Fast(Network):
    """Temporal filters, then a residual U-Net from half resolution down.

    The image is a firing rate (or intensity at `output_scale`), not clipped.

    Args:
        window: readouts the network sees, at least 9.
        filters: learned temporal filters.
        channels: width at 1/2, 1/4, … of the resolution.
        blocks: residual blocks at each of these; above the last, half of them (rounded up) lie
            before going down and the others after coming back.
        choice: choose for each pixel among the images of the bank; else the image is that of one
            more learned filter, for all pixels, plus the correction.
        centred: lengths of the bank's Hann windows around the key readout, in readouts.
        halved: lengths of the Hann windows whose halves, before and after the key readout, are in
            the bank too.
        correction: add to the chosen mixture an image of the network's own.
        output_scale: as in `Network`.

    Raises:
        ConfigError: `channels` and `blocks` of different lengths, a window below 9, a bank without
            a centred window, or neither a correction nor anything to choose.
    """

    starts_linear = True
    settled_by_weights = ("output_scale", "choice")
    bank: Tensor

    def __init__(
        self,
        window: int = 61,
        filters: int = 12,
        channels: Sequence[int] = (32, 64),
        blocks: Sequence[int] = (2, 2),
        choice: bool = True,
        centred: Sequence[int] = (61, 41, 27, 17, 11, 7),
        halved: Sequence[int] = (61, 27, 11),
        correction: bool = True,
        output_scale: float | None = 1.0,
    ) -> None:
        super().__init__(window, output_scale)
        if not channels or len(channels) != len(blocks):
            raise ConfigError(
                "channels and blocks must name a number for each resolution, found "
                f"{list(channels)} and {list(blocks)}."
            )
        if window < SHORTEST:
            raise ConfigError(f"window must be at least {SHORTEST}, found {window}.")
        if not centred or min(*centred, *halved, 1) < 1:
            raise ConfigError(
                "centred and halved must hold lengths from 1 up, centred at least one, found "
                f"{list(centred)} and {list(halved)}."
            )
        if not correction and (not choice or len(centred) + len(halved) == 1):
            raise ConfigError(
                "correction must be true where there is nothing to choose, found "
                f"correction=false with choice={str(choice).lower()} among the centred "
                f"windows {list(centred)}."
            )
        self.multiple = 2 ** len(channels)  # type: ignore[misc]  # a class's own elsewhere
        self.filters = filters
        self.width = channels[0]
        self.lengths = tuple(centred), tuple(halved)
        self.correction = correction
        self._make_ends(choice)
        self.before, self.down, self.up, self.after = (nn.ModuleList() for _ in range(4))
        for width, deeper, count in zip(channels, channels[1:], blocks, strict=False):
            first = (count + 1) // 2
            self.before.append(_blocks(width, first))
            self.down.append(nn.Conv2d(width, deeper, 2, stride=2))
            self.up.append(nn.Conv2d(deeper, 4 * width, 1))
            self.after.append(_blocks(width, count - first))
        self.bottom = _blocks(channels[-1], blocks[-1])

    def _make_ends(self, choice: bool) -> None:
        """Make the layers that depend on the bank: the first two and the last."""
        bank = _bank(self.window, *self.lengths) if choice else torch.empty(0, self.window)
        self.choices = len(bank)
        self.register_buffer("bank", bank[:, :, None, None], persistent=False)
        start = _windows(self.window, self.filters)
        start = start[1:] - bank[0] if choice else start
        self.temporal = nn.Conv2d(self.window, len(start), 1, bias=False)
        with torch.no_grad():
            self.temporal.weight.copy_(start[:, :, None, None])
        self.head = nn.Conv2d(4 * (self.choices + self.filters), self.width, 3, padding=1)
        self.tail = nn.Conv2d(self.width, 4 * (self.correction + self.choices), 3, padding=1)
        for parameter in self.tail.parameters():
            nn.init.zeros_(parameter)

    @property
    def floating(self) -> tuple[str, ...]:
        """The first two convolutions, the last, and the last block and one more at half resolution.

        Roundings in these reach every pixel. In 8 bits `head` would cost dim still scenes 5.6 dB,
        `tail` 3.6 dB and the block 0.4 dB; all others together cost 0.2 dB. The range of the first
        convolution in `before.0.1` is six times as wide in bright scenes as in dim ones: it alone
        would cost dim still scenes 0.2 dB.
        """
        last = [name for name, _ in self.named_modules() if re.fullmatch(r"after\.0\.\d+", name)]
        return "temporal", "head", "before.0.1.first", *last[-1:], "tail"

    def prepare_for(self, state: Mapping[str, Tensor]) -> None:
        """Take the bank in, or leave it out, as the weights do (see `Network.prepare_for`)."""
        tail = state.get("tail.weight")
        choice = self.choices > 0
        if tail is not None and (tail.shape[0] > 4) != choice:
            self._make_ends(not choice)

    def forward(self, spikes: Tensor) -> Reconstruction:
        """Reconstruct the key readout (see `Network.forward`)."""
        check_window(spikes, self.window, self.multiple)
        # One convolution, so that the spikes are read once.
        filtered = F.conv2d(spikes, torch.cat((self.bank, self.temporal.weight)))
        seen = filtered if self.choices else filtered[:, 1:]
        x = F.pixel_unshuffle(seen, 2).contiguous(memory_format=torch.channels_last)
        x = F.relu(self.head(x))
        skips = []
        for before, down in zip(self.before, self.down, strict=True):
            x = before(x)
            skips.append(x)
            x = F.relu(down(x))
        x = self.bottom(x)
        for after, up in zip(reversed(self.after), reversed(self.up), strict=True):
            x = after(skips.pop() + F.pixel_shuffle(up(x), 2))
        x = F.pixel_shuffle(self.tail(x), 2)  # (B, correction + choices, H, W)
        image = filtered[:, :1] + x[:, :1] if self.correction else filtered[:, :1]
        if self.choices:
            shares = x[:, int(self.correction) :].softmax(1)[:, 1:]
            image = image + (filtered[:, 1 : self.choices] * shares).sum(1, keepdim=True)
        return Reconstruction(image)


def _blocks(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(channels) for _ in range(count)))


def _bank(window: int, centred: Sequence[int], halved: Sequence[int]) -> Tensor:
    """The first of the windows to choose from, and what the others differ by: (choices, window).

    Differences show, at any precision, whether anything moves or is noisy.
    """
    times = torch.arange(window, dtype=torch.float32)
    centre = window // 2
    first, *others = (hann_weights(times, centre, length) for length in centred)
    for length in halved:
        whole = hann_weights(times, centre, length)
        halves = whole * (times <= centre), whole * (times >= centre)
        others += [half / half.sum() for half in halves]
    return torch.stack([first, *(other - first for other in others)])


def _windows(window: int, filters: int) -> Tensor:
    """Temporal filters to start from, each of sum 1: (1 + filters, window).

    The first is centred and yields the image. The others are Hann windows of three lengths, spread
    evenly over the readouts.
    """
    times = torch.arange(window, dtype=torch.float32)
    centre = window // 2
    rows = [hann_weights(times, centre, min(BASE_LENGTH, window))]
    share, extra = divmod(filters, 3)
    lengths = (min(2 * SHORTEST + 1, window), SHORTEST, max(window // 2 | 1, SHORTEST))
    for length, count in zip(
        lengths, (share + (extra > 0), share + (extra > 1), share), strict=True
    ):
        # Plain numbers: a network may be built without memory, on the device `meta`.
        reach = (window - length) / 2
        step = 2 * reach / (count - 1) if count > 1 else 0.0
        first = centre - reach if count > 1 else float(centre)
        rows += [hann_weights(times, first + k * step, length) for k in range(count)]
    return torch.stack(rows)
