"""Clips: what every layout on disk comes down to.

A data set is a class that lists clips. A clip is one stream, the images known of it, and the light
scale it was recorded at. What reads windows (`spikerec.data.windows`) knows nothing else, so a new
layout is one class and one YAML.
"""

from __future__ import annotations

import hashlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Literal, NoReturn

import torch
from torch import Tensor

from spikerec import spikes
from spikerec.data.bounds import MOST_LABEL, MOST_NAME, MOST_VALUE
from spikerec.data.naming import scene_of
from spikerec.describing import Described
from spikerec.errors import ConfigError, DataError, DataNotFoundError, about, printable
from spikerec.kinds import checked
from spikerec.parsing import shown
from spikerec.simulation.known import Known, read_known
from spikerec.simulation.layers import LayeredScene
from spikerec.simulation.sums import ReadoutSum, sum_of_images
from spikerec.spikes import Geometry, SpikeStream
from spikerec.spikes.folders import in_order
from spikerec.spikes.geometry import check_light_scale

_log = logging.getLogger(__name__)

SplitName = Literal["train", "val", "test"]

#: Readouts that are held at once to be summed.
READOUTS_AT_ONCE = 64

#: Condition that states the class of what a clip shows.
LABEL = "label"

#: Names that a clip cannot state as covariates or as conditions: what is measured, or of the other
#: kind.
NOT_COVARIATES = ("firing_rate", "mirrored", "noise", "motion_source")
NOT_CONDITIONS = ("firing_rate", "mirrored", "light_scale", "motion")


