"""Samples of videos: the images of each clip taken together, and the values image by image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from spikerec.results.fields import MOST_CURVE_VALUES
from spikerec.results.parts import Curves, Samples
from spikerec.training.evaluation import clip_of

Column = NDArray[np.float64]
T = TypeVar("T")


def as_clips(images: Samples) -> tuple[Samples, Curves]:
    """Take the images of each clip together.

    A clip's values and covariates are the means over its images that have one, its conditions those
    of its first image, and its mirrored readouts those of the image that has most.

    Args:
        images: samples named CLIP/READOUT, the images of a clip one after another.

    Returns:
        The clips, and the values image by image, which are left out where there are too many for a
        record.
    """
    places: dict[str, list[int]] = {}
    for place, key in enumerate(images.keys):
        places.setdefault(clip_of(key), []).append(place)

    def by_clip(make: Callable[[Sequence[T]], T], values: Sequence[T]) -> list[T]:
        return [make([values[place] for place in own]) for own in places.values()]

    def means(columns: Mapping[str, Column]) -> dict[str, Column]:
        return {
            name: np.array([_mean(column[own]) for own in places.values()])
            for name, column in columns.items()
        }

    clips = Samples(
        keys=tuple(places),
        values=means(images.values),
        higher_is_better=images.higher_is_better,
        mirrored=None if images.mirrored is None else tuple(by_clip(max, images.mirrored)),
        covariates=means(images.covariates),
        conditions={
            name: tuple(by_clip(lambda labels: labels[0], column))
            for name, column in images.conditions.items()
        },
    )
    has_room = len(images.keys) * len(images.values) <= MOST_CURVE_VALUES
    readouts = [int(key.rpartition("/")[2]) for key in images.keys]
    curves = Curves(
        readouts={clip: tuple(readouts[place] for place in own) for clip, own in places.items()},
        values={
            name: {clip: column[own] for clip, own in places.items()}
            for name, column in images.values.items()
            if has_room
        },
    )
    return clips, curves


def _mean(values: Column) -> float:
    """Mean of the values; NaN if there is none."""
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else float("nan")
