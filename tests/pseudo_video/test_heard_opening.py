"""hearing: the open encoder hears how far a mouth opens, and how early a filmed one moves."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from metatalk_lib.face3d.face_model import load_face_model
from metatalk_lib.media.audio import write_audio
from metatalk_lib.pseudo_video.lip_lead import expected_actions, hear_opening, measure_lead
from metatalk_lib.reconstruction.lip_curves import compute_lip_curves
from metatalk_lib.speech.corpus import Utterance
from metatalk_lib.speech.synthesis import Speech, pad_with_pauses, synthesize
from metatalk_lib.speech.visemes import viseme_curves

FPS = Fraction(25)
TEXT = "My mother makes a very good apple pie for my brother Bob. We move the big boat before the wave breaks."


@pytest.fixture(scope="module")
def spoken() -> Speech:
    return pad_with_pauses(synthesize(TEXT, "en-us+m3"), 0.4, 0.4)


def mean_opening(actions: np.ndarray) -> np.ndarray:
    model = load_face_model()
    expression = (actions @ model.actions_to_expression.numpy()).astype(np.float32)
    return compute_lip_curves(model, np.zeros(80), expression).opening_mm


def make_landmarks(opening: np.ndarray) -> np.ndarray:
    """Faces whose eyes are 100 px apart and whose inner lips are `opening` apart."""
    points = np.zeros((len(opening), 68, 2))
    points[:, 45, 0] = 100
    points[:, 65:68, 1] = opening[:, None]
    return points


@pytest.mark.parametrize("fps", [Fraction(25), Fraction(30)])
def test_the_sound_tells_how_far_the_mouth_opens(spoken, fps: Fraction):
    count = round(spoken.duration_s * fps)
    truth = mean_opening(viseme_curves(spoken.phonemes, count, fps))
    heard = hear_opening(load_face_model(), spoken.audio, fps, count)
    assert np.corrcoef(heard, truth)[0, 1] > 0.8


@pytest.mark.parametrize("lead_s", [0.0, 0.08])
def test_the_lead_of_a_filmed_mouth_is_measured(tmp_path: Path, spoken, lead_s: float):
    write_audio(tmp_path / "own.wav", spoken.audio)
    count = round(spoken.duration_s * 25)
    seen = mean_opening(viseme_curves(spoken.phonemes, count, 25, lead_s=lead_s))
    valid = np.ones(count, bool)
    lead = measure_lead(load_face_model(), tmp_path / "own.wav", make_landmarks(seen), FPS, valid=valid)
    assert lead.is_measured
    assert lead.lead_s == pytest.approx(lead_s, abs=0.03)


def test_lips_are_expected_by_phonemes_or_else_by_ear(spoken):
    samples = spoken.samples[: spoken.rate * 3]
    known = Utterance(0, Speech(spoken.samples, spoken.rate, spoken.phonemes, TEXT, "x"), 75)
    np.testing.assert_array_equal(expected_actions(known, FPS), viseme_curves(spoken.phonemes, 75, FPS))
    by_ear = expected_actions(Utterance(0, Speech(samples, spoken.rate, (), "", "x"), 75), FPS)
    assert by_ear.shape == (75, 52)
    assert np.corrcoef(mean_opening(by_ear), mean_opening(expected_actions(known, FPS)))[0, 1] > 0.7
