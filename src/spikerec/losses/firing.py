"""Terms that hold an image against the spikes it must have caused: no true image is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from spikerec.errors import ConfigError, InputError
from spikerec.losses.base import Term
from spikerec.models.base import Reconstruction


class FiringRate(Term):
    """The spikes that the image would cause, against those observed around the key readout.

    A pixel of intensity I fires at rate r = α·I. Over W readouts of constant
    light it gives W·r spikes, rounded up or down according to its initial charge: an observed
    number N determines W·r to within 1. The term is the mean over pixels and windows of

        max(0, |W·α·I − N| − tolerance) / W

    so that, at a tolerance of 1, an image that explains the spikes costs nothing. Long windows say
    more about a pixel at rest and are wrong about one in motion; several may be given.

    Args:
        windows: odd numbers W of readouts, centred on the key readout.
        tolerance: spikes that the count may be off; 1 for the sensor's own rounding, 0 to fit TFP.
        weight: factor in the sum.

    Raises:
        ConfigError: no window, an even one, or a negative tolerance.
        InputError: (forward) a window longer than that of the network.
    """

    needs_target: ClassVar[bool] = False

    def __init__(
        self, windows: Sequence[int] = (11, 21, 41), tolerance: float = 1.0, weight: float = 1.0
    ) -> None:
        super().__init__(weight)
        if not windows or any(window < 1 or window % 2 == 0 for window in windows):
            raise ConfigError(
                f"windows of the firing-rate term must be odd and at least 1, found {windows}."
            )
        if tolerance < 0:
            raise ConfigError(
                f"tolerance of the firing-rate term must be at least 0, found {tolerance}."
            )
        self.windows = tuple(windows)
        self.tolerance = tolerance

    def forward(self, reconstruction: Reconstruction, batch: Mapping[str, Any]) -> Tensor:
        """See `Term.forward`; reads `spikes` and `light_scale`."""
        spikes: Tensor = batch["spikes"]
        if spikes.shape[1] < max(self.windows):
            raise InputError(
                f"the firing-rate term looks at {max(self.windows)} readouts, the network's window "
                f"has {spikes.shape[1]}: shorten its windows, or take a network of a longer window."
            )
        image = reconstruction.image
        # Not clipped: an image below 0 must still be drawn up.
        rate = image * batch["light_scale"].to(image).reshape(-1, 1, 1, 1)
        total = image.new_zeros(())
        for window in self.windows:
            first = (spikes.shape[1] - window) // 2
            observed = spikes[:, first : first + window].sum(1, keepdim=True, dtype=image.dtype)
            excess = ((window * rate - observed).abs() - self.tolerance).clamp(min=0)
            total = total + excess.mean() / window
        mean: Tensor = total / len(self.windows)
        return mean
