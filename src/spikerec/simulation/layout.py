"""Write simulated scenes in the layout of SREDS, so that one reader reads both; or as one file.

    ROOT/spike/SPLIT/interp_20_alpha_0.40/SCENE/00000001.dat   20 readouts, bottom row first
    ROOT/spike/SPLIT/interp_20_alpha_0.40/SCENE.yaml           geometry and light scale
    ROOT/imgs/SPLIT/SPLIT_orig/SCENE/00000001.png              8-bit grey, true intensity

File k (from 1) of a scene holds the readouts 20(k − 1) … 20k − 1 of its stream, and image k is the
scene's intensity at the first of them: image j, counted from 0, belongs to readout 20j. That is how
SSIR pairs them; STIR's code takes readout 20j − 1 as the key of image j.

Camera, seed and key readouts stand beside the spikes, in `simulation.yaml` (`NAME.simulation.yaml`
for a single file), with checksums of readouts and images (`spikerec.simulation.sums`), and the mean
motion at each image where the scene's is exact.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from spikerec import spikes
from spikerec.errors import ConfigError, DataError
from spikerec.kinds import checked
from spikerec.simulation.camera import Camera
from spikerec.simulation.cards import (
    MOST_IMAGES,
    MOST_READOUTS,
    concise,
    differences,
    read_card,
    write_card,
)
from spikerec.simulation.colour import BayerScene
from spikerec.simulation.images import write_colour, write_grey
from spikerec.simulation.layers import Filmed, LayeredScene, Scene
from spikerec.simulation.sums import SUMS, ReadoutSum, sum_of_images
from spikerec.spikes.dat import encode_readouts
from spikerec.spikes.files import Unfinished, atomic_path, lock_output, make_folder, sync
from spikerec.spikes.geometry import Geometry, Sidecar, write_sidecar

CARD = "simulation.yaml"
#: Key of a card that follows from its other keys; cards of older versions lack it.
MOTION = "motion"
#: Pixels whose intensity is held at once: 64 MiB of float32.
BLOCK_PIXELS = 1 << 24


@checked
@dataclass(frozen=True)
class Recording:
    """A scene, the camera before it, and for how long.

    Args:
        scene: what is seen.
        camera: what sees it.
        seed: of the camera's noise.
        images: number of true images to keep; of a video, and of a scene that is interpolated as
            one, those that its frames show: the others are left out.
        readouts_per_image: readouts from one image to the next.
        source: plain values that say what the scene is made of, for the card.

    Raises:
        ConfigError: a number below 1, or beyond what a card may state.
        DataError: the scene ends too early.
    """

    scene: Scene
    camera: Camera
    seed: int
    images: int
    readouts_per_image: int = 20
    source: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, most in (("images", MOST_IMAGES), ("readouts_per_image", MOST_READOUTS)):
            if not 1 <= getattr(self, name) <= most:
                raise ConfigError(f"{name} must be 1 to {most:,}, found {getattr(self, name)}.")
        needed = self.images * self.readouts_per_image
        if self.scene.num_readouts is not None and self.scene.num_readouts < needed:
            raise DataError(
                f"the scene lasts {self.scene.num_readouts} readouts: expected at least {needed} "
                f"for {self.images} images. Lower images, or use more frames."
            )

    def parts(self) -> Iterator[tuple[np.ndarray, Tensor | None]]:
        """For each image: its (readouts_per_image, H, W) spikes and its (H, W) intensity.

        The intensity is None where no camera saw it: between the frames of a video. That of a
        `BayerScene` is (3, H, W), in all colours.
        """
        exposure = self.camera.start(seed=self.seed)
        step = max(1, BLOCK_PIXELS // (self.scene.height * self.scene.width))
        for index in range(self.images):
            first, count, image = index * self.readouts_per_image, self.readouts_per_image, None
            part = np.empty((count, self.scene.height, self.scene.width), np.uint8)
            for start in range(0, count, step):
                stop = min(start + step, count)
                intensity = self.scene.frames(first + start, first + stop)
                if start == 0 and self._is_seen(index):
                    image = intensity[0].clone()
                    if isinstance(self.scene, BayerScene):
                        image = self.scene.true_colours(first)
                part[start:stop] = exposure.add(intensity).cpu().numpy()
            yield part, image

    @property
    def num_images(self) -> int:
        """Number of images to write: those that a camera saw."""
        return sum(map(self._is_seen, range(self.images)))

    def _is_seen(self, index: int) -> bool:
        if isinstance(self.scene, Filmed):
            return self.scene.is_seen(index * self.readouts_per_image)
        return True

    def motion(self) -> list[float] | None:
        """Mean length of the exact flow at each image, in pixels a readout.

        None for a scene whose flow is not exact: that of a video is an estimate.
        """
        scene = self.scene.channels[0] if isinstance(self.scene, BayerScene) else self.scene
        if not isinstance(scene, LayeredScene):
            return None
        times = [index * self.readouts_per_image for index in range(self.images)]
        flows = [scene.flow(time, time + 1) for time in times]
        return [round(float(flow.norm(dim=-1).mean()), 5) for flow in flows]

    @property
    def geometry(self) -> Geometry:
        """Layout of a readout on disk."""
        return Geometry(self.scene.height, self.scene.width)

    def card(self) -> dict[str, Any]:
        """Settings by which the spikes were made."""
        return {
            "camera": asdict(self.camera),
            "seed": self.seed,
            "images": self.images,
            "readouts_per_image": self.readouts_per_image,
            "key_readout": f"image j (from 0) shows readout {self.readouts_per_image}·j",
            **({"source": dict(self.source)} if self.source else {}),
        }

    def full_card(self, readouts: str, images: str) -> dict[str, Any]:
        """The settings, and what follows from them.

        Args:
            readouts: checksum of the stream that was written.
            images: checksum of its images.
        """
        motion = self.motion()
        moved = {} if motion is None else {MOTION: motion}
        return self.card() | {SUMS: {"readouts": readouts, "images": images}} | moved


@checked
@dataclass(frozen=True)
class SREDSLayout:
    """Paths of a set in SREDS layout.

    Args:
        root: folder of the set.
        light_scale: firing rate of a pixel of intensity 1; part of folder names.
        readouts_per_image: readouts in a file; part of folder names.
    """

    root: Path
    light_scale: float
    readouts_per_image: int = 20

    @checked
    def spikes(self, split: str, scene: str) -> Path:
        """Folder of a scene's `.dat` files."""
        kind = f"interp_{self.readouts_per_image}_alpha_{self.light_scale:.2f}"
        return self.root / "spike" / split / kind / scene

    @checked
    def images(self, split: str, scene: str) -> Path:
        """Folder of a scene's images."""
        return self.root / "imgs" / split / f"{split}_orig" / scene

    @checked
    def has(self, split: str, scene: str) -> bool:
        """True if the scene exists and is complete."""
        return self.spikes(split, scene).is_dir()

    @checked
    def write(self, split: str, scene: str, recording: Recording) -> None:
        """Write a scene: see `write_scene`."""
        write_scene(self.root, split, scene, recording)


