"""Paired statistics over the samples of a board, which distinguish a real lead from noise.

Images of one scene resemble each other, so the unit is the scene: a sample's key is `scene/frame`,
and the values of a scene are resampled together (a key without `/` is a scene of its own). Several
recordings of one scene are named SCENE@RECORDING: `03@middle/60` and `03@motion=2/60` are of `03`.
The parts of a video of REDS are one scene too: `200_part1_key_id151/150` is of `200`.

* Intervals: BCa bootstrap over scenes (Efron, JASA 1987), 95 %, 10,000 resamples.
* Tests: paired permutation test, two-sided. Under "no difference" each scene's difference might as
  well have had the other sign; all 2^n sign patterns up to n = 13 scenes, 9,999 random ones beyond.
* Many pairs: Holm's step-down correction (Holm, Scand. J. Statist. 1979) over all pairs of a board
  and metric.
* Ranks: one more than the number of methods with a significant lead, so that methods may share one.
  Where so few scenes are compared that no lead could be significant, methods rank by their mean.
* Beyond 4,096 scenes the normal approximation takes the place of resampling.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from spikerec.data.naming import scene_of
from spikerec.kinds import checked

Array = NDArray[np.float64]
Name = TypeVar("Name", bound=Hashable)

CONFIDENCE = 0.95
SIGNIFICANCE = 0.05
RESAMPLES = 10_000
MOST_EXACT_UNITS = 13  # 2^13 = 8192 sign patterns: fewer than RESAMPLES
MOST_RESAMPLED = 4096  # scenes; beyond, the mean of so many is as good as normal
CHUNK = 256  # pairs at a time: 10,000 resamples × 256 pairs are 20 MB


class Interval(NamedTuple):
    """A mean and its bootstrap interval; the bounds are NaN for fewer than two scenes."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """One method against another on the samples that both have values for.

    Attributes:
        first: label of a method.
        second: label of the method it is compared with.
        samples: how many samples both have values for.
        units: how many scenes these are.
        difference: mean over samples of first - second, with its interval.
        p_value: of the paired permutation test, before correction.
        p_holm: corrected for all pairs of the board and metric.
    """

    first: str
    second: str
    samples: int
    units: int
    difference: Interval
    p_value: float
    p_holm: float

    @property
    def is_significant(self) -> bool:
        """True if the corrected test rejects "no difference" at 5 %."""
        return self.p_holm < SIGNIFICANCE


@dataclass(frozen=True)
class Standing:
    """Ranking of a board's methods in one metric, with the significance of each lead.

    Attributes:
        intervals: label → mean and interval, for methods that have values.
        comparisons: each pair of these.
        ranks: label → rank; see the module.
        order: labels by mean, best first.
        can_tell: True if a lead could be significant, with so many scenes and pairs.
    """

    intervals: dict[str, Interval]
    comparisons: list[Comparison]
    ranks: dict[str, int]
    order: list[str]
    can_tell: bool

    @checked
    def is_level_with_best(self, label: str) -> bool:
        """True if the best mean's lead over this method is not significant, but could be."""
        best = self.order[0]
        return (
            self.can_tell
            and label != best
            and not any(
                pair.is_significant
                for pair in self.comparisons
                if {pair.first, pair.second} == {best, label}
            )
        )


@checked
def standing(
    values: Mapping[str, Array], keys: Sequence[str], higher_is_better: bool, seed: int = 0
) -> Standing:
    """Intervals, comparisons and ranks of methods on the same samples, in one metric.

    Args:
        values: label → one value per key, NaN where there is none.
        keys: of the samples.
        higher_is_better: which way is better.
        seed: of the resampling.
    """
    present = {label: column for label, column in values.items() if not np.isnan(column).all()}
    means = intervals(present, keys, seed)
    comparisons = compare(present, keys, seed)
    order = sorted(present, key=lambda label: means[label].mean, reverse=higher_is_better)
    can_tell = could_tell(comparisons)
    places = (
        ranks(list(present), comparisons, higher_is_better)
        if can_tell
        else ranks_by_mean({label: means[label].mean for label in order})
    )
    return Standing(means, comparisons, places, order, can_tell)


def could_tell(comparisons: Sequence[Comparison]) -> bool:
    """True if the clearest lead on so many scenes would be significant among so many pairs."""
    units = max((pair.units for pair in comparisons), default=0)
    return p_floor(units) * len(comparisons) < SIGNIFICANCE


