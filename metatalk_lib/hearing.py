"""What lips do in a recording, by ear: the open encoder's own heads, and the lead of a filmed person's lips over it."""

from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from metatalk_lib.audio import Recording, open_audio
from metatalk_lib.audio_encoder import load_open_speech, predict_actions, stream_features
from metatalk_lib.face_model import FaceModel
from metatalk_lib.landmarks import relative_mouth_opening
from metatalk_lib.lead import Lead, estimate_lead
from metatalk_lib.lip_curves import compute_lip_curves
from metatalk_lib.teacher import Utterance
from metatalk_lib.visemes import viseme_curves

HEARING_FPS = Fraction(25)
"""Frame rate of the sound that the open encoder was trained with."""


def measure_lead(
    model: FaceModel,
    sound_path: Path,
    landmarks: Float[np.ndarray, "T 68 2"],
    fps: Fraction,
    *,
    valid: Bool[np.ndarray, " _"],
) -> Lead:
    """How much earlier than their sound a filmed person's lips move.

    Args:
        model: the open face model, for the opening that facial actions give.
        sound_path: the video's own sound, from its first frame on.
        landmarks: of consecutive frames from the first on, px.
        fps: of the video.
        valid: frames that may be looked at and whose landmarks are trusted.

    Raises:
        DataError: the sound cannot be read.

    Source: original to this project.
    """
    heard = hear_opening(model, open_audio(sound_path), fps, len(landmarks))
    return estimate_lead(heard, relative_mouth_opening(landmarks), fps, valid=valid)


def hear_opening(
    model: FaceModel, recording: Recording, fps: Fraction, frame_count: int
) -> Float[np.ndarray, " frame_count"]:
    """Mouth opening of an average face that says a recording, without any lead, mm.

    Args:
        model: the open face model.
        recording: any voice.
        fps: of the video.
        frame_count: number of frames; beyond the recording's end the last value stays.
    """
    expression = hear_actions(recording) @ model.actions_to_expression.cpu().numpy()
    opening = compute_lip_curves(model, np.zeros(80), expression).opening_mm
    return _at_frames(opening, frame_count, fps)


def hear_actions(recording: Recording) -> Float[np.ndarray, "T 52"]:
    """Facial actions of an average face that says a recording, at 25 frames a second, from the open encoder."""
    encoder, heads = load_open_speech()
    return predict_actions(stream_features(encoder, recording, HEARING_FPS), heads)


def expected_actions(utterance: Utterance, fps: Fraction) -> Float[np.ndarray, "T 52"]:
    """What lips do while they say an utterance: by its phonemes, or by ear where it comes without any.

    Args:
        utterance: from a corpus.
        fps: of the video.
    """
    speech = utterance.speech
    if speech.phonemes:
        return viseme_curves(speech.phonemes, utterance.frame_count, fps)
    heard = hear_actions(speech.audio)
    return np.stack([_at_frames(column, utterance.frame_count, fps) for column in heard.T], axis=1).astype(np.float32)


def _at_frames(curve: Float[np.ndarray, " _"], frame_count: int, fps: Fraction) -> Float[np.ndarray, " T"]:
    """A curve at 25 frames a second, read at the frames of a video; beyond its end the last value stays."""
    return np.interp(np.arange(frame_count) / float(fps), np.arange(len(curve)) / float(HEARING_FPS), curve)
