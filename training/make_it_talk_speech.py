"""Speech inputs of MakeItTalk for training: many voices with true facial actions, and people of `render_speakers`."""

import multiprocessing
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from metatalk_lib.baselines.make_it_talk import RATE
from metatalk_lib.baselines.make_it_talk_audio import (
    STEPS_PER_S,
    bin_pitch,
    bring_to_level,
    compute_auto_vc_mel,
    compute_voice_mel,
    normalise_pitch,
    prepare_voice,
    track_pitch,
)
from metatalk_lib.core.artifacts import load_arrays, save_arrays
from metatalk_lib.core.progress import track
from metatalk_lib.face3d.anny_data import ACTION_NAMES
from metatalk_lib.media.audio import FEATURE_RATE, to_pcm16
from metatalk_lib.speech.augmentation import degrade_recording, scale_throat
from metatalk_lib.speech.recorded_voices import HELD_OUT_RECORDED, RECORDED_VOICES, synthesize_recorded
from metatalk_lib.speech.sentences import HELD_OUT_SENTENCES, SENTENCES_SEEN
from metatalk_lib.speech.synthesis import Speech, pad_with_pauses, synthesize
from metatalk_lib.speech.visemes import viseme_curves
from metatalk_lib.speech.words import WORDS, draw_text
from training.render_speakers import ENGLISH, FOREIGN_VARIANTS, FPS, TEST_ENGLISH
from training.speech_corpus import RECORDED

THROATS = (0.86, 0.92, 0.98, 1.04, 1.10, 1.16)
"""Factors on the resonances of a voice; each factor makes a different voice."""
FEWER_THROATS = THROATS[1::2]
DEGRADED = 0.3
"""Share of utterances that are degraded by a random room and microphone."""
LIP_ACTIONS = np.array([name.startswith(("jaw", "mouth", "tongue")) for name in ACTION_NAMES])


@dataclass(frozen=True)
class Voice:
    """A voice.

    Attributes:
        name: name of the voice in Flite, Festival or espeak-ng.
        throat: factor by which the resonances are raised.
        pitch: pitch of espeak-ng's voices, 0 to 100.
    """

    name: str
    throat: float
    pitch: int


class Spoken(NamedTuple):
    """One utterance, normalised to −20 dBFS; M steps of 16 ms.

    Attributes:
        pcm_16k: 16-bit samples.
        mel: (M, 80) mel spectrogram for AutoVC.
        pitch: (M,) pitch bins.
        voice_mel: (V, 40) mel spectrogram, of which the voice encoder reads pieces.
        actions: (M, 52) facial actions at each step; only jaw, lips and tongue move.
        voice: (1,) number of the voice.
    """

    pcm_16k: np.ndarray
    mel: np.ndarray
    pitch: np.ndarray
    voice_mel: np.ndarray
    actions: np.ndarray
    voice: np.ndarray


def list_voices(*, for_test: bool) -> list[Voice]:
    """List the voices for training or for tests; none is a studio character's."""
    generator = np.random.default_rng(77)
    recorded, english = (HELD_OUT_RECORDED, TEST_ENGLISH) if for_test else (RECORDED, ENGLISH)
    pairs = [(name, throat) for name in recorded for throat in THROATS]
    pairs += [(name, throat) for name in english for throat in FEWER_THROATS]
    for language in () if for_test else sorted(WORDS):
        variants = generator.choice(FOREIGN_VARIANTS, 2, replace=False)
        pairs += [(language + str(variant), float(generator.choice(THROATS))) for variant in variants]
    return [Voice(name, throat, int(generator.integers(15, 90))) for name, throat in pairs]


def make_utterances(count: int, seed: int, workers: int, *, for_test: bool = False) -> list[Spoken]:
    """Draw utterances, with the voices in turn; each has its own seed, so any prefix is the same."""
    job = partial(draw_utterance, seed=seed, for_test=for_test)
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        return list(track(pool.imap(job, range(count), chunksize=4), "speaking", total=count, unit="utterance"))


