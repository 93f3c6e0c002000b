"""The encoder's training speech: words, other sounds, recorded voices where they are installed, and whole draws."""

import shutil
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.media.audio import to_mono_16k
from metatalk_lib.speech import recorded_voices
from metatalk_lib.speech.augmentation import draw_other_sound
from metatalk_lib.speech.mfcc import compute_mfcc_blocks
from metatalk_lib.speech.recorded_voices import HELD_OUT_RECORDED, synthesize_recorded
from metatalk_lib.speech.synthesis import PAUSE, pad_with_pauses, synthesize
from metatalk_lib.speech.visemes import VISEMES, split_phoneme
from metatalk_lib.speech.words import WORDS, draw_text
from training import speech_corpus
from training.speech_corpus import HELD_OUT_SYNTHETIC, RECORDED, SYNTHETIC, TrainingUtterance

needs_flite = pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed (training only)")
needs_festival = pytest.mark.skipif(shutil.which("festival") is None, reason="festival is not installed (training)")


def test_nothing_is_both_trained_on_and_held_out():
    assert not set(SYNTHETIC) & set(HELD_OUT_SYNTHETIC)
    assert not set(RECORDED) & set(HELD_OUT_RECORDED)
    assert not set(speech_corpus.SENTENCES_SEEN) & set(speech_corpus.HELD_OUT_SENTENCES)
    variants = {voice.partition("+")[2] for voice in HELD_OUT_SYNTHETIC}
    assert not variants & {variant.removeprefix("+") for variant in speech_corpus.VARIANTS}
    assert not variants & {voice.partition("+")[2] for voice in SYNTHETIC}
    assert set(HELD_OUT_RECORDED) < set(recorded_voices.RECORDED_VOICES)


@pytest.mark.parametrize("language", sorted(WORDS))
def test_every_language_can_be_spoken_and_has_visemes(language: str):
    text = draw_text(language, np.random.default_rng(0))
    assert text == draw_text(language, np.random.default_rng(0))
    speech = synthesize(text, language)
    assert len(speech.phonemes) > 8
    assert all(part in VISEMES for phoneme in speech.phonemes for part in split_phoneme(phoneme.symbol))


@pytest.mark.parametrize("seed", range(6))
def test_other_sounds_are_finite_and_not_too_loud(seed: int):
    samples = draw_other_sound(np.random.default_rng(seed))
    assert samples.dtype == np.float32
    assert 2 * 16000 <= len(samples) <= 6 * 16000
    assert np.isfinite(samples).all()
    assert np.abs(samples).max() <= 1.0


def test_steps_hold_the_blocks_of_the_front_end(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(speech_corpus, "KINDS", {"english": 1.0})
    monkeypatch.setattr(speech_corpus, "degrade_recording", lambda samples, generator: samples)
    monkeypatch.setattr(speech_corpus, "scale_throat", lambda speech, factor: _to_16k(speech))
    drawn = speech_corpus.draw_training(np.random.default_rng(3))
    assert isinstance(drawn, TrainingUtterance)
    frames = len(drawn.actions)
    assert drawn.mfcc.shape == (4 * frames + 24, 12)
    assert len(drawn.visemes) == frames
    speech = _draw_again(np.random.default_rng(3))
    blocks = compute_mfcc_blocks(speech.samples, frames, Fraction(25))
    for frame in (0, frames // 2, frames - 1):
        np.testing.assert_allclose(drawn.mfcc[4 * frame : 4 * frame + 28], blocks[frame], atol=1e-4)


def _to_16k(speech):
    return replace(speech, samples=to_mono_16k(speech.audio), rate=16000)


def _draw_again(generator: np.random.Generator):
    """The draws of `draw_training` for English, one by one."""
    generator.choice(1, p=[1.0])
    voice = SYNTHETIC[generator.integers(len(SYNTHETIC))]
    text = speech_corpus.SENTENCES_SEEN[generator.integers(len(speech_corpus.SENTENCES_SEEN))]
    speed, pitch = int(generator.integers(115, 215)), int(generator.integers(15, 90))
    speech = synthesize(text, voice, speed_wpm=speed, pitch=pitch)
    return _to_16k(pad_with_pauses(speech, *generator.uniform(0.1, 0.6, 2)))


def test_in_other_sounds_the_mouth_stays_closed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(speech_corpus, "KINDS", {"other": 1.0})
    drawn = speech_corpus.draw_training(np.random.default_rng(0))
    assert not drawn.actions.any()
    assert (drawn.visemes == list(VISEMES).index("sil")).all()


@needs_flite
def test_flites_segments_cover_the_sound_and_lips_close_where_it_is_quiet():
    speech = synthesize_recorded("Bob put the map up.", "rms")
    assert speech.rate == 16000
    assert speech.phonemes[0].symbol == speech.phonemes[-1].symbol == PAUSE
    assert [p.symbol for p in speech.phonemes if p.symbol in ("b", "p", "m")] == ["b", "b", "p", "m", "p", "p"]
    slow = synthesize_recorded("Bob put the map up.", "rms", stretch=1.3)
    assert slow.duration_s > 1.15 * speech.duration_s
    vowel = next(p for p in speech.phonemes if p.symbol == "æ")
    sound = speech.samples[round(vowel.start_s * 16000) : round(vowel.end_s * 16000)]
    rest = speech.samples[: round(0.8 * speech.phonemes[0].end_s * 16000)]
    assert np.square(sound).mean() > 30 * np.square(rest).mean()


@needs_festival
@pytest.mark.parametrize("voice", ["kal_diphone", "czech_dita", "lp_diphone", "msu_ru_nsh_clunits"])
def test_festivals_voices_say_their_language(voice: str):
    language = recorded_voices.RECORDED_VOICES[voice].language
    text = "Bob put the map up." if language == "en" else draw_text(language, np.random.default_rng(1))
    try:
        speech = synthesize_recorded(text, voice)
    except DataError as error:
        pytest.skip(f"the voice {voice} is not installed: {error}")
    assert speech.duration_s > 0.8
    assert sum(p.symbol != PAUSE for p in speech.phonemes) > 5
    assert speech.phonemes[-1].end_s == pytest.approx(speech.duration_s)


def test_unknown_voices_letters_and_missing_programs_are_refused(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ParameterError, match="no voice `hal`"):
        synthesize_recorded("Hello.", "hal")
    monkeypatch.setattr(recorded_voices.shutil, "which", lambda name: None)
    with pytest.raises(DataError, match="flite is not installed.*training/README.md"):
        synthesize_recorded("Hello.", "rms")


@needs_festival
def test_a_text_that_the_voice_cannot_read_is_refused():
    with pytest.raises(ParameterError, match="czech_dita cannot read"):
        synthesize_recorded("доброе утро", "czech_dita")
