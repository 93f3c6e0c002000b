"""Speech-to-lips path of the lips benchmark: A2E networks trained as in stage 04, and their lip motion."""

from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from benchmarks.face_truth import find_lips
from metatalk_lib.audio_to_expression.model import TrainedA2E
from metatalk_lib.audio_to_expression.streaming import predict_speech
from metatalk_lib.audio_to_expression.training import A2ESettings, train_a2e
from metatalk_lib.face3d.face_model import FaceModel, load_face_model
from metatalk_lib.media.audio import Audio
from metatalk_lib.reconstruction.lip_curves import compute_lip_curves
from metatalk_lib.speech.audio_encoder import encode_audio, load_audio_encoder
from metatalk_lib.speech.corpus import plan_utterances
from metatalk_lib.speech.mfcc import compute_mfcc_blocks
from metatalk_lib.speech.sentences import SENTENCES_SEEN
from metatalk_lib.speech.visemes import viseme_curves

FPS = Fraction(25)
PAIR_SECONDS = 300.0


class TaughtPairs(NamedTuple):
    """Five minutes of the teacher's speech: features and expressions of each utterance."""

    features: list[np.ndarray]
    expressions: list[np.ndarray]


class SpokenLips(NamedTuple):
    """Predicted curves of a recording, by default at `FPS`: expression, and mouth opening in mm."""

    expression: Float[np.ndarray, "T 64"]
    opening: Float[np.ndarray, " T"]


@lru_cache(maxsize=1)
def face() -> FaceModel:
    """The open face model."""
    return load_face_model()


def to_expression(actions: np.ndarray) -> np.ndarray:
    """Convert facial actions to expressions."""
    return (actions @ face().actions_to_expression.numpy()).astype(np.float32)


def opening_of(expression: np.ndarray) -> np.ndarray:
    """Compute the mouth opening of the mean face, mm."""
    return compute_lip_curves(face(), np.zeros(80), expression).opening_mm


@lru_cache(maxsize=4)
def make_pairs(fps: Fraction, lead_s: float) -> TaughtPairs:
    """Make the viseme teacher's pairs directly, without pictures; no held-out sentence is among them."""
    encoder = load_audio_encoder()
    plan = plan_utterances(PAIR_SECONDS, 0, fps, SENTENCES_SEEN)
    blocks = [compute_mfcc_blocks(u.speech.samples, u.frame_count, fps) for u in plan]
    taught = [viseme_curves(u.speech.phonemes, u.frame_count, fps, lead_s=lead_s) for u in plan]
    return TaughtPairs([encode_audio(encoder, item) for item in blocks], [to_expression(item) for item in taught])


@lru_cache(maxsize=8)
def trained(fps: Fraction = FPS, lead_s: float = 0.0, architecture: str = "meta_talk") -> TrainedA2E:
    """Train A2E as in stage 04."""
    return train_a2e(*make_pairs(fps, lead_s), A2ESettings(architecture=architecture))[0]


def speak(audio: Audio, a2e: TrainedA2E, fps: Fraction = FPS) -> SpokenLips:
    """Predict the lip motion of a recording, with smoothing and silence gate."""
    expression, _ = predict_speech(audio, fps, a2e)
    return SpokenLips(expression, opening_of(expression))


@lru_cache(maxsize=1)
def _lip_basis() -> np.ndarray:
    rows = face().subdivision.to_dense().double().numpy()[find_lips(face())]
    basis = face().expression_basis.double().numpy()
    return np.einsum("vb,ebk->evk", rows, basis).reshape(len(basis), -1)


def lip_positions(expression: np.ndarray) -> np.ndarray:
    """Displacement of the lips' surface vertices, (T, 3 V) dm."""
    return expression.astype(np.float64) @ _lip_basis()
