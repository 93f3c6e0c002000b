"""Lead of a person's lips over their sound, by comparison of the seen mouth with the heard one."""

from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.media.audio import Recording, open_audio
from metatalk_lib.metrics.correlation import correlation
from metatalk_lib.reconstruction.lip_curves import compute_lip_curves
from metatalk_lib.speech.audio_encoder import load_open_speech, predict_actions, stream_features
from metatalk_lib.speech.corpus import Utterance
from metatalk_lib.speech.visemes import viseme_curves
from metatalk_lib.tracking.landmarks import relative_mouth_opening

DEFAULT_LEAD_S = 0.06
"""Expected lead before any measurement, s; people's lips mostly lead by 0.04 to 0.1 s."""
EXPECTED_SPREAD_S = 0.04
"""Standard deviation of leads among people and cameras, s."""
INDEPENDENT_HZ = 3.0
"""Independent observations of a talking mouth per second; its movements have about 3 Hz."""
RANGE_S = (-0.08, 0.2)
"""Range of leads that is searched, s; speakers form a sound up to 0.2 s before it is heard."""
SHIFTS = 200
"""Number of random circular shifts of the sound that determine the chance level of the correlation."""
SHORTEST_LEAD_S = 2.0
"""Minimum length for which a lead can be measured, s."""
_SEED = 0


class Lead(NamedTuple):
    """A measured lead of the lips.

    Attributes:
        lead_s: time by which the mouth moves before the sound, s.
        is_measured: False if the correlation is within the chance level or the clip too short, and `lead_s` is the
            default.
        correlation: correlation of heard and seen mouth opening at `lead_s`.
        chance: 95th percentile of the best correlation over the searched leads for randomly shifted sound.
        leads_s: (K,) leads that were tried, s.
        correlations: (K,) correlations at these leads.
        evidence: (K,) log posterior probability of these leads, up to a constant.
    """

    lead_s: float
    is_measured: bool
    correlation: float
    chance: float
    leads_s: Float[np.ndarray, " K"]
    correlations: Float[np.ndarray, " K"]
    evidence: Float[np.ndarray, " K"]


def estimate_lead(
    heard: Float[np.ndarray, " T"],
    seen: Float[np.ndarray, " _"],
    fps: Fraction,
    *,
    valid: Bool[np.ndarray, " _"] | None = None,
) -> Lead:
    """Estimate the lead from the mouth opening predicted from the sound and the one measured on the video.

    With r(k) = corr(heard[t + k], seen[t]) over the frames where both exist and are trusted, N = 3 Hz × the length of
    the trusted frames, and an expected lead μ = 0.06 s with spread σ = 0.04 s, the lead is the k with the largest

        −N/2 sign(r) ln(1 − r(k)²) − (k / fps − μ)² / (2 σ²),

    refined to a fraction of a frame by the parabola through it and its neighbours. In a clip of a few seconds the
    expected lead has an influence; in three minutes the video alone decides.

    Args:
        heard: opening predicted from the sound without any lead, any unit.
        seen: opening measured on the video's frames, any unit.
        fps: frame rate, Hz.
        valid: True for frames whose measured opening is trusted; by default all.

    Returns:
        The lead, or the default if r has no peak inside the range above the level that 95 of 100 random shifts reach.

    Raises:
        ParameterError: the curves differ in length.

    Source: original to this project.
    """
    trusted = np.ones(len(seen), bool) if valid is None else valid
    if not len(heard) == len(seen) == len(trusted):
        raise ParameterError(
            f"estimate_lead: curves of {len(heard)} and {len(seen)} frames, {len(trusted)} flags. Join on frame_id."
        )
    lags = np.arange(int(np.ceil(RANGE_S[0] * fps)), int(np.floor(RANGE_S[1] * fps)) + 1)
    leads_s = lags / float(fps)
    if trusted.sum() < SHORTEST_LEAD_S * fps or heard[trusted].std() == 0 or seen[trusted].std() == 0:
        return Lead(DEFAULT_LEAD_S, False, 0.0, 0.0, leads_s, np.zeros(len(lags)), np.zeros(len(lags)))
    correlations = _correlate(heard, seen, trusted, lags)
    chance = _chance(heard, seen, trusted, lags)
    looks = INDEPENDENT_HZ * float(trusted.sum() / fps)
    fit = -0.5 * looks * np.sign(correlations) * np.log1p(-np.minimum(correlations**2, 0.999))
    evidence = fit - 0.5 * ((leads_s - DEFAULT_LEAD_S) / EXPECTED_SPREAD_S) ** 2
    best = int(np.argmax(evidence))
    # a maximum at either end of the range is a slope, not a peak
    is_measured = bool(correlations[best] > chance and 0 < best < len(lags) - 1)
    lead_s = float((lags[best] + _peak_offset(evidence, best)) / fps) if is_measured else DEFAULT_LEAD_S
    here = float(np.interp(lead_s, leads_s, correlations))
    return Lead(lead_s, is_measured, here, chance, leads_s, correlations, evidence)