@checked
@dataclass(frozen=True)
class Clip:
    """One stream and the images known of it.

    Attributes:
        name: unique in its set and split.
        files: the stream's file, or files that follow one another in time.
        light_scale: firing rate of a pixel of intensity 1, in (0, 1].
        geometry: of a `.dat`; None where a sidecar or the format itself states it.
        dataset: name of the array inside a container file; None for the only one.
        images: key readout → image file, of the true intensity at that readout.
        key_readouts: the readouts to reconstruct; those of `images` where there are images.
        external: an `.h5` may name other files that hold its values (see `spikes.open`).
        covariates: name → number to draw quality against: one value for all samples, or key readout
            → value, of every key readout; NaN where it is not known.
        conditions: name → short label of all samples, by which to group them.
        card: the simulation's card, which states noise and motion; None, or a file that does not
            exist, where the clip is not known to be simulated.

    Raises:
        ConfigError: a light scale out of range; a key readout named twice; or a covariate or
            condition that a record cannot hold, or that misses a key readout.
    """

    name: str
    files: tuple[Path, ...]
    light_scale: float
    geometry: Geometry | None = None
    dataset: str | None = None
    images: Mapping[int, Path] = field(default_factory=dict)
    key_readouts: Sequence[int] = ()
    external: bool = False
    covariates: Mapping[str, float | Mapping[int, float]] = field(default_factory=dict)
    conditions: Mapping[str, str] = field(default_factory=dict)
    card: Path | None = None

    def __post_init__(self) -> None:
        check_light_scale(self.light_scale)
        for complaint in self._complaints():
            file = f" ({printable(str(self.files[0]))})" if self.files else ""
            raise ConfigError(f"clip {printable(self.name)}{file}: {complaint}.")

    def __repr__(self) -> str:
        files = self.files[0].name if len(self.files) == 1 else f"{len(self.files)} files"
        return (
            f"Clip({self.name}: {files}, {len(self.images)} images, "
            f"light_scale={self.light_scale:g})"
        )

    def _complaints(self) -> Iterator[str]:
        """Complaints about key readouts, covariates and conditions that a record could not hold."""
        kinds: dict[str, tuple[Collection[str], Sequence[str]]] = {
            "covariates": (self.covariates, NOT_COVARIATES),
            "conditions": (self.conditions, NOT_CONDITIONS),
        }
        readouts = sorted(self.key_readouts)
        if twice := [one for one, after in pairwise(readouts) if one == after]:
            yield f"key_readouts must differ from each other, found {twice[0]} twice"
        for kind, (names, taken) in kinds.items():
            for name in names:
                if not _is_text(name, MOST_NAME):
                    yield (
                        f"{kind} must be named in printable text of 1 to {MOST_NAME} characters, "
                        f"found {shown(name)}"
                    )
                elif name in taken:
                    yield f"{kind} names {name}, which is measured or of another kind: rename it"
        for name in self.covariates.keys() & self.conditions.keys():
            yield f"{name} is a covariate and a condition: rename one"
        for name, label in self.conditions.items():
            if not _is_text(label, MOST_LABEL):
                yield (
                    f"conditions.{name} must be printable text of 1 to {MOST_LABEL} characters, "
                    f"found {shown(label)}"
                )
        for name, stated in self.covariates.items():
            by_readout = stated if isinstance(stated, Mapping) else {}
            for value in by_readout.values() if by_readout else [stated]:
                if isinstance(value, Mapping) or abs(value) > MOST_VALUE:
                    yield f"covariates.{name} must hold numbers up to {MOST_VALUE:g}, or NaN"
            missing = set(self.key_readouts or self.images) - by_readout.keys()
            if by_readout and missing:
                yield (
                    f"covariates.{name} must have a number for each key readout, found none for "
                    f"{min(missing)}: state NaN where it is not known"
                )

    def open(self) -> SpikeStream:
        """The stream, not yet read."""
        source = self.files[0] if len(self.files) == 1 else list(self.files)
        return spikes.open(
            source, geometry=self.geometry, dataset=self.dataset, external=self.external
        )

    def covariates_at(self, key_readout: int) -> dict[str, float]:
        """Numbers that are known of a sample without reading its spikes.

        `light_scale`; `motion`, in pixels a readout, where the simulation is exact; and what the
        set states, which comes first where both do.
        """
        known = {"light_scale": self.light_scale}
        motion = self._known().motion_at(key_readout)
        if motion is not None:
            known["motion"] = motion
        for name, value in self.covariates.items():
            one = value.get(key_readout) if isinstance(value, Mapping) else value
            if one is not None:
                known[name] = one
        return known

    def stated_conditions(self) -> dict[str, str]:
        """Labels of all samples: `noise`, `unknown` of a real camera, and what the set states.

        `motion_source` is `stated` by the set, `exact` of the simulation, or `estimated`.
        """
        known = self._known()
        source = "exact" if known.motion else "estimated"
        if "motion" in self.covariates:
            source = "stated"
        return {"motion_source": source, "noise": known.noise, **self.conditions}

    def check_written(self) -> None:
        """Refuse readouts or images that are not those that a simulation wrote.

        Nothing is known of a clip that was not simulated, or by an older version.

        Raises:
            DataError: a file was changed or left out, or is that of another scene.
        """
        sums = self._known().sums
        if not sums:
            return
        total = ReadoutSum()
        with self.open() as stream:
            for start in range(0, stream.num_readouts, READOUTS_AT_ONCE):
                total.add(stream[start : start + READOUTS_AT_ONCE])
        if total.hexdigest() != sums["readouts"]:
            self._refuse(f"{self.files[0]} does not hold the readouts that were simulated")
        folders = {path.parent for path in self.images.values()}
        if any(sum_of_images(folder) != sums["images"] for folder in folders):
            self._refuse(f"{min(folders)} does not hold the images that were simulated")

    def _refuse(self, what: str) -> NoReturn:
        raise DataError(
            f"{what} (their checksum is in {self.card}): files of two scenes are mixed, or one "
            "is missing or was changed. Copy the scene again, or remove it and make it again."
        )

    def _known(self) -> Known:
        """Facts that the card of a simulated clip states; none without one.

        Raises:
            DataError: it is the card of another clip.
        """
        if self.card is None or not self.card.is_file():
            return Known()
        known = read_known(self.card)
        if known.light_scale not in (None, self.light_scale):
            raise DataError(
                f"{self.files[0]} states the light scale {self.light_scale:g}, but was simulated "
                f"with {known.light_scale:g} ({self.card}): files of two scenes are mixed. Copy "
                "the scene again."
            )
        return known


def _is_text(text: str, most: int) -> bool:
    return 0 < len(text) <= most and text.isprintable()


