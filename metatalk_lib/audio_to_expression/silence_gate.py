"""Mouths that close while nothing is said."""

from fractions import Fraction

import numpy as np
from jaxtyping import Bool, Float

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.core.smooth_step import smooth_step
from metatalk_lib.networks.audio_to_expression import EXPRESSION_SIZE

SILENCE_FADE_S = 0.08
"""Time over which the mouth closes after speech ends, and opens before speech begins, s."""


def close_mouth_in_silence(
    expression: Float[np.ndarray, "T 64"],
    silence: Bool[np.ndarray, " _"],
    fps: float | Fraction,
    closed: Float[np.ndarray, " 64"] | None = None,
) -> Float[np.ndarray, "T 64"]:
    """Fade to the closed mouth in silence.

    α'_t = (1 − w_t) α_t + w_t α_closed, with w a smooth step of the time to the nearest spoken frame; w is 1 after 80
    ms.

    Args:
        expression: predicted expression coefficients.
        silence: True for frames without speech.
        fps: frame rate, Hz.
        closed: coefficients of the closed mouth; zeros, the mean face, by default.

    Returns:
        A new array; spoken frames are unchanged, and silent frames further than 80 ms from speech equal `closed`.

    Raises:
        ParameterError: unequal lengths.

    Source: Original to this project.
    """
    if len(expression) != len(silence):
        raise ParameterError(f"close_mouth_in_silence: {len(expression)} expressions but {len(silence)} silence flags.")
    target = np.zeros(EXPRESSION_SIZE, np.float32) if closed is None else closed
    weight = compute_silence_weight(silence, fps)[:, None].astype(expression.dtype)
    return np.where(weight == 1, target, (1 - weight) * expression + weight * target).astype(expression.dtype)


def compute_silence_weight(silence: Bool[np.ndarray, " T"], fps: float | Fraction) -> Float[np.ndarray, " T"]:
    """Compute the weight of the closed mouth: 0 in speech, 1 in silence further than 80 ms from any spoken frame.

    Args:
        silence: True for frames without speech.
        fps: frame rate, Hz.
    """
    spoken = np.flatnonzero(~silence)
    if not len(spoken):
        return np.ones(len(silence))
    frames = np.arange(len(silence))
    following = np.searchsorted(spoken, frames).clip(0, len(spoken) - 1)
    distance = np.minimum(abs(frames - spoken[following]), abs(frames - spoken[(following - 1).clip(0)]))
    return smooth_step(0.0, max(1.0, SILENCE_FADE_S * float(fps)), distance)
