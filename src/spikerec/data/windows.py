"""Windows of spikes, read from clips: random crops for training, whole images for evaluation.

Bits stay packed from the disk to the device: a crop copies only the bytes of its rows, a batch
moves an eighth of the bytes of its spikes, and `decode` unpacks, aligns and turns it there.

A sample follows from its `Draw` and the seed of its `Crop` alone, whichever worker reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from spikerec.data.clips import LABEL, Clip, LiveSet, check_unique
from spikerec.data.sequences import Earlier, Past, Sequences
from spikerec.errors import ConfigError, DataError, printable
from spikerec.kinds import checked
from spikerec.models.carrying import Carry, windows_before
from spikerec.simulation.images import read_grey
from spikerec.spikes import SpikeStream, mirrored, reflect, unpack_bits
from spikerec.spikes.ends import check_mirrors, count_mirrored
from spikerec.spikes.files import state_of
from spikerec.spikes.motion import RUNS, mean_motion

Augmentation = Literal["none", "flips", "dihedral"]

#: Readouts from which a sample's firing rate is measured and its motion estimated.
COVARIATE_READOUTS = 3 * RUNS[0]

#: Number of the square's eight symmetries that an augmentation draws from (see `apply_symmetry`).
SYMMETRIES: dict[str, int] = {"none": 1, "flips": 4, "dihedral": 8}


class Draw(NamedTuple):
    """A sampler's request to a dataset: an item, and its position in the run."""

    item: int
    epoch: int
    position: int


@checked
@dataclass(frozen=True)
class Crop:
    """Random crops of a training set: size in pixels, and what is drawn for each.

    Args:
        height: rows.
        width: columns.
        augment: the symmetries drawn.
        seed: of all draws.
        ends: share of the windows that are cut at a random readout before or after the key readout
            and completed by `spikes.mirrored`, as windows at the ends of a stream are; in [0, 1].

    Raises:
        ConfigError: an unknown augmentation, rotations of a crop that is not square, or a share
            outside [0, 1].
    """

    height: int
    width: int
    augment: Augmentation
    seed: int
    ends: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.ends <= 1:
            raise ConfigError(f"ends must be in [0, 1], found {self.ends}.")
        if self.augment not in SYMMETRIES:
            raise ConfigError(
                f"augment must be one of {', '.join(SYMMETRIES)}, found {self.augment!r}."
            )
        if self.augment == "dihedral" and self.height != self.width:
            raise ConfigError(
                f"augment=dihedral turns crops by 90°, so crop must be square, found "
                f"{self.height} × {self.width}. Set augment=flips."
            )


