"""The motion of a speaking character: lips, head, blinks, gaze, brows and breath; deterministic by seed."""

import itertools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.face3d.anny_data import ACTION_NAMES
from metatalk_lib.speech.sentences import STUDIO_SENTENCES
from metatalk_lib.speech.synthesis import PAUSE, Phoneme, Speech, synthesize
from metatalk_lib.speech.visemes import viseme_curves
from metatalk_lib.studio.characters import StudioCharacter

GAZE_YAW_RAD, GAZE_PITCH_RAD = 0.265, 0.185  # turn of the eyeball under a full eyeLook action
BLINK_CLOSED = 1.12  # an eyeBlink of 1 leaves a slit
# A blink in seconds from its start: closing is twice as fast as opening.
BLINK_TIMES_S, BLINK_VALUES = (0.0, 0.08, 0.13, 0.30), (0.0, 1.0, 1.0, 0.0)
PAUSE_RANGE_S = (0.30, 0.75)
LEAD_S = 0.4


class Performance(NamedTuple):
    """Everything that moves, a row a frame.

    Attributes:
        actions: (T, 52) facial actions.
        rotation: (T, 3) radians.
        sway: (T, 3) dm.
        breath: (T,) -1 to 1.
    """

    actions: Float[np.ndarray, "T 52"]
    rotation: Float[np.ndarray, "T 3"]
    sway: Float[np.ndarray, "T 3"]
    breath: Float[np.ndarray, " T"]


def write_script(character: StudioCharacter, seconds: float, seed: int) -> Speech:
    """Speech of exactly `seconds`: the character's sentences in shuffled rounds, with pauses between them.

    Raises:
        ParameterError: `seconds` is not above 0.5.
    """
    if not seconds > 0.5:
        raise ParameterError(f"a studio video of {seconds} s is too short. Ask for more than 0.5 s.")
    generator = np.random.default_rng([seed, ord(character.name[0]), 301])
    sentences = STUDIO_SENTENCES[character.name]
    parts: list[np.ndarray] = []
    phonemes: list[Phoneme] = []
    texts: list[str] = []
    clock, rate, gap_s = 0.0, 0, LEAD_S
    while clock < seconds:
        for index in generator.permutation(len(sentences)):
            spoken = synthesize(sentences[index], character.voice, speed_wpm=character.speed_wpm, pitch=character.pitch)
            rate = spoken.rate
            gap = np.zeros(round(gap_s * rate), dtype=np.float32)
            phonemes.append(Phoneme(PAUSE, clock, clock + len(gap) / rate))
            clock += len(gap) / rate
            phonemes += [Phoneme(p.symbol, p.start_s + clock, p.end_s + clock) for p in spoken.phonemes]
            clock += len(spoken.samples) / rate
            parts += [gap, spoken.samples]
            texts.append(sentences[index])
            gap_s = generator.uniform(*PAUSE_RANGE_S)
            if clock >= seconds:
                break
    samples = np.concatenate(parts)[: round(seconds * rate)]
    return Speech(samples, rate, _cut(phonemes, len(samples) / rate), " ".join(texts), character.voice)


def _cut(phonemes: list[Phoneme], end_s: float) -> tuple[Phoneme, ...]:
    kept = [Phoneme(p.symbol, p.start_s, min(p.end_s, end_s)) for p in phonemes if p.start_s < end_s - 1e-4]
    # Rounding when sentences are joined leaves gaps of less than a sample; each phoneme starts where the last ended.
    starts = [0.0] + [p.end_s for p in kept[:-1]]
    return tuple(Phoneme(p.symbol, start, p.end_s) for p, start in zip(kept, starts, strict=True))


def perform(character: StudioCharacter, speech: Speech, frame_count: int, seed: int) -> Performance:
    """Move the character for a speech.

    Args:
        character: gives the way of articulating and how lively the head is.
        speech: the words with the times of their phonemes.
        frame_count: number of frames at the character's rate.
        seed: chooses head motion, blinks and glances.
    """
    generator = np.random.default_rng([seed, ord(character.name[0]), 401])
    fps = character.fps
    actions = viseme_curves(
        speech.phonemes,
        frame_count,
        fps,
        strength=character.speech_strength,
        jaw=character.speech_jaw,
        lips=character.speech_lips,
    ).astype(np.float64)
    loudness = _loudness(speech, frame_count, fps)
    rotation, sway = _move_head(character, loudness, frame_count, generator)
    _add_face(actions, character, loudness, generator)
    _add_gaze(actions, rotation, frame_count, fps, generator)
    _add_blinks(actions, frame_count, fps, generator)
    breath = np.sin(2 * np.pi * (np.arange(frame_count) / fps * 0.27 + generator.random()))
    return Performance(actions.astype(np.float32), rotation, sway, breath)


def _column(name: str) -> int:
    return ACTION_NAMES.index(name)


def _drift(
    count: int, fps: int, low_hz: float, high_hz: float, generator: np.random.Generator
) -> Float[np.ndarray, " T"]:
    """Band-limited noise of unit variance: twelve sine waves of random frequency and phase."""
    times = np.arange(count) / fps
    frequencies = generator.uniform(low_hz, high_hz, 12)
    phases = generator.uniform(0, 2 * np.pi, 12)
    return np.sin(2 * np.pi * frequencies * times[:, None] + phases).sum(axis=1) / np.sqrt(6.0)


