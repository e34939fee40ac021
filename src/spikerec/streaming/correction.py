"""The corrections of a clip: to its spikes before a network sees them, and to the images after.

Hot and dead pixels are replaced in the spikes. The fixed pattern of the sensor is taken out of the
spikes where every network starts linear, else out of the images. The images of a colour camera are
mosaics, which are balanced and then filled in. All corrections are chosen once for a clip, so that
no frame differs from the next by them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikerec.errors import ConfigError
from spikerec.models.base import Network
from spikerec.spikes import SpikeStream
from spikerec.spikes.defects import Defects, Repair, Sample, find_masked
from spikerec.streaming.calibrated import Calibrated
from spikerec.streaming.colour import WhiteBalance, balance_gains, demosaic, gain_map
from spikerec.streaming.light import FixedPattern


class Correction:
    """The corrections that the frames of one clip share.

    Args:
        stream: of the clip.
        networks: as published, all that see its spikes.
        look: returns the sample of the clip. This takes seconds, so it is called only where
            something is to be found in the clip.
        white_balance: see `Video`.
        mask_defects: see `Video`.
        calibration: see `Video`.
        estimate_pattern: see `Video`.

    Attributes:
        defects: broken pixels that were found; None if none were looked for.
        calibration: the fixed pattern that is taken out, also where it was estimated.
        balance: (H, W) gain of each pixel's colour; None for a grey camera.
        of_spikes: the correction of spikes, for `make_frames`; None for none.

    Raises:
        ConfigError: a white balance of a grey camera, or one that there is not; or a calibration
            of other colours.
        GeometryError: a calibration of another size.
    """

    def __init__(
        self,
        stream: SpikeStream,
        networks: Iterable[Network],
        look: Callable[[], Sample],
        *,
        white_balance: WhiteBalance,
        mask_defects: bool | None,
        calibration: FixedPattern | None,
        estimate_pattern: bool,
    ) -> None:
        pattern = stream.bayer
        if white_balance is not None and pattern is None:
            raise ConfigError(
                f"white_balance is for colour cameras, but {stream.path} states no colours: set "
                "bayer, as bayer=rggb."
            )
        self.defects: Defects | None = None
        repair: Repair | None = None
        if mask_defects is not False:
            is_mosaic = pattern is not None
            self.defects = find_masked(look(), mask_defects, is_mosaic=is_mosaic)
            broken = self.defects.broken
            repair = Repair(broken, is_mosaic=is_mosaic) if broken.any() else None
        self._masks_defects = repair is not None if mask_defects is None else mask_defects
        self._given = calibration
        if estimate_pattern and not (calibration and calibration.has_gain):
            calibration = FixedPattern.estimated(stream, calibration) or calibration
        self.calibration = calibration
        self.of_spikes: Repair | Calibrated | None = repair
        self._from_images = calibration  # where it is not taken out of the spikes
        if calibration is not None:
            calibration.check(stream)
            if all(network.starts_linear for network in networks):
                self.of_spikes = Calibrated(calibration, repair)
                self._from_images = None
        self._pattern = pattern
        self.balance: Tensor | None = None
        if pattern is not None:
            seen = look() if white_balance == "gray_world" else None
            self._gains = balance_gains(white_balance, pattern, seen, self.broken)
            self.balance = gain_map(self._gains, pattern, (stream.height, stream.width))

    @property
    def broken(self) -> NDArray[np.bool_] | None:
        """(H, W) pixels that are not to be measured by; None if none were looked for."""
        return None if self.defects is None else self.defects.broken

    def of_images(self, images: Tensor, light_scale: float) -> Tensor:
        """Correct the images of networks.

        Args:
            images: (M, H, W) in intensity.
            light_scale: of the stream.

        Returns:
            (M, H, W) without the fixed pattern; (M, H, W, 3) in colour.
        """
        if self._from_images is not None:
            images = torch.from_numpy(self._from_images(images.numpy(), light_scale))
        if self.balance is not None and self._pattern is not None:
            balanced = (images * self.balance).numpy()
            images = torch.from_numpy(demosaic(balanced, self._pattern))
        return images

    def settings(self) -> dict[str, Any]:
        """Plain values on which the corrected frames depend; the colours are in `colours`."""
        spread = None if self.calibration is None else self.calibration.spread
        return {
            "mask_defects": self._masks_defects,
            "calibrated": self.calibration is not None,
            **({} if self._given is None else {"calibration": self._given.digest}),
            **({} if spread is None else {"estimated_pattern": round(spread, 4)}),
        }

    def colours(self) -> dict[str, Any]:
        """The pattern and the gains of a colour camera, as plain values; empty for a grey one."""
        if self._pattern is None:
            return {}
        return {"bayer": self._pattern, "white_balance": self._gains.tolist()}
