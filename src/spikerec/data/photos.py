"""Sets simulated from photographs: moving scenes, seen by many cameras at many light levels.

Every scene has its own light scale, brightness, camera noise and motion, so that a network trained
on them cannot lean on any. Photographs are dealt out to the splits once for all sizes of a set:
what one size tests on, no size trains on. Two layouts on disk serve the same scenes: that of SREDS
(`spikerec.simulation.layout`), for one light scale, and

    ROOT/dataset.yaml               the data card; appears when the last scene is written
    ROOT/SPLIT/0000.dat, .yaml      a scene's stream, its geometry and light scale
    ROOT/SPLIT/0000_images/K.png    its intensity at the readout (K − 1) · readouts_per_image; of an
                                    interpolated scene, at the readouts that are exact alone
    ROOT/SPLIT/0000.simulation.yaml its camera, its seed, and the motion at each image
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, lru_cache, wraps
from pathlib import Path
from typing import Any, Literal, ParamSpec

import numpy as np
import rich.progress
import torch
from torch import Tensor

from spikerec import spikes
from spikerec.data.clips import Clip, LiveSet, MadeSet, SplitName
from spikerec.data.photographs import FIRST, GROUPS, Group, fetch_photographs, photographs
from spikerec.data.sreds import SREDS
from spikerec.errors import (
    ConfigError,
    DataError,
    DataNotFoundError,
    SplitNotFoundError,
    about,
)
from spikerec.kinds import checked
from spikerec.simulation import (
    Camera,
    LayeredScene,
    RandomScene,
    Recording,
    SceneStyle,
    SourceImage,
    SREDSLayout,
    StreamLayout,
    bundled_images,
    deal_images,
    folder_images,
    write_set,
)
from spikerec.simulation.cards import is_card
from spikerec.simulation.layout import card_path
from spikerec.simulation.scenes import LEAST_SIDE
from spikerec.simulation.style import MOTION_SPAN, VARIED_STYLE
from spikerec.simulation.synthesise import CARD, CARD_VERSION, UNFINISHED_CARD, Progress
from spikerec.spikes.folders import listed

Layout = Literal["streams", "sreds"]
Arguments = ParamSpec("Arguments")

DEAL_SEED = 0
#: Keys of a card in which sets of equal content may differ.
NAMES = ("name", "version")
#: Shares of the photographs in the splits; each split gets at least two.
SHARES = {"train": 23, "val": 3, "test": 4}


@checked
@dataclass(frozen=True)
class CameraChoice:
    """A camera, and how often it is drawn in relation to the others.

    Raises:
        ConfigError: a weight that is not positive.
    """

    camera: Camera = field(default_factory=Camera)
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.weight <= 0:
            raise ConfigError(f"cameras: a weight must be above 0, found {self.weight}.")


#: Ideal cameras, and some with shot noise or stray spikes. None has a fixed pattern: texture that
#: stands still looks like one, and would be erased.
MIXED_CAMERAS: Mapping[str, CameraChoice] = {
    "ideal": CameraChoice(weight=3.0),
    "shot": CameraChoice(Camera(threshold=255.0, shot_noise=True)),
    "stray": CameraChoice(Camera(stray_rate=0.007)),
}

SMALL_SCENES: Mapping[str, int] = {"train": 400, "val": 8, "test": 24}


class Photos(MadeSet):
    """Scenes from photographs, simulated once; the defaults are the set `photos_small`.

    Args:
        root: folder of the set.
        cameras: name → camera and weight; a scene's camera takes the scene's light scale.
        light_scale: range of the light scales, drawn log-uniformly.
        scenes: split → number of scenes.
        images_per_scene: images of a scene; it lasts `readouts_per_image` times as many readouts.
            A scene that is interpolated (`SceneStyle.interpolated`) has those that are exact alone,
            the one in the middle among them.
        readouts_per_image: readouts between images.
        height: rows.
        width: columns.
        seed: of scenes and noise.
        style: how much happens in a scene.
        sources: folder that photographs of packages are fetched to; None to do with those inside
            scikit-image.
        photographs: folder of own pictures to use in place of either, or None.
        layout: `streams` (see above), or `sreds`.
        speeds: largest speeds of the background that the scenes of a split take in turn, in pixels
            a readout, in place of the style's; their clips are named by them. None: the style's.
        on_first_use: simulate the set when training or evaluation first asks for it; else by
            `spikerec data fetch NAME` alone.
        groups: groups of the packages' photographs that the set is made of.
        name: the set's name in results.

    Raises:
        ConfigError: no camera, an empty range, an unknown group of photographs, or several light
            scales in the layout of SREDS.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        cameras: Mapping[str, CameraChoice] = MIXED_CAMERAS,
        light_scale: tuple[float, float] = (0.1, 1.0),
        scenes: Mapping[str, int] = SMALL_SCENES,
        images_per_scene: int = 10,
        readouts_per_image: int = 10,
        height: int = 256,
        width: int = 256,
        seed: int = 0,
        style: SceneStyle = VARIED_STYLE,
        sources: str | Path | None = None,
        photographs: str | Path | None = None,
        layout: Layout = "streams",
        speeds: Sequence[float] | None = None,
        on_first_use: bool = False,
        groups: Sequence[Group] = FIRST,
        name: str = "photos_small",
    ) -> None:
        super().__init__(name, root)
        if not cameras:
            raise ConfigError("cameras names no camera: name at least one.")
        if not 0 < light_scale[0] <= light_scale[1] <= 1:
            raise ConfigError(
                f"light_scale must be a range [least, largest] in (0, 1], found "
                f"{list(light_scale)}."
            )
        for argument, value in (
            ("images_per_scene", images_per_scene),
            ("readouts_per_image", readouts_per_image),
            ("height", height),
            ("width", width),
        ):
            if value < 1:
                raise ConfigError(f"{argument} must be at least 1, found {value}.")
        if speeds is not None and (not speeds or min(speeds) < 0):
            raise ConfigError(
                f"speeds must be speeds from 0 up, in pixels a readout, found {list(speeds)}."
            )
        if not groups or not set(groups) <= set(GROUPS):
            raise ConfigError(
                f"groups must name at least one of {', '.join(GROUPS)}, found {list(groups)}."
            )
        if layout not in ("streams", "sreds"):
            raise ConfigError(f"layout must be streams or sreds, found {layout!r}.")
        if layout == "sreds" and light_scale[0] != light_scale[1]:
            raise ConfigError(
                f"layout=sreds has one light scale in the names of its folders, "
                f"found a light_scale from {light_scale[0]} to {light_scale[1]}. Set "
                "layout=streams, or one light scale."
            )
        unknown = set(scenes) - set(SHARES)
        if unknown:
            raise ConfigError(
                f"scenes may name {', '.join(SHARES)}, found {', '.join(sorted(unknown))}."
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
        self.sources = None if sources is None else Path(sources)
        self.groups = tuple(one for one in GROUPS if one in groups)  # in one order, each once
        self.own = None if photographs is None else Path(photographs)
        self.layout = layout
        self.speeds = None if speeds is None else tuple(speeds)
        self.on_first_use = on_first_use

    def how_to_get(self) -> str:
        """See `SpikeSet.how_to_get`."""
        if self.on_first_use:
            return "It is simulated when training or evaluation first asks for it."
        return f"Run `spikerec data fetch {self.name}`."

    def prepare(self) -> None:
        """Simulate what is missing of the set, where that is its way; else check that it is there.

        Raises:
            DataNotFoundError: it is not, or only in part.
        """
        if not self.on_first_use:
            self._check()
            return
        with rich.progress.Progress(transient=True) as bar:
            task = bar.add_task(f"simulating {self.name}", total=None)
            self.fetch(
                report=bar.console.print,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )

    def _check(self) -> None:
        """Refuse a folder without the set, or with one of other settings.

        The photographs are not compared: they need not be on this machine.

        Raises:
            DataNotFoundError: no set, or an unfinished one.
            DataError: another set, or a damaged card.
        """
        if not is_card(self.root / CARD, self._settings(), but=("photographs", *NAMES)):
            state = "is unfinished" if (self.root / UNFINISHED_CARD).is_file() else "does not exist"
            told = f"root: {self.root} {state}. {self.how_to_get()}"
            raise about(self, DataNotFoundError(told))

    def clips(self, split: SplitName) -> list[Clip]:
        """See `SpikeSet.clips`."""
        self._check()
        made = self.written.get(split, 0)
        try:
            clips = self._found(split)
        except SplitNotFoundError:
            if not made:
                raise
            clips = []
        if len(clips) < made:
            raise DataError(
                f"{self.root} holds {len(clips)} of the {made} scenes of {split} that were made: "
                f"copy the others, or have them made again. {self.how_to_get()}"
            )
        for clip in clips:
            self._check_whole(clip)
        return clips

    def _found(self, split: SplitName) -> list[Clip]:
        """The clips of a split that are there."""
        if self.layout == "sreds":
            return SREDS(
                self.root,
                self.light_scale[0],
                self.readouts_per_image,
                key_offset=0,
                name=self.name,
            ).clips(split)
        clips = [self._clip(path) for path in listed(self.root / split, (".dat",))]
        if not clips:
            raise SplitNotFoundError(f"{self.root / split} holds no scene. {self.how_to_get()}")
        return clips

    def _check_whole(self, clip: Clip) -> None:
        """Refuse a scene of which a part alone was copied.

        The images of a scene that may be interpolated are not counted: only some were made.

        Raises:
            DataError: readouts or images are missing.
        """
        images = self.images_per_scene
        with clip.open() as stream:
            found = stream.num_readouts
        for there, stated, what in (
            (found, images * self.readouts_per_image, "readouts"),
            (len(clip.images), 0 if self.style.interpolated else images, "images"),
        ):
            if there < stated:
                raise DataError(
                    f"{clip.files[0]}: the scene holds {there} of the {stated} {what} that were "
                    "made: copy it again, or remove the file so that it is made again. "
                    f"{self.how_to_get()}"
                )

    def _clip(self, path: Path) -> Clip:
        sidecar = spikes.read_sidecar(path)
        if sidecar.light_scale is None:
            raise DataError(f"{path} has no light scale in its sidecar: fetch the set again.")
        folder = path.with_name(f"{path.stem}_images")
        images = listed(folder, (".png",))
        if not images:
            raise DataError(
                f"{folder} holds no image of the scene in {path.name}: copy the folder as well. "
                f"{self.how_to_get()}"
            )
        keys = {self.readouts_per_image * (_number(image) - 1): image for image in images}
        name = path.stem
        if self.speeds is not None:
            name = f"{name}_{self._speed(int(name)):g}px"
        return Clip(
            name,
            (path,),
            sidecar.light_scale,
            sidecar.geometry,
            images=keys,
            card=card_path(path),
        )

    def _speed(self, index: int) -> float:
        """The speed of a scene, by its number."""
        assert self.speeds is not None
        return self.speeds[index % len(self.speeds)]

    def _style(self, index: int) -> SceneStyle:
        """The amount of motion and change in a scene, by its number."""
        if self.speeds is None:
            return self.style
        span = self._speed(index) * MOTION_SPAN
        return replace(self.style, motion=(span, span))

    def fetch(self, report: Callable[[str], None], progress: Progress) -> None:
        """Download the photographs and simulate the set, or what is missing of either.

        Args:
            report: called with a line for each step.
            progress: called with (scenes done, scenes in all).

        Raises:
            FetchError: a package cannot be had.
            DataError: the folder holds another set.
        """
        for name in (CARD, UNFINISHED_CARD):  # before anything is downloaded for another set
            is_card(self.root / name, self._settings(), but=("photographs",))
        if self.own is None and self.sources is not None:
            fetch_photographs(self.sources, groups=self.groups, report=report)
        write_set(self.root, self._card(), self.written, self._has, self._write, progress=progress)
        _deal.cache_clear()

    @property
    def written(self) -> dict[str, int]:
        """The splits that are simulated beforehand, each with its number of scenes."""
        return self.scenes

    def _shares(self) -> dict[str, list[SourceImage]]:
        """The photographs of each split."""
        return _deal(self.sources, self.own, self.groups)

    def _places(self) -> SREDSLayout | StreamLayout:
        if self.layout == "sreds":
            return SREDSLayout(self.root, self.light_scale[0], self.readouts_per_image)
        return StreamLayout(self.root)

    def _has(self, split: str, index: int) -> bool:
        return self._places().has(split, _scene_name(index))

    def _write(self, split: str, index: int) -> None:
        images = [one.image for one in self._shares()[split]]
        recording = self.recording(images, f"{split}/{index}")
        self._places().write(split, _scene_name(index), recording)

    @checked
    def recording(
        self, images: Sequence[Tensor], label: str, key_readout: int | None = None
    ) -> Recording:
        """Scene and camera of one label: a function of the set's seed, label and key readout alone.

        Args:
            images: photographs, each (h, w) float32 in [0, 1], on the device to render on.
            label: which scene, as `train/7`.
            key_readout: see `RandomScene`; None: that of the image in the middle.
        """
        middle = self.images_per_scene // 2 * self.readouts_per_image
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
            style=self._style(int(label.rpartition("/")[2])),
            key_readout=middle if key_readout is None else key_readout,
            device=images[0].device,
        )
        camera = replace(self.cameras[chosen].camera, light_scale=light_scale)
        return Recording(scene, camera, seed, self.images_per_scene, self.readouts_per_image)

    def scene(self, split: SplitName, clip: Clip) -> LayeredScene | None:
        """The scene of a clip, drawn again from the set's seed.

        None where the folder was made with other settings, or the photographs are not here.
        """
        name = clip.files[0].parent.name if self.layout == "sreds" else clip.files[0].stem
        try:
            is_card(self.root / CARD, self._card())
        except DataError:
            return None
        images = [one.image for one in self._shares()[split]]
        scene = self.recording(images, f"{split}/{int(name)}").scene
        assert isinstance(scene, LayeredScene)
        return scene

    def _settings(self) -> dict[str, Any]:
        """The set's card, but for the photographs."""
        return {
            "name": self.name,
            "version": CARD_VERSION,
            "layout": self.layout,
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
            "speeds": self.speeds,
            "scenes": self.written,
        }

    def _card(self) -> dict[str, Any]:
        photographs = {
            split: [
                {"name": one.name, "licence": one.licence, "sha256": one.sha256} for one in share
            ]
            for split, share in self._shares().items()
        }
        return {**self._settings(), "photographs": photographs}


