"""Video: simulated clips with an image every 10 readouts, in half of them on a still background.

For the metrics of videos: flicker needs pixels at rest, warping error motion that is known exactly.
Made on first use, in a minute.
"""

from __future__ import annotations

from spikerec.data.photos import CameraChoice, Photos, with_defaults
from spikerec.simulation import SceneStyle


class VideoClips(Photos):
    """Test clips of 24 images, from the photographs of scikit-image; arguments are of `Photos`."""

    __init__ = with_defaults(
        Photos.__init__,
        cameras={"ideal": CameraChoice()},
        light_scale=(0.4, 0.4),
        scenes={"test": 6},
        images_per_scene=24,
        readouts_per_image=10,
        height=240,
        width=320,
        style=SceneStyle(motion=(5.0, 25.0), object_motion=(10.0, 40.0), objects=(1, 3), still=0.5),
        on_first_use=True,
        name="video",
    )
