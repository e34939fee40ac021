"""A training set that generalises: moving photographs, seen by many cameras at many light levels.

Every scene has its own light scale, brightness, camera noise and motion, so that a network trained
on them cannot lean on any. Photographs are dealt out to the splits once for all sizes of the set:
what one size tests on, no size trains on.

    ROOT/dataset.yaml               the data card; appears when the last scene is written
    ROOT/SPLIT/0000.dat, .yaml      a scene's stream, its geometry and light scale
    ROOT/SPLIT/0000_images/K.png    its intensity at the readout (K − 1) · readouts_per_image
    ROOT/SPLIT/0000.simulation.yaml its camera and seed
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spikerec import spikes
from spikerec.data.clips import Clip, LiveSet, MadeSet
from spikerec.data.photographs import fetch_photographs, photographs
from spikerec.errors import ConfigError, DataError, DataNotFoundError
from spikerec.simulation import (
    Camera,
    RandomScene,
    Recording,
    SceneStyle,
    SourceImage,
    bundled_images,
    deal_images,
    folder_images,
    write_stream,
)
from spikerec.simulation.cards import plain_values, stands, write_card

CARD = "dataset.yaml"
UNFINISHED_CARD = "dataset.unfinished.yaml"
CARD_VERSION = 2  # of what is drawn and how it is written: raise it when either changes
DEAL_SEED = 0
#: How photographs are shared out: by these proportions, at least two a split.
SHARES = {"train": 23, "val": 3, "test": 4}

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class CameraChoice:
    """A camera, and how often it is drawn in relation to the others.

    Raises:
        ConfigError: a weight that is not positive.
    """

    camera: Camera
    weight: float

    def __post_init__(self) -> None:
        if self.weight <= 0:
            raise ConfigError(f"cameras: a weight must be above 0, found {self.weight}.")


class Photos(MadeSet):
    """Scenes from photographs, simulated once by `spikerec data fetch NAME`.

    Args:
        root: folder of the set.
        cameras: name → camera and weight; a scene's camera takes the scene's light scale.
        light_scale: range of the light scales, drawn log-uniformly.
        scenes: split → number of scenes.
        images_per_scene: images of a scene; it lasts `readouts_per_image` times as many readouts.
        readouts_per_image: readouts between images.
        height: rows.
        width: columns.
        seed: of scenes and noise.
        style: how much happens in a scene.
        sources: folder that photographs of packages are fetched to.
        photographs: folder of own pictures to use in their place, or None.
        name: the set's name in results.

    Raises:
        ConfigError: no camera, or an empty range.
    """

    def __init__(
        self,
        root: str | Path,
        cameras: Mapping[str, CameraChoice],
        light_scale: tuple[float, float],
        scenes: Mapping[str, int],
        images_per_scene: int,
        readouts_per_image: int,
        height: int,
        width: int,
        seed: int,
        style: SceneStyle,
        sources: str | Path,
        photographs: str | Path | None = None,
        name: str = "photos",
    ) -> None:
        super().__init__(name, root)
        if not cameras:
            raise ConfigError(f"data.sets.{name}.cameras names no camera: give at least one.")
        if not 0 < light_scale[0] <= light_scale[1] <= 1:
            raise ConfigError(
                f"data.sets.{name}.light_scale must be a range [least, largest] in (0, 1], found "
                f"{list(light_scale)}."
            )
        unknown = set(scenes) - set(SHARES)
        if unknown:
            raise ConfigError(
                f"data.sets.{name}.scenes may name {', '.join(SHARES)}, found "
                f"{', '.join(sorted(unknown))}."
            )
        self.cameras = dict(cameras)
        self.light_scale = light_scale
        self.scenes = dict(scenes)
        self.images_per_scene = images_per_scene
        self.readouts_per_image = readouts_per_image
        self.height = height
        self.width = width
        self.seed = seed
        self.style = style
        self.sources = Path(sources)
        self.own = None if photographs is None else Path(photographs)

    def how_to_get(self) -> str:
        """See `SpikeSet.how_to_get`."""
        return f"Run `spikerec data fetch {self.name}`."

    def prepare(self) -> None:
        """Check that the set is there, whole.

        Raises:
            DataNotFoundError: it is not, or only in part.
        """
        if not (self.root / CARD).is_file():
            state = "is unfinished" if (self.root / UNFINISHED_CARD).is_file() else "is not there"
            raise DataNotFoundError(
                f"data.sets.{self.name}.root: {self.root} {state}. {self.how_to_get()}"
            )

    def clips(self, split: str) -> list[Clip]:
        """See `SpikeSet.clips`."""
        self.prepare()
        clips = [self._clip(path) for path in sorted((self.root / split).glob("*.dat"))]
        if not clips:
            raise DataError(f"{self.root / split} holds no scene. {self.how_to_get()}")
        return clips

    def _clip(self, path: Path) -> Clip:
        sidecar = spikes.read_sidecar(path)
        if sidecar.light_scale is None:
            raise DataError(f"{path} has no light scale in its sidecar: fetch the set again.")
        images = sorted(path.with_name(f"{path.stem}_images").glob("*.png"))
        keys = {self.readouts_per_image * k: image for k, image in enumerate(images)}
        return Clip(path.stem, (path,), sidecar.light_scale, sidecar.geometry, images=keys)

    def fetch(self, report: Callable[[str], None], progress: Progress) -> None:
        """Download the photographs and simulate the set, or what is missing of either.

        Args:
            report: called with a line for each step.
            progress: called with (scenes done, scenes in all).

        Raises:
            FetchError: a package cannot be had.
            DataError: the folder holds another set.
        """
        if self.own is None:
            fetch_photographs(self.sources, report=report)
        shares = self._shares()
        card = plain_values(self._card(shares))
        if stands(self.root / CARD, card):
            return
        if not stands(self.root / UNFINISHED_CARD, card):
            write_card(self.root / UNFINISHED_CARD, card)
        wanted = [(split, k) for split, count in self.scenes.items() for k in range(count)]
        for done, (split, index) in enumerate(wanted):
            progress(done, len(wanted))
            self._write(split, index, shares[split])
        progress(len(wanted), len(wanted))
        (self.root / UNFINISHED_CARD).replace(self.root / CARD)

    def _shares(self) -> dict[str, list[SourceImage]]:
        """The photographs of each split."""
        if self.own is not None:
            return deal_images(folder_images(self.own), SHARES, DEAL_SEED)
        dealt = deal_images(photographs(self.sources) + bundled_images(), SHARES, DEAL_SEED)
        return {split: share + photographs(self.sources, split) for split, share in dealt.items()}

    def _write(self, split: str, index: int, images: Sequence[SourceImage]) -> None:
        path = self.root / split / f"{index:04d}.dat"
        if path.is_file():
            return
        # Images and sidecar come before the stream: of a killed run they may lie there alone.
        shutil.rmtree(path.with_name(f"{path.stem}_images"), ignore_errors=True)
        path.with_suffix(".yaml").unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_stream(path, self.recording([one.image for one in images], f"{split}/{index}"))

    def recording(self, images: Sequence[Tensor], label: str) -> Recording:
        """Scene and camera of one label: a function of the set's seed and the label alone.

        Args:
            images: photographs, each (h, w) float32 in [0, 1], on the device to render on.
            label: which scene, as `train/7`.
        """
        digest = hashlib.sha256(f"{self.seed}/{label}".encode()).digest()
        seed = int.from_bytes(digest[:8], "big") >> 2
        random = np.random.default_rng(seed)
        weights = np.array([choice.weight for choice in self.cameras.values()])
        chosen = list(self.cameras)[random.choice(len(weights), p=weights / weights.sum())]
        low, high = np.log(self.light_scale)
        light_scale = round(float(np.exp(random.uniform(low, high))), 4)
        scene = RandomScene(
            images,
            height=self.height,
            width=self.width,
            seed=seed,
            style=self.style,
            device=images[0].device,
        )
        camera = replace(self.cameras[chosen].camera, light_scale=light_scale)
        return Recording(scene, camera, seed, self.images_per_scene, self.readouts_per_image)

    def _card(self, shares: Mapping[str, Sequence[SourceImage]]) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": CARD_VERSION,
            "height": self.height,
            "width": self.width,
            "readouts_per_image": self.readouts_per_image,
            "images_per_scene": self.images_per_scene,
            "key_readout": f"image j (from 0) shows readout {self.readouts_per_image}·j",
            "light_scale": f"log-uniform in {list(self.light_scale)}, drawn for each scene",
            "seed": self.seed,
            "cameras": {
                name: {"weight": choice.weight, **asdict(choice.camera)}
                for name, choice in self.cameras.items()
            },
            "style": asdict(self.style),
            "scenes": self.scenes,
            "photographs": {
                split: [
                    {"name": one.name, "licence": one.licence, "sha256": one.sha256}
                    for one in share
                ]
                for split, share in shares.items()
            },
        }


class LivePhotos(Photos, LiveSet):
    """Photos that go on for ever: every training window is a new scene, simulated on the device.

    `spikerec data fetch NAME` gets the photographs and simulates the validation and test scenes.
    The photographs of the training split are held on the device.

    Args:
        **arguments: those of `Photos`; `scenes` names no `train`.
    """

    def __init__(self, **arguments: Any) -> None:  # noqa: ANN401
        super().__init__(**arguments)
        self._held: dict[torch.device, list[Tensor]] = {}

    def simulate(
        self, seeds: Sequence[int], *, window: int, height: int, width: int, device: torch.device
    ) -> dict[str, Tensor]:
        """See `LiveSet.simulate`.

        Raises:
            ConfigError: a crop larger than the scenes.
        """
        if height > self.height or width > self.width:
            raise ConfigError(
                f"data.crop is {height} × {width}, but scenes of {self.name} are {self.height} × "
                f"{self.width}. Set a smaller data.crop."
            )
        images = self._images(device)
        made = [self._window(images, seed, window, height, width) for seed in seeds]
        spiked, targets, light_scales = zip(*made, strict=True)
        return {
            "spikes": torch.stack(spiked),
            "target": torch.stack(targets)[:, None],
            "light_scale": torch.tensor(light_scales, dtype=torch.float32, device=device),
        }

    def _window(
        self, images: Sequence[Tensor], seed: int, window: int, height: int, width: int
    ) -> tuple[Tensor, Tensor, float]:
        recording = self.recording(images, f"train/{seed}")
        random = np.random.default_rng(seed)
        top = int(random.integers(self.height - height + 1))
        left = int(random.integers(self.width - width + 1))
        place = (slice(top, top + height), slice(left, left + width))
        assert isinstance(recording.scene, RandomScene)
        frames = recording.scene.frames(0, window, place=place)
        spiked = recording.camera.expose(frames, seed=recording.seed)
        return spiked, frames[window // 2], recording.camera.light_scale

    def _images(self, device: torch.device) -> list[Tensor]:
        if device not in self._held:
            self._held[device] = [one.image.to(device) for one in self._shares()["train"]]
        return self._held[device]
