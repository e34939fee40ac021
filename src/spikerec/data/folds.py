"""k-fold cross-validation over scenes: every scene is judged by a network that never saw it.

A small set has too few test scenes for a figure that means much. Its scenes, those of all splits,
are dealt into k folds once; a network is trained for each fold on the other k − 1, and evaluated on
it. The deal is frozen in a file, which states the content of the set that it is of.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
import yaml

from spikerec.data.bounds import MOST_FOLDS
from spikerec.data.clips import Clip, LiveSet, SpikeSet, SplitName, digest
from spikerec.errors import ConfigError, DataError, DataNotFoundError, SplitNotFoundError
from spikerec.fetch import write_atomically
from spikerec.kinds import checked
from spikerec.parsing import RUN_DOCUMENT, read_yaml
from spikerec.simulation.layers import LayeredScene


@checked
@dataclass(frozen=True)
class Folds:
    """A deal of a set's scenes into folds.

    Attributes:
        dataset: name of the set.
        content: digest of all its clips.
        scenes: names of the scenes of each fold.

    Raises:
        ConfigError: fewer than two or too many folds, an empty one, or a scene in two of them.
    """

    dataset: str
    content: str
    scenes: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        every = [scene for fold in self.scenes for scene in fold]
        is_right = 2 <= len(self.scenes) <= MOST_FOLDS and all(self.scenes)
        if not is_right or len(set(every)) < len(every):
            raise ConfigError(
                f"folds must be 2 to {MOST_FOLDS}, none empty, and no scene in two of them, found "
                f"{len(self.scenes)} folds of {len(every)} scenes."
            )

    @property
    def digest(self) -> str:
        """SHA-256 of the deal: of the content, and of which scene is in which fold."""
        return hashlib.sha256(self.text().encode()).hexdigest()

    def text(self) -> str:
        """The content of the file."""
        values = {
            "dataset": self.dataset,
            "content": self.content,
            "folds": [list(fold) for fold in self.scenes],
        }
        return yaml.safe_dump(values, sort_keys=False)


@checked
def make_folds(data: SpikeSet, count: int = 5, *, seed: int = 0) -> Folds:
    """Deal the scenes of a set, of all its splits, into folds of equal size, to within one scene.

    Args:
        data: the set.
        count: number of folds.
        seed: of the deal.

    Raises:
        ConfigError: fewer than two folds, or fewer scenes than folds.
    """
    clips = all_clips(data)
    scenes = sorted({data.scene_name(clip) for clip in clips})
    if not 2 <= count <= len(scenes):
        raise ConfigError(
            f"count must be from 2 to {len(scenes)}, the scenes of {data.name}, found {count}."
        )
    order = np.random.default_rng(seed).permutation(len(scenes))
    dealt = [sorted(scenes[k] for k in order[fold::count]) for fold in range(count)]
    return Folds(data.name, digest(clips), tuple(map(tuple, dealt)))


@checked
def write_folds(path: str | Path, folds: Folds) -> None:
    """Freeze folds in a file.

    Raises:
        DataError: the file holds another deal, which records may rest on.
    """
    path = Path(path)
    if path.exists() and read_folds(path) != folds:
        raise DataError(
            f"{path} holds other folds, and records may rest on them: name another file by "
            "--output (command line) or path."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, folds.text().encode())


@checked
def read_folds(path: str | Path) -> Folds:
    """Read the file of a deal.

    Raises:
        DataNotFoundError: no such file.
        DataError: it is none, or a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise DataError(
            f"{path} is a folder: expected the file of a deal, as `spikerec data folds` writes it."
        )
    if not path.is_file():
        raise DataNotFoundError(
            f"{path} does not exist: make it once by `spikerec data folds NAME --output {path}`."
        )
    content = read_yaml(path, RUN_DOCUMENT)
    try:
        return _parsed(content)
    except (KeyError, TypeError, ConfigError) as error:
        raise DataError(
            f"{path} holds no folds: expected dataset, content and folds, as `spikerec data folds` "
            "writes them."
        ) from error


def _parsed(content: Any) -> Folds:  # noqa: ANN401 (as YAML gives it)
    folds = content["folds"]
    if not all(isinstance(fold, list) for fold in [folds, *folds]):
        raise TypeError
    return Folds(content["dataset"], content["content"], tuple(map(tuple, folds)))


