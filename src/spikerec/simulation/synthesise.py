"""A whole simulated data set, made from photographs: the same bytes for a seed, in either layout.

The photographs are dealt out to the splits first, so that no split shows what another was trained
on. Bytes repeat on one kind of machine; where another rounds an intensity otherwise, single spikes
move by a readout.

`ROOT/dataset.yaml` is the set's card. It appears when the last scene is written; until then it is
called `dataset.unfinished.yaml`, and the same call continues where the last one stopped.
"""

from __future__ import annotations

import os
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
from spikerec.spikes.files import lock_folder, make_folder

CARD = "dataset.yaml"
UNFINISHED_CARD = "dataset.unfinished.yaml"
CARD_VERSION = 2  # of what is drawn and how it is written: raise it when either changes
#: Scenes that are worth another process, which takes some ten seconds to start.
SCENES_A_PROCESS = 24

Progress = Callable[[int, int], None]
#: Writes the scene of a split and a number, unless it is there.
WriteScene = Callable[[str, int], None]


@checked
def write_set(
    root: Path,
    card: Mapping[str, Any],
    scenes: Mapping[str, int],
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
        if is_card(root / CARD, card):
            return root / CARD
        if not is_card(root / UNFINISHED_CARD, card):
            write_card(root / UNFINISHED_CARD, card)
        wanted = [(split, index) for split, count in scenes.items() for index in range(count)]
        cores = len(os.sched_getaffinity(0))
        processes = processes or min(cores, len(wanted) // SCENES_A_PROCESS)
        for done, _ in enumerate(_written(wanted, write, processes), start=1):
            if progress is not None:
                progress(done, len(wanted))
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
        for future in as_completed([pool.submit(write, *scene) for scene in wanted]):
            future.result()
            yield
    except BrokenProcessPool as error:
        raise DataError(
            "a process that simulated scenes was killed, perhaps for lack of memory. The same "
            "command again continues where it stopped."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


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
        InputError: fewer photographs than splits.
    """
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
