"""Means and shares with intervals: of what people said, and of a measure over clips or characters."""

import math
from collections.abc import Sequence
from numbers import Real
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from metatalk_lib.core.errors import ParameterError

NORMAL_QUANTILE_95 = 1.959964
BOOTSTRAP_ROUNDS = 2000
DECIMALS = 4
"""Most decimals that are shown."""


class Estimate(NamedTuple):
    """A mean with its interval; saved as JSON it is a list, which `to_estimate` reads again.

    Attributes:
        mean: of what was measured.
        low: lower end of the interval; None where there is none.
        high: upper end.
        count: number of clips or characters; None where it is not said.
    """

    mean: float
    low: float | None = None
    high: float | None = None
    count: int | None = None

    def __str__(self) -> str:
        """`0.98 [0.97, 0.99]`, or `0.98 (n = 1)` without an interval, or the value alone without a count."""
        if self.low is None or self.high is None:
            note = "" if self.count is None else f" (n = {self.count})"
            return format_value(self.mean) + note
        values, decimals = (self.mean, self.low, self.high), _needed_decimals(self.high - self.low)
        while decimals and all(round(value, decimals) == round(value, decimals - 1) for value in values):
            decimals -= 1
        mean, low, high = (f"{value:.{decimals}f}" for value in values)
        return f"{mean} [{low}, {high}]"


Score = float | int | Sequence[float | int | None]
"""A value as it was measured, or an `Estimate`, or the list that JSON makes of one."""


def to_estimate(value: Score) -> Estimate:
    """Any score as an `Estimate`; a bare number has neither interval nor count.

    Args:
        value: a number, or (mean, low, high) with the count as a fourth where it is known.

    Raises:
        ParameterError: not a number, or not such a list, or an interval upside down.
    """
    parts = (value,) if isinstance(value, Real) else tuple(value)
    if len(parts) not in (1, 3, 4) or not isinstance(parts[0], Real) or math.isnan(parts[0]):
        raise ParameterError(f"a score is a number or (mean, low, high[, count]), got {value!r}.")
    mean, low, high, count = (*parts, None, None, None)[:4]
    if (low is None) != (high is None) or (low is not None and not low <= high):
        raise ParameterError(f"the interval of a score needs low <= high, or neither, got {value!r}.")
    return Estimate(float(mean), low, high, None if count is None else int(count))


def format_value(value: float) -> str:
    """A number with four decimals at most, without zeros at its end."""
    # adding 0 turns a rounded -0 into 0
    return f"{round(value, DECIMALS) + 0.0:.{DECIMALS}f}".rstrip("0").rstrip(".")


def bootstrap_mean(
    values_per_clip: Sequence[float | int] | Float[np.ndarray, " N"],
    *,
    seed: int,
    samples: int = BOOTSTRAP_ROUNDS,
    level: float = 0.95,
) -> Estimate:
    """Mean of a measure over clips, or over characters, with a percentile interval from resampling them.

    Few clips give too narrow an interval: with n of them it never reaches beyond the values themselves. One clip gives
    none, since its spread is unknown.

    Args:
        values_per_clip: one value a clip.
        seed: of the resampling.
        samples: how often all clips are drawn anew.
        level: share of the resampled means that lie inside.

    Returns:
        Mean, ends and number of clips; the ends are None for a single clip.

    Raises:
        ParameterError: no clips, a value that is not finite, or `samples` or `level` out of range.

    Source: percentile bootstrap, Davison and Hinkley 1997.
    """
    values = np.asarray(values_per_clip, np.float64)
    if not len(values) or not np.isfinite(values).all():
        raise ParameterError(f"bootstrap_mean needs finite values of at least one clip, got {values.tolist()}.")
    if samples < 1 or not 0 < level < 1:
        raise ParameterError(f"bootstrap_mean needs samples >= 1 and level within 0 and 1, got {samples} and {level}.")
    mean = float(values.mean())
    if len(values) == 1:
        return Estimate(mean, count=1)
    ends = _resampled_ends(values, np.ones(len(values)), seed=seed, samples=samples, level=level)
    return Estimate(mean, *ends, len(values))


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share.

    (p + z^2/2n -+ z sqrt(p(1 - p)/n + z^2/4n^2)) / (1 + z^2/n), with p = successes/n, z = 1.96

    Args:
        successes: how many of the trials.
        trials: n, at least 1.

    Returns:
        Lower and upper end, in [0, 1].

    Raises:
        ParameterError: no trials, or more successes than trials.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ParameterError(f"wilson_interval needs 0 <= successes <= trials, trials >= 1, got {successes}, {trials}.")
    share, z2 = successes / trials, NORMAL_QUANTILE_95**2 / trials
    spread = NORMAL_QUANTILE_95 * np.sqrt(share * (1 - share) / trials + z2 / (4 * trials))
    low, high = (share + z2 / 2 - spread) / (1 + z2), (share + z2 / 2 + spread) / (1 + z2)
    return float(max(low, 0.0)), float(min(high, 1.0))


def bootstrap_interval(ratings: pd.DataFrame, *, seed: int) -> tuple[float, float]:
    """95 % interval of the mean realism, resampling participants with all their ratings.

    Args:
        ratings: columns participant, realism.
        seed: of the resampling.

    Returns:
        Lower and upper end; NaN for fewer than two participants, whose spread is unknown.

    Source: percentile bootstrap over clusters, Davison and Hinkley 1997.
    """
    groups = ratings.groupby("participant")["realism"]
    sums, counts = groups.sum().to_numpy(float), groups.count().to_numpy(float)
    if len(sums) < 2:
        return float("nan"), float("nan")
    return _resampled_ends(sums, counts, seed=seed, samples=BOOTSTRAP_ROUNDS, level=0.95)


def _resampled_ends(
    sums: np.ndarray, counts: np.ndarray, *, seed: int, samples: int, level: float
) -> tuple[float, float]:
    """Ends of the middle share of means, each over as many groups drawn with replacement as there are."""
    drawn = np.random.default_rng(seed).integers(0, len(sums), (samples, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    outside = (1 - level) / 2
    return float(np.quantile(means, outside)), float(np.quantile(means, 1 - outside))


def _needed_decimals(width: float) -> int:
    """Decimals that show two digits of an interval's width, four at most."""
    return min(max(1 - math.floor(math.log10(width)), 0), DECIMALS) if width > 0 else DECIMALS