class SpikeSet(Described, ABC):
    """A data set: clips by split, read from one layout on disk.

    Args:
        name: the set's name in results; that of its YAML.
        root: folder that holds it.
    """

    how_to_make: ClassVar[str] = "a data set reads a folder, as REDS(FOLDER) or Real(FOLDER) do."

    def __init__(self, name: str, root: str | Path) -> None:
        self.name = name
        self.root = Path(root)

    def __repr__(self) -> str:
        name = type(self).__name__
        label = "" if name.lower() == self.name else f", name={self.name!r}"
        return f"{name}({str(self.root)!r}{label})"

    def prepare(self) -> None:
        """Make the set on first use, where it can be made; else check that it is there.

        Runs in one process before the others look.

        Raises:
            DataNotFoundError: the set is not there; says how to get it.
        """
        if not self.root.is_dir():
            told = f"root: there is no folder {self.root}. {self.how_to_get()}"
            raise about(self, DataNotFoundError(told))

    def how_to_get(self) -> str:
        """One sentence for someone who lacks the data."""
        return "Point `root` at your copy."

    @checked
    @abstractmethod
    def clips(self, split: SplitName) -> list[Clip]:
        """The clips of a split, sorted by name.

        Args:
            split: `train`, `val` or `test`; a set with two splits has one for both `val` and
                `test`.

        Raises:
            SplitNotFoundError: the set has no such split; `spikerec.data.folds` then takes the
                others.
            DataError: the split is not whole, or contradicts the set's stated geometry.
        """

    def has_images(self) -> bool:
        """True if the set has true images."""
        return True

    def scene(self, split: SplitName, clip: Clip) -> LayeredScene | None:
        """The simulated scene of a clip of a split, whose motion is exact; None if not known."""
        del split, clip
        return None

    def scene_name(self, clip: Clip) -> str:
        """The name of the scene that a clip shows; clips of one scene are kept in one fold."""
        return scene_of(clip.name)


class MadeSet(SpikeSet):
    """A data set that `spikerec data fetch NAME` makes on this machine, or downloads."""

    @abstractmethod
    def fetch(self, report: Callable[[str], None], progress: Callable[[int, int], None]) -> None:
        """Get the set, or what is missing of it.

        Args:
            report: called with a line for each step.
            progress: called with (scenes or clips done, those in all).
        """


class LiveSet(SpikeSet):
    """A data set whose training windows are simulated when they are asked for, on the device.

    No window repeats, and no disk is read. Validation and test are clips, as of any set.
    """

    @abstractmethod
    def simulate(
        self, seeds: Sequence[int], *, window: int, height: int, width: int, device: torch.device
    ) -> dict[str, Tensor]:
        """Training windows, each a function of its seed.

        Returns:
            `spikes` (B, window, height, width) uint8 in {0, 1}; `target` (B, 1, height, width)
            float32 in [0, 1], the intensity at readout window // 2; `light_scale` (B,) float32.
        """


def pair_by_stem(
    streams: Iterable[Path], images: Iterable[Path]
) -> tuple[list[tuple[Path, Path]], list[Path]]:
    """Streams and images of the same stem, in order, and the files left without a partner.

    Raises:
        DataError: two streams or two images of one stem.
    """
    streams, images = in_order(streams), in_order(images)
    by_stem = {path.stem: path for path in images}
    for files in (streams, images):
        check_unique([file.stem for file in files], "files", files)
    pairs, alone = [], []
    for stream in streams:
        image = by_stem.pop(stream.stem, None)
        if image is None:
            alone.append(stream)
        else:
            pairs.append((stream, image))
    return pairs, alone + list(by_stem.values())


def check_unique(names: Sequence[str], kind: str, where: Sequence[object]) -> None:
    """Refuse two things of one name.

    Args:
        names: of each thing.
        kind: what they are, in the plural.
        where: what the message says of each.

    Raises:
        DataError: two have one name.
    """
    first: dict[str, object] = {}
    for name, place in zip(names, where, strict=True):
        if name in first:
            raise DataError(
                f"two {kind} are named {name!r}: {first[name]} and {place}. Rename or remove one."
            )
        first[name] = place


def report_alone(paths: Sequence[Path], name: str) -> None:
    """Say which files of a set are skipped because their partner is missing."""
    for path in paths:
        partner = "image" if path.suffix.lower() == ".dat" else "stream"
        _log.warning("data set %s: %s has no %s; it is skipped.", name, path.name, partner)


def digest(clips: Iterable[Clip]) -> str:
    """SHA-256 of all streams and images of the clips, independent of where they lie.

    Raises:
        DataError: a simulated clip that is not as it was written.
    """
    total = hashlib.sha256()
    for clip in clips:
        clip.check_written()
        total.update(f"{clip.name}|{clip.light_scale}|{clip.geometry}".encode())
        for key_readout, path in clip.images.items():
            total.update(f"{key_readout}|{_file_digest(path)}".encode())
        if clip.key_readouts:  # those of images are counted with their images
            total.update(f"{list(clip.key_readouts)}".encode())
        for path in clip.files:
            total.update(_file_digest(path).encode())
    return total.hexdigest()


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
