"""Silence detection: the level of a recording over time, and the frames without speech."""

from collections.abc import Iterable
from fractions import Fraction

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import uniform_filter1d

from metatalk_lib.media.audio import FEATURE_RATE, fit_length, frame_starts

LEVEL_STEP = 160
"""Hop of the level measurement, samples: 10 ms at 16 kHz."""
SILENCE_RELATIVE_DB = -32.0
"""Silence threshold relative to the recording's loud level, dB."""
SILENCE_ABSOLUTE_DB = -60.0
"""RMS level below which everything is silent, dB re full scale."""
SILENCE_SHORTEST_S = 0.2
"""Shortest silence, s; shorter dips are part of the speech (the closure of a plosive lasts 50 to 150 ms)."""
HEARING_WINDOW_S = 0.08
"""Window over which the encoder's pause probability is averaged, s."""
UNSPOKEN_SHORTEST_S = 0.4
"""Shortest stretch without speech that is not quiet, s; shorter ones are left to A2E."""


def find_silence(samples_16k: Float[np.ndarray, " S"], frame_count: int, fps: Fraction) -> Bool[np.ndarray, " T"]:
    """Find the silent frames of a recording; see `find_silent_frames`.

    Args:
        samples_16k: mono.
        frame_count: number of video frames, T >= 1; frames beyond the recording's end are silent.
        fps: frames per second.

    Raises:
        ParameterError: `frame_count` or `fps` is not positive.
    """
    return find_silent_frames(measure_power([samples_16k]), frame_count, fps)


def find_silent_frames(power: Float[np.ndarray, " K"], frame_count: int, fps: Fraction) -> Bool[np.ndarray, " T"]:
    """Find the silent frames from a recording's power over time.

    The level is the RMS of 20 ms windows every 10 ms. It is low where it is below the larger of -60 dB re full scale
    and the recording's own loud level (95th percentile) - 32 dB. A frame is silent where the level stays low for at
    least 0.2 s and the frame's whole display interval lies inside that stretch.

    Args:
        power: power from `measure_power`.
        frame_count: number of video frames, T >= 1; frames beyond the recording's end are silent.
        fps: frames per second.

    Returns:
        True where the frame is silent.

    Raises:
        ParameterError: `frame_count` or `fps` is not positive.

    Source: original to this project.
    """
    starts = frame_starts(frame_count + 1, fps)
    level_db = compute_level_db(fit_length(power, max(len(power), -(-int(starts[-1]) // LEVEL_STEP))))
    threshold = max(SILENCE_ABSOLUTE_DB, float(np.percentile(level_db, 95)) + SILENCE_RELATIVE_DB)
    is_low = _keep_long_runs(level_db < threshold, shortest=round(SILENCE_SHORTEST_S * FEATURE_RATE / LEVEL_STEP))
    first = np.minimum(starts[:-1] // LEVEL_STEP, len(is_low) - 1)
    last = np.clip((starts[1:] - 1) // LEVEL_STEP, first, len(is_low) - 1)
    loud_before = np.concatenate([[0], np.cumsum(~is_low)])
    return loud_before[last + 1] == loud_before[first]


def find_unspoken_frames(pause_share: Float[np.ndarray, " T"], fps: Fraction) -> Bool[np.ndarray, " T"]:
    """Find the frames without speech, regardless of their level: music, noise, or pauses with either.

    A frame is unspoken where the mean pause probability over about 80 ms around it, but at least three frames, exceeds
    one half, and does so for at least 0.4 s.

    Args:
        pause_share: probability that a frame is a pause, from `audio_encoder.hear_pauses`.
        fps: frames per second.

    Source: original to this project.
    """
    half = max(1, round(HEARING_WINDOW_S / 2 * fps))
    mean = uniform_filter1d(pause_share.astype(np.float64), 2 * half + 1, mode="nearest")
    return _keep_long_runs(mean > 0.5, shortest=round(UNSPOKEN_SHORTEST_S * fps))


def measure_power(pieces: Iterable[Float[np.ndarray, " _"]]) -> Float[np.ndarray, " K"]:
    """Compute the mean square of each 10 ms of a 16 kHz signal that comes in pieces; zeros fill the last step."""
    powers, rest = [], np.zeros(0, np.float32)
    for piece in pieces:
        rest = np.concatenate([rest, piece])
        whole = len(rest) // LEVEL_STEP * LEVEL_STEP
        powers.append(_mean_squares(rest[:whole]))
        rest = rest[whole:]
    if len(rest) or not any(map(len, powers)):
        powers.append(_mean_squares(fit_length(rest, LEVEL_STEP)))
    return np.concatenate(powers)


def compute_level_db(power: Float[np.ndarray, " K"]) -> Float[np.ndarray, " K"]:
    """Compute the RMS level of the 20 ms around each 10 ms step, dB re full scale, at least -120."""
    padded = np.pad(power, (0, 1), mode="edge")
    mean_square = (padded[:-1] + padded[1:]) / 2
    return 10.0 * np.log10(np.maximum(mean_square, 1e-12))


def _mean_squares(samples: np.ndarray) -> np.ndarray:
    return (samples.reshape(-1, LEVEL_STEP).astype(np.float64) ** 2).mean(axis=1)


def _keep_long_runs(flags: np.ndarray, shortest: int) -> np.ndarray:
    """Clear runs of True shorter than `shortest`."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    kept = np.zeros_like(flags)
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        if end - begin >= shortest:
            kept[begin:end] = True
    return kept