def ranks_by_mean(means: Mapping[str, float]) -> dict[str, int]:
    """Rank of each method by its mean alone; equal means share a rank.

    Args:
        means: label → mean, best first.
    """
    values = list(means.values())
    return {label: 1 + values.index(mean) for label, mean in means.items()}


def scenes(keys: Sequence[str]) -> list[str]:
    """The scene of each sample: that of the clip, which its key names up to the last `/`."""
    return [scene_of(key.rpartition("/")[0] or key) for key in keys]


def p_floor(units: int) -> float:
    """The smallest p-value that a paired permutation test on so many scenes can give."""
    if units <= MOST_EXACT_UNITS:
        return float(min(1.0, 2.0 ** (1 - units)))
    return 1 / RESAMPLES


def intervals(
    values: Mapping[Name, Array], keys: Sequence[str], seed: int = 0
) -> dict[Name, Interval]:
    """The mean of each method over its samples, with its interval.

    Args:
        values: label, or any other name → one value per key, NaN where there is none.
        keys: of the samples.
        seed: of the resampling; equal seeds give equal intervals.
    """
    if not values:
        return {}
    columns = np.stack(list(values.values()), axis=1)  # (samples, methods)
    estimates = _estimate(columns, keys, seed)
    return {label: Interval(*row[:3]) for label, row in zip(values, estimates, strict=True)}


@checked
def compare(values: Mapping[str, Array], keys: Sequence[str], seed: int = 0) -> list[Comparison]:
    """Each pair of methods, in the order of `itertools.combinations(values, 2)`.

    Args:
        values: label → one value per key, NaN where there is none.
        keys: of the samples.
        seed: of the resampling and of random sign patterns.
    """
    pairs = list(combinations(values, 2))
    if not pairs:
        return []
    differences = np.stack([values[a] - values[b] for a, b in pairs], axis=1)  # (samples, pairs)
    estimates = _estimate(differences, keys, seed)
    corrected = holm(estimates[:, 3])
    counts = (~np.isnan(differences)).sum(axis=0)
    units = _unit_counts(differences, keys)
    return [
        Comparison(a, b, int(counts[i]), int(units[i]), Interval(*row[:3]), row[3], corrected[i])
        for i, ((a, b), row) in enumerate(zip(pairs, estimates.tolist(), strict=True))
    ]


def ranks(
    labels: Sequence[str], comparisons: Sequence[Comparison], higher_is_better: bool
) -> dict[str, int]:
    """Rank of each method: one more than the number of methods with a significant lead over it."""
    rank = dict.fromkeys(labels, 1)
    for comparison in comparisons:
        if comparison.is_significant:
            first_leads = (comparison.difference.mean > 0) == higher_is_better
            rank[comparison.second if first_leads else comparison.first] += 1
    return rank


def holm(p_values: Array) -> list[float]:
    """Holm's step-down correction: p-values that may each be held against the same level."""
    order = np.argsort(p_values, kind="stable")
    scaled = p_values[order] * np.arange(len(p_values), 0, -1)
    corrected = np.empty_like(p_values)
    corrected[order] = np.minimum(1, np.maximum.accumulate(scaled))
    return [float(p) for p in corrected]


def _estimate(columns: Array, keys: Sequence[str], seed: int) -> Array:
    """For each column (samples, k): mean, low, high, p-value of "the mean is 0" → (k, 4)."""
    result = np.empty((columns.shape[1], 4))
    valid = ~np.isnan(columns)
    for mask, group in _alike(valid):
        present = [key for key, is_valid in zip(keys, mask, strict=True) if is_valid]
        totals, sizes = _by_scene(columns[:, group][mask], present)
        for start in range(0, len(group), CHUNK):
            part = slice(start, start + CHUNK)
            mean, low, high = _bca(totals[:, part], sizes, np.random.default_rng(seed))
            p = _sign_flip(totals[:, part], np.random.default_rng(seed))
            result[group[part]] = np.stack([mean, low, high, p], axis=1)
    return result


def _alike(valid: NDArray[np.bool_]) -> list[tuple[NDArray[np.bool_], NDArray[np.intp]]]:
    """Columns grouped by which samples they have: (mask of samples, indices of columns)."""
    masks, inverse = np.unique(valid, axis=1, return_inverse=True)
    groups = (np.flatnonzero(inverse.ravel() == i) for i in range(masks.shape[1]))
    return list(zip(masks.T, groups, strict=True))


