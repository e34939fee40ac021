"""Scoring a network on a split: each sample once, on any number of processes."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple
from urllib.parse import quote

import lightning as L
import numpy as np
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray
from PIL import Image

from spikerec.data import SpikeDataModule, Windows
from spikerec.data.clips import SplitName
from spikerec.errors import ConfigError, about, printable
from spikerec.spikes.grey import grey_levels
from spikerec.streaming.animations import SUFFIX, write_animation
from spikerec.training.callbacks import sample_pictures
from spikerec.training.distributed import gather
from spikerec.training.module import ReconstructionModule
from spikerec.training.noise import without_noise
from spikerec.training.pace import Lines

_log = logging.getLogger(__name__)


class ScoredSample(NamedTuple):
    """One sample: its values and what is known of it.

    Attributes:
        scores: metric → value.
        covariates: name → number; see `Windows.covariates`.
        conditions: name → label; see `Windows.conditions`.
    """

    scores: dict[str, float]
    covariates: dict[str, float]
    conditions: dict[str, str]


#: Sample's key → sample.
SampleScores = dict[str, ScoredSample]

#: Images of a saved video: those of ten seconds at 24 a second.
MOST_FRAMES = 240

#: Bytes of a folder's name, below the 255 that file systems allow.
LONGEST_NAME = 200


class Split(L.LightningDataModule):
    """One split of one set, as something to test on.

    Args:
        data: holds the set.
        set_name: of the set.
        split: `train`, `val` or `test`.
        as_videos: the images of a clip are one process's, in order, with what is known of each step
            (`spikerec.data.frames`).
        metrics: names that covariates and conditions must not have.
    """

    def __init__(
        self,
        data: SpikeDataModule,
        set_name: str,
        split: SplitName,
        *,
        as_videos: bool = False,
        metrics: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.data = data
        self.set_name = set_name
        self.split = split
        self.as_videos = as_videos
        self.metrics = metrics
        self._windows: Windows | None = None

    @property
    def tested(self) -> list[str]:
        """The name of the one set."""
        return [self.set_name]

    @property
    def windows(self) -> Windows:
        """The split's windows, once the set is there."""
        if self._windows is None:
            self._windows = self.data.evaluation_windows(self.set_name, self.split)
        return self._windows

    @property
    def keys(self) -> list[str]:
        """The names of the samples, in the order of the set."""
        return list(self._items)

    def item(self, key: str) -> int:
        """The place of a sample in `windows`."""
        return self._items[key]

    @cached_property
    def _items(self) -> dict[str, int]:
        return {self.windows.key(item): item for item in range(len(self.windows))}

    @property
    def samples(self) -> list[str]:
        """The names of what has a row in a record: the keys, or of videos the clips."""
        return list(dict.fromkeys(map(clip_of, self.keys))) if self.as_videos else self.keys

    def prepare_data(self) -> None:
        """Make or check the set; runs in one process of a machine."""
        self.data.sets[self.set_name].prepare()

    def setup(self, stage: str) -> None:
        """Refuse to score videos where no clip has two images, or covariates of a metric's name.

        Raises:
            ConfigError: naming the set.
        """
        del stage
        for clip in self.windows.clips:
            stated = clip.covariates.keys() | clip.conditions.keys()
            if both := sorted(stated & set(self.metrics)):
                raise ConfigError(
                    f"{self.set_name}: clip {printable(clip.name)} states {both[0]} of its "
                    "samples, which is the name of a metric: rename it in the data set."
                )
        if self.as_videos and len(self.samples) == len(self.keys):
            raise ConfigError(
                "a protocol of videos judges the step from an image to the next, but no clip of "
                f"{self.set_name} has two images: choose clips, as of the set video, or a protocol "
                "of single images, such as corrected."
            )

    def test_dataloader(self) -> Any:  # noqa: ANN401
        """See `SpikeDataModule.whole_images` and `whole_clips`."""
        self.data.trainer = self.trainer
        if self.as_videos:
            return self.data.whole_clips(self.windows, self.set_name, self.split)
        return self.data.whole_images(self.windows)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:  # noqa: ANN401
        """See `SpikeDataModule.on_after_batch_transfer`."""
        return self.data.on_after_batch_transfer(batch, dataloader_idx)


def score(trainer: L.Trainer, module: ReconstructionModule, split: Split) -> SampleScores:
    """Metrics of every sample and what is known of it, by its key, in the order of the set.

    Each process scores its share; all get the whole.

    Raises:
        ConfigError: the trainer stops before the last sample.
    """
    limit = trainer.limit_test_batches
    if isinstance(limit, int) or limit < 1:
        raise about(
            trainer,
            ConfigError(
                f"limit_test_batches must be 1.0, as a record holds every sample of a set, found "
                f"{limit} (fast_dev_run sets it too)."
            ),
        )
    kept = KeptScores(split)
    trainer.callbacks.append(kept)  # type: ignore[attr-defined]  # Trainer's own list
    try:
        with without_noise():
            trainer.test(module, split, verbose=False)
    finally:
        trainer.callbacks.remove(kept)  # type: ignore[attr-defined]
    scores = gather({split.set_name: kept.samples})[split.set_name]
    return {key: scores[key] for key in split.keys}


