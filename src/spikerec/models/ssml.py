"""SSML: self-supervised mutual learning of a network that is blind to a pixel and one that is not.

Chen et al., "Self-Supervised Mutual Learning for Dynamic Scene Reconstruction of Spiking Camera",
IJCAI 2022. The *teacher* is a blind-spot network: it predicts a pixel from all others, so it cannot
copy the noise of the classical image that it is fitted to. The *student*, an ordinary network, is
fitted to the teacher, and alone makes the images once training is over. No true image is needed
(`spikerec.losses.blind`).

Two networks of the published code go by this name. `fin3g` (Spike-Zoo, and the authors' "3g"
weights) has a four-way U-Net with motion features on both sides; `lite` (SpikeCV) has a plain U-Net
as its student and no motion features.

Departures from the published code:

* The inverse interval is computed once for a window, by array operations, in place of five times by
  a loop over pixels on the CPU.
* The teacher pads a picture that is not square with zeros. The published fin3g reflects it, which
  shows the teacher the pixel that it must not see; on square crops there is no difference.
* The teacher of fin3g does without two gates that the published one holds and never uses.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from itertools import pairwise
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikerec.errors import ConfigError, InputError, WeightsError
from spikerec.models.base import Network, Reconstruction, check_window
from spikerec.spikes.representations import inverse_interval

Form = Literal["fin3g", "lite"]
Border = Literal["zeros", "reflect"]

#: Published names as patterns, and ours; a student's weights alone have no prefix.
RENAMES = (
    (r"^(?=enc\d|dec\d|unet|nin_|MotionInference)", "nbsn."),
    (r"^nbsn\.", "student."),
    (r"^bsn\.", "teacher."),
    (r"MotionInference\.conv(\d)", r"motion.averages.\1"),
    (r"MotionInference\.tfpconv", "motion.of_averages"),
    (r"MotionInference\.tficonv", "motion.of_interval"),
    (r"MotionInference\.SpatialGate\.spatial\.conv", "motion.gates.spatial"),
    (r"MotionInference\.ChannelGate\.mlp\.1", "motion.gates.channel.0"),
    (r"MotionInference\.ChannelGate\.mlp\.3", "motion.gates.channel.2"),
    (r"nin_A", "head.0"),
    (r"nin_B", "head.2"),
    (r"nin_C", "head.4"),
)
#: Parts of the published teacher that it never uses.
UNUSED = ("bsn.MotionInference.SpatialGate.", "bsn.MotionInference.ChannelGate.")

#: Readouts on each side of the interval's search.
SEARCH = 12
#: Lengths of the learned averages.
AVERAGES = (11, 19, 27)
#: Channels of the motion features.
MOTION_CHANNELS = 16
#: Channels between the four-way U-Net and its head.
WIDTH = 96
#: The side below which two poolings leave nothing.
SMALLEST = 4


class SSML(Network):
    """Student and blind-spot teacher; the defaults are the published fin3g.

    The image is a firing rate, not clipped. In training mode the teacher's image is returned as
    `blind`, (B, 1, H, W). Of the published weights, the authors' own of fin3g give intensity at a
    light scale of 0.6 instead: import them with output_scale=0.6.

    Args:
        window: readouts the network sees, at least 27.
        form: `fin3g`, or `lite` without turns and motion features in the student.
        teacher: hold the teacher, without which the network cannot be trained by `loss=ssml`. Where
            weights hold none, the network drops it.
        output_scale: see `Network`.

    Raises:
        ConfigError: an unknown form, or a window shorter than the longest average.
    """

    provides: ClassVar[tuple[str, ...]] = ("blind",)
    image_extras = provides
    published_names = RENAMES
    settled_by_weights = ("output_scale", "teacher")

    def __init__(
        self,
        window: int = 41,
        form: Form = "fin3g",
        teacher: bool = True,
        output_scale: float | None = 1.0,
    ) -> None:
        super().__init__(window, output_scale)
        if form not in ("fin3g", "lite"):
            raise ConfigError(f"form must be fin3g or lite, found {form!r}.")
        if window < max(AVERAGES):
            raise ConfigError(f"window must be at least {max(AVERAGES)}, found {window}.")
        self.form = form
        moves = form == "fin3g"
        self.student = FourWay(window, motion=True) if moves else UNet(window, 1, is_blind=False)
        self.teacher: FourWay | None = FourWay(window, motion=moves, is_blind=True, border="zeros")
        if not teacher:
            self._drop_teacher()

    @classmethod
    def from_published(cls, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Network.from_published`; a student's weights alone may lack their prefix."""
        used = {name: value for name, value in state.items() if not name.startswith(UNUSED)}
        return super().from_published(used)

    def prepare_for(self, state: Mapping[str, Tensor]) -> None:
        """Drop the teacher where weights hold a student alone (see `Network.prepare_for`).

        Raises:
            WeightsError: the weights are those of the other form.
        """
        found = {
            form
            for form, start in (("lite", "student.enc1."), ("fin3g", "student.unet."))
            if any(name.startswith(start) for name in state)
        }
        if found and self.form not in found:
            raise WeightsError(
                f"these are weights of SSML's form {found.pop()}, and the network is {self.form}: "
                "choose the method ssml_lite for lite, ssml for fin3g."
            )
        if state and all(name.startswith("student.") for name in state):
            self._drop_teacher()

    def _drop_teacher(self) -> None:
        self.teacher = None
        self.provides = ()  # type: ignore[misc]  # a class's own elsewhere

    def forward(self, spikes: Tensor) -> Reconstruction:
        """Reconstruct the key readout (see `Network.forward`)."""
        check_window(spikes, self.window)
        if min(spikes.shape[-2:]) < SMALLEST:
            height, width = spikes.shape[-2:]
            raise InputError(
                f"spikes must have sides of at least {SMALLEST} pixels, found {height} × {width}."
            )
        image = self.student(spikes).to(self.dtype)
        if not self.training or self.teacher is None:
            return Reconstruction(image)
        return Reconstruction(image, {"blind": self.teacher(spikes).to(self.dtype)})


