"""recognition: phonemes cover the recording, lie where the synthesiser put them, and bad requests are refused."""

import itertools

import numpy as np
import pytest

from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.media.audio import to_mono_16k
from metatalk_lib.speech.phoneme_recognition import ARPABET, recognise_phonemes
from metatalk_lib.speech.synthesis import PAUSE, Speech, pad_with_pauses, synthesize
from metatalk_lib.speech.visemes import split_phoneme

TEXT = "My mother makes a very good apple pie."


@pytest.fixture(scope="module")
def spoken() -> Speech:
    return pad_with_pauses(synthesize(TEXT, "en-us", speed_wpm=140), 0.5, 0.5)


@pytest.fixture(scope="module")
def samples(spoken) -> np.ndarray:
    return to_mono_16k(spoken.audio)


def starts(phonemes, symbols: str) -> list[float]:
    return [phoneme.start_s for phoneme in phonemes if phoneme.symbol.strip("ˈˌː") in symbols]


def test_words_that_are_told_lie_where_the_synthesiser_put_them(spoken, samples):
    found = recognise_phonemes(samples, transcript=TEXT)
    assert found[0].start_s == 0
    assert found[-1].end_s == pytest.approx(len(samples) / 16000)
    assert all(left.end_s == right.start_s for left, right in itertools.pairwise(found))
    assert found[0].symbol == found[-1].symbol == PAUSE
    lips = "mpb"
    assert len(starts(found, lips)) == len(starts(spoken.phonemes, lips)) == 5
    np.testing.assert_allclose(starts(found, lips), starts(spoken.phonemes, lips), atol=0.06)


@pytest.mark.parametrize("method", ["auto", "words", "phones"])
def test_without_a_transcript_sounds_are_heard_and_silence_is_silent(samples, method: str):
    found = recognise_phonemes(samples, method=method)
    assert found[-1].end_s == pytest.approx(len(samples) / 16000)
    assert found[0].symbol == PAUSE
    assert found[0].end_s > 0.3
    assert sum(phoneme.symbol != PAUSE for phoneme in found) > 15


def test_the_gain_does_not_matter(samples):
    quiet = recognise_phonemes(0.2 * samples, transcript=TEXT)
    assert [p.symbol for p in quiet] == [p.symbol for p in recognise_phonemes(samples, transcript=TEXT)]


def test_words_beyond_the_dictionary_are_spelt_by_the_synthesiser():
    speech = synthesize("Zlotynski met Grobnik in Wurblestadt.", "en-us", speed_wpm=130)
    samples = to_mono_16k(speech.audio)
    found = recognise_phonemes(samples, transcript="Zlotynski met Grobnik in Wurblestadt.")
    assert "".join(p.symbol for p in found if p.symbol != PAUSE).count("b") >= 2


def test_numbers_and_accents_are_spoken_and_foreign_letters_are_left_to_the_ear():
    speech = pad_with_pauses(synthesize("In the café we met 25 people.", "en-us", speed_wpm=130), 0.3, 0.3)
    samples = to_mono_16k(speech.audio)
    found = "".join(p.symbol for p in recognise_phonemes(samples, transcript="In the café we met 25 people."))
    assert "f" in found
    assert found.count("p") == 2
    assert len(found) > len("".join(p.symbol for p in recognise_phonemes(samples[:32000], method="phones")))
    by_ear = recognise_phonemes(samples, transcript="доброе утро")
    assert [p.symbol for p in by_ear] == [p.symbol for p in recognise_phonemes(samples, method="phones")]


def test_silence_and_a_blink_of_sound_are_pauses():
    for count in (50, 16000):
        found = recognise_phonemes(np.zeros(count, np.float32))
        assert {phoneme.symbol for phoneme in found} == {PAUSE}
        assert found[-1].end_s == pytest.approx(count / 16000)


def test_what_does_not_fit_is_refused(samples):
    with pytest.raises(ParameterError, match="no method `letters`"):
        recognise_phonemes(samples, method="letters")
    with pytest.raises(ParameterError, match="has no words"):
        recognise_phonemes(samples, transcript="… — …")
    with pytest.raises(ParameterError, match="hears no words"):
        recognise_phonemes(samples, transcript=TEXT, method="phones")
    with pytest.raises(ParameterError, match="`доброе` is not in Latin letters"):
        recognise_phonemes(samples, transcript="доброе утро", method="words")
    with pytest.raises(DataError, match="the transcript does not fit the recording"):
        recognise_phonemes(samples[:16000], transcript=" ".join([TEXT] * 12))


def test_every_phone_has_a_viseme():
    assert all("sil" not in split_phoneme(ipa) for ipa in ARPABET.values())
