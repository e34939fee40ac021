"""Random moving scenes from still photographs.

A scene is a stack of layers, far to near (`spikerec.simulation.layers`). Each layer is a
photograph; the background also bends locally, and the nearer layers move on their own: photographs
cut out along soft-edged outlines, or cut-outs with an outline of their own.

A pixel of a scene sees the light of its whole square. Photographs are therefore kept at `DETAIL`
times the resolution of the scene, averaged over the square of a pixel, and only then sampled, so
that the truth is as sharp at half a pixel of motion as at none.

Grey values are taken as intensity, as the field's synthetic sets do, or linearised by sRGB's power
law in a share of the scenes (`SceneStyle.linear`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from spikerec.errors import ConfigError, InputError
from spikerec.kinds import checked
from spikerec.simulation.filmed import Film, filmed
from spikerec.simulation.layers import (
    JointedPath,
    Layer,
    LayeredScene,
    Line,
    Path,
    Turn,
    Warp,
    Wave,
    pixel_centres,
)
from spikerec.simulation.lettering import LETTERS, lettered
from spikerec.simulation.optics import out_of_focus, with_highlights, with_lamp
from spikerec.simulation.style import MOTION_SPAN, SceneStyle

LARGEST_ZOOM = 1.15  # photographs are prepared at one scale: more would show blur
DETAIL = 2  # pixels of a photograph for one of the scene, a side
FRAME_INTERVALS = (20, 150)  # readouts from a frame to the next in sets made from video
IMAGE_STEP = 10  # readouts between the images of our sets: frames are at some of them
FARTHEST = 40.0  # pixels from a frame to the next, unless they are 20 readouts apart
LARGEST_FLOW_ERROR = 0.02  # of the motion that frames are interpolated by
LEAST_OPACITY = 0.05  # of a cut-out, for its grey value to count
LEAST_SIDE = 8  # pixels of a photograph
RIM = 4  # transparent pixels around a cut-out: more than bicubic sampling reaches
BLUR_RADII = (0.5, 3.0)  # pixels of the scene: of the disc that a point out of focus is
LIGHT_CHANGES = (0.5, 2.0)  # factors by which the light of a scene may change
PEAKS = (1.5, 6.0)  # brightest intensity of a scene that saturates the sensor
HIGHLIGHTS = (0.01, 0.1)  # shares of a picture that are brighter than it was
LAMP_RADII = (0.7, 8.0)  # pixels of the scene
DISPLAY_GAMMA = 2.2  # grey values of photographs are light to the power 1 / 2.2, about (sRGB)


@checked
class RandomScene(LayeredScene):
    """A moving scene drawn from photographs and a seed.

    A photograph, cut and scaled at random, pans, turns, zooms, tilts and bends; cut-outs of others
    cross it on paths of their own.

    Args:
        images: float arrays in [0, 1]: photographs (h, w), at least one, and cut-outs (2, h, w) of
            grey and opacity, which are shown as objects alone.
        height: rows of the scene.
        width: columns of the scene.
        seed: of everything that is drawn.
        style: how much happens.
        key_readout: readout that is exact where the scene is interpolated, and about which the
            light changes where it does.
        device: where frames are computed.

    Raises:
        InputError: no photograph, or one of the images that it shows has another shape or leaves
            [0, 1].
    """

    def __init__(
        self,
        images: Sequence[Tensor],
        *,
        height: int,
        width: int,
        seed: int,
        style: SceneStyle | None = None,
        key_readout: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        if not images:
            raise InputError("a scene needs at least one image, found none.")
        style = style or SceneStyle()
        draw = _Draw(seed)
        order = draw.order(len(images))
        gamma = DISPLAY_GAMMA if draw.happens(style.linear) else 1.0
        # A stable sort: the first photograph drawn comes to the front, as the background.
        far = next((index for index in order if images[index].ndim == 2), order[0])
        order.sort(key=lambda index: index != far)
        shown = [
            _linear(_checked(images, order[index % len(order)], may_be_cut_out=index > 0), gamma)
            for index in range(1 + draw.whole(*style.objects))
        ]
        things = _things(shown, height, width, draw, style)
        light = draw.log_uniform(*style.brightness)
        brightness = draw.flicker(light) if draw.happens(style.flicker) else light
        # What options of later versions draw comes apart, so that a seed's scenes stay as they are.
        highlights = draw.apart("saturation")
        brightest = 1.0
        if highlights.happens(style.saturation):
            brightest = highlights.log_uniform(*PEAKS) / light
            things = _highlit(things, brightest, height, width, highlights)
        focus = draw.apart("defocus")
        things = [_defocused(one, focus) if focus.happens(style.defocus) else one for one in things]
        exposure = draw.apart("exposure")
        is_steady = not exposure.happens(style.exposure)
        super().__init__(
            [_seen_by_pixels(layer.to(device)) for thing in things for layer in thing],
            height=height,
            width=width,
            brightness=brightness if is_steady else exposure.turn(brightness, key_readout),
            brightest=brightest,
        )
        video = draw.apart("interpolated")
        if video.happens(style.interpolated):
            speed = float(self.flow(key_readout, key_readout + 1).norm(dim=-1).max())
            film = Film(key_readout, video.interval(speed))
            error = video.bumps(height, width)[0, ..., 0] * video.uniform(0, LARGEST_FLOW_ERROR)
            self.layers = tuple(filmed(one, film, error.to(device)) for one in self.layers)


@checked
class SteadyScene(LayeredScene):
    """A photograph and a cut-out of another, each crossing the view in a straight line.

    Both move at the same speed, in directions of their own. At the key readout every speed shows
    the same picture, so that scenes which differ in speed alone have one truth there.

    Args:
        images: two (h, w) float arrays in [0, 1]: the background, and what the cut-out is of.
        height: rows of the scene.
        width: columns of the scene.
        seed: of everything that is drawn.
        speed: of both, in pixels a readout, from 0 up.
        key_readout: readout of the common picture.

    Raises:
        ConfigError: a speed below 0.
        InputError: not two images, or one that is not (h, w) in [0, 1].
    """

    def __init__(
        self,
        images: Sequence[Tensor],
        *,
        height: int,
        width: int,
        seed: int,
        speed: float,
        key_readout: int,
    ) -> None:
        if len(images) != 2:
            raise InputError(f"a steady scene needs two images, found {len(images)}.")
        if speed < 0:
            raise ConfigError(f"speed must be 0 or above, found {speed}.")
        draw = _Draw(seed)
        far, near = (_checked(images, index) for index in range(2))
        layers = (
            _background(far, height, width, draw, SceneStyle(warp=0.0)),
            _object(near, height, width, draw, speed=0.0),
        )
        steady = [_seen_by_pixels(_steadied(one, speed, key_readout, draw)) for one in layers]
        super().__init__(steady, height=height, width=width)


class _Draw:
    """Random choices of a scene, from one generator on the CPU."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.generator = torch.Generator().manual_seed(seed)

    def apart(self, purpose: str) -> _Draw:
        """Choices of their own for one purpose, which shift no others."""
        digest = hashlib.sha256(f"{self.seed}/{purpose}".encode()).digest()
        return _Draw(int.from_bytes(digest[:8], "big") >> 2)

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * torch.rand((), generator=self.generator).item()

    def log_uniform(self, low: float, high: float) -> float:
        return math.exp(self.uniform(math.log(low), math.log(high)))

    def whole(self, low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=self.generator))

    def happens(self, probability: float) -> bool:
        return self.uniform(0, 1) < probability

    def speed(self, bounds: tuple[float, float], still: float) -> float:
        """A speed within the bounds, or none at all, in pixels over 61 readouts."""
        if self.happens(still):
            return 0.0
        return self.log_uniform(*bounds) if bounds[0] else self.uniform(*bounds)

    def flicker(self, light: float) -> Wave:
        """Light that swings 100 times a second, of 20,000 to 40,000 readouts, up to `light`."""
        depth = 0.5 * light * self.uniform(0.1, 0.6)
        period = torch.tensor([self.uniform(200, 400)], dtype=torch.float64)
        phase = torch.tensor([self.uniform(0, 2 * math.pi)], dtype=torch.float64)
        return Wave(light - depth, torch.full_like(period, depth), period, phase)

    def interval(self, speed: float) -> int:
        """Readouts from a frame of a video to the next, where things move by `speed` a readout."""
        least, most = FRAME_INTERVALS
        drawn = min(self.log_uniform(least, most), FARTHEST / max(speed, FARTHEST / most))
        return max(least, IMAGE_STEP * round(drawn / IMAGE_STEP))

    def turn(self, light: float | Wave, key_readout: int) -> Turn:
        """Light that changes once near a readout, from or to the light as it is."""
        factor = self.log_uniform(*LIGHT_CHANGES)
        time = key_readout + self.uniform(-60, 60)
        duration = self.log_uniform(2, 200)
        return Turn(light, min(1.0, 1 / factor), min(1.0, factor), time, duration)

    def order(self, count: int) -> list[int]:
        return [int(one) for one in torch.randperm(count, generator=self.generator)]

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator)

    def bumps(self, height: int, width: int, count: int = 1) -> Tensor:
        """Smooth fields of a few bumps, each of unit amplitude: (count, H, W, 2)."""
        coarse = self.normal(count, 2, self.whole(3, 6), self.whole(3, 6))
        fields = F.interpolate(coarse, (height, width), mode="bicubic", align_corners=True)
        fields = fields / fields.abs().amax((1, 2, 3), keepdim=True)
        return fields.permute(0, 2, 3, 1).contiguous()

    def wave(self, amplitude: float, period: float, offset: float = 0.0) -> Wave:
        """One slow swing with a faster, weaker one upon it, as a hand-held camera has."""
        periods = torch.tensor((period, period * self.uniform(0.2, 0.45)), dtype=torch.float64)
        amplitudes = torch.tensor((amplitude, 0.06 * amplitude), dtype=torch.float64)
        phases = 2 * math.pi * torch.rand(2, generator=self.generator, dtype=torch.float64)
        return Wave(offset, amplitudes, periods, phases)


