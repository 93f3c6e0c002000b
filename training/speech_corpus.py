"""Training utterances of the audio encoder: many voices and languages, degraded recordings, and non-speech sounds."""

import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from metatalk_lib.core.progress import track
from metatalk_lib.media.audio import FEATURE_RATE
from metatalk_lib.speech.augmentation import degrade_recording, draw_other_sound, scale_throat
from metatalk_lib.speech.mfcc import BLOCK_STEPS, MFCC_PADDING, MFCC_STEP, MFCC_WINDOW, compute_mfcc
from metatalk_lib.speech.recorded_voices import HELD_OUT_RECORDED, RECORDED_VOICES, synthesize_recorded
from metatalk_lib.speech.sentences import HELD_OUT_SENTENCES, SENTENCES_SEEN
from metatalk_lib.speech.synthesis import VOICES, Phoneme, Speech, pad_with_pauses, synthesize
from metatalk_lib.speech.visemes import VISEMES, split_phoneme, viseme_curves
from metatalk_lib.speech.words import WORDS, draw_text

FPS = 25
SPARED_SYNTHETIC = ("en-gb+f4", "en-us+m7", "en-us+Annie", "en-gb+m2")
"""Voices of the teacher's corpus that are excluded from training."""
HELD_OUT_SYNTHETIC = ("en-us+m7", "en-us+Annie", "en-us+Alex", "en-gb+linda")
"""Voices whose variants are excluded from training in all languages."""
SYNTHETIC = tuple(voice for voice in VOICES if voice not in SPARED_SYNTHETIC)
RECORDED = tuple(voice for voice in RECORDED_VOICES if voice not in HELD_OUT_RECORDED)
VARIANTS = ("", *sorted({voice[voice.index("+") :] for voice in SYNTHETIC if "+" in voice}))
"""espeak-ng variants of the English training voices, used for the other languages, too."""
SHORTEST_FRAMES = 60
KINDS = {"recorded": 0.45, "english": 0.25, "foreign": 0.22, "other": 0.08}
"""Shares of recorded voices, synthetic English, other synthetic languages, and non-speech sounds."""


@dataclass(frozen=True)
class TrainingUtterance:
    """One training utterance of the encoder.

    Attributes:
        mfcc: (4 T + 24, 12) MFCC, steps of 10 ms by coefficients 1 to 12.
        actions: (T, 52) facial actions of the viseme teacher without inertia: sharp movements teach more.
        visemes: (T,) index of the viseme of each frame.
        voice: name of the voice.
    """

    mfcc: np.ndarray
    actions: np.ndarray
    visemes: np.ndarray
    voice: str


def make_training(count: int, seed: int, workers: int) -> list[TrainingUtterance]:
    """Draw utterances for training; each draw has its own seed, so any prefix is the same."""
    return _make(draw_training, count, seed, workers)


def make_test(kind: str, count: int, seed: int, workers: int, *, is_degraded: bool) -> list[TrainingUtterance]:
    """Draw held-out utterances: `synthetic`, or one of the held-out recorded voices."""
    return _make(_TestDraw(kind, is_degraded), count, seed, workers)


def draw_training(generator: np.random.Generator) -> TrainingUtterance:
    """Draw one utterance of a random kind, degraded by a random vocal tract, room, microphone and noise."""
    kind = list(KINDS)[generator.choice(len(KINDS), p=list(KINDS.values()))]
    if kind == "other":
        samples = draw_other_sound(generator)
        frames = round(len(samples) / FEATURE_RATE * FPS)
        return _describe(samples, np.zeros((frames, 52), np.float32), np.zeros(frames, np.int64), "none")
    if kind == "recorded":
        speech = _speak_recorded(RECORDED[generator.integers(len(RECORDED))], SENTENCES_SEEN, generator)
    elif kind == "english":
        voice = SYNTHETIC[generator.integers(len(SYNTHETIC))]
        speech = _speak_synthetic(SENTENCES_SEEN[generator.integers(len(SENTENCES_SEEN))], voice, generator)
    else:
        language = list(WORDS)[generator.integers(len(WORDS))]
        voice = language + VARIANTS[generator.integers(len(VARIANTS))]
        speech = _speak_synthetic(draw_text(language, generator), voice, generator)
    return _finish(speech, generator, is_degraded=True)