@checked
@dataclass(frozen=True)
class StreamLayout:
    """Paths of a set with one file per scene: `ROOT/SPLIT/SCENE.dat`, see `write_stream`.

    Args:
        root: folder of the set.
    """

    root: Path

    @checked
    def has(self, split: str, scene: str) -> bool:
        """True if a scene exists: its stream, its sidecar, and the folder of its images."""
        path = self.root / split / f"{scene}.dat"
        is_stated = path.with_suffix(".yaml").is_file()
        return path.is_file() and is_stated and path.with_name(f"{scene}_images").is_dir()

    @checked
    def write(self, split: str, scene: str, recording: Recording) -> None:
        """Write a scene, over what is left of one that is not whole."""
        path = self.root / split / f"{scene}.dat"
        shutil.rmtree(path.with_name(f"{scene}_images"), ignore_errors=True)
        for part in (path, path.with_suffix(".yaml")):
            part.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_stream(path, recording)


@checked
def write_scene(
    root: Path,
    split: str,
    name: str,
    recording: Recording,
    *,
    on_image: Callable[[], None] | None = None,
    overwrite: bool = False,
) -> None:
    """Write a scene in SREDS layout; its folders appear whole or not at all.

    Args:
        root: folder of the set.
        split: `train`, `val` or `test`.
        name: the scene's folder.
        recording: what is written.
        on_image: called after each image.
        overwrite: replace a simulated scene that exists.

    Raises:
        DataError: the scene exists already, and is not simulated or not to be replaced.
        LockError: another process is writing it.
    """
    layout = SREDSLayout(root, recording.camera.light_scale, recording.readouts_per_image)
    target = layout.spikes(split, name)
    with lock_output(root / f"{split}-{name}"):
        if layout.has(split, name) and not (overwrite and (target / CARD).is_file()):
            raise DataError(f"{target} exists already: name another output.")
        unfinished = Unfinished(root / f"{split}-{name}")
        try:
            _write_parts(unfinished.path, recording, on_image)
            # The spikes come last: where they are, the images and the sidecar are as well.
            if target.is_dir():
                shutil.rmtree(target)
            _put(unfinished.path / "images", layout.images(split, name))
            make_folder(target.parent)
            write_sidecar(
                target,
                Sidecar(recording.geometry, light_scale=recording.camera.light_scale),
                overwrite=True,
            )
            _put(unfinished.path / "spikes", target)
        finally:
            unfinished.discard()


