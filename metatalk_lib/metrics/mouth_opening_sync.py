"""Open measures of lip synchronisation by the mouth's opening.

Both measures are Pearson correlations over frames. They need no trained network, and neither is LSE-D or LSE-C.

- mouth opening against a reference opening: the true one (studio), or the one measured on the original video if the
  video's own audio drives it;
- mouth opening against the speech envelope: needs audio only, and is weak even for the ground truth, since loudness and
  mouth opening are not the same thing.
"""

import itertools
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from jaxtyping import Float

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.metrics.correlation import MAX_LAG, correlation_by_lag

ENVELOPE_RANGE_DB = 60.0
"""Levels more than this below the loudest frame count as silence, dB."""
SPEECH_RATE_HZ = 16000


@dataclass(frozen=True)
class SyncScore:
    """Correlation of two curves, at lag zero and at the best lag.

    Attributes:
        correlation: Pearson r at lag 0; higher is better, at most 1.
        best_correlation: the largest r within the searched lags; as the maximum of many it flatters short clips.
        best_lag: lag of the largest r, frames; positive if the video is late.
        frames: number of frames compared at lag 0.
    """

    correlation: float
    best_correlation: float
    best_lag: int
    frames: int


def compute_sync(
    opening: Float[np.ndarray, " T"], reference: Float[np.ndarray, " T"], *, max_lag: int = MAX_LAG
) -> SyncScore:
    """Correlate a measured curve with its reference, at lag 0 and at the best lag.

    Args:
        opening: curve measured on the video.
        reference: the curve it should follow.
        max_lag: largest lag, frames.

    Returns:
        The score; a video in perfect synchrony has correlation 1 and best_lag 0. Ties go to the smaller lag.

    Raises:
        ParameterError: the lengths differ, or there are too few frames.

    Source: Original to this project.
    """
    values = correlation_by_lag(opening, reference, max_lag=max_lag)
    lags = np.arange(-max_lag, max_lag + 1)
    best = max(range(len(lags)), key=lambda index: (values[index], -abs(lags[index])))
    return SyncScore(float(values[max_lag]), float(values[best]), int(lags[best]), len(opening))


def compute_speech_envelope(
    samples_16k: Float[np.ndarray, " S"], frame_count: int, fps: Fraction
) -> Float[np.ndarray, " T"]:
    """Compute the loudness of the audio during each video frame.

    e_t = max(0, 60 + 20 log10(rms_t / max_u rms_u)), with rms_t over the samples from t / fps to (t + 1) / fps

    Args:
        samples_16k: mono speech at 16 kHz in [-1, 1].
        frame_count: number of video frames.
        fps: frames a second.

    Returns:
        dB above the floor, 0 to 60; all 0 for silence. Frames beyond the audio count as silent.

    Raises:
        ParameterError: frame_count or fps is not positive.

    Source: Original to this project.
    """
    if frame_count < 1 or fps <= 0:
        raise ParameterError(f"the envelope needs frame_count >= 1 and fps > 0, got {frame_count} and {fps}.")
    edges = [round(Fraction(frame * SPEECH_RATE_HZ) / fps) for frame in range(frame_count + 1)]
    padded = np.pad(samples_16k.astype(np.float64), (0, max(0, edges[-1] - len(samples_16k))))
    rms = np.array([np.sqrt(np.mean(padded[a:b] ** 2)) for a, b in itertools.pairwise(edges)])
    if rms.max() == 0:
        return np.zeros(frame_count)
    floor = rms.max() * 10 ** (-ENVELOPE_RANGE_DB / 20)
    levels: np.ndarray = 20 * np.log10(np.maximum(rms, floor) / floor)
    return levels
