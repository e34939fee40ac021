"""A whole simulated data set, made from photographs: the same bytes for a seed, in either layout.

The photographs are dealt out to the splits first, so that no split shows what another was trained
on. Bytes repeat on one kind of machine; where another rounds an intensity otherwise, single spikes
move by a readout.

`ROOT/dataset.yaml` is the set's card. It appears when the last scene is written; until then it is
called `dataset.unfinished.yaml`, and the same call continues where the last one stopped.
"""

from __future__ import annotations

import os
import pickle  # noqa: TID251 (from the process that started this one)
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from spikerec.errors import ConfigError, DataError, InputError
from spikerec.kinds import checked
from spikerec.simulation.cards import is_card, write_card
from spikerec.simulation.images import SourceImage
from spikerec.spawning import packed, program_left_out
from spikerec.spikes.files import lock_folder, make_folder

CARD = "dataset.yaml"
UNFINISHED_CARD = "dataset.unfinished.yaml"
CARD_VERSION = 2  # of what is drawn and how it is written: raise it when either changes
#: Scenes that are worth another process, which takes some ten seconds to start.
SCENES_A_PROCESS = 24

Progress = Callable[[int, int], None]
#: Writes the scene of a split and a number.
WriteScene = Callable[[str, int], None]
#: True if the scene of a split and a number is there.
HasScene = Callable[[str, int], bool]


@checked
def write_set(
    root: Path,
    card: Mapping[str, Any],
    scenes: Mapping[str, int],
    has: HasScene,
    write: WriteScene,
    *,
    processes: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write a simulated set, or the part of it that is missing.

    Args:
        root: folder of the set; made if need be.
        card: all that decides what is written.
        scenes: split → number of scenes.
        has: tells which of them are there.
        write: writes one of them; several processes call copies of it.
        processes: that write; None: one for each core, where there are scenes enough.
        progress: called with (scenes done, scenes in all), also for those that were there.

    Returns:
        Path of the card.

    Raises:
        ConfigError: no split, or one without scenes.
        DataError: the folder holds another set, or the start of another one; or a process died.
    """
    if not scenes or min(scenes.values()) < 1:
        raise ConfigError(
            "scenes must name at least one split, with at least 1 scene each; found "
            f"{dict(scenes)}."
        )
    make_folder(root)
    with lock_folder(root, wait=True):
        is_finished = is_card(root / CARD, card)
        every = [(split, index) for split, count in scenes.items() for index in range(count)]
        wanted = [scene for scene in every if not has(*scene)]
        if is_finished and not wanted:
            return root / CARD
        if not is_finished and not is_card(root / UNFINISHED_CARD, card):
            write_card(root / UNFINISHED_CARD, card)
        cores = len(os.sched_getaffinity(0))
        processes = processes or min(cores, len(wanted) // SCENES_A_PROCESS)
        there = len(every) - len(wanted)
        for done, _ in enumerate(_written(wanted, write, processes), start=there + 1):
            if progress is not None:
                progress(done, len(every))
        if not is_finished:
            (root / UNFINISHED_CARD).replace(root / CARD)
    return root / CARD


def _written(
    wanted: Sequence[tuple[str, int]], write: WriteScene, processes: int
) -> Iterator[None]:
    """Write all scenes, and yield after each."""
    if processes < 2:
        for split, index in wanted:
            write(split, index)
            yield
        return
    # Not forked: this process may have threads.
    pool = ProcessPoolExecutor(processes, get_context("spawn"), _use_one_thread)
    try:
        content = packed(write)
        with program_left_out():  # each call starts a process until there are enough
            futures = [pool.submit(_write_packed, content, *scene) for scene in wanted]
        for future in as_completed(futures):
            future.result()
            yield
    except BrokenProcessPool as error:
        raise DataError(
            "a process that simulated scenes was killed, perhaps for lack of memory. The same "
            "command again continues where it stopped."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _write_packed(content: bytes, split: str, index: int) -> None:
    write: WriteScene = pickle.loads(content)  # noqa: S301 (as above)
    write(split, index)


def _use_one_thread() -> None:
    torch.set_num_threads(1)


@checked
def deal_images(
    images: Sequence[SourceImage], scenes: Mapping[str, int], seed: int
) -> dict[str, list[SourceImage]]:
    """Deal photographs out to the splits, each to one of them.

    A split's share follows its number of scenes, and is at least two photographs where there are
    enough of them, so that objects differ from their background.

    Raises:
        InputError: fewer photographs than splits, or two that are one picture.
    """
    first: dict[str, SourceImage] = {}
    for one in images:
        other = first.setdefault(one.sha256, one)
        if other is not one:
            raise InputError(
                f"{other.name} and {one.name} are the same picture, so that splits could share it: "
                "remove one of them."
            )
    if len(images) < len(scenes):
        raise InputError(
            f"{len(images)} source image(s) for {len(scenes)} splits ({', '.join(scenes)}): "
            "expected at least one a split, since splits share none. Give more, or fewer splits."
        )
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed)).tolist()
    least = min(2, len(images) // len(scenes))
    counts = dict.fromkeys(scenes, least)
    for _ in range(len(images) - least * len(scenes)):
        neediest = max(scenes, key=lambda split: scenes[split] / counts[split])
        counts[neediest] += 1
    shares = {}
    for split, count in counts.items():
        shares[split] = [images[index] for index in sorted(order[:count])]
        order = order[count:]
    return shares
