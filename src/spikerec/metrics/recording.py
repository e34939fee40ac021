"""Base of the metrics that compare an image with the recording it was made from.

They need no true image and no weights: an image is held against the spikes of its own window, or
against what the same network makes of parts of them. They judge agreement with the recording, which
is not the same as agreement with the scene: docs/real_recordings.md states how far the two go
together.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from spikerec.errors import InputError
from spikerec.kinds import checked
from spikerec.metrics.base import ImageMetric

#: Reconstructs the recording again from changed spikes: takes a function from windows
#: (B, T, H, W) to windows of the same shape, returns prepared images (B, 1, H, W).
Again = Callable[[Callable[[Tensor], Tensor]], Tensor]


@checked
@dataclass(frozen=True)
class Recording:
    """The windows of spikes that a batch of images was made from.

    Attributes:
        spikes: (B, T, H, W), values 0 and 1, the window that the network saw; the images belong to
            readout T // 2.
        light_scale: (B,), firing rate of a pixel of intensity 1, in (0, 1].
        again: runs the network again on changed windows; None where its state is carried from
            window to window, so that a window alone does not determine the image.
        labels: the class of what each window shows, empty where it is not known; None where no
            class is.
    """

    spikes: Tensor
    light_scale: Tensor
    again: Again | None = None
    labels: Sequence[str] | None = None

    def around_key(self, readouts: int) -> Tensor:
        """The readouts around the key readout, (B, readouts, H, W), float32."""
        first = self.spikes.shape[1] // 2 - readouts // 2
        return self.spikes[:, first : first + readouts].float()

    def rate(self, image: Tensor) -> Tensor:
        """The firing rate (B, H, W) in [0, 1] that an intensity (B, 1, H, W) stands for."""
        scale = self.light_scale.to(image).reshape(-1, 1, 1)
        return (image[:, 0].float() * scale).clamp(0, 1)


class RecordingMetric(ImageMetric):
    """Base of every metric that compares an image with its recording.

    A subclass defines `compare` and the class attributes of `ImageMetric`. A protocol hands it the
    spikes of the batch; where there are none, the metric is left out, as a metric with reference is
    without a true image.

    Class attributes:
        needs_network: whether it runs the network again; it is then undefined for a network whose
            state is carried from window to window.
    """

    needs_target: bool = False
    needs_recording: ClassVar[bool] = True
    needs_network: ClassVar[bool] = False

    @abstractmethod
    def compare(self, image: Tensor, recording: Recording) -> Tensor:
        """Values (B,) of checked images; not finite where the recording defines none."""

    @torch.no_grad()
    def score(
        self,
        image: Tensor,
        target: Tensor | None = None,
        recording: Recording | None = None,
    ) -> Tensor:
        """See `ImageMetric.score`; the target is not read.

        Raises:
            ConfigError: `compare` returns anything but a floating tensor (B,).
            InputError: no recording, or one of another number or size of images.
        """
        self._check(image, target)
        if recording is None:
            raise InputError(f"{self.name} compares with the recorded spikes: found no recording.")
        spikes = recording.spikes
        if (len(spikes), *spikes.shape[2:]) != (len(image), *image.shape[2:]):
            raise InputError(
                f"{self.name} needs spikes (B, T, H, W) of the image's size {tuple(image.shape)}, "
                f"found {tuple(spikes.shape)}."
            )
        if self.needs_network and recording.again is None:
            return torch.full((len(image),), torch.nan, dtype=torch.float64)
        return self._checked(self.compare(image, recording), image, "compare")

    def measure(self, _image: Tensor, _target: Tensor) -> Tensor:
        """Raises an error: an image alone does not suffice; see `compare`."""
        raise InputError(f"{self.name} compares with the recorded spikes: call `score` with them.")
