"""Augmentation of speech for training: random vocal tract length, room, microphone, noise and level."""

from dataclasses import replace

import numpy as np
import soxr
from jaxtyping import Float
from scipy.signal import fftconvolve

from metatalk_lib.media.audio import FEATURE_RATE
from metatalk_lib.speech.synthesis import Phoneme, Speech

EQ_POINTS_HZ = (60, 150, 400, 1000, 2500, 5000, 8000)
"""Frequencies at which the random frequency response is given, Hz."""


def scale_throat(speech: Speech, factor: float) -> Speech:
    """Raise pitch and all resonances by `factor`, as of a smaller speaker; this shortens the utterance by `factor`.

    Args:
        speech: any utterance; its phonemes are rescaled, too.
        factor: factor above 0; 1 only converts the sampling rate to 16 kHz.

    Source: Original to this project.
    """
    samples = soxr.resample(speech.samples, speech.rate * factor, FEATURE_RATE).astype(np.float32)
    moved = tuple(Phoneme(p.symbol, p.start_s / factor, p.end_s / factor) for p in speech.phonemes)
    return replace(speech, samples=samples, rate=FEATURE_RATE, phonemes=moved)


def degrade_recording(samples: Float[np.ndarray, " S"], generator: np.random.Generator) -> Float[np.ndarray, " S"]:
    """Simulate a recording with a random room, microphone, noise and level; timing is unchanged.

    Args:
        samples: 16 kHz mono.
        generator: source of every choice.

    Returns:
        The same number of samples, rounded to 16 bits.

    Source: Original to this project.
    """
    signal = samples.astype(np.float64)
    if generator.random() < 0.5:
        signal = add_reverberation(signal, generator.uniform(0.1, 0.6), generator.uniform(0.1, 0.7), generator)
    if generator.random() < 0.9:
        signal = shape_spectrum(signal, generator.normal(0, 6.0, len(EQ_POINTS_HZ)))
    if generator.random() < 0.2:
        signal = limit_band(signal, generator.uniform(3400, 7500))
    if generator.random() < 0.75:
        signal = add_noise(signal, generator.uniform(0, 40), generator.uniform(0, 2), generator)
    signal *= 10 ** (generator.uniform(-30, -1) / 20) / max(np.abs(signal).max(), 1e-9)
    return (np.round(signal * 32767) / 32767).astype(np.float32)


def draw_other_sound(generator: np.random.Generator) -> Float[np.ndarray, " S"]:
    """Generate two to six seconds without speech: silence, chords of harmonic tones, or noise that swells.

    Args:
        generator: source of every choice.

    Returns:
        16 kHz mono.

    Source: Original to this project.
    """
    count = int(FEATURE_RATE * generator.uniform(2, 6))
    time_s = np.arange(count) / FEATURE_RATE
    kind = generator.integers(3)
    if kind == 0:
        samples = np.zeros(count)
        return _add_noise_floor(samples, generator) if generator.random() < 0.5 else samples.astype(np.float32)
    if kind == 1:
        samples = _draw_chords(time_s, generator)
    else:
        swell = 1 + generator.uniform(0, 0.9) * np.sin(2 * np.pi * generator.uniform(0.2, 6) * time_s)
        samples = shape_spectrum(generator.normal(size=count), generator.normal(0, 12.0, len(EQ_POINTS_HZ))) * swell
    samples = (0.5 * samples / np.abs(samples).max()).astype(np.float32)
    return degrade_recording(samples, generator) if generator.random() < 0.8 else samples


def _add_noise_floor(samples: Float[np.ndarray, " S"], generator: np.random.Generator) -> Float[np.ndarray, " S"]:
    """Add the hiss of a quiet recording, -80 to -40 dB re full scale."""
    hiss = shape_spectrum(generator.normal(size=len(samples)), generator.normal(0, 6.0, len(EQ_POINTS_HZ)))
    return (samples + hiss * 10 ** (generator.uniform(-80, -40) / 20) / hiss.std()).astype(np.float32)