def _loudness(speech: Speech, frame_count: int, fps: int) -> Float[np.ndarray, " T"]:
    """Smoothed speech energy, 0 to 1."""
    edges = np.clip((np.arange(frame_count + 1) / fps * speech.rate).astype(int), 0, len(speech.samples))
    power = np.array([np.mean(speech.samples[a:b] ** 2) if b > a else 0.0 for a, b in itertools.pairwise(edges)])
    level = ndimage.gaussian_filter1d(np.sqrt(power), 0.12 * fps)
    return level / max(float(level.max()), 1e-6)


def _move_head(character, loudness, count, generator):
    fps, amount = character.fps, character.motion
    lively = 0.55 + 0.45 * ndimage.gaussian_filter1d((loudness > 0.15).astype(np.float64), 0.5 * fps)
    yaw = 0.060 * _drift(count, fps, 0.05, 0.22, generator) + 0.020 * _drift(count, fps, 0.3, 0.7, generator)
    pitch = 0.026 * _drift(count, fps, 0.08, 0.3, generator) + 0.008 * _drift(count, fps, 0.4, 0.9, generator)
    roll = 0.022 * _drift(count, fps, 0.05, 0.25, generator)
    nod = ndimage.gaussian_filter1d(loudness, 0.10 * fps) - ndimage.gaussian_filter1d(loudness, 0.8 * fps)
    rotation = np.stack([pitch + 0.07 * nod, yaw, roll], axis=1) * (amount * lively)[:, None]
    sway = np.stack([_drift(count, fps, 0.05, 0.2, generator) * size for size in (0.045, 0.015, 0.04)], axis=1) * amount
    return rotation, sway


def _add_face(actions, character, loudness, generator) -> None:
    """Brows lifted with stress, a hint of a smile, and the small restlessness of a face."""
    count, fps = len(actions), character.fps
    accent = np.clip(
        ndimage.gaussian_filter1d(loudness, 0.2 * fps) - ndimage.gaussian_filter1d(loudness, 1.0 * fps), 0, None
    )
    lift = np.clip(0.9 * accent + 0.10 * np.clip(_drift(count, fps, 0.08, 0.3, generator), 0, 2), 0, 0.6)
    smile = 0.05 + 0.05 * np.clip(_drift(count, fps, 0.05, 0.2, generator), 0, 2)
    for name, curve in (
        ("browInnerUp", 0.6 * lift),
        ("browOuterUp", 0.5 * lift),
        ("cheekSquint", 0.6 * smile),
        ("mouthSmile", smile),
    ):
        for side in ("Left", "Right") if name != "browInnerUp" else ("",):
            actions[:, _column(name + side)] += curve


def _add_gaze(actions, rotation, count, fps, generator) -> None:
    """Look at the camera against the head's turning, with small jumps and now and then a glance aside."""
    yaw, pitch = -rotation[:, 1].copy(), rotation[:, 0].copy()
    frame = 0
    while frame < count:
        hold = int(generator.uniform(0.35, 1.6) * fps)
        aside = generator.random() < 0.12
        spread = 0.13 if aside else 0.02
        yaw[frame : frame + hold] += generator.normal(0, spread)
        pitch[frame : frame + hold] += generator.normal(0, spread * 0.5)
        frame += max(1, int(0.5 * hold) if aside else hold)
    yaw, pitch = ndimage.uniform_filter1d(yaw, 2), ndimage.uniform_filter1d(pitch, 2)
    right, left = np.clip(yaw / GAZE_YAW_RAD, 0, 1.2), np.clip(-yaw / GAZE_YAW_RAD, 0, 1.2)
    up, down = np.clip(pitch / GAZE_PITCH_RAD, 0, 1.0), np.clip(-pitch / GAZE_PITCH_RAD, 0, 1.0)
    for name, curve in (
        ("eyeLookOutLeft", right),
        ("eyeLookInRight", right),
        ("eyeLookInLeft", left),
        ("eyeLookOutRight", left),
        ("eyeLookUpLeft", up),
        ("eyeLookUpRight", up),
        ("eyeLookDownLeft", down),
        ("eyeLookDownRight", down),
    ):
        actions[:, _column(name)] += curve


def _add_blinks(actions, count, fps, generator) -> None:
    """A blink every two to five seconds, now and then a double one."""
    times = np.arange(count) / fps
    start = generator.uniform(0.6, 2.5)
    closed = np.zeros(count)
    while start < count / fps:
        closed = np.maximum(closed, np.interp(times - start, BLINK_TIMES_S, BLINK_VALUES, left=0.0, right=0.0))
        start += 0.42 if generator.random() < 0.08 else generator.uniform(2.0, 5.0)
    for side in ("Left", "Right"):
        column = _column(f"eyeBlink{side}")
        actions[:, column] = np.maximum(actions[:, column], BLINK_CLOSED * closed)
        # A shut lid hides the eye: without looking up or wide, which would keep a slit open.
        for name in ("eyeLookUp", "eyeWide", "eyeLookDown"):
            actions[:, _column(name + side)] *= 1 - closed
