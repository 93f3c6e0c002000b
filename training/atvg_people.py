"""Training data of the open ATVG: aligned faces with their landmarks, and speech with the matching landmarks."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from metatalk_lib.baselines.atvg import COMPONENTS
from metatalk_lib.baselines.atvg_landmarks import (
    ALIGNED_POINTS,
    FacePlace,
    LandmarkSpace,
    fit_similarity,
    normalise_landmarks,
)
from metatalk_lib.core.artifacts import load_arrays
from metatalk_lib.face3d.face_model import load_face_model
from metatalk_lib.speech.augmentation import degrade_recording
from metatalk_lib.speech.mfcc import BLOCK_STEPS, compute_mfcc_blocks
from metatalk_lib.tracking.landmarks import MOUTH
from training.people import is_test, split_jpegs
from training.render_speakers import FPS
from training.speech_corpus import TrainingUtterance
from training.train_audio_encoder import CepstrumAugmentation

BASE_CENTRE, BASE_EXTENT_PX = (65.0, 69.0), 100.0
"""Centre and extent of an aligned face, px of 163, of which 1 to 128 are drawn, to leave room for the open jaw."""
CLIP_FRAMES, CLIPS = 16, 16
"""Frames of AT-net's training clips and clips in a batch, as published."""
SPEAKER_SHARE = 0.5
"""Share of clips that show rendered people; the others are utterances without pictures."""
DEGRADED = 1
"""Number of degraded recordings of each person, besides the clean one."""
PEOPLE, TARGETS = 8, 4
"""People in one step of VG-net, and frames that it generates of each."""
MOUTH_MARGIN_PX = 12
GAIN_RANGE = (0.75, 1.25)
"""Range of the random gain of a person's light in each colour."""


class Talker(NamedTuple):
    """A rendered person who speaks.

    Attributes:
        faces: (T, 128, 128, 3) RGB, aligned.
        landmarks: (T, 136) normalised landmarks.
        pcm_16k: 16-bit samples.
        blocks: (T, 28, 12) MFCC of each recording, the clean one first.
    """

    faces: np.ndarray
    landmarks: np.ndarray
    pcm_16k: np.ndarray
    blocks: list[np.ndarray]


class Clip(NamedTuple):
    """Speech with the matching landmarks.

    Attributes:
        blocks: (T, 28, 12) MFCC.
        coefficients: (T, 6) PCA coefficients of the landmarks.
    """

    blocks: np.ndarray
    coefficients: np.ndarray


def make_base(paths: Sequence[Path]) -> np.ndarray:
    """Average the mean landmarks of people, each aligned by nose and eyes, and place the result in the square."""
    shapes = [load_arrays(path, "landmarks")["landmarks"].mean(axis=0, dtype=np.float64) for path in paths]
    base = shapes[0]
    for _ in range(5):
        fits = (fit_similarity(shape[ALIGNED_POINTS], base[ALIGNED_POINTS]) for shape in shapes)
        mean = np.mean([_move(shape, fit) for shape, fit in zip(shapes, fits, strict=True)], axis=0)
        low, high = mean.min(axis=0), mean.max(axis=0)
        base = (mean - (low + high) / 2) * (BASE_EXTENT_PX / (high - low).max()) + BASE_CENTRE
    return base.astype(np.float32)


def load_talker(path: Path, base: np.ndarray) -> Talker:
    """Load a person of `render_speakers`, with each frame aligned separately."""
    arrays = load_arrays(path, "jpeg", "jpeg_length", "landmarks", "pcm_16k")
    images, landmarks = split_jpegs(arrays["jpeg"], arrays["jpeg_length"]), arrays["landmarks"]
    places = [FacePlace.find(points, base) for points in landmarks]
    aligned = np.stack([place.align(points) for place, points in zip(places, landmarks, strict=True)])
    faces = np.stack([place.cut(image) for place, image in zip(places, images, strict=True)])
    samples = arrays["pcm_16k"].astype(np.float32) / 32768
    generator = np.random.default_rng([int(path.stem), 22])
    others = 0 if is_test(int(path.stem)) else DEGRADED
    recordings = [samples, *(degrade_recording(samples, generator) for _ in range(others))]
    blocks = [compute_mfcc_blocks(each.astype(np.float32), len(images), Fraction(FPS)) for each in recordings]
    return Talker(faces, normalise_landmarks(aligned, base), arrays["pcm_16k"], blocks)


