"""smoothing: dense points and scores are smoothed without lag, and noise is told from motion."""

import numpy as np
import pytest

from metatalk_lib.tracking.face_points import INNER_CONTOUR
from metatalk_lib.tracking.smoothing import measure_noise, smooth_dense, smooth_scores
from tests.face_clips import FPS


def dense(count: int, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """478 points that sway slowly as a whole, the inner lip opening and closing at 3 Hz."""
    generator = np.random.default_rng(seed)
    time = np.arange(count) / 25
    points = np.tile(generator.uniform(0, 300, (1, 478, 3)), (count, 1, 1))
    points[..., 0] += 10 * np.sin(2 * np.pi * 0.4 * time)[:, None]
    points[:, INNER_CONTOUR[:10], 1] -= 8 * np.sin(2 * np.pi * 3 * time)[:, None]
    return (points + generator.normal(0, noise, points.shape)).astype(np.float32)


def test_speech_keeps_its_peaks_and_its_time():
    truth = dense(100)
    smoothed = smooth_dense(truth, FPS)
    lip = INNER_CONTOUR[3]
    before, after = (points[10:-10, lip, 1] - points[10:-10, lip, 1].mean() for points in (truth, smoothed))
    assert after.std() > 0.93 * before.std()
    lags = [np.corrcoef(np.roll(after, lag), before)[0, 1] for lag in range(-3, 4)]
    assert int(np.argmax(lags)) == 3
    np.testing.assert_allclose(smoothed[:, 10], truth[:, 10], atol=0.2)


def test_noise_falls_and_is_measured():
    noisy, truth = dense(200, noise=0.8), dense(200)
    smoothed = smooth_dense(noisy, FPS)
    assert np.std(smoothed - truth) < 0.75 * np.std(noisy - truth)
    assert measure_noise(noisy) == pytest.approx(np.full(478, 0.8), rel=0.3)
    assert measure_noise(truth)[10] < 0.05
    assert measure_noise(noisy[:3]).tolist() == [0.0] * 478


def test_scores_stay_scores():
    scores = np.clip(np.random.default_rng(0).normal(0.5, 0.5, (40, 52)), 0, 1).astype(np.float32)
    smoothed = smooth_scores(scores, FPS)
    assert smoothed.shape == (40, 52)
    assert smoothed.min() >= 0
    assert smoothed.max() <= 1
    one = smooth_scores(scores[:1], FPS)
    np.testing.assert_array_equal(one, scores[:1])