def _things(
    images: Sequence[Tensor], height: int, width: int, draw: _Draw, style: SceneStyle
) -> list[list[Layer]]:
    """The background and the objects, far to near, each with its layers."""
    background = _background(images[0], height, width, draw, style)
    things = [[background]]
    letters = draw.apart("text")
    for image in images[1:]:
        speed = draw.speed(style.object_motion, style.still)
        body = _object(image, height, width, draw, speed)
        if draw.happens(style.parallax):
            body = _in_scenery(body, background, draw)
        things.append([body])
        if speed and image.ndim == 2 and draw.happens(style.limbs):
            things[-1].append(_limb(body, draw))
        if letters.happens(style.text):
            things[-1] = [_lettered(body, height, width, letters)]
    return things


def _background(image: Tensor, height: int, width: int, draw: _Draw, style: SceneStyle) -> Layer:
    """A photograph that fills the scene, at a scale between its own and more than all in view."""
    whole = 1.25 * min(image.shape[0] / height, image.shape[1] / width)
    # Reduced by less than DETAIL, a photograph would show its own blur.
    reduction = draw.log_uniform(min(float(DETAIL), whole), whole)
    picture = _oriented(_reduced(image, reduction / DETAIL), draw)
    speed = draw.speed(style.motion, style.still)
    margins = [
        (picture.shape[0] / DETAIL - height) / 2,
        (picture.shape[1] / DETAIL - width) / 2,
    ]
    reach = max(8.0, 0.9 * min(margins))  # how far the view may wander before mirrors show
    path = _path(
        draw,
        speed=speed / MOTION_SPAN,
        reach=min(reach, 0.5 * max(height, width)),
        centre=tuple(draw.uniform(-0.3, 0.3) * max(margin, 0.0) for margin in margins),
        radius=0.5 * math.hypot(height, width),
    )
    return Layer(picture[None], path, _warp(height, width, draw, min(style.warp, speed)), DETAIL)


