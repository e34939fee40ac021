"""Scenes from a video, or from a folder of its frames, at many readouts a frame.

Between two frames the intensity is interpolated. `motion` follows the optical flow (TV-L1) between
them in both directions, with the intermediate flows of Super SloMo (Jiang et al., CVPR 2018,
equation 4) and no learned part: good for a few pixels of motion a frame, doubtful where things
appear, vanish or move far. `blend` mixes the two frames linearly: what moves shows double. SREDS
was made with a learned interpolation network; neither is that. Only at the video's own frames is
the intensity what a camera saw, and images are written there and nowhere else.

Interpolation blurs at parts of a pixel. Frames of more pixels than the scene has (`detail`) are
interpolated as they are and then averaged over each pixel of the scene, so that a readout between
two frames is as sharp as they.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from functools import lru_cache
from itertools import accumulate
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from spikerec.errors import ConfigError, InputError
from spikerec.kinds import checked
from spikerec.simulation.footage import Footage
from spikerec.simulation.images import resized

Interpolation = Literal["motion", "blend"]

#: Frames of more pixels are reduced to these before the flow is looked for: 0.5 GB of memory.
FLOW_PIXELS = 1 << 22


@checked
class VideoScene:
    """A scene given by frames.

    The readouts from one frame to the next follow from their times (`Footage.gaps`); frames of a
    tensor are evenly spaced. Frame 0 is the intensity at readout 0. F frames make F − 1 gaps: the
    readouts after the last frame are not known.

    Args:
        frames: footage, read as it is needed; or (F, H, W) float in [0, 1], grey. F ≥ 2.
        readouts_per_frame: readouts in the shortest gap.
        interpolation: `motion` or `blend`; see the module's text.
        detail: pixels of a tensor's frames for one of the scene, a side; footage states its own.
        moves_as: scene of the same video whose optical flow is taken, so that colours move alike;
            None to look for it in these frames.

    Raises:
        InputError: fewer than 2 frames, or not (F, H, W) with sides that `detail` divides.
        ConfigError: readouts_per_frame or detail below 1, or an unknown interpolation.
    """

    def __init__(
        self,
        frames: Tensor | Footage,
        *,
        readouts_per_frame: int = 20,
        interpolation: Interpolation = "motion",
        detail: int = 1,
        moves_as: VideoScene | None = None,
    ) -> None:
        if len(frames.shape) != 3 or len(frames) < 2:
            raise InputError(
                f"a video scene needs frames (F, H, W) with F ≥ 2, found {tuple(frames.shape)}."
            )
        if readouts_per_frame < 1:
            raise ConfigError(f"readouts_per_frame must be at least 1, found {readouts_per_frame}.")
        if interpolation not in ("motion", "blend"):
            raise ConfigError(f"interpolation must be motion or blend, found {interpolation!r}.")
        self.detail = frames.detail if isinstance(frames, Footage) else detail
        if self.detail < 1:
            raise ConfigError(f"detail must be at least 1, found {detail}.")
        if any(side % self.detail for side in frames.shape[1:]):
            raise InputError(
                f"frames must have sides that detail={self.detail} divides, found "
                f"{tuple(frames.shape)}."
            )
        self.images = frames
        self.height, self.width = (side // self.detail for side in frames.shape[1:])
        self.interpolation = interpolation
        even = [readouts_per_frame] * (len(frames) - 1)
        gaps = frames.gaps(readouts_per_frame) if isinstance(frames, Footage) else even
        self._starts = (0, *accumulate(gaps))  # the readout that each frame shows
        # Readouts come in order, a colour after another: those of an image lie in two gaps at most.
        own = lru_cache(maxsize=2)(self._flows_of_gap)
        self._flows: Callable[[int], tuple[Tensor, Tensor]]
        self._flows = own if moves_as is None else moves_as._flows

    @property
    def num_readouts(self) -> int:
        """Readouts up to the last frame."""
        return self._starts[-1]

    @checked
    def is_seen(self, readout: int) -> bool:
        """True where a frame of the video shows the readout: elsewhere intensity is made up."""
        return self._starts[bisect_right(self._starts, readout) - 1] == readout

    @checked
    def frames(self, start: int, stop: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """See `Scene.frames`.

        Raises:
            InputError: outside the video.
        """
        if not 0 <= start < stop <= self.num_readouts:
            raise InputError(
                f"readouts {start} to {stop} leave the video, which lasts {self.num_readouts}."
            )
        return torch.stack([self._at(readout) for readout in range(start, stop)]).to(dtype)

    def _at(self, readout: int) -> Tensor:
        """The light on each pixel's whole square, at any part of a pixel of motion alike."""
        return F.avg_pool2d(self._seen(readout)[None], self.detail)[0]

    def _seen(self, readout: int) -> Tensor:
        gap = bisect_right(self._starts, readout) - 1
        before = self.images[gap]
        step, length = readout - self._starts[gap], self._starts[gap + 1] - self._starts[gap]
        if step == 0:
            return before
        share = step / length
        after = self.images[gap + 1]
        if self.interpolation == "motion":
            forward, backward = self._flows(gap)
            to_before = share * (share * backward - (1 - share) * forward)
            to_after = (1 - share) * ((1 - share) * forward - share * backward)
            before, after = _warped(before, to_before), _warped(after, to_after)
        return torch.lerp(before, after, share)

    def _flows_of_gap(self, gap: int) -> tuple[Tensor, Tensor]:
        """Flow from a frame to the next, and back: (H, W, 2) each, x then y, in pixels."""
        from skimage.registration import optical_flow_tvl1

        frames = self.images[gap], self.images[gap + 1]
        height, width = frames[0].shape
        share = min(1.0, (FLOW_PIXELS / (height * width)) ** 0.5)
        size = max(1, round(share * height)), max(1, round(share * width))
        small = frames if share == 1 else tuple(resized(frame, *size) for frame in frames)
        before, after = (frame.cpu().numpy() for frame in small)
        flows = []
        for pair in ((before, after), (after, before)):
            flow = torch.from_numpy(optical_flow_tvl1(*pair, dtype=np.float32)).to(frames[0])
            if share < 1:
                flow = F.interpolate(flow[None], (height, width), mode="bilinear")[0]
                flow *= flow.new_tensor([height / size[0], width / size[1]]).view(2, 1, 1)
            flows.append(flow.flip(0).permute(1, 2, 0))  # y, x → (H, W, 2), x then y
        return flows[0], flows[1]


def _warped(image: Tensor, flow: Tensor) -> Tensor:
    """The image (H, W) sampled at (pixel + flow), the border repeated."""
    height, width = image.shape
    y, x = torch.meshgrid(
        torch.arange(height, device=image.device),
        torch.arange(width, device=image.device),
        indexing="ij",
    )
    where = torch.stack((x, y), dim=-1) + flow + 0.5
    grid = where * (2 / torch.tensor((width, height), device=image.device)) - 1
    sampled = F.grid_sample(
        image[None, None], grid[None], "bicubic", padding_mode="border", align_corners=False
    )
    return sampled[0, 0].clamp(0, 1)
