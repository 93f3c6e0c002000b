"""The smooth step, a cubic that rises from 0 to 1 with level ends; for arrays, and for numbers in compiled loops."""

from typing import overload

import numpy as np

from metatalk_lib.core.jit import compile_loop


@overload
def smooth_step(low: float | int, high: float | int, value: np.ndarray) -> np.ndarray: ...


@overload
def smooth_step(low: float | int, high: float | int, value: float) -> np.floating: ...


def smooth_step(low: float | int, high: float | int, value: np.ndarray | float) -> np.ndarray | np.floating:
    """3 s^2 - 2 s^3 with s = (value - low) / (high - low), limited to 0 to 1.

    Args:
        low: value at and beyond which the step is 0.
        high: value at and beyond which it is 1; it may be smaller than `low`, and the step then falls.
        value: a number, or an array of any shape.

    Returns:
        0 to 1, of the shape and floating type of `value`.

    Source: the usual cubic Hermite step of computer graphics.
    """
    share: np.ndarray | np.floating = np.clip((value - low) / (high - low), 0.0, 1.0)
    return share * share * (3.0 - 2.0 * share)


@compile_loop
def smooth_share(share: float) -> float:
    """3 s^2 - 2 s^3 of one number s from 0 to 1, for compiled loops."""
    return share * share * (3.0 - 2.0 * share)