@dataclass(frozen=True)
class _TestDraw:
    kind: str
    is_degraded: bool

    def __call__(self, generator: np.random.Generator) -> TrainingUtterance:
        if self.kind == "synthetic":
            voice = HELD_OUT_SYNTHETIC[generator.integers(len(HELD_OUT_SYNTHETIC))]
            text = HELD_OUT_SENTENCES[generator.integers(len(HELD_OUT_SENTENCES))]
            speech = _speak_synthetic(text, voice, generator)
        else:
            speech = _speak_recorded(self.kind, HELD_OUT_SENTENCES, generator)
        return _finish(speech, generator, is_degraded=self.is_degraded)


@dataclass(frozen=True)
class _Seeded:
    draw: Callable[[np.random.Generator], TrainingUtterance]
    seed: int

    def __call__(self, index: int) -> TrainingUtterance:
        return self.draw(np.random.default_rng([self.seed, index]))


def _make(
    draw: Callable[[np.random.Generator], TrainingUtterance], count: int, seed: int, workers: int
) -> list[TrainingUtterance]:
    job = _Seeded(draw, seed)
    if workers == 1:
        return [job(index) for index in track(range(count), "speaking", unit="utterance")]
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        return list(track(pool.imap(job, range(count), chunksize=8), "speaking", total=count, unit="utterance"))


def _speak_synthetic(text: str, voice: str, generator: np.random.Generator) -> Speech:
    speed, pitch = int(generator.integers(115, 215)), int(generator.integers(15, 90))
    return synthesize(text, voice, speed_wpm=speed, pitch=pitch)


def _speak_recorded(voice: str, sentences: tuple[str, ...], generator: np.random.Generator) -> Speech:
    language = RECORDED_VOICES[voice].language
    text = sentences[generator.integers(len(sentences))] if language == "en" else draw_text(language, generator)
    return synthesize_recorded(text, voice, stretch=float(generator.uniform(0.8, 1.35)))


def _finish(speech: Speech, generator: np.random.Generator, *, is_degraded: bool) -> TrainingUtterance:
    speech = pad_with_pauses(speech, *generator.uniform(0.1, 0.6, 2))
    speech = scale_throat(speech, float(generator.uniform(0.84, 1.2)) if is_degraded else 1.0)
    samples = degrade_recording(speech.samples, generator) if is_degraded else speech.samples
    frames = max(SHORTEST_FRAMES, round(speech.duration_s * FPS))
    names, times = list(VISEMES), np.arange(frames) / FPS
    starts = np.array([phoneme.start_s for phoneme in speech.phonemes])
    spoken = (speech.phonemes[i] for i in np.searchsorted(starts, times, side="right") - 1)
    visemes = [names.index(_part_at(phoneme, t)) for phoneme, t in zip(spoken, times, strict=True)]
    actions = viseme_curves(speech.phonemes, frames, Fraction(FPS), inertia_s=0.0)
    return _describe(samples, actions, np.array(visemes), speech.voice)


def _describe(samples: np.ndarray, actions: np.ndarray, visemes: np.ndarray, voice: str) -> TrainingUtterance:
    """Join sound and targets: the steps of all T blocks, as `mfcc.compute_mfcc_blocks` cuts them at 25 fps."""
    steps = 4 * (len(actions) - 1) + BLOCK_STEPS
    padded = np.pad(samples.astype(np.float32), MFCC_PADDING)
    padded = np.pad(padded, (0, max(0, (steps - 1) * MFCC_STEP + MFCC_WINDOW - len(padded))))
    return TrainingUtterance(compute_mfcc(padded)[:steps, 1:], actions, visemes, voice)


def _part_at(phoneme: Phoneme, time_s: float) -> str:
    """Return the viseme of a phoneme at one instant; diphthongs have two visemes."""
    parts = split_phoneme(phoneme.symbol)
    position = (time_s - phoneme.start_s) / max(phoneme.end_s - phoneme.start_s, 1e-6)
    return parts[min(len(parts) - 1, max(0, int(position * len(parts))))]