def _object(image: Tensor, height: int, width: int, draw: _Draw, speed: float) -> Layer:
    """A cut-out, or a soft-edged part of a photograph, that crosses the scene."""
    side = max(8, round(draw.log_uniform(0.15, 0.5) * min(height, width)))
    picture = _part(image, side, draw) if image.ndim == 2 else _outlined(image, side)
    picture = _oriented(picture, draw)
    path = _path(
        draw,
        speed=speed / MOTION_SPAN,
        reach=draw.uniform(0.2, 0.6) * max(height, width),
        centre=(draw.uniform(-0.3, 0.3) * height, draw.uniform(-0.3, 0.3) * width),
        radius=0.5 * side,
        spin=draw.uniform(0, 0.5),
    )
    if image.ndim == 2:
        size = len(picture)
        outline = _outline(size, 0.5 * min(side * DETAIL, 0.9 * size), draw)
        picture = torch.stack((picture, outline.to(picture.device)))
    return Layer(picture, path, detail=DETAIL)


def _part(image: Tensor, side: int, draw: _Draw) -> Tensor:
    """A square of a photograph, at a scale of its own: at most twice `side` pixels of the scene."""
    whole = max(1.0, min(image.shape) / (1.5 * side))
    texture = _reduced(image, draw.log_uniform(min(float(DETAIL), whole), whole) / DETAIL)
    size = min(2 * side * DETAIL, *texture.shape)
    top, left = (draw.whole(0, length - size) for length in texture.shape)
    return texture[top : top + size, left : left + size]


