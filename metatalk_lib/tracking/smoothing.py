"""Smoothing of landmarks, boxes and scores over time, symmetrically, so that nothing lags behind the sound."""

from fractions import Fraction

import numpy as np
from jaxtyping import Float32
from scipy.ndimage import convolve1d
from scipy.signal import savgol_filter

from metatalk_lib.tracking.face_points import IRISES, LIDS, LIP_RINGS

_STEADY = np.r_[27:36, 36, 39, 42, 45]
_CHIN = np.r_[4:13]
_LIPS_AND_LIDS = np.r_[36:48, 48:68]
_DENSE_STEADY = np.r_[1, 4, 5, 6, 168, 195, 197, 33, 133, 362, 263]  # nose and corners of the eyes
_GROUPS = 8  # points are smoothed in this many groups, which bounds the memory of long clips
_DENSE_QUICK = np.unique(np.concatenate([np.ravel(LIP_RINGS), np.ravel(LIDS), np.r_[IRISES]]))


def smooth_landmarks(raw_landmarks: Float32[np.ndarray, "T 68 2"], fps: Fraction) -> Float32[np.ndarray, "T 68 2"]:
    """Smooth the landmarks over time, symmetrically, so that nothing lags behind the sound.

    The motion is split into that of the head (the mean of the points that no muscle moves) and each point's motion
    relative to it. Lips and lids are smoothed least, by polynomials of order 4 over 0.28 s (Savitzky-Golay), which keep
    the peaks of speech; head and chin by parabolas over 0.2 s; the relative motion of upper jaw, brows and nose by a
    Gaussian of 0.08 s. Straight lines are unchanged, also at both ends.

    Args:
        raw_landmarks: landmarks of T frames, px.
        fps: frame rate, Hz.

    Source: original to this project; A. Savitzky and M. Golay, Analytical Chemistry 36, 1964.
    """
    raw = raw_landmarks.astype(np.float64)
    head = raw[:, _STEADY].mean(axis=1, keepdims=True)
    relative = raw - head
    smoothed = _gaussian(relative, sigma=0.08 * float(fps))
    smoothed[:, _CHIN] = _fit_polynomials(relative[:, _CHIN], order=2, seconds=0.2, fps=fps)
    smoothed[:, _LIPS_AND_LIDS] = _fit_polynomials(relative[:, _LIPS_AND_LIDS], order=4, seconds=0.28, fps=fps)
    return (smoothed + _fit_polynomials(head, order=2, seconds=0.2, fps=fps)).astype(np.float32)


def smooth_boxes(boxes: Float32[np.ndarray, "T 4"], fps: Fraction) -> Float32[np.ndarray, "T 4"]:
    """Smooth the edges of boxes over time, in the same way as `smooth_landmarks` smooths the head, without lag.

    Args:
        boxes: boxes of T frames: left, top, right, bottom, px.
        fps: frame rate, Hz.

    Source: as `smooth_landmarks`.
    """
    return _fit_polynomials(boxes.astype(np.float64), order=2, seconds=0.2, fps=fps).astype(np.float32)


def smooth_dense(raw_dense: Float32[np.ndarray, "T 478 3"], fps: Fraction) -> Float32[np.ndarray, "T 478 3"]:
    """Smooth MediaPipe's points like `smooth_landmarks`: lips, lids and irises as its lips, all others as its chin.

    Args:
        raw_dense: points of T frames, px.
        fps: frame rate, Hz.

    Source: as `smooth_landmarks`.
    """
    head = raw_dense[:, _DENSE_STEADY].mean(axis=1, keepdims=True, dtype=np.float64)
    smooth_head = _fit_polynomials(head, order=2, seconds=0.2, fps=fps)
    smoothed = np.empty_like(raw_dense)
    is_quick = np.isin(np.arange(raw_dense.shape[1]), _DENSE_QUICK)
    for order, seconds, points in ((2, 0.2, ~is_quick), (4, 0.28, is_quick)):
        for group in np.array_split(np.flatnonzero(points), _GROUPS):
            relative = raw_dense[:, group] - head
            smoothed[:, group] = _fit_polynomials(relative, order=order, seconds=seconds, fps=fps) + smooth_head
    return smoothed


def smooth_scores(raw_scores: Float32[np.ndarray, "T 52"], fps: Fraction) -> Float32[np.ndarray, "T 52"]:
    """Smooth blendshape scores like lips, and keep them within 0 and 1.

    Args:
        raw_scores: scores of T frames.
        fps: frame rate, Hz.

    Source: as `smooth_landmarks`.
    """
    return np.clip(_fit_polynomials(raw_scores.astype(np.float64), order=4, seconds=0.28, fps=fps), 0, 1).astype(
        np.float32
    )


def measure_noise(raw_points: Float32[np.ndarray, "T N D"]) -> Float32[np.ndarray, " N"]:
    """Estimate the noise of points from their third differences, which motion hardly has.

        sigma = median |x_t - 3 x_(t+1) + 3 x_(t+2) - x_(t+3)| / (0.6745 sqrt(20))

    Args:
        raw_points: points of T frames as predicted.

    Returns:
        Standard deviation of one coordinate of each point, in the points' unit; zeros for fewer than four frames.

    Source: original to this project; for white noise the third difference has 20 times its variance.
    """
    if len(raw_points) < 4:
        return np.zeros(raw_points.shape[1], np.float32)
    jerk = [
        np.median(np.abs(np.diff(group, n=3, axis=0)), axis=(0, 2))
        for group in np.array_split(raw_points[..., :2], _GROUPS, axis=1)
    ]
    return (np.concatenate(jerk) / (0.6745 * np.sqrt(20))).astype(np.float32)


def _fit_polynomials(values: np.ndarray, *, order: int, seconds: float, fps: Fraction) -> np.ndarray:
    """Apply a Savitzky-Golay filter over an odd number of frames, at least order + 3; ends are fitted, not padded."""
    shortest = order + 3
    window = max(shortest, 2 * round((seconds * float(fps) - 1) / 2) + 1)
    window = min(window, len(values) - 1 + len(values) % 2)
    return values.copy() if window < shortest else savgol_filter(values, window, order, axis=0, mode="interp")


def _gaussian(values: np.ndarray, *, sigma: float) -> np.ndarray:
    """Apply a Gaussian filter over time; ends continue by point reflection, which keeps straight lines straight."""
    radius = min(int(4 * sigma + 0.5), len(values) - 1)
    if radius < 1:
        return values.copy()
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    padded = np.pad(values, ((radius, radius), (0, 0), (0, 0)), mode="reflect", reflect_type="odd")
    return convolve1d(padded, weights / weights.sum(), axis=0, mode="nearest")[radius:-radius]