def _scene_name(index: int) -> str:
    return f"{index:04d}"


def _number(image: Path) -> int:
    """The number of an image, from 1, by which it is named."""
    if not image.stem.isdecimal():
        raise DataError(f"{image} is no image of the set: expected NUMBER.png. Remove it.")
    return int(image.stem)


@lru_cache(maxsize=1)  # of a process: the scenes that it writes share them
def _deal(
    sources: Path | None, own: Path | None, groups: tuple[Group, ...]
) -> dict[str, list[SourceImage]]:
    """The photographs of each split."""
    if own is not None:
        images = folder_images(own)
        for one in images:
            height, width = one.image.shape
            if min(height, width) < LEAST_SIDE:
                raise DataError(
                    f"{own / one.name} is {height} × {width} pixels: expected {LEAST_SIDE} a side "
                    "at least. Move it out of the folder."
                )
        return deal_images(images, SHARES, DEAL_SEED)
    if sources is None:
        return deal_images(bundled_images(), SHARES, DEAL_SEED)
    every = photographs(sources, groups=groups) + bundled_images()
    dealt = deal_images(every, SHARES, DEAL_SEED)
    return {
        split: share + photographs(sources, split, groups=groups) for split, share in dealt.items()
    }


def with_defaults(
    init: Callable[Arguments, None],
    **defaults: Any,  # noqa: ANN401
) -> Callable[Arguments, None]:
    """Return the constructor of a set that differs from its base in its defaults alone.

    Args:
        init: the base's constructor.
        **defaults: argument, by keyword → default.
    """

    @wraps(init)
    def __init__(*args: Arguments.args, **given: Arguments.kwargs) -> None:  # noqa: N807
        init(*args, **defaults | given)

    signature = inspect.signature(init)
    changed = [
        one.replace(default=defaults.get(name, one.default))
        for name, one in signature.parameters.items()
    ]
    __init__.__signature__ = signature.replace(parameters=changed)  # type: ignore[attr-defined]
    return __init__