def _outlined(image: Tensor, side: int) -> Tensor:
    """A cut-out whose longer side is `side` pixels of the scene, or its own length if that is less.

    What is transparent, and a rim that is added for the sampling, takes the mean of what is opaque:
    pictures may hold any colour there.
    """
    grey, opacity = image
    mean = ((grey * opacity).sum() / opacity.sum()).item()
    reduction = max(1.0, max(opacity.shape) / (side * DETAIL))
    texture = _reduced(grey.where(opacity > LEAST_OPACITY, mean), reduction)
    texture = F.pad(texture, (RIM,) * 4, value=mean)
    return torch.stack((texture, F.pad(_reduced(opacity, reduction), (RIM,) * 4)))


def _steadied(layer: Layer, speed: float, time: float, draw: _Draw) -> Layer:
    """The layer moving straight on in some direction, where its own path has its mean at `time`."""
    assert isinstance(layer.path, Path)
    still = {
        name: Line(getattr(layer.path, name).offset)
        for name in ("x", "y", "angle", "zoom", "tilt_x", "tilt_y")
    }
    direction = draw.uniform(0, 2 * math.pi)
    for name, share in (("x", math.cos(direction)), ("y", math.sin(direction))):
        still[name] = Line(still[name].value, speed * share, time)
    return replace(layer, path=Path(**still))


def _in_scenery(layer: Layer, background: Layer, draw: _Draw) -> Layer:
    """The layer moving along the background's path, as what is nearer to a moving camera does."""
    assert isinstance(layer.path, Path)
    assert isinstance(background.path, Path)
    nearer = draw.uniform(1.0, 2.5)
    shifts = {
        axis: replace(
            (wave := getattr(background.path, axis)),
            offset=getattr(layer.path, axis).offset,
            amplitudes=nearer * wave.amplitudes,
        )
        for axis in ("x", "y")
    }
    return replace(layer, path=replace(background.path, **shifts))


