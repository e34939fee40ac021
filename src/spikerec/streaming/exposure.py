"""The white of a video: a light scale that is stated, or one measured over the clip."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from spikerec.errors import ConfigError
from spikerec.spikes import SpikeStream
from spikerec.spikes.defects import PIECE_READOUTS, Sample
from spikerec.streaming.colour import white_rate_of_planes
from spikerec.streaming.light import white_rate

Exposure = float | Literal["auto", "light_scale"] | None

#: Pixels of readouts that are looked at before the first image, at most: some seconds' work.
MOST_LOOKED_AT = 1 << 29


def pieces_of(stream: SpikeStream) -> int:
    """Return the number of pieces of a stream that are looked at: fewer of a large picture."""
    return max(4, min(32, MOST_LOOKED_AT // (PIECE_READOUTS * stream.height * stream.width)))


def is_measured(exposure: Exposure, stream: SpikeStream) -> bool:
    """True if what is white is measured over the clip."""
    return exposure == "auto" or (exposure is None and stream.light_scale is None)


def choose_light(
    exposure: Exposure,
    stream: SpikeStream,
    looked_at: Sample | None,
    broken: NDArray[np.bool_] | None,
    balance: Tensor | None,
) -> tuple[float, float]:
    """Choose the light scale to reconstruct with, and the gain to show the result with.

    Args:
        exposure: see `Video`.
        stream: may state a light scale.
        looked_at: sample of the stream; None where nothing is measured.
        broken: (H, W) pixels to leave out of the measurement; None for none.
        balance: (H, W) gains of a colour camera's pixels; None for a grey camera.

    Raises:
        ConfigError: an exposure that is not one of these, or unknown of this stream.
    """
    if looked_at is not None and is_measured(exposure, stream):
        if balance is not None:
            return white_rate_of_planes(looked_at, balance, broken), 1.0
        return white_rate(looked_at, broken), 1.0
    if exposure in (None, "light_scale"):
        if stream.light_scale is None:
            raise ConfigError(
                f"exposure=light_scale, but {stream.path} states none: set light_scale, or "
                "exposure=auto."
            )
        return stream.light_scale, 1.0
    if isinstance(exposure, bool) or not isinstance(exposure, int | float) or exposure <= 0:
        raise ConfigError(
            f"exposure must be auto, light_scale or a number above 0, found {exposure!r}."
        )
    return stream.light_scale or 1.0, float(exposure)
