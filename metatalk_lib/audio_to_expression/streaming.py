"""Driving the lips: conversion of a recording to the expression of every video frame, block by block.

Each block is computed with enough context that the result equals that of the whole recording; memory does not grow with
its length, and the first frame needs only the first seconds and the recording's level.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from metatalk_lib.audio_to_expression.model import TrainedA2E, smooth_expression, stream_expression
from metatalk_lib.audio_to_expression.silence_gate import close_mouth_in_silence
from metatalk_lib.media.audio import Recording, frame_count_for, stream_mono_16k
from metatalk_lib.speech.audio_encoder import hear_pauses, load_audio_encoder, load_open_speech, stream_features
from metatalk_lib.speech.silence import find_silent_frames, find_unspoken_frames, measure_power

SMOOTHING_MS = 20.0
"""Gaussian smoothing of the predicted expression, ms; it removes single-frame jitter and keeps lip closures."""
BLOCK_FRAMES = 50
"""Frames per block."""
CONTEXT_S = 1.0
"""Context of a block on either side, s; longer than smoothing, fading and the shortest unspoken stretch extend."""


class SpokenBlock(NamedTuple):
    """Consecutive frames of a driven face.

    Attributes:
        expression: expression coefficients of each frame.
        silent: True for frames without speech, in which the mouth is closed.
    """

    expression: Float[np.ndarray, "T 64"]
    silent: Bool[np.ndarray, " T"]


def predict_speech(audio: Recording, fps: Fraction, a2e: TrainedA2E) -> SpokenBlock:
    """Predict all frames of `stream_speech` at once."""
    blocks = list(stream_speech(audio, fps, a2e))
    return SpokenBlock(*(np.concatenate(part) for part in zip(*blocks, strict=True)))


def stream_speech(audio: Recording, fps: Fraction, a2e: TrainedA2E) -> Iterator[SpokenBlock]:
    """Yield the expression of every video frame of a recording, the mouth closed in silence, and the silent frames.

    Quiet frames are silent; with the open encoder, whose heads distinguish speech from other sounds, music and noise
    are silent, too.

    Args:
        audio: the recording; it is read once for its level, then once for its features.
        fps: frame rate of the video, Hz.
        a2e: the trained network, which names its audio encoder.
    """
    count = frame_count_for(audio, fps)
    quiet = find_silent_frames(measure_power(stream_mono_16k(audio)), count, fps)
    margin = int(np.ceil(CONTEXT_S * fps))
    heard: list[np.ndarray] = []
    predicted = stream_expression(a2e, _listen(audio, fps, a2e, heard))
    expression, pauses = np.zeros((0, 64), np.float32), np.zeros(0)
    begin = held_from = 0
    while begin < count:
        end = min(begin + BLOCK_FRAMES, count)
        until = min(end + margin, count)
        while held_from + len(expression) < until:
            expression = np.concatenate([expression, next(predicted)])
        pauses = np.concatenate([pauses, *heard])
        heard.clear()
        part = slice(0, until - held_from)
        silent = quiet[held_from:until].copy()
        if len(pauses):
            silent |= find_unspoken_frames(pauses[part], fps)
        smooth = smooth_expression(expression[part], fps=float(fps), sigma_ms=SMOOTHING_MS)
        closed = close_mouth_in_silence(smooth, silent, float(fps)).astype(np.float32)
        own = slice(begin - held_from, end - held_from)
        yield SpokenBlock(closed[own], silent[own])
        begin = end
        passed = max(0, begin - margin - held_from)
        expression, pauses, held_from = expression[passed:], pauses[passed:], held_from + passed


def _listen(
    audio: Recording, fps: Fraction, a2e: TrainedA2E, heard: list[np.ndarray]
) -> Iterator[Float[np.ndarray, "_ 256"]]:
    """Yield features in groups; with the open encoder, each group's pause probabilities are appended to `heard`."""
    if a2e.audio_encoder != "open":
        yield from stream_features(load_audio_encoder(a2e.audio_encoder), audio, fps)
        return
    encoder, heads = load_open_speech()
    for group in stream_features(encoder, audio, fps):
        heard.append(hear_pauses(group, heads))
        yield group
