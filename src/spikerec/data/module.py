"""The one DataModule: any mix of data sets, as windows of spikes and images."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import lightning as L
import torch
from torch.utils.data import DataLoader

from spikerec.data.clips import Clip, LiveSet, SpikeSet, SplitName, digest
from spikerec.data.epochs import EpochLoader, EpochSampler
from spikerec.data.folds import in_folds
from spikerec.data.frames import Frames
from spikerec.data.sequences import Sequences, carried_by, needs_hop
from spikerec.data.windows import (
    Augmentation,
    Crop,
    InOrder,
    LiveWindows,
    Windows,
    decode,
)
from spikerec.describing import Described
from spikerec.errors import ConfigError, DataError, about, errors_about
from spikerec.kinds import checked
from spikerec.models.carrying import Carry

NOT_SET_UP = "SpikeDataModule is not set up: call setup('fit'), 'validate' or 'test' first."


class SpikeDataModule(Described, L.LightningDataModule):
    """Training on the mix of all sets, validation and test set by set.

    A batch is returned by `decode`: `spikes` (B, T, H, W) uint8 in {0, 1}, `target` (B, 1, H, W)
    float32 in [0, 1] where the set has images, `light_scale` (B,), `key` (list of names). Bits
    are unpacked on the device.

    Args:
        sets: one data set, a list of them, or name → data set.
        window: readouts a window holds; the network's.
        batch_size: training samples in a process's batch. Whole images go one by one.
        crop: height and width of training crops, in pixels.
        augment: symmetries of a training crop: `none`, `flips` (4) or `dihedral` (8).
        ends: share of training windows cut and mirrored, as at a stream's ends; see `Crop`.
        samples_per_epoch: draws in an epoch, of all processes; None: each key readout once, and
            several crops of each where the set is smaller than one batch.
        margin: readouts a key readout must have on both sides; see `Windows`.
        num_workers: reading processes of each loader; 0 reads in the main process.
        seed: of shuffles, crops and symmetries.
        val_samples: at most so many validation samples of each set, spread evenly; None: all.
        repeat_epoch: every epoch draws what the first one drew, for a network to learn by heart.
        hop: readouts from window to window where a state is carried; the network's.
        sequence: windows of a training sample, `hop` readouts apart, through which the network's
            state is carried; None for windows on their own. A batch of them has `spikes` of all
            their readouts, and a `target` (B, n, 1, H, W) of the n windows that are learnt from.
        warm_up: windows at the start of a sequence that are not learnt from; None for none.
        carry: windows through which the state of a whole image comes, in validation and tests: a
            number, or `start` for all from the stream's start; fewer where the stream begins. None
            for windows on their own, or, with `sequence`, for as many as a sequence has before its
            last window.
        folds: file of a deal of the scenes into folds (`spikerec.data.folds`); None for the set's
            own splits.
        fold: number of the fold that validation and tests look at, from 1; training sees the
            others.

    Raises:
        ConfigError: no set, two of one name, a count below 1 (margin and workers: below 0), or
            windows that carry a state without a `hop`.

    Example:
        >>> from spikerec.data.reds import REDS
        >>> SpikeDataModule(REDS("data/reds"), window=61)
        SpikeDataModule(reds=REDS('data/reds'), window=61, batch_size=8, crop=96×96)
    """

    how_to_make: ClassVar[str] = (
        "it deals out data sets, as SpikeDataModule(REDS(FOLDER), window=network.window) does."
    )

    def __init__(
        self,
        sets: SpikeSet | Sequence[SpikeSet] | Mapping[str, SpikeSet],
        *,
        window: int,
        batch_size: int = 8,
        crop: tuple[int, int] = (96, 96),
        augment: Augmentation = "dihedral",
        ends: float = 0.0,
        samples_per_epoch: int | None = None,
        margin: int = 0,
        num_workers: int = 0,
        seed: int = 0,
        val_samples: int | None = None,
        repeat_epoch: bool = False,
        hop: int | None = None,
        sequence: int | None = None,
        warm_up: int | None = None,
        carry: Carry = None,
        folds: str | Path | None = None,
        fold: int | None = None,
    ) -> None:
        super().__init__()
        least = {"window": 1, "batch_size": 1, "samples_per_epoch": 1, "val_samples": 1}
        for name, value in {
            "window": window,
            "batch_size": batch_size,
            "samples_per_epoch": samples_per_epoch,
            "val_samples": val_samples,
            "margin": margin,
            "num_workers": num_workers,
            "seed": seed,
        }.items():
            if value is not None and value < least.get(name, 0):
                raise ConfigError(f"{name} must be at least {least.get(name, 0)}, found {value}.")
        self.sets = in_folds(_by_name(sets), folds, fold)
        self.window = window
        self.batch_size = batch_size
        self.crop = Crop(*crop, augment, seed, ends)
        self.samples_per_epoch = samples_per_epoch
        self.margin = margin
        self.num_workers = num_workers
        self.val_samples = val_samples
        self.repeat_epoch = repeat_epoch
        self.hop = hop
        self.sequences = _sequences(hop, sequence, warm_up, ends)
        self.carry = carried_by(self.sequences, carry, hop)
        self.train_windows: Windows | LiveWindows | None = None
        self.val_windows: dict[str, Windows] = {}
        self.test_windows: dict[str, Windows] = {}
        self._train_loader: EpochLoader | None = None
        self._continued: dict[str, int] | None = None

    def __repr__(self) -> str:
        sets = ", ".join(f"{name}={one!r}" for name, one in self.sets.items())
        return (
            f"SpikeDataModule({sets}, window={self.window}, batch_size={self.batch_size}, "
            f"crop={self.crop.height}×{self.crop.width})"
        )

    def __str__(self) -> str:
        return repr(self)  # Lightning's own names the loaders alone

    def prepare_data(self) -> None:
        """Make or check every set; runs in one process of a machine."""
        for spike_set in self.sets.values():
            spike_set.prepare()

    def setup(self, stage: str) -> None:
        """List the clips that a stage reads: `fit`, `validate` or `test`."""
        with errors_about(self):
            if stage == "fit" and self.train_windows is None:
                self.train_windows = self._training_windows()
            if stage in ("fit", "validate") and not self.val_windows:
                self.val_windows = {
                    name: self._windows(self._clips(name, "val")) for name in self.validated
                }
            if stage == "test" and not self.test_windows:
                self.test_windows = {
                    name: self.evaluation_windows(name, "test") for name in self.sets
                }

    def _training_windows(self) -> Windows | LiveWindows:
        live = {name: one for name, one in self.sets.items() if isinstance(one, LiveSet)}
        if not live:
            return Windows(
                self._training_clips(),
                window=self.window,
                margin=self.margin,
                crop=self.crop,
                sequences=self.sequences,
            )
        name, first = next(iter(live.items()))
        if len(self.sets) > 1:
            raise ConfigError(
                f"sets: {name} simulates its training windows and cannot be mixed with others, "
                f"found {', '.join(self.sets)}. Train on it alone."
            )
        if self.sequences is not None:
            raise ConfigError(
                f"sequence must be null for {name}, which simulates single windows: train on a set "
                "of streams."
            )
        if self.samples_per_epoch is None:
            raise ConfigError(
                f"samples_per_epoch must be stated for {name}, which never ends: the windows of an "
                "epoch."
            )
        return LiveWindows(first, window=self.window, crop=self.crop)

    def _clips(self, name: str, split: SplitName) -> list[Clip]:
        with errors_about(self.sets[name]):
            return self.sets[name].clips(split)

    def _training_clips(self) -> list[Clip]:
        """Clips of all sets, named SET/CLIP where two sets have clips of one name."""
        clips = [(name, clip) for name in self.sets for clip in self._clips(name, "train")]
        if len({clip.name for _, clip in clips}) < len(clips):
            return [replace(clip, name=f"{name}/{clip.name}") for name, clip in clips]
        return [clip for _, clip in clips]

    def _windows(self, clips: Sequence[Clip]) -> Windows:
        return Windows(
            clips, window=self.window, margin=self.margin, hop=self.hop, carry=self.carry
        )

    @property
    def validated(self) -> list[str]:
        """The sets that validation looks at: those with true images; where none has any, all."""
        return [name for name, one in self.sets.items() if one.has_images()] or list(self.sets)

    @property
    def tested(self) -> list[str]:
        """The sets that a test looks at: all."""
        return list(self.sets)

    @property
    def has_targets(self) -> bool:
        """True if every training sample has a true image."""
        return all(spike_set.has_images() for spike_set in self.sets.values())

    def train_dataloader(self) -> EpochLoader:
        """Random crops of random key readouts, one process's share."""
        windows = self._training()
        rank, world_size = self._process()
        sampler = self._sampler(rank, world_size)
        if len(sampler) < self.batch_size:
            told = (
                f"batch_size={self.batch_size} is more than an epoch's {len(sampler)} samples "
                f"in each of {world_size} processes: set samples_per_epoch higher, or a "
                "smaller batch."
            )
            raise about(self, ConfigError(told))
        self._train_loader = EpochLoader(
            windows, sampler, batch_size=self.batch_size, **self._loading()
        )
        if self._continued is not None:
            self._train_loader.load_state_dict(self._continued)
        return self._train_loader

    def _sampler(self, rank: int, processes: int) -> EpochSampler:
        return EpochSampler(
            len(self._training()),
            samples_per_epoch=self._draws(processes),
            seed=self.crop.seed,
            rank=rank,
            world_size=processes,
            repeat=self.repeat_epoch,
        )

    def _draws(self, processes: int) -> int:
        """Draws of an epoch, of all processes: those asked for, or each key readout once."""
        if self.samples_per_epoch is not None:
            return self.samples_per_epoch
        return max(len(self._training()), self.batch_size * processes)

    def training_batches(
        self, epoch: int, first: int, *, count: int, rank: int, processes: int
    ) -> Iterator[dict[str, Any]]:
        """Decoded training batches by their place in an epoch, to look at them again.

        Args:
            epoch: from 0.
            first: place of the first batch in the epoch.
            count: how many.
            rank: the process whose batches they were.
            processes: how many processes there were.
        """
        sampler = self._sampler(rank, processes)
        sampler.set_epoch(epoch)
        sampler.skip(epoch, first * self.batch_size * processes)
        loader = EpochLoader(self._training(), sampler, batch_size=self.batch_size)
        for batch in itertools.islice(loader, count):
            yield self.on_after_batch_transfer(batch, 0)

    def _training(self) -> Windows | LiveWindows:
        if self.train_windows is None:
            raise DataError(NOT_SET_UP)
        return self.train_windows

    def state_dict(self) -> dict[str, Any]:
        """Position of training in its data, for a checkpoint."""
        return {} if self._train_loader is None else dict(self._train_loader.state_dict())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Make the next training loader go on where a checkpoint was written."""
        self._continued = state_dict

    def val_dataloader(self) -> list[DataLoader[dict[str, Any]]]:
        """Whole images of each set's validation split, one process's share."""
        windows = _built(self.val_windows)
        return [self.whole_images(one, self.val_samples) for one in windows.values()]

    def test_dataloader(self) -> list[DataLoader[dict[str, Any]]]:
        """Whole images of each set's test split, one process's share."""
        return [self.whole_images(windows) for windows in _built(self.test_windows).values()]

    @checked
    def evaluation_windows(self, name: str, split: SplitName) -> Windows:
        """All windows of one set's split."""
        return self._windows(self._clips(name, split))

    @checked
    def whole_images(
        self, windows: Windows, limit: int | None = None
    ) -> DataLoader[dict[str, Any]]:
        """All samples, one image at a time (sizes may differ), one process's share.

        Shares are of one length, or processes would wait for each other: the last samples of some
        are repetitions, which whoever gathers the scores must count once, by their keys.
        """
        count = len(windows)
        chosen = list(range(count))
        if limit is not None and limit < count:
            chosen = [round(k * (count - 1) / max(limit - 1, 1)) for k in range(limit)]
        rank, world_size = self._process()
        share = chosen[rank::world_size]
        share += chosen[: -(-len(chosen) // world_size) - len(share)]
        return DataLoader(
            InOrder(windows, share), batch_size=1, generator=torch.Generator(), **self._loading()
        )

    @checked
    def whole_clips(
        self, windows: Windows, name: str, split: SplitName
    ) -> DataLoader[dict[str, Any]]:
        """All samples in order, with what is known of each step (`Frames`), one process's share.

        A clip is one process's as a whole. Shares are of one length: what fills them up is the
        first image of a share again, or of the set where a process has no clip. It is marked as a
        repeat, and no step of it is scored.

        Args:
            windows: of the split.
            name: of the set.
            split: of the set.
        """
        rank, world_size = self._process()
        clips: dict[int, list[int]] = {}
        for item, (index, _) in enumerate(windows.items):
            clips.setdefault(index, []).append(item)
        dealt = [list(clips.values())[one::world_size] for one in range(world_size)]
        shares = [list(itertools.chain.from_iterable(one)) for one in dealt]
        repeats = max(map(len, shares)) - len(shares[rank])
        scene_of = partial(self.sets[name].scene, split)
        frames = Frames(windows, shares[rank], scene_of, repeats)
        return DataLoader(frames, batch_size=1, generator=torch.Generator(), **self._loading())

    @checked
    def digest(self, name: str, split: SplitName) -> str:
        """SHA-256 of the streams and images of one set's split."""
        return digest(self._clips(name, split))

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:  # noqa: ANN401
        """Unpack the bits, or simulate the window, on the device."""
        del dataloader_idx
        if isinstance(self.train_windows, LiveWindows) and "seed" in batch:
            return self.train_windows.simulate(batch)
        return decode(batch) if "bits" in batch else batch

    def _process(self) -> tuple[int, int]:
        """This process and the number of processes."""
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size

    def _loading(self) -> dict[str, Any]:
        return {
            "num_workers": self.num_workers,
            "worker_init_fn": _ignore_interrupts,
            "persistent_workers": self.num_workers > 0,
            "pin_memory": torch.cuda.is_available(),
        }


def _sequences(
    hop: int | None, length: int | None, warm_up: int | None, ends: float
) -> Sequences | None:
    """The form of training samples; None for windows on their own.

    Raises:
        ConfigError: an argument of sequences without one, or sequences that cannot be.
    """
    if length is None:
        if warm_up:
            raise ConfigError(f"warm_up={warm_up} is of a sequence: set sequence, or leave it out.")
        return None
    if hop is None:
        raise needs_hop(f"sequence={length}")
    if ends:
        raise ConfigError(
            f"ends must be 0 for sequences, whose windows follow one another, found {ends}."
        )
    return Sequences(hop, length, warm_up or 0)


def _by_name(sets: SpikeSet | Sequence[SpikeSet] | Mapping[str, SpikeSet]) -> dict[str, SpikeSet]:
    """The data sets by name.

    Raises:
        ConfigError: none, or two of one name.
    """
    named: dict[str, SpikeSet] = {}
    if isinstance(sets, Mapping):
        named = {str(name): one for name, one in sets.items()}
    else:
        for one in [sets] if isinstance(sets, SpikeSet) else sets:
            if one.name in named:
                raise ConfigError(f"sets holds two data sets named {one.name}: rename the second.")
            named[one.name] = one
    if not named:
        raise ConfigError("sets names no data set: choose one or more, such as REDS(folder).")
    return named


def _ignore_interrupts(worker: int) -> None:
    """Leave Ctrl-C to the main process, which takes one more step before it ends."""
    del worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _built(windows: dict[str, Windows]) -> dict[str, Windows]:
    if not windows:
        raise DataError(NOT_SET_UP)
    return windows