class FourWay(nn.Module):
    """A U-Net on a picture turned four ways, its features turned back and joined.

    Blind, the U-Net sees only the rows above a pixel, so that the four turns together see all
    pixels but that one.

    Args:
        window: readouts in.
        motion: feed the U-Net motion features beside the readouts.
        is_blind: do not see the pixel itself.
        border: what makes a picture square.
    """

    def __init__(
        self, window: int, *, motion: bool, is_blind: bool = False, border: Border = "reflect"
    ) -> None:
        super().__init__()
        self.is_blind = is_blind
        self.border = border
        self.motion = Motion(window, is_blind=is_blind) if motion else None
        self.unet = UNet(window + (MOTION_CHANNELS if motion else 0), WIDTH, is_blind=is_blind)
        self.head = nn.Sequential(
            nn.Conv2d(4 * WIDTH, 4 * WIDTH, 1, bias=False),
            nn.LeakyReLU(0.1),
            nn.Conv2d(4 * WIDTH, WIDTH, 1, bias=False),
            nn.LeakyReLU(0.1),
            nn.Conv2d(WIDTH, 1, 1, bias=False),
        )

    def forward(self, spikes: Tensor) -> Tensor:
        """Spikes (B, T, H, W) → image (B, 1, H, W)."""
        height, width = spikes.shape[-2:]
        top, left = max(width - height, 0) // 2, max(height - width, 0) // 2
        x = turned(squared(spikes, self.border))  # (4·B, T, S, S)
        if self.motion is not None:
            x = torch.cat((x, self.motion(x)), 1)
        x = self.unet(x)
        if self.is_blind:
            x = shifted_down(x)
        image: Tensor = self.head(turned_back(x))
        return image[..., top : top + height, left : left + width]