class LivePhotos(Photos, LiveSet):
    """Photos that go on for ever: every training window is a new scene, simulated on the device.

    `spikerec data fetch NAME` gets the photographs and simulates the validation and test scenes.
    The photographs of the training split are held on the device.

    Its arguments are those of `Photos`; a number of training scenes in `scenes` is not used.
    """

    __init__ = with_defaults(Photos.__init__, scenes={"val": 8, "test": 24}, name="photos_live")

    @property
    def written(self) -> dict[str, int]:
        """See `Photos.written`: training scenes are simulated when they are asked for."""
        return {split: count for split, count in self.scenes.items() if split != "train"}

    @cached_property
    def _held(self) -> dict[torch.device, list[Tensor]]:
        """The photographs of the training split, by the device that holds them."""
        return {}

    def simulate(
        self, seeds: Sequence[int], *, window: int, height: int, width: int, device: torch.device
    ) -> dict[str, Tensor]:
        """See `LiveSet.simulate`.

        Raises:
            ConfigError: a crop larger than the scenes.
        """
        if height > self.height or width > self.width:
            raise ConfigError(
                f"crop is {height} × {width}, but scenes of {self.name} are {self.height} × "
                f"{self.width}. Set a smaller crop."
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
        recording = self.recording(images, f"train/{seed}", key_readout=window // 2)
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
            _deal.cache_clear()
        return self._held[device]