def _draw_chords(time_s: Float[np.ndarray, " S"], generator: np.random.Generator) -> Float[np.ndarray, " S"]:
    """Draw one to six voices of harmonic tones, held or struck, some with vibrato; half of the time with a drum."""
    samples, beat_s = np.zeros(len(time_s)), generator.uniform(0.15, 0.8)
    beat = (time_s / beat_s).astype(int)
    since_s = time_s - beat * beat_s
    for _ in range(int(generator.integers(1, 7))):
        pitch_hz = 55 * 2 ** (generator.integers(0, 48, beat[-1] + 1) / 12)[beat]
        vibrato = 1 + generator.uniform(0, 0.02) * np.sin(2 * np.pi * generator.uniform(4, 7) * time_s)
        phase = 2 * np.pi * np.cumsum(pitch_hz * vibrato) / FEATURE_RATE
        fall, held_s = generator.uniform(0.5, 2.5), generator.uniform(0.1, 3)
        harmonics = np.arange(1, int(generator.integers(2, 16)), 1 + int(generator.random() < 0.3))
        tone = sum(np.sin(number * phase) / number**fall for number in harmonics)
        samples += generator.uniform(0.3, 1) * tone * np.exp(-since_s / held_s)
    if generator.random() < 0.5:
        drum = generator.normal(size=len(time_s)) * np.exp(-generator.uniform(8, 40) * since_s)
        samples += generator.uniform(0.2, 1.5) * shape_spectrum(drum, generator.normal(0, 8.0, len(EQ_POINTS_HZ)))
    return samples


def shape_spectrum(samples: Float[np.ndarray, " S"], gains_db: Float[np.ndarray, " 7"]) -> Float[np.ndarray, " S"]:
    """Apply a frequency response given at `EQ_POINTS_HZ`, linear in between over the logarithm of frequency."""
    frequencies = np.fft.rfftfreq(len(samples), 1 / FEATURE_RATE)
    gains = np.interp(np.log(np.maximum(frequencies, 1.0)), np.log(EQ_POINTS_HZ), gains_db)
    return np.fft.irfft(np.fft.rfft(samples) * 10 ** (gains / 20), len(samples))


def limit_band(samples: Float[np.ndarray, " S"], cutoff_hz: float) -> Float[np.ndarray, " S"]:
    """Apply a low-pass filter like that of a telephone or a lossy codec, 60 dB down one tenth above the cutoff."""
    frequencies = np.fft.rfftfreq(len(samples), 1 / FEATURE_RATE)
    gains_db = np.interp(frequencies, [cutoff_hz, 1.1 * cutoff_hz], [0.0, -60.0])
    return np.fft.irfft(np.fft.rfft(samples) * 10 ** (gains_db / 20), len(samples))


def add_reverberation(
    samples: Float[np.ndarray, " S"], decay_s: float, amount: float, generator: np.random.Generator
) -> Float[np.ndarray, " S"]:
    """Add reverberation: noise that decays by 60 dB in `decay_s`, with `amount` times the direct sound's energy."""
    length = int(decay_s * FEATURE_RATE)
    tail = generator.normal(size=length) * 10 ** (-3 * np.arange(length) / length)
    tail *= np.sqrt(amount / np.square(tail).sum())
    return samples + fftconvolve(samples, tail)[: len(samples)]


def add_noise(
    samples: Float[np.ndarray, " S"], ratio_db: float, slope: float, generator: np.random.Generator
) -> Float[np.ndarray, " S"]:
    """Add steady noise.

    Args:
        samples: 16 kHz mono.
        ratio_db: signal-to-noise ratio over the whole signal, dB.
        slope: exponent by which the noise spectrum falls with frequency: 0 is white, 1 is pink.
        generator: source of the noise.
    """
    spectrum = np.fft.rfft(generator.normal(size=len(samples)))
    noise = np.fft.irfft(spectrum * np.maximum(np.arange(len(spectrum)), 1) ** (-slope / 2), len(samples))
    wanted = np.sqrt(np.square(samples).mean()) * 10 ** (-ratio_db / 20)
    return samples + noise * wanted / np.sqrt(np.square(noise).mean())