class Motion(nn.Module):
    """Motion features: learned averages of three lengths, and the inverse interval.

    Args:
        window: readouts in.
        is_blind: see only the rows above a pixel, and do without gates, which see the whole
            picture.
    """

    def __init__(self, window: int, *, is_blind: bool) -> None:
        super().__init__()
        self.key = window // 2
        self.averages = nn.ModuleList(nn.Conv2d(length, 1, 1, bias=False) for length in AVERAGES)
        self.of_averages = Conv(len(AVERAGES), MOTION_CHANNELS, is_blind=is_blind)
        self.of_interval = Conv(1, MOTION_CHANNELS, is_blind=is_blind)
        self.gates = None if is_blind else Gates(MOTION_CHANNELS)

    def forward(self, spikes: Tensor) -> Tensor:
        """Spikes (B, T, H, W) → (B, 16, H, W)."""
        averages = [
            average(spikes[:, self.key - length // 2 : self.key + length // 2 + 1])
            for average, length in zip(self.averages, AVERAGES, strict=True)
        ]
        slow = self.of_averages(torch.cat(averages, 1))
        fast = self.of_interval(inverse_interval(spikes, self.key, SEARCH))
        if self.gates is None:
            total: Tensor = slow + fast
            return total
        gated: Tensor = self.gates(slow, fast)
        return gated


class Gates(nn.Module):
    """Attention over places, then over channels (the gates of Woo et al., ECCV 2018).

    The channels' gate looks at the whole picture, so that tiles of it are gated otherwise.

    Args:
        channels: C, in and out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(2, 1, 7, padding=3, bias=False)
        hidden = channels // 4
        self.channel = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels)
        )

    def forward(self, slow: Tensor, fast: Tensor) -> Tensor:
        """Two kinds of features, (B, C, H, W) each → their gated sum, (B, C, H, W)."""
        x = slow * self._where(slow) + fast * self._where(fast)
        weights = self.channel(x.mean((-2, -1))) + self.channel(x.amax((-2, -1)))
        gated: Tensor = x * weights.sigmoid()[..., None, None]
        return gated

    def _where(self, x: Tensor) -> Tensor:
        """Factors in (0, 1) of each place, (B, 1, H, W): one gate for both kinds of features."""
        over_channels = torch.cat((x.amax(1, keepdim=True), x.mean(1, keepdim=True)), 1)
        return torch.sigmoid(self.spatial(over_channels))


class UNet(nn.Module):
    """A U-Net of three resolutions, whose last skip is the input itself.

    Args:
        inputs: channels in.
        outputs: channels out, after a leaky ReLU too.
        is_blind: row r of the output sees rows of the input up to r alone.
    """

    def __init__(self, inputs: int, outputs: int, *, is_blind: bool) -> None:
        super().__init__()
        self.is_blind = is_blind
        self.enc1 = _stage((inputs, 48, 48, 48), is_blind)
        self.enc2 = _stage((48, 48, 48, 48), is_blind)
        self.enc3 = _stage((48, 96, 96, 48), is_blind)
        self.dec2 = _stage((96, 96, 96, 96, 96), is_blind)
        self.dec1 = _stage((96 + inputs, 96, 96, 96, outputs), is_blind)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H, W)."""
        half = self._pooled(self.enc1(x))
        y = self.enc3(self._pooled(self.enc2(half)))  # (B, 48, H/4, W/4)
        y = self.dec2(_joined(y, half))  # (B, 96, H/2, W/2)
        image: Tensor = self.dec1(_joined(y, x))
        return image

    def _pooled(self, x: Tensor) -> Tensor:
        return F.max_pool2d(shifted_down(x) if self.is_blind else x, 2)


class Conv(nn.Module):
    """A 3 × 3 convolution without bias, the border replicated, then a leaky ReLU.

    Args:
        inputs: channels in.
        outputs: channels out.
        is_blind: the kernel lies above: row r sees rows r − 2 to r, and zeros above the picture.
    """

    def __init__(self, inputs: int, outputs: int, *, is_blind: bool) -> None:
        super().__init__()
        self.is_blind = is_blind
        self.conv = nn.Conv2d(inputs, outputs, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C', H, W)."""
        if self.is_blind:
            x = F.pad(F.pad(x, (1, 1, 0, 0), "replicate"), (0, 0, 2, 0))
        else:
            x = F.pad(x, (1, 1, 1, 1), "replicate")
        return F.leaky_relu(self.conv(x), 0.1)


def _stage(channels: tuple[int, ...], is_blind: bool) -> nn.Sequential:
    """Convolutions in a row, from each width to the next, under their published names."""
    pairs = enumerate(pairwise(channels), start=1)
    return nn.Sequential(
        OrderedDict((f"conv{k}", Conv(*widths, is_blind=is_blind)) for k, widths in pairs)
    )


def _joined(x: Tensor, skip: Tensor) -> Tensor:
    """X at twice its size, completed by zeros to that of the skip, then both along channels."""
    x = F.interpolate(x, scale_factor=2.0, mode="nearest")
    rows, columns = (skip.shape[axis] - x.shape[axis] for axis in (-2, -1))
    amounts = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
    return torch.cat((F.pad(x, amounts), skip), 1)


def shifted_down(x: Tensor) -> Tensor:
    """Move every row one down: zeros enter at the top, and the last row leaves."""
    return F.pad(x[..., :-1, :], (0, 0, 1, 0))


def squared(x: Tensor, border: Border) -> Tensor:
    """A picture (B, C, H, W) grown to a square, the larger half of the border after it.

    Args:
        x: the picture.
        border: `zeros`, or `reflect` without repeating the edge, again and again where the border
            is wider than the picture.
    """
    height, width = x.shape[-2:]
    axis, missing = (-2, width - height) if height < width else (-1, height - width)
    if not missing:
        return x
    before, after = missing // 2, missing - missing // 2
    if border == "zeros":
        return F.pad(x, (0, 0, before, after) if axis == -2 else (before, after))
    last = x.shape[axis] - 1
    positions = torch.arange(-before, last + 1 + after, device=x.device)
    return x.index_select(axis, last - (positions % max(2 * last, 1) - last).abs())


def turned(x: Tensor) -> Tensor:
    """A square picture as it is, and by one, two and three quarter turns clockwise.

    (B, C, S, S) → (4·B, C, S, S), the turn slowest.
    """
    return torch.cat([x.rot90(-turn, (-2, -1)) for turn in range(4)])


def turned_back(x: Tensor) -> Tensor:
    """Undo `turned`, with the four along channels: (4·B, C, S, S) → (B, 4·C, S, S)."""
    return torch.cat([part.rot90(turn, (-2, -1)) for turn, part in enumerate(x.chunk(4))], 1)
