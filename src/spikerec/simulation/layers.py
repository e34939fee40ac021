"""Layers of a scene, and how they move: the true intensity at any readout.

A scene is a stack of layers, far to near. Each layer is a picture that moves along a smooth path
of homographies (pan, rotation, zoom, mild perspective), and may bend locally. Time is counted in
readouts and may be fractional; space in pixels of the scene, from its centre.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from spikerec.errors import InputError
from spikerec.kinds import checked

FRAMES_AT_ONCE = 16  # bounds memory; the frames do not depend on it
Place = tuple[slice, slice]  # rows and columns of a scene
EVERYWHERE: Place = (slice(None), slice(None))
BEND_ROUNDS = 6  # of looking up where a bending layer shows a point: to 1e-3 pixels


@runtime_checkable
class Scene(Protocol):
    """Anything whose true intensity is known at each readout."""

    height: int
    width: int

    @property
    def num_readouts(self) -> int | None:
        """Readouts that the scene lasts; None where it has no end."""

    def frames(self, start: int, stop: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Intensity at the readouts start … stop − 1: (stop − start, H, W) in [0, 1]."""


@runtime_checkable
class Filmed(Protocol):
    """A scene that may come from a video: between its frames no camera saw it."""

    def is_seen(self, readout: int) -> bool:
        """True unless the intensity at the readout is interpolated between frames."""


@dataclass(frozen=True)
class Wave:
    """A smooth function of time: offset + Σ amplitude · sin(2π t / period + phase).

    Attributes:
        offset: its mean.
        amplitudes: (K,)
        periods: (K,) in readouts.
        phases: (K,) in radians.
    """

    offset: float
    amplitudes: Tensor
    periods: Tensor
    phases: Tensor

    def __call__(self, times: Tensor) -> Tensor:
        """Values at times (T,): (T,) float64."""
        angles = 2 * math.pi * times[:, None] / self.periods + self.phases
        return self.offset + (self.amplitudes * torch.sin(angles)).sum(1)


@dataclass(frozen=True)
class Line:
    """A steady change: value + slope · (t − time).

    Attributes:
        value: at `time`.
        slope: change in a readout.
        time: in readouts.
    """

    value: float
    slope: float = 0.0
    time: float = 0.0

    def __call__(self, times: Tensor) -> Tensor:
        """Values at times (T,): (T,) float64."""
        return self.value + self.slope * (times - self.time)


@dataclass(frozen=True)
class Turn:
    """Light that changes once, smoothly, from one level to another.

    Attributes:
        light: what the levels are factors on.
        before: factor before the change, in (0, 1].
        after: factor after it, in (0, 1].
        time: middle of the change, in readouts.
        duration: readouts from the one level to the other.
    """

    light: float | Wave
    before: float
    after: float
    time: float
    duration: float

    def __call__(self, times: Tensor) -> Tensor:
        """Values at times (T,): (T,) float64."""
        share = (0.5 + (times - self.time) / self.duration).clamp(0, 1)
        factor = self.before + (self.after - self.before) * share**2 * (3 - 2 * share)
        return factor * (self.light(times) if isinstance(self.light, Wave) else self.light)


@dataclass(frozen=True)
class Path:
    """A path of homographies from the scene's plane to a photograph's.

    Attributes:
        x: shift to the right, in pixels of the scene.
        y: shift downward, in pixels of the scene.
        angle: rotation, in radians.
        zoom: logarithm of the magnification.
        tilt_x: perspective along x: relative change of scale a pixel.
        tilt_y: perspective along y.
    """

    x: Wave | Line
    y: Wave | Line
    angle: Wave | Line
    zoom: Wave | Line
    tilt_x: Wave | Line
    tilt_y: Wave | Line

    def homographies(self, times: Tensor) -> Tensor:
        """Matrices that take points (x, y, 1) of the scene to the photograph: (T, 3, 3) float64."""
        scale = torch.exp(-self.zoom(times))
        angle = self.angle(times)
        cos, sin = scale * torch.cos(angle), scale * torch.sin(angle)
        shift_x, shift_y = self.x(times), self.y(times)
        matrices = torch.stack(
            (
                *(cos, sin, -cos * shift_x - sin * shift_y),
                *(-sin, cos, sin * shift_x - cos * shift_y),
                *(self.tilt_x(times), self.tilt_y(times), torch.ones_like(times)),
            ),
            dim=1,
        )
        return matrices.view(-1, 3, 3)


@dataclass(frozen=True)
class JointedPath:
    """The path of a part that hangs on a moving body and swings about a joint.

    Attributes:
        body: path of what it hangs on.
        joint: where, (x, y) in pixels of the body's photograph, from its centre.
        reach: from the joint to the part's own centre, in pixels.
        swing: angle about the joint, in radians.
    """

    body: Path
    joint: tuple[float, float]
    reach: float
    swing: Wave

    def homographies(self, times: Tensor) -> Tensor:
        """Matrices that take points of the scene to the part's photograph: (T, 3, 3) float64."""
        angle = self.swing(times)
        cos, sin = torch.cos(angle), torch.sin(angle)
        x, y = self.joint
        zero, one = torch.zeros_like(cos), torch.ones_like(cos)
        matrices = torch.stack(
            (
                *(cos, sin, -cos * x - sin * y - self.reach),
                *(-sin, cos, sin * x - cos * y),
                *(zero, zero, one),
            ),
            dim=1,
        )
        return matrices.view(-1, 3, 3) @ self.body.homographies(times)


