"""Pixels at which the exact flow of a scene says how an intensity moves, and those at which not.

Not where something nearer covers or uncovers what is seen, nor where two things share a pixel, as
they do along outlines, nor where the light changes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from spikerec.kinds import checked
from spikerec.simulation.layers import LayeredScene, Turn, Wave, pixel_centres

#: Opacity below which a layer does not colour what is behind it, and 1 less that above which it
#: hides it: half a grey level of 255.
CLEAR = 1 / 510
#: Pixels around a shared one that an interpolation of an image may draw on: two for a cubic one.
REACH = 2


@checked
def kept_pixels(scene: LayeredScene, start: float, stop: float) -> tuple[Tensor, Tensor]:
    """Return the flow between two times, and the pixels whose intensity moves along it.

    Args:
        scene: of layers.
        start: time of the first image, in readouts.
        stop: time of the second one, which may be earlier.

    Returns:
        The flow (H, W, 2) of `LayeredScene.flow`, and (H, W) bool: both images show the thing, in
        the same light, and neither an outline nor the image's border lies within `REACH` pixels of
        either place.
    """
    flow = scene.flow(start, stop)
    times = torch.tensor((start, stop), dtype=torch.float64)
    is_kept = torch.zeros(flow.shape[:2], dtype=torch.bool, device=flow.device)
    light = scene.brightness
    if isinstance(light, Wave | Turn) and len(set(light(times).tolist())) > 1:
        return flow, is_kept
    owners = _owners(scene, times)
    for layer in range(len(scene.layers)):
        before, after = (_inner(owner == layer) for owner in owners)
        is_kept |= before & (along(after.float()[None], flow)[0] > 1 - 1e-4)
    return flow, is_kept


def along(image: Tensor, flow: Tensor, mode: str = "bilinear") -> Tensor:
    """Read an image at each pixel's displaced place.

    Args:
        image: (C, H, W); beyond its border it goes on as at the border.
        flow: (H, W, 2) pixels right and down.
        mode: of the interpolation, as `torch.nn.functional.grid_sample` names it.

    Returns:
        (C, H, W) float64.
    """
    height, width = image.shape[-2:]
    size = torch.tensor((width, height), dtype=torch.float64, device=flow.device)
    places = pixel_centres(height, width)[..., :2].to(size) + flow
    grid = places * (2 / size)
    read = F.grid_sample(
        image[None].double(), grid[None], mode, padding_mode="border", align_corners=False
    )
    return read[0]


def _owners(scene: LayeredScene, times: Tensor) -> Tensor:
    """The number of the layer that alone makes each pixel; -1 where several do: (T, H, W)."""
    points = pixel_centres(scene.height, scene.width).to(scene.layers[0].picture.device)
    owners = points.new_zeros((len(times), scene.height, scene.width), dtype=torch.int64)
    for index, layer in enumerate(scene.layers[1:], start=1):
        opacity = layer.render(times, points)[:, 1]
        owners[opacity > CLEAR] = -1
        owners[opacity > 1 - CLEAR] = index
    return owners


def _inner(mask: Tensor) -> Tensor:
    """The mask without what lies within `REACH` pixels of its outline or of the image's border."""
    outside = F.pad((~mask).float()[None], (REACH,) * 4, value=1.0)
    return F.max_pool2d(outside, 2 * REACH + 1, 1)[0] == 0
