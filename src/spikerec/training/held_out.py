"""Refuse to judge weights on a fold whose scenes they were trained on, or to go on from such ones.

A run states a fingerprint of the clips that it was trained and validated with. Each fold of a deal
has another one, so that it says which fold was held out, also of a checkpoint that
was copied, or packed into a file. Weights that state nothing of this set, such as those of another
set, are judged on any fold.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from spikerec.data.clips import SpikeSet
from spikerec.data.folds import FoldedSet
from spikerec.errors import ConfigError, about
from spikerec.training.facts import DATA
from spikerec.training.identity import fingerprints
from spikerec.training.runs import Run
from spikerec.weights.checkpoint import read_data


def check_held_out(sets: Mapping[str, SpikeSet], weights: Path | None, owner: object) -> None:
    """Refuse weights that were trained on scenes of the fold that is held out.

    Args:
        sets: the sets of an evaluation, or of a training that starts from the weights; only those
            with a fold held out are looked at.
        weights: the file of the weights; None where there is none.
        owner: the data module, whose argument `fold` it is about.

    Raises:
        ConfigError: the weights were trained on a set of this name, and not with this fold of this
            deal held out.
    """
    for data in sets.values():
        if weights is None or not isinstance(data, FoldedSet):
            continue
        stated = _trained_with(weights, data.name)
        if stated is None or stated == _fingerprint(data):
            continue
        total = len(data.folds.scenes)
        others = [number for number in range(1, total + 1) if number != data.fold]
        own = next((k for k in others if stated == _fingerprint(data.holding_out(k))), None)
        expected = f"Expected weights that were trained with fold {data.fold} held out"
        train = f"train one network for each of the {total} folds"
        if own is not None:
            raise about(
                owner,
                ConfigError(
                    f"fold must be {own} for {weights}, found {data.fold}: it was trained with "
                    f"fold {own} of {total} held out, so it has seen the scenes of fold "
                    f"{data.fold}. {expected}: {train}."
                ),
            )
        if stated == _fingerprint(data.data):
            seen = f"on the train split of {data.name}, whose scenes are in these folds"
        else:
            seen = f"on {data.name} of another deal or other content"
        raise about(
            owner,
            ConfigError(
                f"fold {data.fold} of {data.file} is not held out for {weights}, which was trained "
                f"{seen}. "
                f"{expected}: {train}, or evaluate without folds."
            ),
        )


def _fingerprint(data: SpikeSet) -> str | None:
    """The fingerprint that a training on a set states; None where the set cannot be read."""
    return fingerprints({data.name: data}).get(data.name)


def _trained_with(weights: Path, name: str) -> object:
    """The fingerprint of a set that weights were trained with; None where none is stated.

    Checkpoints of before say nothing themselves, and their run's folder does.
    """
    run = Run(weights.resolve().parent.parent)
    return read_data(weights).get(name) or run.stored_fact(f"{DATA}{name}")