@dataclass(frozen=True)
class Warp:
    """A local deformation that swells and ebbs: Σ_k wave_k(t) · field_k(x, y).

    Attributes:
        fields: (K, H, W, 2) float32, smooth displacements of unit amplitude, x then y.
        waves: K amplitudes over time, in pixels.
    """

    fields: Tensor
    waves: tuple[Wave, ...]

    def __call__(self, times: Tensor, place: Place = EVERYWHERE) -> Tensor:
        """Displacements at times (T,), within `place`: (T, H, W, 2)."""
        weights = torch.stack([wave(times) for wave in self.waves], dim=1).float()  # (T, K)
        fields = self.fields[:, *place]
        return torch.einsum("tk,khwc->thwc", weights.to(fields.device), fields)


@dataclass(frozen=True)
class Layer:
    """A photograph, its outline and its path.

    Attributes:
        picture: (1, h, w) float32 photograph, or (2, h, w) with the opacity as second channel.
        path: how it moves.
        warp: how it bends; None where it does not.
        detail: pixels of the picture for one of the scene, a side, where `path` neither zooms nor
            tilts.
        refocused: the picture as it is seen at another focus; None where the focus stays.
        focus: share of `refocused` in what is seen, in [0, 1]; beyond that range it is held.
    """

    picture: Tensor
    path: Path | JointedPath
    warp: Warp | None = None
    detail: int = 1
    refocused: Tensor | None = None
    focus: Wave | None = None

    @property
    def pictures(self) -> Tensor:
        """The picture, and below it the refocused one where there is one: (C or 2·C, h, w)."""
        return self.picture if self.refocused is None else torch.cat((self.picture, self.refocused))

    def showing(self, pictures: Tensor) -> Layer:
        """The layer with other pictures, in the form of `pictures`."""
        if self.refocused is None:
            return replace(self, picture=pictures)
        picture, refocused = pictures.chunk(2)
        return replace(self, picture=picture, refocused=refocused)

    def to(self, device: torch.device | str) -> Layer:
        """The layer on another device."""
        warp = self.warp and Warp(self.warp.fields.to(device), self.warp.waves)
        return replace(self.showing(self.pictures.to(device)), warp=warp)

    def is_seen(self, readout: int) -> bool:
        """True: a layer is exact at all readouts, unless it is filmed."""
        del readout
        return True

    def moved(self, start: float, stop: float, points: Tensor) -> Tensor:
        """Places (H, W, 2) at `stop` of what the layer shows at points (H, W, 3) at `start`."""
        times = torch.tensor([start, stop], dtype=torch.float64)
        before, after = self.path.homographies(times)
        places = points[..., :2].double()
        shown = _projected(before, places)
        later_bend = None
        if self.warp is not None:
            bend, later_bend = self.warp(times).double()
            shown = shown + _sampled(bend, places)
        return found(shown, torch.linalg.inv(after), later_bend, places).float()

    def render(self, times: Tensor, points: Tensor, place: Place = EVERYWHERE) -> Tensor:
        """The layer at times (T,) seen through points (H, W, 3): (T, C, H, W), C as `picture`.

        Args:
            times: in readouts.
            points: of the scene.
            place: rows and columns of the scene that the points are.
        """
        matrices = self.path.homographies(times).float().to(points.device)
        seen = torch.einsum("tij,hwj->thwi", matrices, points)
        where = seen[..., :2] / seen[..., 2:]
        if self.warp is not None:
            where = where + self.warp(times, place)
        size = torch.tensor(self.picture.shape[:0:-1], device=points.device)  # (w, h)
        # Beyond its border a photograph goes on mirrored, and a cut-out is transparent.
        beyond = "reflection" if len(self.picture) == 1 else "zeros"
        shown = F.grid_sample(
            self.pictures.expand(len(times), -1, -1, -1),
            where * (2 * self.detail / size),
            "bicubic",
            padding_mode=beyond,
            align_corners=False,
        )
        if self.focus is None:
            return shown
        share = self.focus(times).clamp(0, 1).to(shown)
        first, second = shown.chunk(2, 1)
        return torch.lerp(first, second, share[:, None, None, None])


