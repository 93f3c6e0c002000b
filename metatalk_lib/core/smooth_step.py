"""The smooth step, a cubic that rises from 0 to 1 with level ends; for arrays, and for numbers in compiled loops."""

from typing import Any, TypeVar

import numpy as np

from metatalk_lib.core.jit import compile_loop

_Value = TypeVar("_Value", np.ndarray, float)


def smooth_step(low: float | int, high: float | int, value: _Value) -> _Value:
    """3 s^2 - 2 s^3 with s = (value - low) / (high - low), limited to 0 to 1.

    Args:
        low: value at and beyond which the step is 0.
        high: value at and beyond which it is 1; it may be smaller than `low`, and the step then falls.
        value: a number, or an array of any shape.

    Returns:
        0 to 1, of the shape and floating type of `value`.

    Source: the usual cubic Hermite step of computer graphics.
    """
    share: Any = np.clip((value - low) / (high - low), 0.0, 1.0)
    step: _Value = share * share * (3.0 - 2.0 * share)
    return step


@compile_loop
def smooth_share(share: float) -> float:
    """3 s^2 - 2 s^3 of one number s from 0 to 1, for compiled loops."""
    return share * share * (3.0 - 2.0 * share)
