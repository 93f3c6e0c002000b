"""The teachers by name, what they are given to say, and what lips are expected to do in a recording."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float

from metatalk_lib.audio import Audio, Recording, open_audio
from metatalk_lib.audio_encoder import load_open_speech, predict_actions, stream_features
from metatalk_lib.corpus import plan_recordings, plan_utterances
from metatalk_lib.face_model import Coefficients, FaceModel
from metatalk_lib.landmarks import mouth_opening
from metatalk_lib.lead import Lead, estimate_lead
from metatalk_lib.lip_curves import compute_lip_curves
from metatalk_lib.params import PseudoVideoConfig
from metatalk_lib.paths import resolve_path
from metatalk_lib.teacher import Teacher, Utterance, VisemeTeacher
from metatalk_lib.visemes import viseme_curves
from metatalk_lib.wav2lip import Wav2LipTeacher, load_wav2lip

HEARING_FPS = Fraction(25)
"""Frame rate of the sound that the open encoder was trained with."""


def make_teacher(
    config: PseudoVideoConfig,
    model: FaceModel,
    quick_fit: Coefficients,
    landmarks: Float[np.ndarray, "F 68 2"],
    *,
    lead_s: float,
    device: torch.device | None = None,
) -> Teacher:
    """The teacher that the parameters name.

    Args:
        config: of stage 02.
        model: the face model of the fit.
        quick_fit: the person's fit on the 256 px video.
        landmarks: of the fit's frames, px of that video.
        lead_s: how much earlier than the sound the viseme teacher's mouth moves, s.
        device: where Wav2Lip's network runs.

    Raises:
        DataError: Wav2Lip's weights are missing or do not fit.
    """
    if config.teacher == "wav2lip":
        network, checksum = load_wav2lip()
        return Wav2LipTeacher(network, landmarks, quick_fit.frame_id, weights=checksum, device=device)
    return VisemeTeacher(model, quick_fit, strength=config.teacher_strength, lead_s=lead_s)


def plan_corpus(config: PseudoVideoConfig, fps: Fraction, teacher: Teacher) -> list[Utterance]:
    """What is said: the recordings of `corpus_dir`, or synthetic sentences where none is named.

    Args:
        config: of stage 02.
        fps: of the pseudo video.
        teacher: recordings are searched for phonemes only where it needs them.

    Raises:
        DataError: the folder holds nothing that can be used.
    """
    if not config.corpus_dir:
        return plan_utterances(config.pseudo_seconds, config.seed, fps)
    return plan_recordings(
        resolve_path(config.corpus_dir),
        config.pseudo_seconds,
        config.seed,
        fps,
        needs_phonemes=teacher.needs_phonemes,
        method=config.recogniser,
    )


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
    eyes = np.linalg.norm(landmarks[:, 36] - landmarks[:, 45], axis=1)
    return estimate_lead(heard, mouth_opening(landmarks) / eyes, fps, valid=valid)


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
    return np.interp(np.arange(frame_count) / float(fps), np.arange(len(opening)) / float(HEARING_FPS), opening)


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
    heard = hear_actions(Audio(speech.samples[:, None], speech.rate))
    times, known = np.arange(utterance.frame_count) / float(fps), np.arange(len(heard)) / float(HEARING_FPS)
    return np.stack([np.interp(times, known, column) for column in heard.T], axis=1).astype(np.float32)
