"""Sync measures: lags with known answers, the envelope of known signals, and controls that must fail."""

import inspect
from fractions import Fraction

import numpy as np
import pytest

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.evaluation import controls as evaluation_controls
from metatalk_lib.metrics import correlation, mouth_opening_sync

FPS = Fraction(25)


def speechlike_curve(count: int = 200, seed: int = 0) -> np.ndarray:
    """Opening in px: syllables of about a fifth of a second."""
    rng = np.random.default_rng(seed)
    kernel = np.hanning(7)
    return np.convolve(rng.gamma(1.0, 2.0, count + 6), kernel / kernel.sum(), mode="valid")


@pytest.mark.parametrize("delay", [-7, -1, 0, 3, 10])
def test_the_best_lag_is_the_delay_that_was_put_in(delay: int) -> None:
    curve = speechlike_curve(230)
    reference, opening = curve[15:215], curve[15 - delay : 215 - delay]
    score = mouth_opening_sync.compute_sync(2.0 * opening + 1.0, reference)
    assert score.best_lag == delay
    assert score.best_correlation == pytest.approx(1.0)
    assert score.correlation == pytest.approx(np.corrcoef(opening, reference)[0, 1])
    assert score.frames == 200


def test_lags_use_only_frames_that_both_have() -> None:
    x, y = speechlike_curve(40, 1), speechlike_curve(40, 2)
    values = correlation.correlation_by_lag(x, y, max_lag=4)
    assert values.shape == (9,)
    assert values[4 + 3] == pytest.approx(np.corrcoef(x[3:], y[:-3])[0, 1])
    assert values[4 - 2] == pytest.approx(np.corrcoef(x[:-2], y[2:])[0, 1])


def test_a_still_mouth_follows_nothing() -> None:
    assert mouth_opening_sync.compute_sync(np.full(60, 3.0), speechlike_curve(60)) == mouth_opening_sync.SyncScore(
        0.0, 0.0, 0, 60
    )


def test_envelope_of_known_levels() -> None:
    tone = np.sin(2 * np.pi * 400 * np.arange(16000) / 16000).astype(np.float32)
    gains = np.repeat(np.array([1.0, 0.1, 0.001, 0.0, 1.0], np.float32), 640)
    envelope = mouth_opening_sync.compute_speech_envelope(tone[: len(gains)] * gains, 6, FPS)
    np.testing.assert_allclose(envelope, [60, 40, 0, 0, 60, 0], atol=0.05)


def test_envelope_of_silence_is_zero_and_counts_frames_at_odd_rates() -> None:
    envelope = mouth_opening_sync.compute_speech_envelope(np.zeros(16000, np.float32), 30, Fraction(30000, 1001))
    assert envelope.shape == (30,)
    assert not envelope.any()


def controls_of(opening: np.ndarray, reference: np.ndarray) -> dict[str, mouth_opening_sync.SyncScore]:
    jitter = np.random.default_rng(5).normal(0, 0.1, len(opening))
    return evaluation_controls.compute_sync_controls(
        opening, reference, reencoded_opening=opening + jitter, static_opening=4.0 + jitter
    )


def test_controls_of_a_working_measure_come_out_in_order() -> None:
    truth = speechlike_curve()
    controls = controls_of(truth, truth)
    assert controls["ground truth"].correlation == pytest.approx(1.0)
    assert controls["ground truth, re-encoded"].correlation > 0.95
    assert controls["silence"].correlation == 0.0
    assert abs(controls["static frame"].correlation) < 0.3
    assert controls["audio 5 frames late"].best_lag == -5
    assert controls["audio 5 frames early"].best_lag == 5
    assert evaluation_controls.find_control_failures(controls, min_frames=75) == []


def test_a_measure_that_measures_nothing_is_reported() -> None:
    controls = controls_of(speechlike_curve(200, 1), -speechlike_curve(200, 1))
    failures = evaluation_controls.find_control_failures(controls, min_frames=75)
    assert any("silence" in failure for failure in failures)


def test_a_measure_that_dies_of_encoding_is_reported() -> None:
    truth = speechlike_curve()
    controls = controls_of(truth, truth) | {"ground truth, re-encoded": mouth_opening_sync.SyncScore(0.5, 0.5, 0, 200)}
    assert evaluation_controls.find_control_failures(controls, min_frames=75) == [
        "`ground truth, re-encoded` scores 0.50, under 80 % of 1.00"
    ]


def test_lags_that_are_not_found_are_reported() -> None:
    truth = speechlike_curve()
    controls = controls_of(truth, truth)
    assert evaluation_controls.find_lag_failures(controls) == []
    wrong = {
        "audio 5 frames late": mouth_opening_sync.SyncScore(0.0, 1.0, -3, 200),
        "silence": mouth_opening_sync.SyncScore(0.0, 0.95, 4, 200),
    }
    assert evaluation_controls.find_lag_failures(controls | wrong) == [
        "`audio 5 frames late` has its best lag at -3, not at -5",
        "`silence` scores 0.95 at lag 4, not 0.1 below the truth's 1.00",
    ]
    within_one = {"audio 5 frames early": mouth_opening_sync.SyncScore(0.0, 1.0, 6, 200)}
    assert evaluation_controls.find_lag_failures(controls | within_one) == []


def test_short_clips_get_no_verdict() -> None:
    truth = speechlike_curve(50)
    assert evaluation_controls.find_control_failures(controls_of(truth, truth), min_frames=75) is None


def test_bad_input_is_refused() -> None:
    unchecked = inspect.unwrap(correlation.correlation_by_lag)
    with pytest.raises(ParameterError, match="on frame_id"):
        unchecked(np.zeros(30), np.zeros(31))
    with pytest.raises(ParameterError, match="too few"):
        mouth_opening_sync.compute_sync(np.arange(9.0), np.arange(9.0))
    with pytest.raises(ParameterError, match="frame_count >= 1"):
        mouth_opening_sync.compute_speech_envelope(np.zeros(9, np.float32), 0, FPS)
    with pytest.raises(ParameterError, match="lack `ground truth`"):
        evaluation_controls.find_control_failures({}, min_frames=75)
    with pytest.raises(ParameterError, match="lack `ground truth`"):
        evaluation_controls.find_lag_failures({})
