"""Scenes from a video, or from a folder of its frames, at many readouts a frame.

Between two frames the intensity is interpolated. `motion` follows the optical flow (TV-L1) between
them in both directions, with the intermediate flows of Super SloMo (Jiang et al., CVPR 2018,
equation 4) and no learned part: good for a few pixels of motion a frame, doubtful where things
appear, vanish or move far. `blend` mixes the two frames linearly: what moves shows double. SREDS
was made with a learned interpolation network; neither is that. Only at the video's own frames is
the intensity what a camera saw, and images are written there and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from spikerec.errors import ConfigError, DataError, DataNotFoundError, InputError
from spikerec.simulation.images import fitted, image_files, read_grey

Interpolation = Literal["motion", "blend"]


class VideoScene:
    """A scene given by frames at an even distance in time.

    Frame k is the intensity at readout k · readouts_per_frame. F frames make F − 1 gaps, and so
    serve F − 1 images: the readouts after the last frame are not known.

    Args:
        frames: (F, H, W) float in [0, 1], grey; F ≥ 2.
        readouts_per_frame: readouts from one frame to the next.
        interpolation: `motion` or `blend`; see the module's text.

    Raises:
        InputError: fewer than 2 frames, or not (F, H, W).
        ConfigError: readouts_per_frame below 1, or an unknown interpolation.
    """

    def __init__(
        self,
        frames: Tensor,
        *,
        readouts_per_frame: int = 20,
        interpolation: Interpolation = "motion",
    ) -> None:
        if frames.ndim != 3 or len(frames) < 2:
            raise InputError(
                f"a video scene needs frames (F, H, W) with F ≥ 2, found {tuple(frames.shape)}."
            )
        if readouts_per_frame < 1:
            raise ConfigError(f"readouts_per_image must be at least 1, found {readouts_per_frame}.")
        if interpolation not in ("motion", "blend"):
            raise ConfigError(f"interpolation must be motion or blend, found {interpolation!r}.")
        self.images = frames
        self.height, self.width = frames.shape[1:]
        self.readouts_per_frame = readouts_per_frame
        self.interpolation = interpolation
        # Readouts come in order: the flow of one gap serves all of them.
        self._flows = lru_cache(maxsize=1)(self._flows_of_gap)

    @property
    def num_readouts(self) -> int:
        """Readouts up to the last frame."""
        return (len(self.images) - 1) * self.readouts_per_frame

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
        gap, step = divmod(readout, self.readouts_per_frame)
        if step == 0:
            return self.images[gap]
        share = step / self.readouts_per_frame
        before, after = self.images[gap], self.images[gap + 1]
        if self.interpolation == "motion":
            forward, backward = self._flows(gap)
            to_before = share * (share * backward - (1 - share) * forward)
            to_after = (1 - share) * ((1 - share) * forward - share * backward)
            before, after = _warped(before, to_before), _warped(after, to_after)
        return torch.lerp(before, after, share)

    def _flows_of_gap(self, gap: int) -> tuple[Tensor, Tensor]:
        """Flow from a frame to the next, and back: (H, W, 2) each, x then y, in pixels."""
        from skimage.registration import optical_flow_tvl1

        before, after = (self.images[k].cpu().numpy() for k in (gap, gap + 1))
        flows = [
            torch.from_numpy(np.stack(flow[::-1], axis=-1)).to(self.images)
            for flow in (
                optical_flow_tvl1(before, after, dtype=np.float32),
                optical_flow_tvl1(after, before, dtype=np.float32),
            )
        ]
        return flows[0], flows[1]


def read_video(path: str | Path, *, frames: int | None = None) -> Iterator[Tensor]:
    """Frames of a video file as grey intensity, (h, w) float32 in [0, 1], in order.

    Args:
        path: any file that FFmpeg reads; its first video track is taken.
        frames: how many to read; None: all.

    Raises:
        DataNotFoundError: no such file.
        DataError: not a video, or a broken one.
    """
    import av

    path = Path(path)
    if not path.is_file():
        raise DataNotFoundError(f"input={path} is not there: name a video, an image or a folder.")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise DataError(f"input={path} holds no video track.")
            for frame in islice(container.decode(video=0), frames):
                colour = torch.from_numpy(frame.to_ndarray(format="rgb24")).float()
                yield (colour @ torch.tensor((0.299, 0.587, 0.114)) / 255).clamp(0, 1)
    except av.FFmpegError as error:
        raise DataError(f"input={path} is not a video that FFmpeg can read: {error}.") from error


def read_frames(
    path: str | Path, *, size: tuple[int, int] | None = None, frames: int | None = None
) -> Tensor:
    """Frames of a video file, or of a folder of images taken in the order of their names.

    Args:
        path: file or folder.
        size: (height, width) to cut and scale to; None keeps the frames' own.
        frames: how many to read; None: all.

    Returns:
        (F, H, W) float32 in [0, 1].

    Raises:
        DataNotFoundError: nothing there.
        DataError: unreadable, fewer frames than asked for or than 2, or frames of different sizes.
    """
    path = Path(path)
    source: Iterator[Tensor] = read_video(path, frames=frames)
    if path.is_dir():
        source = (read_grey(file) for file in image_files(path)[:frames])
    read = [frame if size is None else fitted(frame, *size) for frame in source]
    needed = max(2, frames or 2)
    if len(read) < needed:
        raise DataError(f"input={path} holds {len(read)} frame(s): expected at least {needed}.")
    sizes = {tuple(frame.shape) for frame in read}
    if len(sizes) > 1:
        raise DataError(
            f"input={path} holds frames of {len(sizes)} sizes: expected one. "
            "Set size=[HEIGHT,WIDTH]."
        )
    return torch.stack(read)


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
        image[None, None], grid[None], padding_mode="border", align_corners=False
    )
    return sampled[0, 0]
