"""Means and shares with confidence intervals: of ratings, and of a measure over clips or characters."""

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from metatalk_lib.core.errors import ParameterError

NORMAL_QUANTILE_95 = 1.959964
BOOTSTRAP_ROUNDS = 2000
DECIMALS = 4
"""Maximum number of decimals shown."""


class Estimate(NamedTuple):
    """A mean with its interval; JSON stores it as a list, which `to_estimate` converts back.

    Attributes:
        mean: mean of the measured values.
        low: lower end of the interval; None without an interval.
        high: upper end of the interval; None without an interval.
        count: number of clips or characters; None if unknown.
    """

    mean: float
    low: float | None = None
    high: float | None = None
    count: int | None = None  # type: ignore[assignment]  # hides the method of tuples, which nobody calls

    def __str__(self) -> str:
        """Format as `0.98 [0.97, 0.99]`, as `0.98 (n = 1)` without interval, or as the value alone without count."""
        if self.low is None or self.high is None:
            note = "" if self.count is None else f" (n = {self.count})"
            return format_value(self.mean) + note
        values, decimals = (self.mean, self.low, self.high), _needed_decimals(self.high - self.low)
        while decimals and all(round(value, decimals) == round(value, decimals - 1) for value in values):
            decimals -= 1
        mean, low, high = (f"{value:.{decimals}f}" for value in values)
        return f"{mean} [{low}, {high}]"


Score = float | int | Sequence[float | int | None]
"""A measured value, an `Estimate`, or the list that stands for one in JSON."""


def to_estimate(value: Score) -> Estimate:
    """Convert any score to an `Estimate`; a bare number has neither interval nor count.

    Args:
        value: a number, or (mean, low, high) with the count as a fourth entry if it is known.

    Raises:
        ParameterError: the value is neither a number nor such a list, or the ends of the interval are reversed.
    """
    parts: tuple[Any, ...] = (value,) if isinstance(value, float | int | Real) else tuple(value)
    if len(parts) not in (1, 3, 4) or not isinstance(parts[0], Real) or math.isnan(parts[0]):
        raise ParameterError(f"a score is a number or (mean, low, high[, count]), got {value!r}.")
    mean, low, high, count = (*parts, None, None, None)[:4]
    if (low is None) != (high is None) or (low is not None and not low <= high):
        raise ParameterError(f"the interval of a score needs low <= high, or neither, got {value!r}.")
    return Estimate(float(mean), low, high, None if count is None else int(count))


def format_value(value: float) -> str:
    """Format a number with at most four decimals, without trailing zeros."""
    # adding 0 turns a rounded -0 into 0
    return f"{round(value, DECIMALS) + 0.0:.{DECIMALS}f}".rstrip("0").rstrip(".")


def bootstrap_mean(
    values_per_clip: Sequence[float | int] | Float[np.ndarray, " N"],
    *,
    seed: int,
    samples: int = BOOTSTRAP_ROUNDS,
    level: float = 0.95,
) -> Estimate:
    """Compute the mean of a measure over clips or characters, with a percentile bootstrap interval.

    With few clips the interval is too narrow: it never extends beyond the values themselves. One clip gives no
    interval, since its spread is unknown.

    Args:
        values_per_clip: one value per clip.
        seed: seed of the resampling.
        samples: number of resamplings of all clips.
        level: share of the resampled means inside the interval.

    Returns:
        Mean, ends and number of clips; the ends are None for a single clip.

    Raises:
        ParameterError: there are no clips, a value is not finite, or `samples` or `level` is out of range.

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
    """Compute Wilson's 95 % interval of a share.

    (p + z^2/2n -+ z sqrt(p(1 - p)/n + z^2/4n^2)) / (1 + z^2/n), with p = successes/n, z = 1.96

    Args:
        successes: number of successes.
        trials: number of trials n, at least 1.

    Returns:
        Lower and upper end, in [0, 1].

    Raises:
        ParameterError: there are no trials, or more successes than trials.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ParameterError(f"wilson_interval needs 0 <= successes <= trials, trials >= 1, got {successes}, {trials}.")
    share, z2 = successes / trials, NORMAL_QUANTILE_95**2 / trials
    spread = NORMAL_QUANTILE_95 * np.sqrt(share * (1 - share) / trials + z2 / (4 * trials))
    low, high = (share + z2 / 2 - spread) / (1 + z2), (share + z2 / 2 + spread) / (1 + z2)
    return float(max(low, 0.0)), float(min(high, 1.0))


def bootstrap_interval(ratings: pd.DataFrame, *, seed: int) -> tuple[float, float]:
    """Compute the 95 % interval of the mean realism, resampling participants with all their ratings.

    Args:
        ratings: table with the columns participant, realism.
        seed: seed of the resampling.

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
    """Return the ends of the middle share of resampled means, each over as many groups drawn with replacement."""
    drawn = np.random.default_rng(seed).integers(0, len(sums), (samples, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    outside = (1 - level) / 2
    return float(np.quantile(means, outside)), float(np.quantile(means, 1 - outside))


def _needed_decimals(width: float) -> int:
    """Return the number of decimals that show two digits of an interval's width, at most four."""
    return min(max(1 - math.floor(math.log10(width)), 0), DECIMALS) if width > 0 else DECIMALS