def _unit_counts(columns: Array, keys: Sequence[str]) -> NDArray[np.intp]:
    """Number of scenes in which each column has values."""
    index = np.unique(scenes(keys), return_inverse=True)[1]
    present = np.zeros((index.max(initial=-1) + 1, columns.shape[1]), dtype=bool)
    np.logical_or.at(present, index, ~np.isnan(columns))
    return np.asarray(present.sum(axis=0))


def _by_scene(columns: Array, keys: Sequence[str]) -> tuple[Array, Array]:
    """Sums of the columns over each scene, (scenes, k), and the scenes' numbers of samples."""
    names, index = np.unique(scenes(keys), return_inverse=True)
    totals = np.zeros((len(names), columns.shape[1]))
    np.add.at(totals, index, columns)
    return totals, np.bincount(index, minlength=len(names)).astype(np.float64)


def _bca(totals: Array, sizes: Array, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Mean over samples with its bias-corrected and accelerated bootstrap interval."""
    units = len(sizes)
    if units == 0:
        nothing = np.full(totals.shape[1], np.nan)
        return nothing, nothing, nothing
    mean = totals.sum(axis=0) / sizes.sum()
    if units == 1:
        return mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    if units > MOST_RESAMPLED:
        half = ndtri((1 + CONFIDENCE) / 2) * _standard_error(totals, sizes)
        return mean, mean - half, mean + half
    drawn = rng.multinomial(units, np.full(units, 1 / units), RESAMPLES).astype(np.float64)
    resampled = (totals.T @ drawn.T) / (drawn @ sizes)  # (k, resamples)
    slack = 1e-12 * np.abs(mean)  # rounding must not count a resample equal to the mean as below
    below = [
        (np.count_nonzero(row < centre - eps) + np.count_nonzero(row <= centre + eps)) / 2
        for row, centre, eps in zip(resampled, mean, slack, strict=True)
    ]
    bias = ndtri(np.clip(np.array(below) / RESAMPLES, 1 / RESAMPLES, 1 - 1 / RESAMPLES))
    left_out = (totals.sum(axis=0) - totals) / (sizes.sum() - sizes)[:, None]
    spread = left_out.mean(axis=0) - left_out
    scale = 6 * (spread**2).sum(axis=0) ** 1.5
    acceleration = np.divide(
        (spread**3).sum(axis=0), scale, out=np.zeros_like(scale), where=scale > 0
    )
    tails = np.array([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    shifted = bias[:, None] + ndtri(tails)
    with np.errstate(divide="ignore"):  # an acceleration of 1 / shifted moves the bound to the end
        level = ndtr(bias[:, None] + shifted / (1 - acceleration[:, None] * shifted))
    places = np.round(level * (RESAMPLES - 1)).astype(np.intp)  # (k, 2)
    bounds = np.array(
        [np.partition(row, place)[place] for row, place in zip(resampled, places, strict=True)]
    )
    return mean, bounds[:, 0], bounds[:, 1]


def _standard_error(totals: Array, sizes: Array) -> Array:
    """Standard error of the mean over samples, scenes being drawn."""
    mean = totals.sum(axis=0) / sizes.sum()
    residuals = totals - mean * sizes[:, None]
    units = len(sizes)
    return np.asarray(np.sqrt((residuals**2).sum(axis=0) * units / (units - 1)) / sizes.sum())


def _sign_flip(totals: Array, rng: np.random.Generator) -> Array:
    """Two-sided p-value of each column's sum under random signs of its scenes."""
    units = len(totals)
    if units > MOST_RESAMPLED:  # under random signs the sum is normal, of this variance
        sums, spread = totals.sum(axis=0), np.sqrt((totals**2).sum(axis=0))
        ratio = np.divide(sums, spread, out=np.zeros_like(sums), where=spread > 0)
        return np.asarray(2 * ndtr(-np.abs(ratio)))
    if units <= MOST_EXACT_UNITS:
        patterns = np.arange(2**units)[:, None] >> np.arange(units) & 1
        extra = 0
    else:
        patterns = rng.integers(0, 2, (RESAMPLES - 1, units))
        extra = 1  # the observed signs are one of the patterns
    flipped = np.abs((1.0 - 2.0 * patterns) @ totals)
    observed = np.abs(totals.sum(axis=0))
    slack = 1e-9 * np.abs(totals).sum(axis=0)  # sums in another order round differently
    extreme = np.count_nonzero(flipped >= observed - slack, axis=0)
    return np.asarray((extreme + extra) / (len(patterns) + extra))
