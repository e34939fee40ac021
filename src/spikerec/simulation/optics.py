"""Layers out of focus, and layers with highlights brighter than a sensor can follow."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from spikerec.simulation.layers import Layer, Wave, pixel_centres

#: Light around a lamp, as a share of its own, and how far it reaches, in radii of the lamp.
GLOW, GLOW_REACH = 0.1, 3.0


def out_of_focus(layer: Layer, radii: tuple[float, float], focus: Wave | None = None) -> Layer:
    """Return a layer that a lens sees out of focus: every point of it is a disc.

    Args:
        layer: photograph, or cut-out, whose outline is blurred as well.
        radii: of the disc, in pixels of the scene, from 0 up, at the two ends of the focus.
        focus: share of the second radius in [0, 1]; None: the first one at all times. Between the
            two the layer is a mixture of both.
    """
    first, second = (_by_disc(layer.picture, layer.detail * radius) for radius in radii)
    if focus is None:
        return replace(layer, picture=first)
    return replace(layer, picture=first, refocused=second, focus=focus)


def with_highlights(layer: Layer, share: float, peak: float) -> Layer:
    """Return a layer whose brightest parts are brighter than 1, as reflections are.

    Intensity grows from the quantile 1 − `share` on, smoothly, so that the brightest point has
    `peak`; what is darker stays. A layer of one brightness stays as it is.

    Args:
        layer: photograph or cut-out.
        share: of the pixels of its picture that become brighter, in (0, 1).
        peak: intensity of the brightest point, 1 or above.
    """
    light = layer.picture[0]
    knee = torch.quantile(light[::4, ::4].flatten(), 1 - share)
    above = (light - knee).clamp(min=0) / (light.amax() - knee).clamp(min=1e-3)
    grown = torch.lerp(light, torch.full_like(light, peak), above.square())
    return replace(layer, picture=torch.cat((grown[None], layer.picture[1:])))


def with_lamp(layer: Layer, place: tuple[float, float], radius: float, peak: float) -> Layer:
    """Return a layer on which a lamp shines: a disc, and a glow around it.

    Args:
        layer: photograph or cut-out.
        place: of its centre, (x, y) in pixels of the scene from the picture's centre.
        radius: in pixels of the scene.
        peak: intensity of the disc.
    """
    x, y, _ = pixel_centres(*layer.picture.shape[1:]).to(layer.picture.device).unbind(-1)
    distance = torch.hypot(x - place[0] * layer.detail, y - place[1] * layer.detail)
    disc = (0.5 + layer.detail * radius - distance).clamp(0, 1)
    glow = GLOW * peak * torch.exp(-((distance / (GLOW_REACH * layer.detail * radius)) ** 2))
    light = torch.lerp(layer.picture[0] + glow, torch.full_like(disc, peak), disc)
    return replace(layer, picture=torch.cat((light[None], layer.picture[1:])))


def _by_disc(picture: Tensor, radius: float) -> Tensor:
    """A picture (C, h, w), each point of it spread over a disc; at its rim it goes on mirrored."""
    reach = int(radius + 1)
    y, x = torch.meshgrid(*[torch.arange(-reach, reach + 1.0)] * 2, indexing="ij")
    disc = (0.5 + radius - torch.hypot(x, y)).clamp(0, 1).to(picture.device)
    padded = F.pad(picture[None], (reach,) * 4, mode="reflect")[0]
    size = padded.shape[1:]
    kernel = torch.fft.rfft2(disc / disc.sum(), s=size)
    spread: Tensor = torch.fft.irfft2(torch.fft.rfft2(padded) * kernel, s=size)
    return spread[:, 2 * reach :, 2 * reach :].clamp_(min=0)
