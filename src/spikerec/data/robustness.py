"""Robustness: the same scenes under conditions that vary one factor at a time, for evaluation.

Every scene is recorded once in the middle and once at each other level of each factor:

    light_scale     firing rate of a pixel of intensity 1
    motion          pixels a readout, of background and object alike
    noise           the camera, a preset of `conf/simulation` or a mixture of two
    hot_pixels      share of the pixels that fire at every readout
    fixed_pattern   standard deviation between the pixels' responses
    readouts_after  readouts from the key readout to the stream's end

All recordings of a scene have one key readout, at which they show one picture, whatever the speed:
the truth is one file. The charge at the start and the draws of the noise have one seed a scene, so
that a level differs from the middle in its factor alone.

    ROOT/dataset.yaml                       the data card; appears when the last scene is written
    ROOT/test/03.png                        the truth of a scene
    ROOT/test/03@middle.dat, .yaml          its stream in the middle, geometry and light scale
    ROOT/test/03@motion=2.dat, .yaml        at another level

The scenes are made of photographs of scikit-image that the sets `photos_…` train nothing on
(`data/photos.md`), so that there is nothing to download.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import rich.progress
import torch
from torch import Tensor

from spikerec import spikes
from spikerec.data.clips import Clip, MadeSet, SplitName
from spikerec.errors import ConfigError, DataError, SplitNotFoundError
from spikerec.kinds import checked
from spikerec.simulation import Camera, SensorMaps, SourceImage, bundled_images, write_set
from spikerec.simulation.images import write_grey
from spikerec.simulation.scenes import SteadyScene
from spikerec.simulation.synthesise import CARD, Progress
from spikerec.spikes.geometry import Geometry, check_light_scale

CARD_VERSION = 1  # of what is drawn and how it is written: raise it when either changes
#: Photographs of scikit-image that are in the validation and test splits of the sets `photos_…`.
HELD_OUT = ("astronaut.png", "chelsea.png", "coffee.png", "coins.png", "grass.png")
MIDDLE = "middle"

#: The noise that is compared, from none to most.
CAMERAS: Mapping[str, Camera] = {
    "ideal": Camera(),
    "shot": Camera(threshold=255.0, shot_noise=True),
    "spikingsim": Camera(gain=0.99, stray_rate=0.007),
    "rsir": (
        rsir := Camera(
            threshold=255.0,
            shot_noise=True,
            gain_spread=0.056,
            dark_current=0.0045,
            dark_spread=0.46,
        )
    ),
    "rsir_stray": replace(rsir, stray_rate=0.007),
}


@checked
@dataclass(frozen=True)
class FaultyCamera(Camera):
    """A camera some of whose pixels are hot: the dark alone makes them fire at every readout.

    Args:
        hot_pixels: their share, in [0, 1]. With one seed, more of them contain the fewer.

    Raises:
        ConfigError: a share outside its range.
    """

    hot_pixels: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.hot_pixels <= 1:
            raise ConfigError(f"hot_pixels must lie in [0, 1], found {self.hot_pixels}.")

    @checked
    def sensor(self, height: int, width: int, generator: torch.Generator) -> SensorMaps:
        """See `Camera.sensor`."""
        maps = super().sensor(height, width, generator)
        is_hot = torch.rand(height, width, generator=generator) < self.hot_pixels
        return replace(maps, dark_current=maps.dark_current + is_hot)

    @property
    def has_fixed_pattern(self) -> bool:
        """See `Camera.has_fixed_pattern`."""
        return self.hot_pixels > 0 or super().has_fixed_pattern


@dataclass(frozen=True)
class Condition:
    """One way of recording a scene.

    Attributes:
        factor: the one that differs from the middle; `middle` where none does.
        level: of that factor, as text; empty in the middle.
        noise: name of the camera.
        camera: with its light scale.
        motion: pixels a readout.
        readouts_after: readouts from the key readout to the stream's end.
    """

    factor: str
    level: str
    noise: str
    camera: FaultyCamera
    motion: float
    readouts_after: int

    @property
    def name(self) -> str:
        """`middle`, or the factor and its level: `motion=2`."""
        return f"{self.factor}={self.level}" if self.level else self.factor

    @property
    def covariates(self) -> dict[str, float]:
        """The value of every factor that has numbers."""
        return {
            "light_scale": self.camera.light_scale,
            "motion": self.motion,
            "hot_pixels": self.camera.hot_pixels,
            "fixed_pattern": self.camera.gain_spread,
            "readouts_after": float(self.readouts_after),
        }


class Robustness(MadeSet):
    """Scenes under conditions that vary one factor at a time; there is a test split alone.

    Args:
        root: folder of the set.
        scenes: number of scenes.
        height: rows.
        width: columns.
        light_scale: of the middle; one of `light_scales`.
        motion: of the middle, in pixels a readout; one of `motions`.
        light_scales: levels, rising.
        motions: levels in pixels a readout, rising.
        cameras: name → camera, from no noise to most; the first is that of the middle. They take
            the light scale of the condition.
        hot_pixels: levels, rising from 0: shares of the pixels that fire at every readout.
        fixed_patterns: levels, rising from 0: standard deviations of the pixels' relative response.
        readouts_after: levels, falling: readouts from the key readout to the stream's end. The
            first is also the number of readouts before it.
        seed: of scenes and noise.
        name: the set's name in results.

    Raises:
        ConfigError: no scene, no camera, or levels that are out of order or lack the middle.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        scenes: int = 12,
        height: int = 128,
        width: int = 128,
        light_scale: float = 0.4,
        motion: float = 0.2,
        light_scales: Sequence[float] = (0.05, 0.1, 0.2, 0.4, 0.7, 1.0),
        motions: Sequence[float] = (0.0, 0.05, 0.2, 0.5, 1.0, 2.0),
        cameras: Mapping[str, Camera] = CAMERAS,
        hot_pixels: Sequence[float] = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1),
        fixed_patterns: Sequence[float] = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3),
        readouts_after: Sequence[int] = (60, 30, 15, 7, 3, 0),
        seed: int = 0,
        name: str = "robustness",
    ) -> None:
        super().__init__(name, root)
        for argument, value in (("scenes", scenes), ("height", height), ("width", width)):
            if value < 1:
                raise ConfigError(f"{argument} must be at least 1, found {value}.")
        if not cameras:
            raise ConfigError("cameras names no camera: name at least one.")
        _check_levels("light_scales", light_scales, light_scale)
        _check_levels("motions", motions, motion)
        _check_levels("hot_pixels", hot_pixels, 0.0)
        _check_levels("fixed_patterns", fixed_patterns, 0.0)
        _check_levels("readouts_after", readouts_after[::-1], 0)
        for level in light_scales:
            check_light_scale(level, "light_scales")
        self.scenes = scenes
        self.height = height
        self.width = width
        self.light_scale = light_scale
        self.motion = motion
        self.light_scales = tuple(light_scales)
        self.motions = tuple(motions)
        self.cameras = dict(cameras)
        self.hot_pixels = tuple(hot_pixels)
        self.fixed_patterns = tuple(fixed_patterns)
        self.readouts_after = tuple(readouts_after)
        self.seed = seed

    def how_to_get(self) -> str:
        """See `SpikeSet.how_to_get`."""
        return "It is simulated when evaluation first asks for it."

    def prepare(self) -> None:
        """Simulate what is missing of the set."""
        with rich.progress.Progress(transient=True) as bar:
            task = bar.add_task(f"simulating {self.name}", total=None)
            self.fetch(
                report=bar.console.print,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )

    def fetch(self, report: Callable[[str], None], progress: Progress) -> None:
        """Simulate the set, or what is missing of it.

        Args:
            report: not called: there is nothing to download.
            progress: called with (scenes done, scenes in all).

        Raises:
            DataError: the folder holds another set.
        """
        del report
        scenes = {"test": self.scenes}
        write_set(self.root, self._card(), scenes, self._has, self._write, progress=progress)
        _photographs.cache_clear()

    @property
    def key_readout(self) -> int:
        """The readout at which every recording has its truth."""
        return self.readouts_after[0]

    def conditions(self) -> list[Condition]:
        """The middle, then the other levels of each factor, in order."""
        return list(self._conditions())

    def _conditions(self) -> Iterator[Condition]:
        noise, *noises = self.cameras
        camera = self._camera(noise)
        middle = Condition(MIDDLE, "", noise, camera, self.motion, self.key_readout)
        yield middle
        for scale in self.light_scales:
            if scale != self.light_scale:
                at = replace(camera, light_scale=scale)
                yield replace(middle, factor="light_scale", level=f"{scale:g}", camera=at)
        for motion in self.motions:
            if motion != self.motion:
                yield replace(middle, factor="motion", level=f"{motion:g}", motion=motion)
        for name in noises:
            at = self._camera(name)
            yield replace(middle, factor="noise", level=name, noise=name, camera=at)
        for share in self.hot_pixels[1:]:
            at = replace(camera, hot_pixels=share)
            yield replace(middle, factor="hot_pixels", level=f"{share:g}", camera=at)
        for spread in self.fixed_patterns[1:]:
            at = replace(camera, gain_spread=spread)
            yield replace(middle, factor="fixed_pattern", level=f"{spread:g}", camera=at)
        for after in self.readouts_after[1:]:
            yield replace(middle, factor="readouts_after", level=str(after), readouts_after=after)

    def _camera(self, name: str) -> FaultyCamera:
        settings = asdict(self.cameras[name]) | {"light_scale": self.light_scale}
        return FaultyCamera(**settings)

    def clips(self, split: SplitName) -> list[Clip]:
        """See `SpikeSet.clips`: scene by scene, each in the order of `conditions`.

        Raises:
            SplitNotFoundError: another split than `test`.
            DataError: the set is not there.
        """
        if split != "test":
            raise SplitNotFoundError(f"{self.name} has a test split alone, found split={split}.")
        if not (self.root / CARD).is_file():
            raise DataError(f"root: {self.root} does not hold the set. {self.how_to_get()}")
        return [
            self._clip(scene, condition)
            for scene in range(self.scenes)
            for condition in self.conditions()
        ]

    def _clip(self, scene: int, condition: Condition) -> Clip:
        path = self._stream(scene, condition)
        return Clip(
            path.stem,
            (path,),
            condition.camera.light_scale,
            Geometry(self.height, self.width),
            images={self.key_readout: self._truth(scene)},
            covariates=condition.covariates,
            conditions={
                "factor": condition.factor,
                "noise": condition.noise,
                "motion_source": "exact",
            },
        )

    def _stream(self, scene: int, condition: Condition) -> Path:
        return self.root / "test" / f"{scene:02d}@{condition.name}.dat"

    def _truth(self, scene: int) -> Path:
        return self.root / "test" / f"{scene:02d}.png"

    def _has(self, split: str, index: int) -> bool:
        del split
        streams = (self._stream(index, condition) for condition in self.conditions())
        return self._truth(index).is_file() and all(path.is_file() for path in streams)

    def _write(self, split: str, index: int) -> None:
        """Write what is missing of a scene."""
        del split
        self._truth(index).parent.mkdir(parents=True, exist_ok=True)
        frames: dict[float, Tensor] = {}
        for condition in self.conditions():
            if condition.motion not in frames:
                frames[condition.motion] = self.frames(index, condition.motion)
            if condition.factor == MIDDLE:
                write_grey(self._truth(index), frames[condition.motion][self.key_readout])
            path = self._stream(index, condition)
            if not path.is_file():
                light = frames[condition.motion][: self.key_readout + 1 + condition.readouts_after]
                spiked = condition.camera.expose(light, seed=self.scene_seed(index))
                path.with_suffix(".yaml").unlink(missing_ok=True)  # of a run that was killed
                spikes.save(path, spiked.numpy(), light_scale=condition.camera.light_scale)

    @checked
    def frames(self, scene: int, motion: float) -> Tensor:
        """The light of a scene at each readout: (T, H, W) float32 in [0, 1].

        Args:
            scene: its number.
            motion: pixels a readout.
        """
        images = [one.image for one in _photographs()]
        rounds, far = divmod(scene, len(images))
        near = (far + 1 + rounds % (len(images) - 1)) % len(images)
        shown = SteadyScene(
            [images[far], images[near]],
            height=self.height,
            width=self.width,
            seed=self.scene_seed(scene),
            speed=motion,
            key_readout=self.key_readout,
        )
        return shown.frames(0, 2 * self.key_readout + 1)

    def scene_seed(self, scene: int) -> int:
        """The seed of a scene, of its sensor and of its noise."""
        digest = hashlib.sha256(f"{self.seed}/{scene}".encode()).digest()
        return int.from_bytes(digest[:8], "big") >> 2

    def _card(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": CARD_VERSION,
            "height": self.height,
            "width": self.width,
            "scenes": self.scenes,
            "seed": self.seed,
            "key_readout": self.key_readout,
            "conditions": {
                one.name: {
                    "motion": one.motion,
                    "readouts_after": one.readouts_after,
                    **asdict(one.camera),
                }
                for one in self.conditions()
            },
            "photographs": [
                {"name": one.name, "licence": one.licence, "sha256": one.sha256}
                for one in _photographs()
            ],
        }


def _check_levels(name: str, levels: Sequence[float], middle: float) -> None:
    """Refuse levels that are not in order, negative, or without that of the middle."""
    if not levels or min(levels) < 0 or any(a >= b for a, b in pairwise(levels)):
        raise ConfigError(f"{name} must be levels from 0 up, in order, found {list(levels)}.")
    if middle not in levels:
        raise ConfigError(f"{name} must hold {middle:g}, found {list(levels)}.")


@lru_cache(maxsize=1)
def _photographs() -> tuple[SourceImage, ...]:
    return tuple(one for one in bundled_images() if one.name in HELD_OUT)
