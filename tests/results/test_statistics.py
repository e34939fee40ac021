from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from spikerec.results.statistics import (
    compare,
    holm,
    intervals,
    p_floor,
    ranks,
    scenes,
    standing,
)

RNG = np.random.default_rng(7)


def _keys(count: int) -> list[str]:
    return [f"{i:03}" for i in range(count)]


@pytest.mark.parametrize("count", [3, 6, 10])
def test_the_exact_test_is_scipys(count: int) -> None:
    a, b = RNG.normal(0.4, 1, count), RNG.normal(0, 1, count)
    (pair,) = compare({"a": a, "b": b}, _keys(count))
    expected = stats.permutation_test(
        (a - b,), np.mean, permutation_type="samples", n_resamples=np.inf
    )
    assert pair.p_value == pytest.approx(expected.pvalue)


def test_the_random_test_is_near_the_exact_one() -> None:
    difference = RNG.normal(0.4, 1, 16)
    (pair,) = compare({"a": difference, "b": np.zeros(16)}, _keys(16))
    expected = stats.permutation_test(
        (difference,), np.mean, permutation_type="samples", n_resamples=2**16
    )
    assert pair.p_value == pytest.approx(expected.pvalue, abs=0.015)


@pytest.mark.parametrize("count", [8, 40])
def test_the_interval_is_scipys_bca(count: int) -> None:
    column = RNG.gamma(1.5, 1, count)
    seeds = range(6)  # one run of 10,000 resamples moves by 3 % of the standard error
    found = [intervals({"a": column}, _keys(count), seed)["a"][1:] for seed in seeds]
    expected = [stats.bootstrap((column,), np.mean, rng=s).confidence_interval for s in seeds]
    error = (np.mean(found, axis=0) - np.mean(expected, axis=0)) / (column.std() / count**0.5)
    assert np.abs(error).max() < 0.06


def test_the_interval_covers_about_as_often_as_it_says() -> None:
    columns = {str(i): RNG.normal(0, 1, 30) for i in range(200)}
    found = intervals(columns, _keys(30))
    covered = np.mean([interval.low <= 0 <= interval.high for interval in found.values()])
    assert 0.90 < covered < 0.98


def test_under_no_difference_p_values_are_seldom_small() -> None:
    columns = {str(i): RNG.normal(0, 1, 12) for i in range(25)}
    p_values = np.array([pair.p_value for pair in compare(columns, _keys(12))])
    assert 0.01 < (p_values < 0.05).mean() < 0.10
    assert min(pair.p_holm for pair in compare(columns, _keys(12))) > 0.05


def test_swapping_two_methods_turns_the_difference() -> None:
    a, b = RNG.normal(1, 1, 9), RNG.normal(0, 1, 9)
    (forth,) = compare({"a": a, "b": b}, _keys(9))
    (back,) = compare({"b": b, "a": a}, _keys(9))
    assert back.p_value == forth.p_value
    assert back.difference.mean == pytest.approx(-forth.difference.mean)


def test_equal_seeds_give_equal_intervals() -> None:
    column = {"a": RNG.normal(0, 1, 20)}
    assert intervals(column, _keys(20), seed=3) == intervals(column, _keys(20), seed=3)
    assert intervals(column, _keys(20), seed=3) != intervals(column, _keys(20), seed=4)


def test_equal_methods_are_level_and_certain() -> None:
    column = RNG.normal(30, 1, 20)
    (pair,) = compare({"a": column, "b": column.copy()}, _keys(20))
    assert pair.difference == (0, 0, 0)
    assert pair.p_value == 1


def test_a_constant_lead_has_an_interval_of_no_width() -> None:
    column = RNG.normal(30, 1, 20)
    (pair,) = compare({"a": column + 0.5, "b": column}, _keys(20))
    assert pair.difference.low == pytest.approx(0.5)
    assert pair.difference.high == pytest.approx(0.5)
    assert pair.is_significant


