"""Write simulated scenes in the layout of SREDS, so that one reader serves both; or as one file.

    ROOT/spike/SPLIT/interp_20_alpha_0.40/SCENE/00000001.dat   20 readouts, bottom row first
    ROOT/spike/SPLIT/interp_20_alpha_0.40/SCENE.yaml           geometry and light scale
    ROOT/imgs/SPLIT/SPLIT_orig/SCENE/00000001.png              8-bit grey, true intensity

File k (from 1) of a scene holds the readouts 20(k − 1) … 20k − 1 of its stream, and image k is the
scene's intensity at the first of them: image j, counted from 0, belongs to readout 20j. That is how
SSIR pairs them; STIR's code takes readout 20j − 1 as the key of image j.

Camera, seed and key readouts stand beside the spikes, in `simulation.yaml` (`NAME.simulation.yaml`
for a single file).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from spikerec import spikes
from spikerec.errors import ConfigError, DataError
from spikerec.simulation.camera import Camera
from spikerec.simulation.cards import write_card
from spikerec.simulation.images import write_grey
from spikerec.simulation.scenes import Scene
from spikerec.spikes.dat import encode_readouts
from spikerec.spikes.geometry import Geometry, Sidecar, write_sidecar

CARD = "simulation.yaml"


@dataclass(frozen=True)
class Recording:
    """A scene, the camera before it, and for how long.

    Args:
        scene: what is seen.
        camera: what sees it.
        seed: of the camera's noise.
        images: number of true images to keep.
        readouts_per_image: readouts from one image to the next.

    Raises:
        ConfigError: a number below 1.
        DataError: the scene ends too early.
    """

    scene: Scene
    camera: Camera
    seed: int
    images: int
    readouts_per_image: int = 20

    def __post_init__(self) -> None:
        for name in ("images", "readouts_per_image"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, found {getattr(self, name)}.")
        needed = self.images * self.readouts_per_image
        if self.scene.num_readouts is not None and self.scene.num_readouts < needed:
            raise DataError(
                f"the scene lasts {self.scene.num_readouts} readouts: expected at least {needed} "
                f"for {self.images} images. Ask for fewer images, or give more frames."
            )

    def parts(self) -> Iterator[tuple[np.ndarray, Tensor]]:
        """For each image: its (readouts_per_image, H, W) spikes and its (H, W) intensity."""
        exposure = self.camera.start(seed=self.seed)
        for index in range(self.images):
            start = index * self.readouts_per_image
            intensity = self.scene.frames(start, start + self.readouts_per_image)
            yield exposure.add(intensity).cpu().numpy(), intensity[0]

    @property
    def geometry(self) -> Geometry:
        """Layout of a readout on disk."""
        return Geometry(self.scene.height, self.scene.width)

    def card(self) -> dict[str, Any]:
        """How the spikes were made."""
        return {
            "camera": asdict(self.camera),
            "seed": self.seed,
            "images": self.images,
            "readouts_per_image": self.readouts_per_image,
            "key_readout": f"image j (from 0) shows readout {self.readouts_per_image}·j",
        }


@dataclass(frozen=True)
class SREDSLayout:
    """Where a set in SREDS layout keeps things.

    Args:
        root: folder of the set.
        light_scale: firing rate of a pixel of intensity 1; part of folder names.
        readouts_per_image: readouts in a file; part of folder names.
    """

    root: Path
    light_scale: float
    readouts_per_image: int = 20

    def spikes(self, split: str, scene: str) -> Path:
        """Folder of a scene's `.dat` files."""
        kind = f"interp_{self.readouts_per_image}_alpha_{self.light_scale:.2f}"
        return self.root / "spike" / split / kind / scene

    def images(self, split: str, scene: str) -> Path:
        """Folder of a scene's images."""
        return self.root / "imgs" / split / f"{split}_orig" / scene

    def has(self, split: str, scene: str) -> bool:
        """Whether a scene is there, whole."""
        return self.spikes(split, scene).is_dir()


def write_scene(
    root: Path,
    split: str,
    name: str,
    recording: Recording,
    *,
    on_image: Callable[[], None] | None = None,
) -> None:
    """Write a scene in SREDS layout; its folders appear whole or not at all.

    Args:
        root: folder of the set.
        split: `train`, `val` or `test`.
        name: the scene's folder.
        recording: what is written.
        on_image: called after each image.

    Raises:
        DataError: the scene is there already.
    """
    layout = SREDSLayout(root, recording.camera.light_scale, recording.readouts_per_image)
    if layout.has(split, name):
        raise DataError(f"{layout.spikes(split, name)} exists already: name another output.")
    partial = root / f".partial-{split}-{name}"
    shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
    try:
        _write_parts(partial, recording, on_image)
        # The spikes come last: where they are, the images are as well.
        _put(partial / "images", layout.images(split, name))
        target = layout.spikes(split, name)
        _put(partial / "spikes", target)
        write_sidecar(
            target,
            Sidecar(recording.geometry, light_scale=recording.camera.light_scale),
            overwrite=True,
        )
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_stream(
    path: Path, recording: Recording, *, on_image: Callable[[], None] | None = None
) -> None:
    """Write a scene as one spike file, with its images in the folder `NAME_images` beside it.

    Args:
        path: `.dat`, `.npy`, `.npz` or `.h5`; the whole stream is held in memory, a byte a bit.
        recording: what is written.
        on_image: called after each image.

    Raises:
        DataError: unknown suffix, or the file or the images are there already.
    """
    images = path.with_name(f"{path.stem}_images")
    if path.suffix not in spikes.SUFFIXES:
        raise DataError(
            f"output={path}: unknown format {path.suffix!r}, expected a folder or one of "
            f"{', '.join(spikes.SUFFIXES)}."
        )
    for target in (path, images):
        if target.exists():
            raise DataError(f"{target} exists already: name another output.")
    partial = path.with_name(f".partial-{path.stem}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        parts = []
        for index, (part, image) in enumerate(recording.parts(), start=1):
            parts.append(part)
            write_grey(partial / f"{index:08d}.png", image)
            if on_image is not None:
                on_image()
        light_scale = recording.camera.light_scale
        write_card(path.with_name(f"{path.stem}.{CARD}"), recording.card())
        _put(partial, images)
        spikes.save(path, np.concatenate(parts), light_scale=light_scale)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_parts(folder: Path, recording: Recording, on_image: Callable[[], None] | None) -> None:
    for part in ("spikes", "images"):
        (folder / part).mkdir(parents=True)
    for index, (readouts, image) in enumerate(recording.parts(), start=1):
        content = encode_readouts(readouts, recording.geometry).tobytes()
        (folder / "spikes" / f"{index:08d}.dat").write_bytes(content)
        write_grey(folder / "images" / f"{index:08d}.png", image)
        if on_image is not None:
            on_image()
    write_card(folder / "spikes" / CARD, recording.card())


def _put(source: Path, target: Path) -> None:
    """Move a finished folder into place, over what an interrupted run may have left there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        shutil.rmtree(target)
    source.replace(target)
