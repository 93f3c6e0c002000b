"""Means with intervals: known answers, honest silence about a single clip, and how they are written."""

import json
import math

import numpy as np
import pytest

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.metrics.intervals import Estimate, bootstrap_mean, format_value, to_estimate


def test_bootstrap_of_the_mean_covers_what_theory_says() -> None:
    values = np.random.default_rng(1).normal(5.0, 2.0, 400)
    found = bootstrap_mean(values, seed=0)
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    assert found.mean == pytest.approx(values.mean())
    assert (found.mean - found.low, found.high - found.mean) == pytest.approx((half, half), rel=0.1)
    assert found.count == 400
    assert found == bootstrap_mean(values, seed=0)
    assert found != bootstrap_mean(values, seed=1)


def test_a_higher_level_is_wider_and_equal_values_have_no_width() -> None:
    values = [1.0, 2.0, 4.0, 8.0, 9.0]
    narrow, wide = (bootstrap_mean(values, seed=0, level=level) for level in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high
    assert bootstrap_mean([3, 3, 3], seed=0)[:3] == (3.0, 3.0, 3.0)


def test_a_single_clip_has_no_interval_and_says_so() -> None:
    found = bootstrap_mean([0.75], seed=0)
    assert found == Estimate(0.75, None, None, 1)
    assert str(found) == "0.75 (n = 1)"


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(0.98, 0.97, 0.99, 7), "0.98 [0.97, 0.99]"),
        (Estimate(9.1234, 8.2, 10.4), "9.1 [8.2, 10.4]"),
        (Estimate(0.98123, 0.98111, 0.98132), "0.9812 [0.9811, 0.9813]"),
        (Estimate(123.4, 90.0, 160.0), "123 [90, 160]"),
        (Estimate(2.0, 2.0, 2.0, 3), "2 [2, 2]"),
        (Estimate(8.64, count=2), "8.64 (n = 2)"),
        (Estimate(0.5), "0.5"),
    ],
)
def test_an_interval_shows_the_digits_that_it_carries(estimate: Estimate, text: str) -> None:
    assert str(estimate) == text


def test_values_are_short_and_never_minus_zero() -> None:
    assert [format_value(value) for value in (0.91234567, 10.0, -0.00001, math.inf)] == ["0.9123", "10", "0", "inf"]


def test_estimates_come_back_from_json() -> None:
    for estimate in (Estimate(1.5, 1.0, 2.0, 4), Estimate(1.5, count=1)):
        assert to_estimate(json.loads(json.dumps(estimate))) == estimate
    assert to_estimate(3) == Estimate(3.0)
    assert to_estimate((1.5, 1.0, 2.0)) == Estimate(1.5, 1.0, 2.0)


def test_bad_values_are_refused() -> None:
    for values in ([], [1.0, math.nan], [math.inf]):
        with pytest.raises(ParameterError, match="finite values of at least one clip"):
            bootstrap_mean(values, seed=0)
    with pytest.raises(ParameterError, match="samples >= 1 and level within 0 and 1, got 0 and 0.95"):
        bootstrap_mean([1.0, 2.0], seed=0, samples=0)
    with pytest.raises(ParameterError, match="got 2000 and 95"):
        bootstrap_mean([1.0, 2.0], seed=0, level=95.0)
    for score in (math.nan, (1.0, 2.0), [None, 0.0, 1.0]):
        with pytest.raises(ParameterError, match="a score is a number or"):
            to_estimate(score)
    for score in ((1.0, 2.0, 0.5), (1.0, None, 2.0)):
        with pytest.raises(ParameterError, match="needs low <= high, or neither"):
            to_estimate(score)