def test_three_samples_cannot_be_significant() -> None:
    (pair,) = compare({"a": np.full(3, 90.0), "b": np.arange(3.0)}, _keys(3))
    assert pair.p_value == 0.25 == p_floor(3)
    assert not pair.is_significant


@given(st.integers(1, 13))
def test_the_floor_is_what_a_clear_lead_gets(count: int) -> None:
    (pair,) = compare({"a": np.ones(count), "b": np.zeros(count)}, _keys(count))
    assert pair.p_value == p_floor(count)


def test_one_sample_has_no_interval() -> None:
    found = intervals({"a": np.array([3.0])}, ["x"])["a"]
    assert found.mean == 3
    assert np.isnan([found.low, found.high]).all()


def test_frames_of_a_scene_count_as_one() -> None:
    keys = [f"scene{s}/{f}" for s in range(3) for f in range(20)]
    (pair,) = compare({"a": np.ones(60), "b": np.zeros(60)}, keys)
    assert (pair.samples, pair.units) == (60, 3)
    assert pair.p_value == p_floor(3)
    assert scenes(["a/b/7", "alone"]) == ["a/b", "alone"]
    assert scenes(["03@middle/60", "03@motion=2/60", "@/1"]) == ["03", "03", "@"]
    assert scenes(["200_part1_key_id151/150", "200_part3/9", "two_parts/9"]) == [
        *["200"] * 2,
        "two_parts",
    ]


def test_the_mean_is_over_samples_when_scenes_differ_in_length() -> None:
    keys = ["a/0", "a/1", "a/2", "b/0"]
    found = intervals({"m": np.array([1.0, 1.0, 1.0, 5.0])}, keys)["m"]
    assert found.mean == 2


def test_only_samples_that_both_have_are_compared() -> None:
    a, b = np.array([1.0, np.nan, 3.0, 5.0]), np.array([0.0, 9.0, np.nan, 1.0])
    (pair,) = compare({"a": a, "b": b}, _keys(4))
    assert (pair.samples, pair.units) == (2, 2)
    assert pair.difference.mean == 2.5


def test_methods_without_common_samples_are_not_told_apart() -> None:
    (pair,) = compare({"a": np.array([1.0, np.nan]), "b": np.array([np.nan, 1.0])}, _keys(2))
    assert pair.samples == 0
    assert pair.p_value == 1
    assert np.isnan(pair.difference.mean)


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_scipys_bound_between_p_and_bonferroni(p_values: list[float]) -> None:
    p = np.array(p_values)
    corrected = np.array(holm(p))
    assert (corrected >= p - 1e-15).all()
    assert (corrected <= np.minimum(1, p * len(p)) + 1e-15).all()
    order = np.argsort(p, kind="stable")
    assert (np.diff(corrected[order]) >= 0).all()


def test_holm_on_a_known_case() -> None:
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_ranks_are_shared_where_no_lead_is_significant() -> None:
    base = RNG.normal(30, 1, 40)
    values = {
        "best": base + 2 + RNG.normal(0, 0.1, 40),
        "twin": base + 2 + RNG.normal(0, 0.1, 40),
        "last": base,
    }
    found = standing(values, _keys(40), higher_is_better=True)
    assert found.ranks == {"best": 1, "twin": 1, "last": 3}
    level = {label: found.is_level_with_best(label) for label in found.order}
    assert level == {found.order[0]: False, found.order[1]: True, "last": False}
    lower = standing(values, _keys(40), higher_is_better=False)
    assert lower.ranks == {"best": 2, "twin": 2, "last": 1}
    assert lower.order[0] == "last"


def test_a_method_alone_has_rank_one() -> None:
    assert ranks(["a"], [], True) == {"a": 1}
    assert compare({"a": np.ones(3)}, _keys(3)) == []


def test_a_method_without_values_does_not_stand() -> None:
    found = standing({"a": np.ones(3), "b": np.full(3, np.nan)}, _keys(3), True)
    assert list(found.intervals) == ["a"]