def _limb(body: Layer, draw: _Draw) -> Layer:
    """A long part of the body's texture that hangs on its rim and swings."""
    assert isinstance(body.path, Path)
    pixels = body.picture.shape[-1]
    size = pixels / body.detail
    length, angle = draw.uniform(0.3, 0.5) * size, draw.uniform(0, 2 * math.pi)
    joint = (0.25 * size * math.cos(angle), 0.25 * size * math.sin(angle))
    swing = draw.wave(draw.uniform(0.2, 1.0), draw.uniform(80, 400), angle)
    x, y, _ = (pixel_centres(pixels, pixels) / body.detail).unbind(-1)
    stretch = draw.uniform(2.0, 4.0)
    distance = torch.hypot(x, stretch * y) / stretch
    sharpness = body.detail * draw.uniform(2.0, 4.0)
    outline = torch.sigmoid((0.5 * length / stretch - distance) * sharpness)
    texture = body.picture[0].flip(0)
    outline = outline.to(texture.device)
    path = JointedPath(body.path, joint, 0.5 * length, swing)
    return Layer(torch.stack((texture, outline)), path, detail=body.detail)


def _lettered(body: Layer, height: int, width: int, draw: _Draw) -> Layer:
    """A line of text that moves as the body does."""
    size = draw.log_uniform(6, max(8.0, 0.25 * height))
    fitting = round(2 * width / size)  # a character is about half as wide as its size
    count = draw.whole(2, max(2, min(14, fitting)))
    text = "".join(LETTERS[draw.whole(0, len(LETTERS) - 1)] for _ in range(count))
    ink = draw.uniform(0, 1)
    paper = (ink + draw.uniform(0.3, 0.7)) % 1 if draw.happens(0.5) else None
    picture = lettered(text, round(DETAIL * size), ink=ink, paper=paper)
    return replace(body, picture=picture.to(body.picture.device))


def _highlit(
    things: list[list[Layer]], peak: float, height: int, width: int, draw: _Draw
) -> list[list[Layer]]:
    """The things of a scene with highlights, and lamps on the background."""
    share = draw.log_uniform(*HIGHLIGHTS)
    lit = [[with_highlights(layer, share, peak) for layer in thing] for thing in things]
    for _ in range(draw.whole(0, 3)):
        place = draw.uniform(-0.5, 0.5) * width, draw.uniform(-0.5, 0.5) * height
        lit[0] = [with_lamp(lit[0][0], place, draw.log_uniform(*LAMP_RADII), peak)]
    return lit


def _defocused(thing: list[Layer], draw: _Draw) -> list[Layer]:
    """The layers of a thing out of focus alike."""
    radii = draw.uniform(*BLUR_RADII), draw.uniform(*BLUR_RADII)
    changes = draw.happens(0.5)
    focus = draw.wave(0.5, draw.uniform(200, 800), 0.5) if changes else None
    return [out_of_focus(layer, radii, focus) for layer in thing]


def _seen_by_pixels(layer: Layer) -> Layer:
    """The layer with its picture averaged over the square of a pixel of the scene, everywhere.

    The mean of the picture, linear between its own pixels, over DETAIL of them.
    """
    weights = torch.tensor((0.25, 0.5, 0.25), device=layer.picture.device)
    kernel = torch.outer(weights, weights)[None, None]
    padded = F.pad(layer.pictures[:, None], (1, 1, 1, 1), mode="replicate")
    return layer.showing(F.conv2d(padded, kernel)[:, 0])


