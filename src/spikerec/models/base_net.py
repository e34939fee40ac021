"""`base`: the plain network that Spike-Zoo trains beside the published methods.

Five 3 × 3 convolutions over all readouts of the window, with a ReLU after each but the last: no
normalisation, no skip, no scaling. The design is the lightweight reconstruction network of
SpikeCLIP (`spikerec.models.spikeclip`), which differs in its input and in how it is trained.

Source: github.com/chenkang455/Spike-Zoo, `spikezoo/archs/base`. There is no paper of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from torch import Tensor, nn

from spikerec.errors import ConfigError
from spikerec.models.base import Network, Reconstruction, check_window

Norm = Literal["batch", "instance"]

#: Stages whose convolution a norm follows, where one is asked for: neither the first nor the last.
NORMED_STAGES = (1, 2, 3)


class BaseNet(Network):
    """Convolutions over the readouts of a window; the defaults are the published network.

    The image is a firing rate, not clipped.

    Args:
        window: readouts the network sees.
        group: successive readouts that are summed into one channel; 1 keeps each readout.
        channels: widths between the convolutions.
        norm: `batch` or `instance` norm before the ReLU of all stages but the first; None for none,
            as published.
        output_scale: see `Network`.

    Raises:
        ConfigError: `group` does not divide the window, no channels, or an unknown norm.
    """

    published_output_scale: ClassVar[float | None] = 1.0
    # The names of SpikeCLIP's network lack `seq.`; the last convolution is no stage of layers.
    published_names = (
        (r"^(?:seq\.)?(\d+\.\d+\.)", r"stages.\1"),
        (r"^(?:seq\.)?\d+\.(weight|bias)$", r"last.\1"),
    )

    def __init__(
        self,
        window: int = 41,
        group: int = 1,
        channels: Sequence[int] = (64, 128, 64, 16),
        norm: Norm | None = None,
        output_scale: float | None = 1.0,
    ) -> None:
        super().__init__(window, output_scale)
        if group < 1 or window % group:
            raise ConfigError(
                f"group must divide window={window}, so that every channel sums as many readouts; "
                f"found {group}."
            )
        if not channels or min(channels) < 1:
            raise ConfigError(
                f"channels must name the widths between the convolutions, each at least 1; found "
                f"{list(channels)}."
            )
        if norm not in (None, "batch", "instance"):
            raise ConfigError(f"norm must be batch, instance or null, found {norm!r}.")
        self.group = group
        inputs = [window // group, *channels]
        stages = (
            Stage(before, after, norm if index in NORMED_STAGES else None)
            for index, (before, after) in enumerate(zip(inputs, channels, strict=False))
        )
        self.stages = nn.Sequential(*stages)
        self.last = nn.Conv2d(channels[-1], 1, 3, padding=1)

    def forward(self, spikes: Tensor) -> Reconstruction:
        """Reconstruct the key readout (see `Network.forward`)."""
        check_window(spikes, self.window, self.multiple)
        image = self.last(self.stages(self.counts(spikes)))
        return Reconstruction(image.to(self.dtype))

    def counts(self, spikes: Tensor) -> Tensor:
        """Spikes in each group of readouts: (B, T, H, W) → (B, T / group, H, W)."""
        if self.group == 1:
            return spikes
        batch, window, height, width = spikes.shape
        return spikes.view(batch, window // self.group, self.group, height, width).sum(2)


class Stage(nn.Sequential):
    """A convolution, a norm where one is asked for, a ReLU.

    Args:
        inputs: channels in.
        outputs: channels out.
        norm: `batch`, `instance` or None.
    """

    def __init__(self, inputs: int, outputs: int, norm: Norm | None) -> None:
        norms = {"batch": nn.BatchNorm2d, "instance": nn.InstanceNorm2d}
        between = [] if norm is None else [norms[norm](outputs)]
        super().__init__(nn.Conv2d(inputs, outputs, 3, padding=1), *between, nn.ReLU())