class KeptScores(Callback):
    """Keeps the scores that the steps of a test return, with what is known of their samples.

    Args:
        split: what is tested.

    Attributes:
        samples: key → sample, of this process.
    """

    def __init__(self, split: Split) -> None:
        self.split = split
        self.samples: SampleScores = {}
        self._lines = Lines()

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        module: L.LightningModule,
        outputs: Any,  # noqa: ANN401 (Lightning's signature)
        batch: Any,  # noqa: ANN401
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Add a batch's; where there is no terminal, log every minute where the test is."""
        del module, batch
        if self._lines.is_due(trainer):
            count = trainer.num_test_batches[dataloader_idx]
            _log.info("%s: batch %d of %s", self.split.set_name, batch_idx + 1, count)
        windows = self.split.windows
        for key, scores in outputs["scores"].items():
            item = self.split.item(key)
            self.samples[key] = ScoredSample(
                scores, windows.covariates(item), windows.conditions(item)
            )


class SampleImages(Callback):
    """Saves samples as pictures: `prediction`, `target` and `tfp` of each.

    Args:
        folder: where to write FOLDER/SAMPLE/ROLE.png; may be set between tests.
        count: how many samples, spread evenly over the set; all for a negative count.
        tfp_window: readouts of the TFP picture.

    Attributes:
        keys: the samples of the last test.
    """

    suffix: ClassVar[str] = ".png"

    def __init__(self, folder: Path, count: int, tfp_window: int) -> None:
        self.folder = folder
        self.count = count
        self.tfp_window = tfp_window
        self.keys: set[str] = set()

    def on_test_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Choose the samples of the split that is tested, and one folder for all processes."""
        del module
        self.folder = trainer.strategy.broadcast(self.folder)
        split = getattr(trainer, "datamodule", None)
        assert isinstance(split, Split)
        self.keys = set(evenly(split.samples, self.count))

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        module: L.LightningModule,
        outputs: Any,  # noqa: ANN401 (Lightning's signature)
        batch: Any,  # noqa: ANN401
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Save the batch's samples that were asked for."""
        del trainer, batch_idx, dataloader_idx
        assert isinstance(module, ReconstructionModule)
        if not self.keys.intersection(batch["key"]):
            return
        pictures = sample_pictures(module.network, batch, outputs["image"], self.tfp_window)
        for role, images in pictures.items():
            for key, image in zip(batch["key"], images, strict=True):
                path = self.path(key, role)
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(grey_levels(image[0].float().cpu().numpy())).save(path)

    def path(self, key: str, role: str) -> Path:
        """Path of a sample's picture."""
        return self.folder / folder_name(key) / f"{role}{self.suffix}"

    def saved(self) -> dict[str, dict[str, Path]]:
        """Sample key → role → file, for what is there."""
        roles = ("prediction", "target", "tfp")
        return {
            key: {role: self.path(key, role) for role in roles if self.path(key, role).exists()}
            for key in sorted(self.keys)
        }


class SampleVideos(SampleImages):
    """Saves clips as animations, of their first `MOST_FRAMES` images: see `SampleImages`."""

    suffix = SUFFIX

    def on_test_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """See `SampleImages.on_test_start`."""
        super().on_test_start(trainer, module)
        split = getattr(trainer, "datamodule", None)
        assert isinstance(split, Split)
        self._lengths = Counter(map(clip_of, split.keys))
        self._clip, self._count = "", 0
        self._frames: dict[str, list[NDArray[np.uint8]]] = {}

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        module: L.LightningModule,
        outputs: Any,  # noqa: ANN401 (Lightning's signature)
        batch: Any,  # noqa: ANN401
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the image of a clip that was asked for, and save the clip with its last one.

        What fills up a process's share repeats an image of a clip that is saved elsewhere or was
        before.
        """
        del trainer, batch_idx, dataloader_idx
        assert isinstance(module, ReconstructionModule)
        if batch["frame"]["is_repeat"]:
            return
        clip = clip_of(batch["key"][0])
        if clip != self._clip:
            self._clip, self._count, self._frames = clip, 0, {}
        self._count += 1
        if clip not in self.keys:
            return
        if self._count <= MOST_FRAMES:
            pictures = sample_pictures(module.network, batch, outputs["image"], self.tfp_window)
            for role, images in pictures.items():
                levels = grey_levels(images[0, 0].float().cpu().numpy())
                self._frames.setdefault(role, []).append(levels)
        if self._count == self._lengths[clip]:
            for role, frames in self._frames.items():
                path = self.path(clip, role)
                path.parent.mkdir(parents=True, exist_ok=True)
                write_animation(path, frames)
            self._frames = {}


def clip_of(key: str) -> str:
    """The clip of a sample's key, CLIP/READOUT."""
    return key.rpartition("/")[0]


def folder_name(key: str) -> str:
    """A folder's name for a sample's key: legible, and different for different keys.

    `day/one/20` becomes `day+one+20`. Other characters than letters, digits, `_`, `-` and dots
    within are written as in URLs, and a name too long for a file system ends in a digest.
    """
    name = "".join(
        "+" if one == "/" else one if one.isalnum() or one in "_-." else quote(one, safe="")
        for one in key
    )
    name = f"%2E{name[1:]}" if name.startswith(".") else name
    if len(name.encode()) <= LONGEST_NAME:
        return name
    short = name.encode()[: LONGEST_NAME - 67].decode(errors="ignore")
    return f"{short}%%{hashlib.sha256(key.encode()).hexdigest()}"


def evenly(keys: Sequence[str], count: int) -> list[str]:
    """So many keys, spread over the set; all for a negative count."""
    if count < 0 or count >= len(keys):
        return list(keys)
    return [keys[k * len(keys) // count] for k in range(count)]
