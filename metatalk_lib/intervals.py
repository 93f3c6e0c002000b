"""95 % intervals of what people said: of a share, and of a mean over raters."""

import numpy as np
import pandas as pd

from metatalk_lib.errors import ParameterError

NORMAL_QUANTILE_95 = 1.959964
BOOTSTRAP_ROUNDS = 2000


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
    drawn = np.random.default_rng(seed).integers(0, len(sums), (BOOTSTRAP_ROUNDS, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))
