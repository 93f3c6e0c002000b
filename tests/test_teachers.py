"""teachers: the right one by name, what it says, and how early a filmed mouth moves."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from reference import load_rule_b
from synthetic import make_coefficients, make_face_model

from metatalk_lib import teacher_choice
from metatalk_lib.audio import write_audio
from metatalk_lib.corpus import plan_utterances
from metatalk_lib.errors import DataError
from metatalk_lib.face_model import load_face_model
from metatalk_lib.hearing import expected_actions, hear_opening, measure_lead
from metatalk_lib.lip_curves import compute_lip_curves
from metatalk_lib.networks.wav2lip import Wav2LipGenerator
from metatalk_lib.params import PseudoVideoConfig
from metatalk_lib.speech import Speech, pad_with_pauses, synthesize
from metatalk_lib.teacher import Utterance, VisemeTeacher
from metatalk_lib.teacher_choice import make_teacher, plan_corpus
from metatalk_lib.visemes import viseme_curves
from metatalk_lib.wav2lip import Wav2LipTeacher

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


def test_parameters_choose_the_teacher(monkeypatch: pytest.MonkeyPatch):
    model, fit, landmarks = make_face_model(), make_coefficients(8), np.zeros((8, 68, 2))
    viseme = make_teacher(PseudoVideoConfig(teacher_strength=0.7), model, fit, landmarks, lead_s=0.04)
    assert isinstance(viseme, VisemeTeacher)
    assert viseme.style["strength"] == 0.7
    assert viseme.style["lead_s"] == 0.04
    with pytest.raises(DataError, match=r"wav2lip .* is missing"):
        make_teacher(PseudoVideoConfig(teacher="wav2lip"), model, fit, landmarks, lead_s=0.0)
    network = load_rule_b(Wav2LipGenerator(), "wav2lip")
    monkeypatch.setattr(teacher_choice, "load_wav2lip", lambda: (network, "abc"))
    painted = make_teacher(PseudoVideoConfig(teacher="wav2lip"), model, fit, landmarks, lead_s=0.0)
    assert isinstance(painted, Wav2LipTeacher)
    assert painted.weights == "abc"


def test_a_corpus_folder_is_spoken_with_phonemes_only_where_they_are_needed(tmp_path: Path, spoken):
    write_audio(tmp_path / "a.wav", spoken.audio)
    config = PseudoVideoConfig(corpus_dir=str(tmp_path), pseudo_seconds=2.0)
    viseme = VisemeTeacher(make_face_model(), make_coefficients(8))
    assert all(u.speech.phonemes for u in plan_corpus(config, FPS, viseme))
    network = load_rule_b(Wav2LipGenerator(), "wav2lip")
    silent = plan_corpus(config, FPS, Wav2LipTeacher(network, np.zeros((1, 68, 2)), np.zeros(1, int)))
    assert all(u.speech.phonemes == () for u in silent)
    synthetic = plan_corpus(PseudoVideoConfig(pseudo_seconds=2.0), FPS, viseme)
    assert [u.speech.text for u in synthetic] == [u.speech.text for u in plan_utterances(2.0, 0, FPS)]


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
