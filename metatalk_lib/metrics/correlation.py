"""Pearson correlation of curves: at lag zero, by lag, and with the slope between them."""

import numpy as np
from jaxtyping import Float

from metatalk_lib.core.errors import ParameterError


def correlation(values: Float[np.ndarray, " T"], reference: Float[np.ndarray, " T"]) -> float:
    """Pearson correlation r = cov(x, y) / (s_x s_y).

    Args:
        values: a measured curve, such as the mouth opening of each frame.
        reference: the true curve at the same frames.

    Returns:
        r in [-1, 1], no unit; higher is better, equal curves (up to scale and offset) score 1. A constant curve, such
        as that of a mouth that never moves, scores 0.

    Raises:
        ParameterError: the lengths differ, there are fewer than 3 frames, or a value is not finite.

    Source: the usual definition.
    """
    if len(values) != len(reference) or len(values) < 3:
        raise ParameterError(
            f"correlation needs two curves of one length, >= 3, got {len(values)} and {len(reference)}."
        )
    if not (np.isfinite(values).all() and np.isfinite(reference).all()):
        raise ParameterError("correlation: a value is not finite. Fill or drop those frames by name before.")
    x, y = values.astype(np.float64) - values.mean(dtype=np.float64), reference - reference.mean(dtype=np.float64)
    scale_x, scale_y = np.abs(values).max(), np.abs(reference).max()
    if np.abs(x).max() <= 1e-7 * scale_x or np.abs(y).max() <= 1e-7 * scale_y:
        return 0.0
    return float(np.clip((x @ y) / np.sqrt((x @ x) * (y @ y)), -1.0, 1.0))


def relate_curves(fitted: Float[np.ndarray, " T"], observed: Float[np.ndarray, " T"]) -> tuple[float, float]:
    """Compute correlation and least-squares slope of fitted against observed; both 0 for a mouth that does not move."""
    fitted, observed = fitted - fitted.mean(), observed - observed.mean()
    still = 1e-9  # keeps the divisions finite
    slope = fitted @ observed / max(observed @ observed, still)
    return float(slope * np.sqrt((observed @ observed) / max(fitted @ fitted, still))), float(slope)


MAX_LAG = 10
"""Largest lag in the search, frames."""


def correlation_by_lag(
    opening: Float[np.ndarray, " T"], reference: Float[np.ndarray, " T"], *, max_lag: int = MAX_LAG
) -> Float[np.ndarray, " lags"]:
    """Compute the Pearson correlation at each lag k = -max_lag .. max_lag, over the frames where both curves exist.

    r(k) = corr(opening[t + k], reference[t])

    Args:
        opening: curve measured on the video, such as the mouth opening in px.
        reference: the curve it should follow.
        max_lag: largest lag, frames.

    Returns:
        (2 max_lag + 1,) values in [-1, 1]; entry max_lag is lag 0; at positive lags the video is late.

    Raises:
        ParameterError: the lengths differ, or too few frames are left at the largest lag.

    Source: Original to this project.
    """
    if len(opening) != len(reference):
        raise ParameterError(f"the curves have {len(opening)} and {len(reference)} frames. Join them on frame_id.")
    if len(opening) < max_lag + 3:
        raise ParameterError(f"{len(opening)} frames are too few for lags up to {max_lag}; needed are {max_lag + 3}.")
    count = len(opening)
    return np.array(
        [
            correlation(opening[max(lag, 0) : count + min(lag, 0)], reference[max(-lag, 0) : count + min(-lag, 0)])
            for lag in range(-max_lag, max_lag + 1)
        ]
    )
