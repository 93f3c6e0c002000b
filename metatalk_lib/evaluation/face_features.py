"""Features of a face recognition network: 128 numbers per face, for FFD and for the likeness of two videos.

The network is dlib's, from the package face_recognition_models. It was trained to distinguish people, so it is hardly
sensitive to lips and very sensitive to a wrong face. This module does not import torch, so its processes start quickly.
"""

import importlib.util
import itertools
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import dlib
import numpy as np
from jaxtyping import Float, UInt8
from joblib import Parallel, cpu_count, delayed

from metatalk_lib.core.errors import DataError, ParameterError

FACE_FEATURE_SIZE = 128
CHIP_PX = 150
CHIP_PADDING = 0.25
"""Margin of the network's training images, as a share of the face's size: upright faces, 150 px."""
_FEWEST_CHIPS = 10
"""Number of face images whose processing takes as long as the start of a process."""
_GROUP = 500
"""Number of face images held at once, so that memory does not grow with the video's length."""


def compute_face_features(
    frames: Iterable[UInt8[np.ndarray, "H W 3"]], landmarks: Float[np.ndarray, "T 68 2"]
) -> Float[np.ndarray, "T 128"]:
    """Compute the features of the face in every frame.

    The network holds the interpreter lock, so the work is divided among processes if there is enough of it.

    Args:
        frames: RGB frames.
        landmarks: landmarks of each frame, px.

    Raises:
        DataError: the package's file is missing.
        ParameterError: frames and landmarks differ in number, or there are none.

    Source: dlib's `face_recognition_model_v1`, whose chips are 150 px wide.
    """
    chips = _cut_chips(frames, landmarks)
    groups = iter(lambda: list(itertools.islice(chips, _GROUP)), [])
    return np.concatenate([_share_out(group) for group in groups])


def compute_likeness(features: Float[np.ndarray, "T 128"], reference: Float[np.ndarray, "T2 128"]) -> float:
    """Compute the likeness of two videos' faces: the mean over frames of the cosine between their features.

    Args:
        features: features of the video to judge.
        reference: features of the true video, with as many frames.

    Returns:
        Likeness in [-1, 1]; higher is better, identical videos score 1.

    Raises:
        ParameterError: the numbers of frames differ, or there are none.

    Source: Original to this project, on dlib's features.
    """
    if len(features) != len(reference) or not len(features):
        raise ParameterError(f"likeness compares equal numbers of frames, got {len(features)} and {len(reference)}.")
    norms = np.linalg.norm(features, axis=1) * np.linalg.norm(reference, axis=1)
    return float(np.mean((features * reference).sum(axis=1) / norms))


def find_network_file() -> Path:
    """Return the network's file in its package.

    Raises:
        DataError: the package or its file is missing.
    """
    spec = importlib.util.find_spec("face_recognition_models")
    path = (
        Path(spec.origin).parent / "models" / "dlib_face_recognition_resnet_model_v1.dat"
        if spec and spec.origin
        else None
    )
    if path is None or not path.is_file():
        raise DataError("dlib's face network is missing. Install the package face_recognition_models.")
    return path


def _cut_chips(
    frames: Iterable[UInt8[np.ndarray, "H W 3"]], landmarks: Float[np.ndarray, "T 68 2"]
) -> Iterator[UInt8[np.ndarray, "150 150 3"]]:
    count = 0
    for count, frame in enumerate(frames, 1):
        if count > len(landmarks):
            raise ParameterError(f"face features: more frames than the {len(landmarks)} sets of landmarks.")
        points = landmarks[count - 1]
        corners = [dlib.point(round(float(x)), round(float(y))) for x, y in points]
        low, high = points.min(axis=0).astype(int), points.max(axis=0).astype(int)
        shape = dlib.full_object_detection(dlib.rectangle(*low.tolist(), *high.tolist()), corners)
        yield dlib.get_face_chip(np.ascontiguousarray(frame), shape, CHIP_PX, CHIP_PADDING)
    if count != len(landmarks) or not count:
        raise ParameterError(f"face features: {count} frames, {len(landmarks)} sets of landmarks.")


def _share_out(chips: list[UInt8[np.ndarray, "150 150 3"]]) -> Float[np.ndarray, "T 128"]:
    processes = max(1, min(cpu_count(), len(chips) // _FEWEST_CHIPS))
    shares = np.array_split(np.stack(chips), processes)
    return np.concatenate(Parallel(n_jobs=processes, max_nbytes=None)(map(delayed(_describe_chips), shares)))


def _describe_chips(chips: UInt8[np.ndarray, "T 150 150 3"]) -> Float[np.ndarray, "T 128"]:
    return np.array(_load_network().compute_face_descriptor(list(chips)))


@lru_cache(maxsize=1)
def _load_network() -> "dlib.face_recognition_model_v1":
    return dlib.face_recognition_model_v1(str(find_network_file()))