def _path(
    draw: _Draw,
    *,
    speed: float,
    reach: float,
    centre: tuple[float, ...],
    radius: float,
    spin: float = 0.0,
) -> Path:
    """A path whose fastest shift is `speed` pixels a readout, within `reach` of `centre` (y, x).

    Rotation, zoom and tilt move a point at `radius` by no more than a part of that speed each.
    """
    direction = draw.uniform(0, 2 * math.pi)
    period = 2 * math.pi * reach / max(speed, 1e-6)
    slow = period * draw.uniform(0.7, 1.4)
    turn = min(0.15, 0.4 * reach / radius) + spin
    zoom = min(math.log(LARGEST_ZOOM), 0.3 * reach / radius)
    tilt = min(0.08, 0.15 * reach / radius) / radius
    return Path(
        x=draw.wave(reach * math.cos(direction), period, centre[1]),
        y=draw.wave(reach * math.sin(direction), period, centre[0]),
        angle=draw.wave(draw.uniform(0, turn), slow, draw.uniform(-0.1, 0.1)),
        zoom=draw.wave(draw.uniform(0, zoom), slow),
        tilt_x=draw.wave(draw.uniform(0, tilt), slow),
        tilt_y=draw.wave(draw.uniform(0, tilt), slow),
    )


def _warp(height: int, width: int, draw: _Draw, amplitude: float) -> Warp | None:
    """Three bending fields of a few bumps across the scene."""
    if not amplitude:
        return None
    fields = draw.bumps(height, width, count=3)
    share = draw.uniform(0, amplitude) / 3
    waves = tuple(draw.wave(share, draw.uniform(120, 400)) for _ in range(3))
    return Warp(fields, waves)


def _outline(size: int, radius: float, draw: _Draw) -> Tensor:
    """Opacity of a blob with a wavy outline and an edge about one pixel wide: (size, size)."""
    y, x = pixel_centres(size, size)[..., 1], pixel_centres(size, size)[..., 0]
    stretch = draw.uniform(0.6, 1.0)
    angle, distance = torch.atan2(y / stretch, x), torch.hypot(x, y / stretch)
    edge = torch.full_like(angle, 0.75)
    for order in range(2, 6):
        edge += draw.uniform(-0.2, 0.2) / order * torch.cos(order * angle + draw.uniform(0, 6.3))
    return torch.sigmoid((edge * radius - distance) * draw.uniform(2.0, 4.0))


def _reduced(image: Tensor, reduction: float) -> Tensor:
    """The photograph at 1 / reduction of its size, without aliasing: (h, w) in [0, 1]."""
    size = [max(LEAST_SIDE, round(length / reduction)) for length in image.shape]
    reduced = F.interpolate(image[None, None], size, mode="bicubic", antialias=True)
    return reduced[0, 0].clamp(0, 1)


def _oriented(image: Tensor, draw: _Draw) -> Tensor:
    """Mirrored left to right, or not."""
    return image.flip(-1) if draw.whole(0, 1) else image


def _linear(image: Tensor, gamma: float) -> Tensor:
    """A photograph, or a cut-out, whose grey values are raised to a power."""
    return image**gamma if image.ndim == 2 else torch.stack((image[0] ** gamma, image[1]))


def _checked(images: Sequence[Tensor], index: int, *, may_be_cut_out: bool = False) -> Tensor:
    """One of the images. Only those that a scene shows are checked: a set may hold many."""
    image = images[index]
    is_cut_out = may_be_cut_out and image.ndim == 3 and len(image) == 2
    is_grey = image.ndim == 2 or is_cut_out
    if not is_grey or not image.is_floating_point() or min(image.shape[-2:]) < LEAST_SIDE:
        raise InputError(
            f"images[{index}] must be a grey float image (h, w) of at least {LEAST_SIDE} × "
            f"{LEAST_SIDE}, found {tuple(image.shape)} {image.dtype}."
        )
    low, high = (value.item() for value in torch.aminmax(image))
    if not (low >= 0 and high <= 1):
        raise InputError(
            f"images[{index}] must lie in [0, 1], found [{low:.3g}, {high:.3g}]: divide 8-bit "
            "values by 255."
        )
    return image
