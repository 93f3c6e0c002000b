"""A typed sentence on a person's lips, and the widget that types it."""

import io
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import soundfile
import torch

from metatalk_lib.audio_to_expression.model import TrainedA2E
from metatalk_lib.audio_to_expression.sentence_preview import speak_sentence
from metatalk_lib.audio_to_expression.streaming import predict_speech
from metatalk_lib.audio_to_expression.training import A2ESettings, train_a2e
from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.media.audio import Audio
from metatalk_lib.speech.audio_encoder import encode_audio, load_audio_encoder
from metatalk_lib.speech.corpus import pad_speech, plan_utterances
from metatalk_lib.speech.mfcc import compute_mfcc_blocks
from metatalk_lib.speech.synthesis import synthesize
from metatalk_lib.speech.visemes import viseme_curves
from metatalk_lib.visualization import sentence_widget
from metatalk_lib.visualization.sentence_widget import SpeakingLips
from tests.synthetic import make_coefficients, make_face_model

FPS = Fraction(25)
TEXT = "We move the big boat."


@pytest.fixture(scope="module")
def model():
    return make_face_model()


@pytest.fixture(scope="module")
def person():
    return make_coefficients(4)


@pytest.fixture(scope="module")
def a2e(model) -> TrainedA2E:
    torch.set_num_threads(1)
    encoder, to_expression = load_audio_encoder(), model.actions_to_expression.numpy()
    plan = plan_utterances(20.0, 0, FPS)
    features = [encode_audio(encoder, compute_mfcc_blocks(u.speech.samples, u.frame_count, FPS)) for u in plan]
    taught = [viseme_curves(u.speech.phonemes, u.frame_count, FPS) @ to_expression for u in plan]
    return train_a2e(features, [item.astype(np.float32) for item in taught], A2ESettings(epochs=0))[0]


def test_a_sentence_moves_the_lips_and_ends_with_closed_ones(model, person, a2e):
    spoken = speak_sentence(TEXT, "en-us", model, person, a2e, fps=FPS, count=8, size=32)
    assert len(spoken.opening_mm) == len(spoken.width_mm) == round(25 * spoken.speech.duration_s)
    assert spoken.faces.shape == (8, 32, 32, 3)
    assert spoken.frames[0] == 0
    assert spoken.frames[-1] == len(spoken.opening_mm) - 1
    assert spoken.labels[0] == spoken.labels[-1] == "sil"
    closed, widest = spoken.opening_mm[[0, -1]].max(), spoken.opening_mm.max()
    assert closed - spoken.opening_mm.min() < 0.3 * (widest - spoken.opening_mm.min())
    assert (spoken.faces.reshape(8, -1).max(axis=1) > 0).all()


def test_music_leaves_the_mouth_closed_and_speech_behind_it_does_not(a2e):
    spoken = pad_speech(synthesize(TEXT, "en-us"), 0.2)
    time_s = np.arange(3 * 16000) / 16000
    music = 0.2 * sum(np.sign(np.sin(2 * np.pi * pitch_hz * time_s)) for pitch_hz in (220.0, 277.2, 329.6))
    samples = np.concatenate([music.astype(np.float32), spoken.samples])
    expression, silent = predict_speech(Audio(samples[:, None], 16000), FPS, a2e)
    assert silent[5:70].all()
    assert not expression[5:70].any()
    assert silent[80:].mean() < 0.5


def test_what_cannot_be_spoken_is_refused(model, person, a2e):
    with pytest.raises(ParameterError, match="no voice `martian`"):
        speak_sentence(TEXT, "martian", model, person, a2e, fps=FPS)
    with pytest.raises(ParameterError, match="at most 400"):
        speak_sentence("la " * 200, "en-us", model, person, a2e, fps=FPS)
    with pytest.raises((ParameterError, DataError), match="at least one word|no sound"):
        speak_sentence("  ", "en-us", model, person, a2e, fps=FPS)


def test_the_widget_speaks_what_is_typed_and_shows_errors(model, person, a2e, monkeypatch):
    asked = []

    def speak(text, voice, *rest, fps):
        asked.append((text, voice))
        return speak_sentence(text, voice, *rest, fps=fps, count=4, size=24)

    monkeypatch.setattr(sentence_widget, "speak_sentence", speak)
    widget = SpeakingLips(model, person, a2e, fps=FPS)
    assert widget.player.layout.display == "none"
    widget.text.value, widget.voice.value = TEXT, "en-gb"
    widget.button.click()
    assert asked == [(TEXT, "en-gb")]
    for picture in (widget.phonemes, widget.curves, widget.faces):
        assert bytes(picture.value).startswith(b"\x89PNG")
    samples, rate = soundfile.read(io.BytesIO(widget.player.value))
    assert rate == 16000
    assert len(samples) > 16000
    assert widget.errors.value == ""
    widget.text.value = " "
    widget.button.click()
    assert "at least one word" in widget.errors.value
    assert not widget.button.disabled
    assert widget.faces.layout.display == widget.player.layout.display == "none"
    widget.text.value, widget.voice.value = "<x>" * 200, "en-us"
    widget.button.click()
    assert "&lt;" not in widget.errors.value
    assert "at most 400" in widget.errors.value


def test_a_fit_without_a_trusted_frame_is_refused(model, person, a2e):
    lost = replace(person, valid=np.zeros(4, bool))
    with pytest.raises(DataError, match="no frame of the person's fit is trusted"):
        speak_sentence(TEXT, "en-us", model, lost, a2e, fps=FPS)