def card_path(stream: Path) -> Path:
    """The card of a simulated stream: of its file, or of its folder of files."""
    return stream / CARD if stream.is_dir() else stream.with_name(f"{stream.stem}.{CARD}")


def written_before(target: Path, recording: Recording, *, overwrite: bool = False) -> bool:
    """True if a stream's file, or a scene's folder of spikes, is this very recording.

    Args:
        target: the file, or the folder.
        recording: what would be written.
        overwrite: return False where it is another recording, which is to be replaced.

    Raises:
        DataError: it is another one; the error names the settings that differ.
    """
    card = card_path(target)
    if not target.exists() or not card.is_file():
        return False
    found, own = concise(read_card(card), card), concise(recording.card(), card)
    for result in (MOTION, SUMS):
        found.pop(result, None)
    differing = differences(found, own)
    if differing and not overwrite:
        raise DataError(
            f"{target} exists already, made with other settings ({', '.join(differing)}): "
            "name another output, or replace it by overwrite=true."
        )
    return not differing


@checked
def write_stream(
    path: Path,
    recording: Recording,
    *,
    on_image: Callable[[], None] | None = None,
    overwrite: bool = False,
) -> None:
    """Write a scene as one spike file, with its images in the folder `NAME_images` beside it.

    Readouts and images are written as they are made. The card is written first, then the images,
    and the spike file last: where it is, the others are as well.

    Args:
        path: `.dat`, `.npy`, `.npz` or `.h5`.
        recording: what is written.
        on_image: called after each image.
        overwrite: replace a simulated file, and its images, that exist.

    Raises:
        DataError: unknown suffix, or the file or the images exist already, and are not simulated or
            not to be replaced.
        LockError: another process is writing it.
    """
    with lock_output(path):
        _write_stream(path, recording, on_image, overwrite=overwrite)


def _write_stream(
    path: Path,
    recording: Recording,
    on_image: Callable[[], None] | None,
    *,
    overwrite: bool,
) -> None:
    images = path.with_name(f"{path.stem}_images")
    card = card_path(path)
    if path.suffix.lower() not in spikes.SAVED_SUFFIXES:
        raise DataError(
            f"{path}: unknown format {path.suffix!r}, expected a folder or one of "
            f"{', '.join(spikes.SAVED_SUFFIXES)}."
        )
    is_simulated = images.is_dir() and card.is_file()
    replaces = is_simulated and (overwrite or not path.exists())  # the latter of a run killed here
    for target in (path, images):
        if target.exists() and not replaces:
            raise DataError(f"{target} exists already: name another output.")

    def readouts() -> Iterator[np.ndarray]:
        total = ReadoutSum()
        with atomic_path(images) as partial:
            partial.mkdir()
            for index, (part, image) in enumerate(recording.parts(), start=1):
                _write_image(partial, index, image)
                total.add(part)
                if on_image is not None:
                    on_image()
                yield part
            path.unlink(missing_ok=True)  # a card beside it would state how it was made
            write_card(card, recording.full_card(total.hexdigest(), sum_of_images(partial)))
            if replaces:
                shutil.rmtree(images)

    shape = (
        recording.images * recording.readouts_per_image,
        recording.scene.height,
        recording.scene.width,
    )
    spikes.save_parts(
        path,
        shape,
        readouts(),
        light_scale=recording.camera.light_scale,
        overwrite=replaces,
        bayer=recording.scene.pattern if isinstance(recording.scene, BayerScene) else None,
    )


def _write_image(folder: Path, index: int, image: Tensor | None) -> None:
    if image is not None and image.ndim == 3:
        write_colour(folder / f"{index:08d}.png", image)
    elif image is not None:
        write_grey(folder / f"{index:08d}.png", image)


def _write_parts(folder: Path, recording: Recording, on_image: Callable[[], None] | None) -> None:
    for part in ("spikes", "images"):
        (folder / part).mkdir(parents=True)
    total = ReadoutSum()
    for index, (readouts, image) in enumerate(recording.parts(), start=1):
        total.add(readouts)
        content = encode_readouts(readouts, recording.geometry).tobytes()
        (folder / "spikes" / f"{index:08d}.dat").write_bytes(content)
        _write_image(folder / "images", index, image)
        if on_image is not None:
            on_image()
    sums = total.hexdigest(), sum_of_images(folder / "images")
    write_card(folder / "spikes" / CARD, recording.full_card(*sums))


def _put(source: Path, target: Path) -> None:
    """Move a finished folder into place, over what an interrupted run may have left there."""
    make_folder(target.parent)
    for path in (*source.iterdir(), source):
        sync(path)
    if target.is_dir():
        shutil.rmtree(target)
    source.replace(target)
    sync(target.parent)
