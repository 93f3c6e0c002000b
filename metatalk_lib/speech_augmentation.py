"""How recordings of one sentence differ: throat, room, microphone, noise, level. For training networks on speech."""

from dataclasses import replace

import numpy as np
import soxr
from jaxtyping import Float
from scipy.signal import fftconvolve

from metatalk_lib.audio import FEATURE_RATE
from metatalk_lib.speech import PAUSE, Phoneme, Speech

EQ_POINTS_HZ = (60, 150, 400, 1000, 2500, 5000, 8000)
"""Corners of the random frequency response."""


def pad_with_pauses(speech: Speech, before_s: float, after_s: float) -> Speech:
    """Put silence round an utterance.

    Args:
        speech: any utterance.
        before_s: silence added at the start, s, at least 0.
        after_s: silence added at the end, s, at least 0.

    Source: Original to this project.
    """
    before, after = round(before_s * speech.rate), round(after_s * speech.rate)
    shift = before / speech.rate
    moved = [Phoneme(p.symbol, p.start_s + shift, p.end_s + shift) for p in speech.phonemes]
    end_s = moved[-1].end_s
    pauses = [Phoneme(PAUSE, 0.0, shift)] if before else []
    endings = [Phoneme(PAUSE, end_s, end_s + after / speech.rate)] if after else []
    return replace(speech, samples=np.pad(speech.samples, (before, after)), phonemes=(*pauses, *moved, *endings))


def scale_throat(speech: Speech, factor: float) -> Speech:
    """Raise all resonances and the pitch by `factor`, which shortens the utterance by it: another, smaller speaker.

    Args:
        speech: any utterance; its phonemes are moved along.
        factor: above 0; 1 changes nothing but the rate, which becomes 16 kHz.

    Source: Original to this project.
    """
    samples = soxr.resample(speech.samples, speech.rate * factor, FEATURE_RATE).astype(np.float32)
    moved = tuple(Phoneme(p.symbol, p.start_s / factor, p.end_s / factor) for p in speech.phonemes)
    return replace(speech, samples=samples, rate=FEATURE_RATE, phonemes=moved)


def degrade_recording(samples: Float[np.ndarray, " S"], generator: np.random.Generator) -> Float[np.ndarray, " S"]:
    """Record the samples again in a random room with a random microphone, noise and level; time stays as it is.

    Args:
        samples: 16 kHz mono.
        generator: source of every choice.

    Returns:
        As many samples, rounded to 16 bits.

    Source: Original to this project.
    """
    signal = samples.astype(np.float64)
    if generator.random() < 0.5:
        signal = add_reverberation(signal, generator.uniform(0.1, 0.6), generator.uniform(0.1, 0.7), generator)
    if generator.random() < 0.85:
        signal = shape_spectrum(signal, generator.normal(0, 5.0, len(EQ_POINTS_HZ)))
    if generator.random() < 0.2:
        signal = limit_band(signal, generator.uniform(3400, 7500))
    if generator.random() < 0.8:
        signal = add_noise(signal, generator.uniform(5, 45), generator.uniform(0, 1.2), generator)
    signal *= 10 ** (generator.uniform(-30, -1) / 20) / max(np.abs(signal).max(), 1e-9)
    return (np.round(signal * 32767) / 32767).astype(np.float32)


def shape_spectrum(samples: Float[np.ndarray, " S"], gains_db: Float[np.ndarray, " 7"]) -> Float[np.ndarray, " S"]:
    """Apply a frequency response given at `EQ_POINTS_HZ`, linear in between over the logarithm of frequency."""
    frequencies = np.fft.rfftfreq(len(samples), 1 / FEATURE_RATE)
    gains = np.interp(np.log(np.maximum(frequencies, 1.0)), np.log(EQ_POINTS_HZ), gains_db)
    return np.fft.irfft(np.fft.rfft(samples) * 10 ** (gains / 20), len(samples))


def limit_band(samples: Float[np.ndarray, " S"], cutoff_hz: float) -> Float[np.ndarray, " S"]:
    """Low-pass as a telephone or a lossy codec does, 60 dB down one tenth above the cutoff."""
    frequencies = np.fft.rfftfreq(len(samples), 1 / FEATURE_RATE)
    gains_db = np.interp(frequencies, [cutoff_hz, 1.1 * cutoff_hz], [0.0, -60.0])
    return np.fft.irfft(np.fft.rfft(samples) * 10 ** (gains_db / 20), len(samples))


def add_reverberation(
    samples: Float[np.ndarray, " S"], decay_s: float, amount: float, generator: np.random.Generator
) -> Float[np.ndarray, " S"]:
    """Add a room: noise that decays by 60 dB in `decay_s`, with `amount` times the direct sound's energy."""
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
        ratio_db: energy of the whole signal over the noise's, dB.
        slope: the noise's spectrum falls as frequency to minus this power: 0 is white, 1 is pink.
        generator: source of the noise.
    """
    spectrum = np.fft.rfft(generator.normal(size=len(samples)))
    noise = np.fft.irfft(spectrum * np.maximum(np.arange(len(spectrum)), 1) ** (-slope / 2), len(samples))
    wanted = np.sqrt(np.square(samples).mean()) * 10 ** (-ratio_db / 20)
    return samples + noise * wanted / np.sqrt(np.square(noise).mean())