def draw_utterance(index: int, *, seed: int, for_test: bool) -> Spoken:
    """Draw the utterance of a given number: a random sentence by the next voice."""
    generator, voices = np.random.default_rng([seed, 4201, index]), list_voices(for_test=for_test)
    order = np.random.default_rng([seed, 4202]).permutation(len(voices))
    number = int(order[index % len(voices)])
    speech = scale_throat(_speak(voices[number], generator, for_test=for_test), voices[number].throat)
    speech = pad_with_pauses(speech, *generator.uniform(0.1, 0.5, 2))
    samples = speech.samples
    if generator.random() < DEGRADED:
        samples = degrade_recording(samples, generator)
    steps = int(len(samples) / FEATURE_RATE * STEPS_PER_S) + 1
    return hear_samples(samples, viseme_curves(speech.phonemes, steps, RATE), number)


def hear_samples(samples_16k: np.ndarray, actions: np.ndarray, voice: int) -> Spoken:
    """Compute MakeItTalk's speech inputs from samples.

    Args:
        samples_16k: mono, in [-1, 1].
        actions: facial actions, one row for each step; the last row is repeated.
        voice: number of the voice.
    """
    pcm = to_pcm16(bring_to_level(samples_16k.astype(np.float64)))
    samples = pcm / 32768
    mel = compute_auto_vc_mel(samples).astype(np.float32)
    pitch = bin_pitch(normalise_pitch(track_pitch(samples))).astype(np.int16)
    rows = np.minimum(np.arange(len(mel)), len(actions) - 1)
    lips = np.where(LIP_ACTIONS, actions[rows], 0).astype(np.float32)
    voice_mel = compute_voice_mel(prepare_voice(samples)).astype(np.float32)
    return Spoken(pcm, mel, pitch, voice_mel, lips, np.array([voice]))


def load_speaker(path: Path) -> tuple[Spoken, np.ndarray]:
    """Load the speech of a person of `render_speakers`, and the landmarks (M, 68, 2) at each step, px."""
    arrays = load_arrays(path, "pcm_16k", "actions", "landmarks")
    steps = len(arrays["pcm_16k"]) * Fraction(RATE) // FEATURE_RATE + 1
    actions, landmarks = (to_steps(arrays[name], int(steps)) for name in ("actions", "landmarks"))
    # numbers from 1000 on are people, each with a different voice
    return hear_samples(arrays["pcm_16k"] / 32768, actions, 1000 + int(path.stem)), landmarks


def to_steps(values: np.ndarray, steps: int) -> np.ndarray:
    """Interpolate values of frames at 25 fps linearly at steps of 16 ms; the last value is repeated."""
    places = np.minimum(np.arange(steps) * FPS / float(RATE), len(values) - 1)
    below = np.minimum(places.astype(int), max(0, len(values) - 2))
    share = (places - below).reshape(-1, *[1] * (values.ndim - 1))
    return (1 - share) * values[below] + share * values[np.minimum(below + 1, len(values) - 1)]


def save_utterances(path: Path, utterances: list[Spoken]) -> None:
    """Save one array for each field, with all utterances concatenated, and their lengths."""
    arrays = {}
    for name in Spoken._fields:
        parts = [getattr(item, name) for item in utterances]
        arrays[name], arrays[f"{name}_length"] = np.concatenate(parts), np.array([len(part) for part in parts])
    save_arrays(path, **arrays)


def load_utterances(path: Path) -> list[Spoken]:
    """Load the utterances of `save_utterances`."""
    arrays = load_arrays(path)
    columns = [np.split(arrays[name], np.cumsum(arrays[f"{name}_length"])[:-1]) for name in Spoken._fields]
    return [Spoken(*row) for row in zip(*columns, strict=True)]


def _speak(voice: Voice, generator: np.random.Generator, *, for_test: bool) -> Speech:
    sentence = str(generator.choice(HELD_OUT_SENTENCES if for_test else SENTENCES_SEEN))
    if voice.name in RECORDED_VOICES:
        language = RECORDED_VOICES[voice.name].language
        text = sentence if language == "en" else draw_text(language, generator)
        return synthesize_recorded(text, voice.name, stretch=float(generator.uniform(0.8, 1.35)))
    language = voice.name.partition("+")[0]
    text = draw_text(language, generator) if language in WORDS else sentence
    return synthesize(text, voice.name, speed_wpm=int(generator.integers(115, 215)), pitch=voice.pitch)