def make_space(talkers: Sequence[Talker], base: np.ndarray) -> LandmarkSpace:
    """Make the landmark space: people's mean landmarks, and principal components of the motion within each person.

    Identity cannot be heard, so differences between people are not part of the components.
    """
    means = [talker.landmarks.mean(axis=0, dtype=np.float64) for talker in talkers]
    moved = np.concatenate([talker.landmarks - mean for talker, mean in zip(talkers, means, strict=True)])
    components = np.linalg.eigh(moved.T @ moved)[1][:, ::-1][:, :COMPONENTS]
    return LandmarkSpace(base, np.float32(np.mean(means, axis=0)), np.float32(components))


def speak_clips(utterances: Sequence[TrainingUtterance], space: LandmarkSpace) -> list[Clip]:
    """Make clips of utterances with the landmarks of the face model's mean face, seen from the front and aligned."""
    model = load_face_model()
    mean, _, expression_rows = model.landmark_bases()
    rows = np.tensordot(model.actions_to_expression.numpy(), expression_rows, axes=1)[..., :2] * (1, -1)
    still = mean[:, :2] * (1, -1)
    fit = fit_similarity(still[ALIGNED_POINTS], space.base[ALIGNED_POINTS])
    clips = []
    for item in utterances:
        aligned = _move(still + np.tensordot(item.actions, rows, axes=1), fit)
        windows = np.lib.stride_tricks.sliding_window_view(item.mfcc, BLOCK_STEPS, axis=0)[::4]
        coefficients = space.encode(normalise_landmarks(aligned, space.base))
        clips.append(Clip(windows.transpose(0, 2, 1)[: len(aligned)], coefficients))
    return clips


def draw_clips(
    groups: Sequence[Sequence[Clip]], people: np.ndarray, augment: CepstrumAugmentation, generator: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Draw MFCC (B, T, 28, 12), an example frame's coefficients (B, 6), and the clip's differences from them (B, T, 6).

    Args:
        groups: clips of people, and clips of utterances if there are any.
        people: (P, 6) mean coefficients of people, one of which replaces the clip's own mean.
        augment: augmentation with other vocal tracts and microphones.
        generator: source of all random choices.
    """
    parts = []
    for _ in range(CLIPS):
        group = groups[int(generator.random() >= SPEAKER_SHARE) if len(groups) > 1 else 0]
        clip = group[generator.integers(len(group))]
        first = int(generator.integers(len(clip.coefficients) - CLIP_FRAMES + 1))
        part = slice(first, first + CLIP_FRAMES)
        example = clip.coefficients[generator.integers(len(clip.coefficients))]
        other = example - clip.coefficients.mean(axis=0) + people[generator.integers(len(people))]
        parts.append((clip.blocks[part], other, clip.coefficients[part] - example))
    blocks, example, wanted = (np.stack(column) for column in zip(*parts, strict=True))
    heard = augment(blocks.reshape(CLIPS, -1, blocks.shape[-1]), generator).reshape(blocks.shape)
    return tuple(map(torch.from_numpy, (heard, example, wanted)))


def draw_pictures(
    talkers: Sequence[Talker], space: LandmarkSpace, generator: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Draw an example frame and target frames of some people, with the landmarks of both, in random light."""
    parts = []
    for number in generator.choice(len(talkers), PEOPLE, replace=False):
        talker = talkers[number]
        first, *others = generator.choice(len(talker.faces), TARGETS + 1, replace=False)
        seen = space.decode(space.encode(talker.landmarks[[first, *others]]))
        light = generator.uniform(*GAIN_RANGE, 3).astype(np.float32) / 127.5
        pictures = (talker.faces[[first, *others]] * light - 1).clip(-1, 1).transpose(0, 3, 1, 2)
        parts.append((pictures[0], pictures[1:], seen[1:], seen[0]))
    face, images, wanted, example = (torch.from_numpy(np.stack(column)) for column in zip(*parts, strict=True))
    return face.contiguous(memory_format=torch.channels_last), images, wanted, example


def mouth_box(base: np.ndarray) -> tuple[slice, slice]:
    """Find rows and columns of the mouth in an aligned face, with a margin."""
    low = (base[MOUTH].min(axis=0) - 1 - MOUTH_MARGIN_PX).astype(int)
    high = (base[MOUTH].max(axis=0) - 1 + MOUTH_MARGIN_PX).astype(int)
    return slice(low[1], high[1]), slice(low[0], high[0])


def _move(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return points @ matrix[:, :2].T + matrix[:, 2]