@checked
class Windows(Dataset[dict[str, Any]]):
    """Windows around the key readouts of clips.

    A window that leaves its stream is completed by mirroring in time (`spikerec.spikes.ends`).

    Args:
        clips: where to read.
        window: readouts a window holds.
        margin: readouts a key readout must have on both sides. 0 takes all; half the longest window
            that is compared leaves out all that any method would see mirrored.
        crop: random crops for training; None for whole images.
        sequences: samples are sequences of windows, named by their last one; None for windows on
            their own.
        hop: readouts from window to window, where a state is carried.
        carry: windows through which the state of a whole image comes (`models.carrying`).

    Raises:
        DataError: no key readout lies in its stream, has the margin or ends a sequence, or two
            clips have one name.
        WindowError: a stream is too short to be mirrored.
        ConfigError: a margin below 0, or a crop larger than a stream's readouts.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        *,
        window: int,
        margin: int,
        crop: Crop | None = None,
        sequences: Sequences | None = None,
        hop: int | None = None,
        carry: Carry = None,
    ) -> None:
        self.clips = list(clips)
        files = [clip.files[0] for clip in self.clips]
        check_unique([clip.name for clip in self.clips], "clips", files)
        self.window = window
        self.crop = crop
        self.sequences = sequences
        self.hop = hop
        self.carry = carry
        self.streams = [clip.open() for clip in self.clips]
        if margin < 0:
            raise ConfigError(f"margin must be at least 0, found {margin}.")
        self.items = [
            (index, key_readout)
            for index in range(len(self.clips))
            for key_readout in self._key_readouts(index, margin)
        ]
        if not self.items:
            raise DataError(self._no_items(margin))
        if sequences is not None:
            self.items = self._sequence_ends(sequences)
        for index in {index for index, _ in self.items}:
            self._check_crop(index)
            check_mirrors(self.streams[index].path, self.streams[index].num_readouts)

    def _check_crop(self, index: int) -> None:
        clip, stream = self.clips[index], self.streams[index]
        if self.crop and (self.crop.height > stream.height or self.crop.width > stream.width):
            raise ConfigError(
                f"crop is {self.crop.height} × {self.crop.width}, but {clip.name} is "
                f"{stream.height} × {stream.width}. Set a smaller crop."
            )

    def _key_readouts(self, index: int, margin: int) -> list[int]:
        last = self.streams[index].num_readouts - 1 - margin
        readouts = sorted(self.clips[index].key_readouts or self.clips[index].images)
        return [readout for readout in readouts if margin <= readout <= last]

    def _no_items(self, margin: int) -> str:
        """The reason why no key readout can be used."""
        named = [
            (clip, key_readout, stream.num_readouts)
            for clip, stream in zip(self.clips, self.streams, strict=True)
            for key_readout in (clip.key_readouts or clip.images)
        ]
        if not self.clips:
            return "there are no clips: the data set lists none."
        if not named:
            return (
                f"none of {len(self.clips)} clips has a key readout: state key_readouts, or images."
            )
        if not any(0 <= key_readout < count for _, key_readout, count in named):
            clip, key_readout, count = named[0]
            return (
                f"no key readout lies in its stream: clip {printable(clip.name)} states "
                f"{key_readout}, and the stream has readouts 0 to {count - 1}. Correct its "
                "key_readouts or images."
            )
        return (
            f"margin: no key readout has {margin} readouts on both sides; the longest of "
            f"{len(self.clips)} streams has {max(count for *_, count in named)}. Set a smaller "
            "margin (0: windows are completed by mirroring), or use longer streams."
        )

    def _sequence_ends(self, sequences: Sequences) -> list[tuple[int, int]]:
        """The clip and the last key readout of each sequence."""
        keys: dict[int, list[int]] = {}
        for index, key_readout in self.items:
            keys.setdefault(index, []).append(key_readout)
        before = self.window // 2
        found = [(index, last) for index in keys for last in sequences.ends(keys[index], before)]
        if not found:
            raise DataError(
                f"sequence={sequences.length}: no stream of {len(self.clips)} has "
                f"{sequences.length - sequences.warm_up} key readouts {sequences.hop} readouts "
                f"apart, after {sequences.warm_up} windows of warm-up that lie in the stream. Set "
                "a shorter sequence, or a longer warm_up, whose windows need no true images."
            )
        return found

    def __len__(self) -> int:
        return len(self.items)

    @checked
    def key(self, item: int) -> str:
        """The sample's name, unique in the set: clip/key readout."""
        index, key_readout = self.items[item]
        return f"{self.clips[index].name}/{key_readout}"

    @checked
    def mirrored(self, item: int) -> int:
        """Readouts of the sample's window that lie outside its stream and are mirrored."""
        index, key_readout = self.items[item]
        first = key_readout - self.window // 2
        return count_mirrored(first, first + self.window, self.streams[index].num_readouts)

    @checked
    def covariates(self, item: int) -> dict[str, float]:
        """Numbers to draw the quality of a sample against; its spikes are read for them.

        Returns:
            `firing_rate`, the mean number of spikes of a pixel in a readout; `light_scale`;
            `motion`, the mean speed of the picture at the key readout, in pixels a readout, NaN
            where it is not known; and what the set states (`Clip.covariates`). Where no exact
            motion is stated it is estimated (`spikerec.spikes.motion`). Rate and motion come from
            readouts of the stream around the key readout, the same ones for every window, so that
            all methods stand at one place of an axis.
        """
        index, key_readout = self.items[item]
        spikes = self._around(index, key_readout)
        known = {"firing_rate": float(spikes.mean())}
        known |= self.clips[index].covariates_at(key_readout)
        if "motion" not in known:
            motion = mean_motion(spikes)
            known["motion"] = float("nan") if motion is None else motion
        return known

    @checked
    def conditions(self, item: int) -> dict[str, str]:
        """Labels by which to group samples.

        Returns:
            `noise`, see `spikerec.simulation.known.noise_label`; `motion_source`, `exact`,
            `stated` by the set or `estimated`; and what the set states (`Clip.conditions`).
        """
        return self.clips[self.items[item][0]].stated_conditions()

    def _around(self, index: int, key_readout: int) -> np.ndarray:
        """Readouts (T, H, W) around a key readout, moved into the stream at its ends."""
        stream = self.streams[index]
        last = max(stream.num_readouts - COVARIATE_READOUTS, 0)
        first = min(max(key_readout - COVARIATE_READOUTS // 2, 0), last)
        return np.asarray(stream[first : first + COVARIATE_READOUTS])

    @checked
    def past(self, item: int, earlier: int | None = None) -> Past:
        """The past of a whole image.

        Args:
            item: of the image.
            earlier: the item that was reconstructed just before, whose state is at hand.
        """
        index, key_readout = self.items[item]
        if self.hop is None or self.carry is None:
            return Past(0)
        count = windows_before(key_readout, self.window // 2, self.hop, self.carry)
        if earlier is None or self.carry != "start" or self.items[earlier][0] != index:
            return Past(count)
        back, rest = divmod(key_readout - self.items[earlier][1], self.hop)
        if rest or not 0 < back <= count:  # the one before is in no chain with this one
            return Past(count)
        return Past(back - 1, self.key(earlier))

    def __getitem__(self, draw: int | Draw) -> dict[str, Any]:
        """A sample with packed bits (see `decode` for what becomes of it)."""
        if isinstance(draw, int):
            return self.whole(draw, self.past(draw))
        index, key_readout = self.items[draw.item]
        if self.crop is None:
            return self.whole(draw.item, self.past(draw.item))
        rows, columns, symmetry, offsets = self._place(draw, self.streams[index])
        sample = self._read(draw.item, rows, columns, offsets) | {"symmetry": symmetry}
        learnt = [key_readout]
        if self.sequences is not None:
            learnt = self.sequences.learnt(key_readout)
            sample |= {"hop": self.sequences.hop, "learnt": len(learnt)}
        images = [self.image(index, readout) for readout in learnt]
        if all(image is not None for image in images):
            targets = [image[None, rows, columns] for image in images if image is not None]
            sample["target"] = np.stack(targets) if self.sequences else targets[0].copy()
        return sample

    @checked
    def whole(self, item: int, past: Past) -> dict[str, Any]:
        """A whole image, with the windows before it that its state comes through."""
        index, key_readout = self.items[item]
        stream, hop = self.streams[index], self.hop or 0
        rows, columns = slice(0, stream.height), slice(0, stream.width)
        offsets = np.arange(-past.count * hop, self.window)
        sample = self._read(item, rows, columns, offsets) | {"symmetry": 0}
        if self.carry is not None:
            sample |= {"earlier": past.count, "follows": past.follows}
            sample |= {"window": self.window, "hop_before": hop}
        image = self.image(index, key_readout)
        return sample if image is None else sample | {"target": image[None].copy()}

    def _read(
        self, item: int, rows: slice, columns: slice, offsets: NDArray[np.int64]
    ) -> dict[str, Any]:
        """The bits of a sample, its readouts counted from the start of its window."""
        index, key_readout = self.items[item]
        clip, stream = self.clips[index], self.streams[index]
        readouts = reflect(key_readout - self.window // 2 + offsets, stream.num_readouts)
        start, stop = int(readouts.min()), int(readouts.max()) + 1
        packed = stream.packed(start, stop, rows.start, rows.stop, columns.start, columns.stop)
        width = columns.stop - columns.start
        return {
            "bits": _to_bytes(packed.bits[readouts - start], (width + 14) // 8),
            "offset": packed.offset,
            "width": width,
            "light_scale": np.float32(clip.light_scale),
            "key": self.key(item),
            "label": clip.conditions.get(LABEL, ""),
        }

    def image(self, index: int, key_readout: int) -> NDArray[np.float32] | None:
        """The true image of a clip, by its number, at a readout; None where there is none."""
        path = self.clips[index].images.get(key_readout)
        if path is None:
            return None
        image = _image(path)
        _check_size(image, self.streams[index], path)
        return image

    def _place(
        self, draw: Draw, stream: SpikeStream
    ) -> tuple[slice, slice, int, NDArray[np.int64]]:
        """Rows, columns and symmetry of a sample, and its readouts, counted in its last window."""
        height, width = stream.height, stream.width
        reach = self.sequences.reach if self.sequences else 0
        readouts = np.arange(-reach, self.window)
        assert self.crop is not None
        random = np.random.default_rng((self.crop.seed, draw.epoch, draw.position))
        top = int(random.integers(height - self.crop.height + 1))
        left = int(random.integers(width - self.crop.width + 1))
        symmetry = int(random.integers(SYMMETRIES[self.crop.augment]))
        if self.crop.ends and random.random() < self.crop.ends:
            readouts = _cut(self.window, random)
        rows = slice(top, top + self.crop.height)
        return rows, slice(left, left + self.crop.width), symmetry, readouts


class LiveWindows(Dataset[dict[str, Any]]):
    """Seeds of windows that are simulated on the device (see `LiveSet`), one for every draw.

    Args:
        live: the set that simulates.
        window: readouts a window holds.
        crop: size of the windows, and the symmetries drawn.
    """

    def __init__(self, live: LiveSet, *, window: int, crop: Crop) -> None:
        self.live = live
        self.window = window
        self.crop = crop

    def __len__(self) -> int:
        """One item, drawn anew each time."""
        return 1

    def __getitem__(self, draw: Draw) -> dict[str, Any]:
        """The seed of a draw."""
        random = np.random.default_rng((self.crop.seed, draw.epoch, draw.position))
        seed = int(random.integers(1 << 62))
        return {"seed": seed, "key": f"{self.live.name}/{draw.epoch}/{draw.position}"}

    def simulate(self, batch: dict[str, Any]) -> dict[str, Any]:
        """A collated batch of seeds as spikes and images, on the batch's device."""
        seeds = batch["seed"].tolist()
        made = self.live.simulate(
            seeds,
            window=self.window,
            height=self.crop.height,
            width=self.crop.width,
            device=batch["seed"].device,
        )
        turns = [seed % SYMMETRIES[self.crop.augment] for seed in seeds]
        for name in ("spikes", "target"):
            pairs = zip(made[name], turns, strict=True)
            made[name] = torch.stack([apply_symmetry(one, turn) for one, turn in pairs])
        return {**made, "key": batch["key"]}


def _cut(window: int, random: np.random.Generator) -> NDArray[np.int64]:
    """The readouts of a window that is cut on one side of its middle and mirrored there."""
    kept = int(random.integers(window // 2 + 1, window + 1))  # with the middle, wherever the cut
    readouts = mirrored(0, window, kept)
    return window - 1 - readouts[::-1] if random.integers(2) else readouts


def _check_size(image: NDArray[np.float32], stream: SpikeStream, path: Path) -> None:
    if image.shape != (stream.height, stream.width):
        raise DataError(
            f"{path} is {image.shape[0]} × {image.shape[1]}, but its stream is {stream.height} × "
            f"{stream.width}. Check the geometry."
        )


def _to_bytes(bits: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """Rows of exactly `count` bytes, so that samples of any bit offset collate."""
    return np.pad(bits, ((0, 0), (0, 0), (0, count - bits.shape[-1])))


def _image(path: Path) -> NDArray[np.float32]:
    """A true image; that of a file which was read before is kept until the file changes."""
    return _kept_image(path, state_of(path))


@lru_cache(maxsize=64)
def _kept_image(path: Path, _state: tuple[int, ...] | None) -> NDArray[np.float32]:
    """The image of a file in a state."""
    image: NDArray[np.float32] = read_grey(path).numpy()
    return image


@checked
def decode(batch: dict[str, Any]) -> dict[str, Any]:
    """Unpack a collated batch on its own device.

    Args:
        batch: `bits` (B, T, H, n) uint8, `offset` and `width` (B,), `symmetry` (B,), optional
            `target` (B, 1, H, W), or (B, n, 1, H, W) of sequences, and whatever else, passed on.

    Returns:
        `spikes` (B, T, H, W) uint8 in {0, 1} in place of the packed bits; spikes and target turned
        by the sample's symmetry. Of a whole image to which a state is carried, `spikes` is its
        window, and `earlier` holds the windows before it.
    """
    packed = ("bits", "offset", "width", "symmetry", "target", "earlier", "window", "hop_before")
    rest = {name: value for name, value in batch.items() if name not in packed}
    offsets, symmetries = batch["offset"].tolist(), batch["symmetry"].tolist()
    width, all_bits = int(batch["width"][0]), batch["bits"]
    if "earlier" in batch:
        window, hop, count = (int(batch[name][0]) for name in ("window", "hop_before", "earlier"))
        rest["earlier"] = Earlier(all_bits, width, offsets[0], window=window, hop=hop, count=count)
        all_bits = all_bits[:, -window:]
    rest["spikes"] = torch.stack(
        [
            apply_symmetry(unpack_bits(bits, width, offset), symmetry)
            for bits, offset, symmetry in zip(all_bits, offsets, symmetries, strict=True)
        ]
    )
    if "target" in batch:
        pairs = zip(batch["target"], symmetries, strict=True)
        rest["target"] = torch.stack([apply_symmetry(image, k) for image, k in pairs])
    return rest


def apply_symmetry(x: Tensor, index: int) -> Tensor:
    """One of the square's eight symmetries on the last two axes.

    Bit 0 of the index mirrors columns, bit 1 mirrors rows, bit 2 swaps rows and columns.
    """
    axes = [axis for bit, axis in ((1, -1), (2, -2)) if index & bit]
    x = x.flip(axes) if axes else x
    return x.transpose(-2, -1) if index & 4 else x


class InOrder(Dataset[dict[str, Any]]):
    """Whole images one after another, each with what its state needs beyond the one before.

    Args:
        windows: where to read.
        items: of them, in the order in which they are asked for.
    """

    def __init__(self, windows: Windows, items: Sequence[int]) -> None:
        self.windows = windows
        self.items = list(items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, position: int) -> dict[str, Any]:
        """The image at a position, with the windows since the position before, or all."""
        item = self.items[position]
        earlier = self.items[position - 1] if position else None
        return self.windows.whole(item, self.windows.past(item, earlier))
