"""Synthetic: moving photographs that scikit-image carries, seen by an ideal camera.

Made on first use, in a minute, in the layout of SREDS: what one tries things out on.
"""

from __future__ import annotations

from spikerec.data.photos import CameraChoice, Photos, with_defaults
from spikerec.simulation import SceneStyle


class Synthetic(Photos):
    """Sixteen training scenes at a light scale of 0.6; arguments are those of `Photos`."""

    __init__ = with_defaults(
        Photos.__init__,
        cameras={"ideal": CameraChoice()},
        light_scale=(0.6, 0.6),
        scenes={"train": 16, "val": 2, "test": 3},
        images_per_scene=8,
        readouts_per_image=20,
        height=240,
        width=320,
        style=SceneStyle(motion=(2.0, 20.0), object_motion=(5.0, 40.0)),
        layout="sreds",
        on_first_use=True,
        name="synthetic",
    )