def _correlate(
    heard: np.ndarray, seen: np.ndarray, trusted: np.ndarray, lags: Int[np.ndarray, " K"]
) -> Float[np.ndarray, " K"]:
    values = []
    for lag in lags:
        first, last = max(0, -lag), min(len(seen), len(seen) - lag)
        frames = np.arange(first, last)[trusted[first:last]]
        values.append(correlation(heard[frames + lag], seen[frames]) if len(frames) > 2 else 0.0)
    return np.array(values)


def _chance(heard: np.ndarray, seen: np.ndarray, trusted: np.ndarray, lags: np.ndarray) -> float:
    """Return the 95th percentile of the largest correlation, for circular shifts beyond the searched range."""
    generator, count = np.random.default_rng(_SEED), len(heard)
    nearest = max(len(lags), count // 10)
    shifts = generator.integers(nearest, max(nearest + 1, count - nearest), size=SHIFTS)
    return float(np.percentile([_correlate(np.roll(heard, s), seen, trusted, lags).max() for s in shifts], 95))


def _peak_offset(values: Float[np.ndarray, " K"], best: int) -> float:
    """Locate the vertex of the parabola through a value and its neighbours, in steps, at most half a step away."""
    before, top, after = values[best - 1 : best + 2]
    bend = before - 2 * top + after
    return 0.0 if bend == 0 else float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5))


HEARING_FPS = Fraction(25)
"""Frame rate at which the open encoder was trained, Hz."""


def measure_lead(
    model: FaceModel,
    sound_path: Path,
    landmarks: Float[np.ndarray, "T 68 2"],
    fps: Fraction,
    *,
    valid: Bool[np.ndarray, " _"],
) -> Lead:
    """Measure how much earlier than their sound a filmed person's lips move.

    Args:
        model: the open face model, which converts facial actions to mouth opening.
        sound_path: the video's own sound, from its first frame on.
        landmarks: landmarks of consecutive frames, from the first on, px.
        fps: frame rate of the video, Hz.
        valid: frames that may be used and whose landmarks are trusted.

    Raises:
        DataError: the sound is unreadable.

    Source: original to this project.
    """
    heard = hear_opening(model, open_audio(sound_path), fps, len(landmarks))
    return estimate_lead(heard, relative_mouth_opening(landmarks), fps, valid=valid)


def hear_opening(
    model: FaceModel, recording: Recording, fps: Fraction, frame_count: int
) -> Float[np.ndarray, " frame_count"]:
    """Predict the mouth opening of an average face that speaks a recording, without any lead, mm.

    Args:
        model: the open face model.
        recording: recording of any voice.
        fps: frame rate of the video, Hz.
        frame_count: number of frames; the last value is held beyond the recording's end.
    """
    expression = hear_actions(recording) @ model.actions_to_expression.cpu().numpy()
    opening = compute_lip_curves(model, np.zeros(80), expression).opening_mm
    return _at_frames(opening, frame_count, fps)


def hear_actions(recording: Recording) -> Float[np.ndarray, "T 52"]:
    """Predict the facial actions of an average face that speaks a recording, at 25 frames per second."""
    encoder, heads = load_open_speech()
    return predict_actions(stream_features(encoder, recording, HEARING_FPS), heads)


def expected_actions(utterance: Utterance, fps: Fraction) -> Float[np.ndarray, "T 52"]:
    """Predict the facial actions of an utterance from its phonemes, or from its sound if it has none.

    Args:
        utterance: utterance of a corpus.
        fps: frame rate of the video, Hz.
    """
    speech = utterance.speech
    if speech.phonemes:
        return viseme_curves(speech.phonemes, utterance.frame_count, fps)
    heard = hear_actions(speech.audio)
    return np.stack([_at_frames(column, utterance.frame_count, fps) for column in heard.T], axis=1).astype(np.float32)


def _at_frames(curve: Float[np.ndarray, " _"], frame_count: int, fps: Fraction) -> Float[np.ndarray, " T"]:
    """Sample a curve of 25 frames per second at the frames of a video; the last value is held beyond its end."""
    return np.interp(np.arange(frame_count) / float(fps), np.arange(len(curve)) / float(HEARING_FPS), curve)