def all_clips(data: SpikeSet) -> list[Clip]:
    """The clips of all splits, each once, named by the first split that has it.

    Raises:
        ConfigError: the set is simulated without end.
        DataError: it has no split, or one that is not whole.
    """
    if isinstance(data, LiveSet):
        raise ConfigError(f"folds are of a set of streams: {data.name} is simulated without end.")
    found: dict[tuple[Path, ...], Clip] = {}
    for split in get_args(SplitName):
        try:
            clips = data.clips(split)
        except SplitNotFoundError:
            continue
        for clip in clips:
            found.setdefault(clip.files, replace(clip, name=f"{split}/{clip.name}"))
    if not found:
        raise DataError(f"{data.name} holds no clip in any split. {data.how_to_get()}")
    return list(found.values())


class FoldedSet(SpikeSet):
    """A set with one fold of its scenes held out: training sees the others.

    Args:
        data: the set.
        folds: the file of the deal.
        fold: number of the fold that validation and test look at, from 1.

    Raises:
        ConfigError: no such fold, or folds of another set.
        DataNotFoundError: there is no such file.
        DataError: it is no file of folds.
    """

    def __init__(self, data: SpikeSet, folds: str | Path, fold: int) -> None:
        super().__init__(data.name, data.root)
        self.data = data
        self.file = Path(folds)
        self.folds = read_folds(folds)
        self.fold = fold
        if self.folds.dataset != data.name:
            raise ConfigError(
                f"folds: {self.file} deals {self.folds.dataset}, and the data are {data.name}: "
                "make a file for them."
            )
        if not 1 <= fold <= len(self.folds.scenes):
            raise ConfigError(
                f"fold must be from 1 to {len(self.folds.scenes)}, those of {self.file}, found "
                f"{fold}."
            )

    def prepare(self) -> None:
        """See `SpikeSet.prepare`."""
        self.data.prepare()

    def how_to_get(self) -> str:
        """See `SpikeSet.how_to_get`."""
        return self.data.how_to_get()

    def has_images(self) -> bool:
        """See `SpikeSet.has_images`."""
        return self.data.has_images()

    def scene(self, split: SplitName, clip: Clip) -> LayeredScene | None:
        """See `SpikeSet.scene`; a clip is named by the set's own split and name."""
        del split
        own, _, name = clip.name.partition("/")
        (own_split,) = (one for one in get_args(SplitName) if one == own)
        return self.data.scene(own_split, replace(clip, name=name))

    def scene_name(self, clip: Clip) -> str:
        """See `SpikeSet.scene_name`."""
        return self.data.scene_name(clip)

    def holding_out(self, fold: int) -> FoldedSet:
        """The same deal with another fold held out."""
        other = copy(self)
        other.fold = fold
        return other

    def clips(self, split: SplitName) -> list[Clip]:
        """The scenes of the fold for `val` and `test`, the others for `train`.

        Raises:
            DataError: the set's content is no longer that of the file, or the file leaves out
                scenes of it.
        """
        held_out = set(self.folds.scenes[self.fold - 1])
        is_training = split == "train"
        return [
            clip
            for clip in self._every_clip
            if (self.scene_name(clip) not in held_out) == is_training
        ]

    @cached_property
    def _every_clip(self) -> list[Clip]:
        """All clips, whose content is compared with the file once: large sets take minutes."""
        clips = all_clips(self.data)
        if digest(clips) != self.folds.content:
            raise DataError(
                f"{self.file} was made for other content of {self.name}: its streams or images "
                "have changed since. Restore them, or make another file of folds."
            )
        named, known = set().union(*self.folds.scenes), set(map(self.scene_name, clips))
        if named != known:
            odd = ", ".join(sorted(named ^ known)[:3])
            raise DataError(
                f"{self.file} must deal each scene of {self.name}, and no other: {odd} is in one "
                "alone. Make another file of folds."
            )
        return clips


def in_folds(
    sets: Mapping[str, SpikeSet], folds: str | Path | None, fold: int | None
) -> dict[str, SpikeSet]:
    """The sets of a data module, with a fold held out where one is asked for.

    Raises:
        ConfigError: one of both arguments without the other, or several sets.
    """
    if (folds is None) != (fold is None):
        lacking = "folds=FILE, the file of the deal" if folds is None else "fold=1, or another"
        raise ConfigError(f"folds and fold belong together: state {lacking}.")
    if folds is None or fold is None:
        return dict(sets)
    if len(sets) != 1:
        raise ConfigError(f"folds are of one set, found {len(sets)}: {', '.join(sets)}.")
    return {name: FoldedSet(one, folds, fold) for name, one in sets.items()}