@checked
class LayeredScene:
    """Layers in front of one another, far to near.

    Args:
        layers: the first fills the picture; the others have an opacity.
        height: rows of the scene.
        width: columns of the scene.
        brightness: factor on the intensity of the photographs, in (0, 1]; a function of time where
            the light changes.
        brightest: largest intensity of the layers, before that factor, 1 or above. What is above 1
            after it is clipped: the sensor cannot follow it.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        *,
        height: int,
        width: int,
        brightness: float | Wave | Turn = 1.0,
        brightest: float = 1.0,
    ) -> None:
        self.layers = tuple(layers)
        self.brightness = brightness
        self.brightest = brightest
        self.height = height
        self.width = width

    @property
    def num_readouts(self) -> int | None:
        """A layered scene has no end."""
        return None

    def is_seen(self, readout: int) -> bool:
        """See `Filmed.is_seen`."""
        return all(layer.is_seen(readout) for layer in self.layers)

    @checked
    def frames(
        self,
        start: int,
        stop: int,
        dtype: torch.dtype = torch.float32,
        place: Place = EVERYWHERE,
    ) -> Tensor:
        """See `Scene.frames`; of `place` alone, rows and columns, where it is given.

        Raises:
            InputError: stop is not above start.
        """
        if stop <= start:
            raise InputError(f"frames must end after they start, found {start} to {stop}.")
        times = torch.arange(start, stop, dtype=torch.float64)
        parts = [self.at(part, place) for part in torch.split(times, FRAMES_AT_ONCE)]
        return torch.cat(parts).to(dtype)

    @checked
    def at(self, times: Tensor, place: Place = EVERYWHERE) -> Tensor:
        """Intensity at any times, in readouts: (T,) float64 → (T, H, W) float32 in [0, 1]."""
        device = self.layers[0].picture.device
        points = pixel_centres(self.height, self.width)[place].to(device)
        intensity = self.layers[0].render(times, points, place)[:, 0]
        for layer in self.layers[1:]:
            picture, opacity = layer.render(times, points, place).unbind(1)
            intensity = torch.lerp(intensity, picture, opacity.clamp_(0, 1))
        intensity = intensity.clamp_(0, self.brightest)
        if isinstance(self.brightness, Wave | Turn):
            intensity.mul_(self.brightness(times).to(intensity)[:, None, None])
        else:
            intensity.mul_(self.brightness)
        return intensity.clamp_(max=1)

    @checked
    def flow(self, start: float, stop: float) -> Tensor:
        """True optical flow from one time to another.

        That of the front layer that covers at least half of the pixel at `start`; where something
        else hides it at `stop`, it is where it would be seen.

        Args:
            start: time in readouts, may be fractional.
            stop: the other time, before or after it.

        Returns:
            (H, W, 2) float32, x then y, in pixels: what pixel p shows at `start` lies at p + flow
            at `stop`.
        """
        points = pixel_centres(self.height, self.width).to(self.layers[0].picture.device)
        places = self.layers[0].moved(start, stop, points)
        time = torch.tensor([start], dtype=torch.float64)
        for layer in self.layers[1:]:
            is_front = layer.render(time, points)[0, 1] >= 0.5
            places = torch.where(is_front[..., None], layer.moved(start, stop, points), places)
        return places - points[..., :2]


def pixel_centres(height: int, width: int) -> Tensor:
    """Pixel centres (x, y, 1) counted from the middle: (H, W, 3) float32."""
    y = torch.arange(height) - (height - 1) / 2
    x = torch.arange(width) - (width - 1) / 2
    grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
    return torch.stack((grid_x, grid_y, torch.ones_like(grid_x)), dim=-1)


def found(shown: Tensor, back: Tensor, bend: Tensor | None, places: Tensor) -> Tensor:
    """Places of the scene at which a layer shows points of its picture, at one time.

    A layer that bends has no closed inverse: its bend is looked up where the point was found in the
    round before. Bends are so much smoother than a pixel that a round leaves a fifth of the error.

    Args:
        shown: (h, w, 2) float64, points of the picture.
        back: (3, 3) homography from the picture to the scene.
        bend: (H, W, 2) float64, of all pixels of the scene; None where the layer does not bend.
        places: (h, w, 2) float64, where to begin to look.

    Returns:
        (h, w, 2) float64, from the scene's centre.
    """
    if bend is None:
        return _projected(back, shown)
    for _ in range(1 + BEND_ROUNDS):
        places = _projected(back, shown - _sampled(bend, places))
    return places


def _projected(matrix: Tensor, places: Tensor) -> Tensor:
    """Places (H, W, 2) float64 through a homography (3, 3)."""
    matrix = matrix.to(places.device)
    seen = places @ matrix[:, :2].T + matrix[:, 2]
    return seen[..., :2] / seen[..., 2:]


def _sampled(field: Tensor, places: Tensor) -> Tensor:
    """A field (H, W, 2) between its pixels, at places (H, W, 2) from its centre; its rim beyond."""
    height, width, _ = field.shape
    size = torch.tensor((width, height), dtype=field.dtype, device=field.device)
    grid = (places * (2 / size))[None]
    sampled = F.grid_sample(
        field.permute(2, 0, 1)[None], grid, padding_mode="border", align_corners=False
    )
    return sampled[0].permute(1, 2, 0)
