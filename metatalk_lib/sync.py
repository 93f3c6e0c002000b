"""Honest open measures of lip synchronisation, with the control rows that calibrate them.

Two measures, both Pearson correlations over frames. They need no trained network, and neither is LSE-D or LSE-C.

- mouth opening against a reference opening: the true one (studio), or the one measured on the original video where its
  own audio drives it;
- mouth opening against the speech envelope: needs audio only, and is weak even for the ground truth, since loud and
  open are not the same thing.

The control rows pair the original video with audio that it fits (ground truth) and that it does not fit (shuffled,
shifted, silent), or a mouth that does not speak with the right audio (static frame). A measure that cannot tell these
apart measures nothing; `find_control_failures` and, of lags, `find_lag_failures` say so.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from jaxtyping import Float

from metatalk_lib.errors import ParameterError
from metatalk_lib.metrics import correlation

MAX_LAG = 10
"""Largest lag that is searched, frames."""
CONTROL_SHIFT = 5
"""Shift of the shifted-audio controls, frames (200 ms at 25 fps): plainly visible to a viewer."""
ENVELOPE_RANGE_DB = 60.0
"""Levels more than this below the loudest frame count as silence."""
CONTROL_MARGIN = 0.1
"""A control must fall this far below the ground truth."""
REENCODED_SHARE = 0.8
"""Share of the ground truth's correlation that must survive re-encoding."""
LAG_TOLERANCE = 1
"""By so many frames the lag that is found may miss a control's."""
SPEECH_RATE_HZ = 16000

GROUND_TRUTH, REENCODED = "ground truth", "ground truth, re-encoded"
SHUFFLED, SILENCE, STATIC_FRAME = "shuffled audio", "silence", "static frame"
LATE, EARLY = f"audio {CONTROL_SHIFT} frames late", f"audio {CONTROL_SHIFT} frames early"
CONTROL_ROWS = (SHUFFLED, LATE, EARLY, SILENCE, STATIC_FRAME)
"""What every measure's controls are called, beside the truth and the truth that was encoded once more."""


@dataclass(frozen=True)
class SyncScore:
    """Correlation of two curves, at lag zero and at the best lag.

    Attributes:
        correlation: Pearson r at lag 0; higher is better, at most 1.
        best_correlation: the largest r within the searched lags; as the maximum of many it flatters short clips.
        best_lag: where it lies, frames; positive where the video is late.
        frames: number of frames compared at lag 0.
    """

    correlation: float
    best_correlation: float
    best_lag: int
    frames: int


def correlation_by_lag(
    opening: Float[np.ndarray, " T"], reference: Float[np.ndarray, " T"], *, max_lag: int = MAX_LAG
) -> Float[np.ndarray, " lags"]:
    """Pearson correlation at each lag k = -max_lag .. max_lag, over the frames where both exist.

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


def compute_sync(
    opening: Float[np.ndarray, " T"], reference: Float[np.ndarray, " T"], *, max_lag: int = MAX_LAG
) -> SyncScore:
    """Correlation of a measured curve with its reference, at lag 0 and at the best lag.

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
    """Loudness of each video frame's stretch of audio.

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
    return 20 * np.log10(np.maximum(rms, floor) / floor)


def compute_sync_controls(
    opening: Float[np.ndarray, " T"],
    reference: Float[np.ndarray, " T"],
    *,
    reencoded_opening: Float[np.ndarray, " T"],
    static_opening: Float[np.ndarray, " T"],
) -> dict[str, SyncScore]:
    """The control rows of a sync measure.

    Args:
        opening: measured on the original video.
        reference: the curve that belongs to the original audio: true opening, measured opening, or speech envelope.
        reencoded_opening: measured on the original video after encoding and decoding it once more.
        static_opening: measured on a video whose mouth stands still; the row `static frame`.

    Returns:
        Scores by row name. `shuffled audio` is the reference turned round by half the clip, `audio late` and `audio
        early` by 5 frames, `silence` a constant.

    Raises:
        ParameterError: the lengths differ, or there are too few frames.

    Source: Original to this project.
    """
    return {
        GROUND_TRUTH: compute_sync(opening, reference),
        REENCODED: compute_sync(reencoded_opening, reference),
        SHUFFLED: compute_sync(opening, np.roll(reference, len(reference) // 2)),
        LATE: compute_sync(opening, np.roll(reference, CONTROL_SHIFT)),
        EARLY: compute_sync(opening, np.roll(reference, -CONTROL_SHIFT)),
        SILENCE: compute_sync(opening, np.zeros_like(reference)),
        STATIC_FRAME: compute_sync(static_opening, reference),
    }


def find_control_failures(controls: Mapping[str, SyncScore], *, min_frames: int) -> list[str] | None:
    """Controls that come out in the wrong order.

    The rule, for clips of at least `min_frames`: re-encoding keeps 80 % of the ground truth's correlation, and every
    other control lies at least 0.1 below the ground truth, all at lag 0. Shorter clips give no verdict: over few
    frames chance alone correlates.

    Args:
        controls: rows of `compute_sync_controls`.
        min_frames: length from which the rule is expected to hold.

    Returns:
        One sentence for each failure, an empty list where the measure passes, None where the clip is too short to say.

    Raises:
        ParameterError: the ground truth row is missing.

    Source: Original to this project.
    """
    truth = _pick_truth(controls)
    if truth.frames < min_frames:
        return None
    failures = []
    for name, score in controls.items():
        r = score.correlation
        if name == REENCODED and r < REENCODED_SHARE * truth.correlation:
            failures.append(f"`{name}` scores {r:.2f}, under 80 % of {truth.correlation:.2f}")
        if name not in (GROUND_TRUTH, REENCODED) and r > truth.correlation - CONTROL_MARGIN:
            failures.append(f"`{name}` scores {r:.2f}, not 0.1 below the truth's {truth.correlation:.2f}")
    return failures


def find_lag_failures(controls: Mapping[str, SyncScore]) -> list[str]:
    """Controls whose shift the search for the best lag does not find, or that it lifts to the truth.

    The rule, for a measure as sharp in time as the mouth opening: truth, re-encoded truth and shifted sound lie within
    one frame of their true lags, and every other control's best correlation lies at least 0.1 below the truth's best.

    Args:
        controls: rows of `compute_sync_controls`, of a clip that is long enough for a verdict.

    Returns:
        One sentence for each failure.

    Raises:
        ParameterError: the ground truth row is missing.

    Source: Original to this project.
    """
    truth = _pick_truth(controls)
    lags = {GROUND_TRUTH: 0, REENCODED: 0, LATE: -CONTROL_SHIFT, EARLY: CONTROL_SHIFT}
    failures = []
    for name, score in controls.items():
        if name in lags and abs(score.best_lag - lags[name]) > LAG_TOLERANCE:
            failures.append(f"`{name}` has its best lag at {score.best_lag}, not at {lags[name]}")
        if name not in lags and score.best_correlation > truth.best_correlation - CONTROL_MARGIN:
            best = f"{score.best_correlation:.2f} at lag {score.best_lag}"
            failures.append(f"`{name}` scores {best}, not 0.1 below the truth's {truth.best_correlation:.2f}")
    return failures


def _pick_truth(controls: Mapping[str, SyncScore]) -> SyncScore:
    if GROUND_TRUTH not in controls:
        raise ParameterError(f"the controls lack `{GROUND_TRUTH}`; they have: {', '.join(controls) or 'nothing'}.")
    return controls[GROUND_TRUTH]
