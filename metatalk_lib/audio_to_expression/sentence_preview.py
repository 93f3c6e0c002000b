"""A typed sentence spoken by the synthesiser and shown on a person's lips, without a video."""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from metatalk_lib.audio_to_expression.model import TrainedA2E
from metatalk_lib.audio_to_expression.streaming import predict_speech
from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.core.findings import Check, judge
from metatalk_lib.face3d.coefficients import Coefficients, repose
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.face3d.face_renderer import Window, render_face
from metatalk_lib.reconstruction.landmark_fit import predicted_landmarks
from metatalk_lib.reconstruction.lip_curves import compute_lip_curves
from metatalk_lib.speech.corpus import PADDING_S, pad_speech
from metatalk_lib.speech.synthesis import Speech, synthesize
from metatalk_lib.speech.visemes import viseme_at

LONGEST_TEXT = 400
"""Largest number of characters of a sentence; about half a minute of speech."""
SEEN_WIDTHS = 2.2
"""Side of a drawn square, in mouth widths; it shows lips, chin and the tip of the nose."""


class SpokenSentence(NamedTuple):
    """A sentence on a person's lips.

    Attributes:
        speech: the synthetic speech, 16 kHz, with its phonemes.
        opening_mm: (T,) mouth opening that A2E predicts, mm.
        width_mm: (T,) mouth width that A2E predicts, mm.
        faces: (K, S, S, 3) drawn faces around the mouth.
        frames: (K,) frame numbers of the drawn faces.
        labels: visemes at the frames of the drawn faces.
    """

    speech: Speech
    opening_mm: Float[np.ndarray, " T"]
    width_mm: Float[np.ndarray, " T"]
    faces: UInt8[np.ndarray, "K S S 3"]
    frames: Int[np.ndarray, " K"]
    labels: tuple[str, ...]


def check_lips(sentence: SpokenSentence, valid: Sequence[Bool[np.ndarray, " _"]]) -> list[Check]:
    """Compare with what is usual: were there frames to learn from, and do the lips close before and after a sentence.

    Args:
        sentence: from `speak_sentence`; it begins and ends with silence.
        valid: frames of each utterance whose fit is valid.
    """
    ends = float(sentence.opening_mm[[0, -1]].max() / max(float(sentence.opening_mm.max()), 1e-6))
    few = "Most pseudo frames were not fitted: look at stage 03. Lips will be learnt from the others."
    open_lips = "A person who never closes the mouth, or too little training: raise pseudo_seconds or a2e_epochs."
    return [
        judge("frames to learn from", float(np.concatenate(valid).mean()), at_least=0.5, unit="%", advice=few),
        judge("mouth in the pauses, of its widest", ends, at_most=0.5, unit="%", advice=open_lips),
    ]


def speak_sentence(
    text: str,
    voice: str,
    model: FaceModel,
    coefficients: Coefficients,
    a2e: TrainedA2E,
    *,
    fps: Fraction,
    count: int = 24,
    size: int = 128,
) -> SpokenSentence:
    """Speak a sentence and draw the person's lip movements.

    Args:
        text: at most `LONGEST_TEXT` characters.
        voice: voice of the synthesiser, such as `en-us+f2`.
        model: the face model of the fit.
        coefficients: a fit of the person; pose and light of its first trusted frame are shown.
        a2e: the person's trained A2E.
        fps: frames a second.
        count: number of drawn faces, spread evenly over the sentence.
        size: side of a drawn square, px.

    Raises:
        ParameterError: no text, too much of it, or an unknown voice.
        DataError: the text holds nothing that can be spoken, or no frame of the fit is trusted.

    Source: original to this project.
    """
    if len(text) > LONGEST_TEXT:
        raise ParameterError(f"the sentence has {len(text)} characters; at most {LONGEST_TEXT} are spoken at once.")
    if not coefficients.valid.any():
        raise DataError("no frame of the person's fit is trusted. Look at the landmarks of 01_crop.")
    speech = pad_speech(synthesize(text, voice), PADDING_S)
    expression, _ = predict_speech(speech.audio, fps, a2e)
    curves = compute_lip_curves(model, coefficients.identity, expression)
    frames = np.unique(np.linspace(0, len(expression) - 1, count).round().astype(np.int64))
    shown = coefficients.frame_id[np.argmax(coefficients.valid)]
    driven = repose(coefficients, np.full(len(frames), shown), expression[frames])
    side, window = _frame_mouth(model, driven, size)
    faces = np.stack([render_face(model, driven, row, side, window=window).image for row in range(len(frames))])
    labels = tuple(viseme_at(speech.phonemes, frame / float(fps)) for frame in frames)
    return SpokenSentence(speech, curves.opening_mm, curves.width_mm, faces, frames, labels)


def _frame_mouth(model: FaceModel, coefficients: Coefficients, size: int) -> tuple[int, Window]:
    """Side of the crop, and a window of `size` px in it, that shows `SEEN_WIDTHS` mouth widths around the mouth."""
    mouths = predicted_landmarks(model, coefficients, size)[:, 48:68]
    zoom = size / (SEEN_WIDTHS * float(np.median(np.ptp(mouths[..., 0], axis=1))))
    left, top = (zoom * mouths.mean(axis=(0, 1)) - size / 2).round().astype(int).tolist()
    return round(zoom * size), (left, top, left + size, top + size)
