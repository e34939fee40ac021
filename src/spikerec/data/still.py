"""Still: photographs at rest or moving slowly, 0 to 1 pixel a readout; for evaluation."""

from __future__ import annotations

from spikerec.data.photos import CameraChoice, Photos, with_defaults
from spikerec.simulation import SceneStyle


class Still(Photos):
    """Test scenes that take five speeds in turn; arguments are those of `Photos`."""

    __init__ = with_defaults(
        Photos.__init__,
        cameras={"ideal": CameraChoice()},
        light_scale=(0.2, 1.0),
        scenes={"test": 25},
        images_per_scene=7,
        style=SceneStyle(objects=(0, 0), warp=0.0, brightness=(0.6, 1.0)),
        speeds=(0.0, 0.01, 0.05, 0.2, 1.0),
        name="still",
    )
