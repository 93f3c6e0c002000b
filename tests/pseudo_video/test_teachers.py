"""teacher_choice: the right teacher by name, what it says, and which files that depends on."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from metatalk_lib.core.errors import DataError
from metatalk_lib.core.stage_configs import PseudoVideoConfig
from metatalk_lib.media.audio import write_audio
from metatalk_lib.networks.wav2lip import Wav2LipGenerator
from metatalk_lib.pseudo_video import teachers
from metatalk_lib.pseudo_video.teachers import list_files_used, make_teacher, plan_corpus
from metatalk_lib.pseudo_video.viseme_teacher import VisemeTeacher
from metatalk_lib.pseudo_video.wav2lip_teacher import Wav2LipTeacher
from metatalk_lib.speech.corpus import plan_utterances
from metatalk_lib.speech.synthesis import Speech, pad_with_pauses, synthesize
from tests.reference import load_rule_b
from tests.synthetic import make_coefficients, make_face_model

FPS = Fraction(25)
TEXT = "My mother makes a very good apple pie for my brother Bob. We move the big boat before the wave breaks."


@pytest.fixture(scope="module")
def spoken() -> Speech:
    return pad_with_pauses(synthesize(TEXT, "en-us+m3"), 0.4, 0.4)


def test_parameters_choose_the_teacher(monkeypatch: pytest.MonkeyPatch):
    model, fit, landmarks = make_face_model(), make_coefficients(8), np.zeros((8, 68, 2))
    viseme = make_teacher(PseudoVideoConfig(teacher_strength=0.7), model, fit, landmarks, lead_s=0.04)
    assert isinstance(viseme, VisemeTeacher)
    assert viseme.style["strength"] == 0.7
    assert viseme.style["lead_s"] == 0.04
    with pytest.raises(DataError, match=r"wav2lip .* is missing"):
        make_teacher(PseudoVideoConfig(teacher="wav2lip"), model, fit, landmarks, lead_s=0.0)
    network = load_rule_b(Wav2LipGenerator(), "wav2lip")
    monkeypatch.setattr(teachers, "load_wav2lip", lambda: (network, "abc"))
    painted = make_teacher(PseudoVideoConfig(teacher="wav2lip"), model, fit, landmarks, lead_s=0.0)
    assert isinstance(painted, Wav2LipTeacher)
    assert painted.weights == "abc"


def test_a_corpus_folder_is_spoken_with_phonemes_only_where_they_are_needed(tmp_path: Path, spoken):
    write_audio(tmp_path / "a.wav", spoken.audio)
    config = PseudoVideoConfig(corpus_dir=str(tmp_path), pseudo_seconds=2.0)
    viseme = VisemeTeacher(make_face_model(), make_coefficients(8))
    assert all(u.speech.phonemes for u in plan_corpus(config, FPS, viseme).utterances)
    network = load_rule_b(Wav2LipGenerator(), "wav2lip")
    silent = plan_corpus(config, FPS, Wav2LipTeacher(network, np.zeros((1, 68, 2)), np.zeros(1, int))).utterances
    assert all(u.speech.phonemes == () for u in silent)
    synthetic = plan_corpus(PseudoVideoConfig(pseudo_seconds=2.0), FPS, viseme).utterances
    assert [u.speech.text for u in synthetic] == [u.speech.text for u in plan_utterances(2.0, 0, FPS)]


def test_what_the_stage_depends_on_is_listed(tmp_path: Path, spoken):
    write_audio(tmp_path / "a.wav", spoken.audio)
    (tmp_path / "a.txt").write_text(TEXT)
    (tmp_path / "b.txt").write_text("no recording beside it")
    files = list_files_used(PseudoVideoConfig(corpus_dir=str(tmp_path)))
    assert [path.name for path in files] == ["audio_encoder_open.safetensors", tmp_path.name, "a.wav", "a.txt"]
    assert len(list_files_used(PseudoVideoConfig())) == 1
    with pytest.raises(DataError, match=r"wav2lip .* is missing"):
        list_files_used(PseudoVideoConfig(teacher="wav2lip"))
