"""Speech: determinism, phonemes that tile the samples, refusals."""

import itertools
import re

import numpy as np
import pytest

from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.speech import synthesis
from metatalk_lib.speech.sentences import SENTENCES, STUDIO_SENTENCES
from metatalk_lib.speech.synthesis import PAUSE, VOICES, build_phonemes, synthesize
from metatalk_lib.speech.visemes import split_phoneme


@pytest.fixture(scope="module")
def utterance():
    return synthesize("Bob saw a shoe, and then a map.", "en-us")


def test_equal_requests_give_equal_samples(utterance):
    synthesize("Something else in between.", "en-gb+f4")
    again = synthesize(utterance.text, utterance.voice)
    assert np.array_equal(again.samples, utterance.samples)
    assert again.phonemes == utterance.phonemes


def test_phonemes_cover_the_duration_without_overlap(utterance):
    phonemes = utterance.phonemes
    assert phonemes[0].start_s == 0.0
    assert phonemes[-1].end_s == utterance.duration_s
    assert all(a.end_s == b.start_s for a, b in itertools.pairwise(phonemes))
    assert all(phoneme.end_s > phoneme.start_s for phoneme in phonemes)


def test_known_phonemes_in_order(utterance):
    spoken = "".join(phoneme.symbol for phoneme in utterance.phonemes if phoneme.symbol != PAUSE)
    assert re.match(r"bˈ?ɑːb", spoken)
    assert spoken.endswith("p")
    assert "ʃˈuː" in spoken
    assert any(phoneme.symbol == PAUSE and 0.9 < phoneme.start_s < 2.0 for phoneme in utterance.phonemes)


def test_pauses_are_silent_and_vowels_are_loud(utterance):
    def level(phoneme):
        start, end = (round(time * utterance.rate) for time in (phoneme.start_s, phoneme.end_s))
        return float(np.sqrt(np.mean(utterance.samples[start:end] ** 2)))

    pauses = [p for p in utterance.phonemes if p.symbol == PAUSE and p.end_s - p.start_s > 0.1]
    vowels = [p for p in utterance.phonemes if p.symbol in ("ˈɑː", "ˈɔː", "ˈuː", "ˈæ")]
    assert len(pauses) >= 1
    assert len(vowels) >= 3
    assert max(map(level, pauses)) < 0.1 * min(map(level, vowels))
    assert np.abs(utterance.samples).max() <= 1.0
    assert utterance.samples.dtype == np.float32


def test_rate_pitch_and_voice_change_the_sound(utterance):
    slow = synthesize(utterance.text, speed_wpm=110)
    assert slow.duration_s > 1.2 * utterance.duration_s
    high = synthesize(utterance.text, pitch=90)
    assert high.samples.shape != utterance.samples.shape or not np.array_equal(high.samples, utterance.samples)
    assert len({synthesize("Oh, my hope!", voice).samples.tobytes() for voice in VOICES}) == len(VOICES)


def test_build_phonemes_fills_merges_and_drops():
    built = build_phonemes([[300, ""], [100, "a"], [200, "b"], [200, "c"], [400, ""]], 500, 100)
    assert [(p.symbol, p.start_s, p.end_s) for p in built] == [
        (PAUSE, 0.0, 1.0),
        ("a", 1.0, 2.0),
        ("c", 2.0, 3.0),
        (PAUSE, 3.0, 5.0),
    ]


def test_corpus_is_rich_and_disjoint():
    studio = [sentence for sentences in STUDIO_SENTENCES.values() for sentence in sentences]
    assert len(set(SENTENCES)) == len(SENTENCES) >= 120
    assert sorted(STUDIO_SENTENCES) == list("ABCDEFG")
    assert len(set(studio)) == len(studio)
    assert not set(SENTENCES) & set(studio)
    assert max(map(len, SENTENCES)) > 5 * min(map(len, SENTENCES))
    text = " ".join(SENTENCES[:50])
    visemes = {viseme for p in synthesize(text).phonemes for viseme in split_phoneme(p.symbol)}
    assert len(visemes) >= 24


def test_studio_texts_last_twenty_seconds():
    assert min(synthesize(" ".join(text), speed_wpm=180).duration_s for text in STUDIO_SENTENCES.values()) >= 20.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"text": "  "}, "at least one word"),
        ({"text": "hello", "voice": "nowhere"}, "no voice `nowhere`"),
        ({"text": "hello", "voice": "en-us+nobody"}, "no voice `en-us\\+nobody`"),
        ({"text": "hello", "speed_wpm": 10}, "speed_wpm is 10"),
        ({"text": "hello", "pitch": 101}, "pitch is 101"),
    ],
)
def test_bad_requests_are_refused(arguments, message):
    with pytest.raises(ParameterError, match=message):
        synthesize(**arguments)


def test_a_dying_worker_is_a_data_error(monkeypatch, tmp_path):
    broken = tmp_path / "worker.py"
    broken.write_text("raise SystemExit('no library here')", "utf-8")
    monkeypatch.setattr(synthesis.espeak_worker, "__file__", str(broken))
    with pytest.raises(DataError, match="no library here"):
        synthesize("hello")


def test_a_library_that_does_not_start_is_a_data_error(monkeypatch, tmp_path):
    broken = tmp_path / "worker.py"
    broken.write_text('print(\'{"error": "espeak-ng did not start (code -1)"}\')', "utf-8")
    monkeypatch.setattr(synthesis.espeak_worker, "__file__", str(broken))
    with pytest.raises(DataError, match="did not start"):
        synthesize("hello")
