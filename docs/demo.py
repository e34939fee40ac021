"""The first picture of README.md and of the site: `python docs/demo.py` makes docs/demo.png.

Two photographs of scikit-image that no network was trained on (coffee, CC0; coins, Brooklyn
Museum, no known copyright restrictions) move before a camera with shot noise.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import skimage.data
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage.color import rgb2gray
from torch import Tensor

import spikerec
from spikerec.simulation import Camera, RandomScene, SceneStyle
from spikerec.spikes.grey import grey_levels
from spikerec.streaming.panels import side_by_side

LIGHT_SCALE = 0.5
KEY_READOUT = 60
HEIGHT, WIDTH = 240, 320

PHOTOGRAPHS = {"coffee": rgb2gray(skimage.data.coffee()), "coins": skimage.data.coins() / 255}


def strip(photograph: NDArray[np.float64], seed: int) -> NDArray[np.float32]:
    """TFP, the default network and the truth, side by side."""
    scene = RandomScene(
        [torch.as_tensor(photograph, dtype=torch.float32)],
        height=HEIGHT,
        width=WIDTH,
        seed=seed,
        style=SceneStyle(motion=(20, 30)),
    )
    light = scene.frames(0, 2 * KEY_READOUT + 1)
    camera = Camera(light_scale=LIGHT_SCALE, threshold=60, shot_noise=True)
    spikes = camera.expose(light, seed=seed)

    def image(method: str, **arguments: int) -> Tensor:
        network = spikerec.load(method, **arguments)
        first = KEY_READOUT - network.key_readout
        window = spikes[first : first + network.window]
        with torch.no_grad():
            return network.reconstruct(window, LIGHT_SCALE).image[0, 0].clamp(0, 1)

    pictures = [image("tfp", window=21), image("fast_wide"), light[KEY_READOUT]]
    labels = ["TFP (21 readouts)", "spikerec (fast_wide)", "truth"]
    return side_by_side([one.numpy() for one in pictures], labels)


if __name__ == "__main__":
    rows = [strip(photograph, seed) for seed, photograph in enumerate(PHOTOGRAPHS.values(), 3)]
    Image.fromarray(grey_levels(np.concatenate(rows))).save(Path(__file__).with_name("demo.png"))
