"""Effects of the speech augmentations on sound and phonemes."""

import numpy as np
import pytest

from metatalk_lib.speech.augmentation import (
    add_noise,
    add_reverberation,
    degrade_recording,
    limit_band,
    scale_throat,
    shape_spectrum,
)
from metatalk_lib.speech.synthesis import PAUSE, Phoneme, Speech, pad_with_pauses

RATE = 16000


def tone(frequency_hz: float, rate: int = RATE, seconds: float = 1.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(int(rate * seconds)) / rate)


def say(rate: int = 22050) -> Speech:
    phonemes = (Phoneme("a", 0.0, 0.4), Phoneme("b", 0.4, 1.0))
    return Speech(tone(500, rate).astype(np.float32), rate, phonemes, "ab", "none")


def level(samples: np.ndarray) -> float:
    return float(np.sqrt(np.square(samples[2000:-2000]).mean()))


def test_pauses_move_the_phonemes_with_the_sound():
    padded = pad_with_pauses(say(), 0.5, 0.25)
    assert padded.duration_s == pytest.approx(1.75, abs=1e-3)
    assert [p.symbol for p in padded.phonemes] == [PAUSE, "a", "b", PAUSE]
    assert padded.phonemes[1].start_s == pytest.approx(0.5, abs=1e-3)
    assert padded.phonemes[-1].end_s == pytest.approx(padded.duration_s, abs=1e-3)
    assert not padded.samples[:11000].any()
    assert pad_with_pauses(say(), 0.0, 0.0).phonemes == say().phonemes


def test_a_smaller_throat_is_higher_and_faster():
    small = scale_throat(say(), 1.1)
    assert small.rate == RATE
    assert small.duration_s == pytest.approx(1 / 1.1, rel=1e-3)
    assert small.phonemes[0].end_s == pytest.approx(0.4 / 1.1)
    peak_hz = np.abs(np.fft.rfft(small.samples)).argmax() * RATE / len(small.samples)
    assert peak_hz == pytest.approx(550, abs=3)


def test_spectrum_gains_are_in_decibel():
    gains_db = np.array([0, 0, 0, 20, -20, 0, 0.0])
    assert level(shape_spectrum(tone(1000), gains_db)) == pytest.approx(10 * level(tone(1000)), rel=1e-3)
    assert level(shape_spectrum(tone(2500), gains_db)) == pytest.approx(0.1 * level(tone(2500)), rel=1e-3)


def test_band_limit_keeps_what_lies_below():
    assert level(limit_band(tone(2000), 3500.0)) == pytest.approx(level(tone(2000)), rel=1e-3)
    assert level(limit_band(tone(5000), 3500.0)) < 2e-3 * level(tone(5000))


def test_noise_has_the_asked_ratio():
    noise = add_noise(tone(500), 20.0, 1.0, np.random.default_rng(0)) - tone(500)
    assert np.sqrt(np.square(noise).mean()) == pytest.approx(0.1 * np.sqrt(np.square(tone(500)).mean()), rel=1e-6)


def test_reverberation_rings_on_and_keeps_the_direct_sound():
    click = np.zeros(RATE)
    click[100] = 1.0
    wet = add_reverberation(click, 0.3, 0.5, np.random.default_rng(0))
    assert not np.abs(wet[:100]).max() > 1e-9
    assert np.square(wet - click).sum() == pytest.approx(0.5)
    early, late = np.square(wet[200:1000]).sum(), np.square(wet[4000:4800]).sum()
    assert late < 1e-3 * early


def test_a_degraded_recording_keeps_its_length_and_depends_on_the_generator_only():
    first, again, other = (degrade_recording(tone(500), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert len(first) == RATE
    assert np.abs(first).max() <= 1
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.isfinite(degrade_recording(np.zeros(RATE), np.random.default_rng(3))).all()
