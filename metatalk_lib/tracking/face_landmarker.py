"""MediaPipe's Face Landmarker: 478 points of a face and 52 blendshape scores, read from one bundle of three networks.

The bundle is data; LiteRT runs its networks on the processor. The way from picture to points is MediaPipe's own, so
that its points are found to a hundredth of a pixel: a square around the face, turned so that the eyes are level, is
sampled at 256 x 256 px, and the points come back in pixels of the picture.

    picture ── detector (128 px) ──► square ── landmarks (256 px) ──► 478 points ── blendshapes ──► 52 scores
                                        ▲                                │
                                        └────── square about them ◄──────┘

Pixel centres lie at whole numbers.
"""

import io
import math
import os
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8
from scipy.special import expit

from metatalk_lib.core.assets import require_file
from metatalk_lib.core.errors import DataError

POINT_COUNT = 478
"""Number of points: 468 of the face and ten of the irises."""
DETECTOR_SIDE, LANDMARK_SIDE = 128, 256
ROI_SCALE = 1.5
"""Side of the square over the larger side of the face's box."""
EYE_CORNERS = (33, 263)
"""Points that are level in the square: the outer eye corners, that on the picture's left first."""

_STRIDES = ((16, 2), (8, 6))  # cells along a side of the detector's grids, and boxes in each cell
_MINIMUM_SCORE = 0.5
_SAME_FACE_OVERLAP = 0.3
_MEMBERS = ("face_detector.tflite", "face_landmarks_detector.tflite", "face_blendshapes.tflite")
# the 146 points that the third network reads, in its order; from mediapipe's face_blendshapes_graph.cc (Apache-2.0)
_BLENDSHAPE_POINTS = np.array(
    [0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70, 78, 80,
     81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149, 150, 152, 153,
     154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181, 185, 191, 195, 197, 234, 246, 249, 251,
     263, 267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314, 317, 318,
     321, 323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382, 384, 385, 386,
     387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472, 473, 474, 475, 476, 477]
)  # fmt: skip
BLENDSHAPES = (
    "neutral", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff",
    "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight",
    "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight",
    "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft", "jawOpen", "jawRight",
    "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight", "mouthFunnel",
    "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight", "mouthPucker",
    "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft",
    "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight",
    "noseSneerLeft", "noseSneerRight",
)  # fmt: skip
"""Names of the scores by ARKit, whose left and right are the person's."""


class FaceSquare(NamedTuple):
    """A square of the picture, possibly turned: centre and side in px, angle in rad from its rows to the picture's."""

    x: float
    y: float
    side: float
    angle: float

    @property
    def turn(self) -> Float[np.ndarray, "2 2"]:
        """Rotation from the square's axes to the picture's."""
        cosine, sine = math.cos(self.angle), math.sin(self.angle)
        return np.array([[cosine, -sine], [sine, cosine]])

    def cut(self, image: UInt8[np.ndarray, "H W 3"], size: int, border: int) -> UInt8[np.ndarray, "size size 3"]:
        """Sample the square at `size` px a side; `border` is OpenCV's rule for what lies beyond the picture."""
        step = self.turn * (self.side / size)
        corner = np.array([self.x, self.y]) - step.sum(axis=1) * (size / 2)
        matrix = np.concatenate([step, corner[:, None]], axis=1)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(image, matrix, (size, size), flags=flags, borderMode=border)


class DetectedFace(NamedTuple):
    """A face that the detector found.

    Attributes:
        box: left, top, right, bottom, px.
        keypoints: eyes, tip of the nose, mouth and ears, px; of each pair that on the picture's left first.
        score: the detector's certainty, 0.5 to 1.
    """

    box: Float[np.ndarray, "4"]
    keypoints: Float[np.ndarray, "6 2"]
    score: float


class FaceReading(NamedTuple):
    """Points of a face with their scores.

    Attributes:
        points: x and y in px of the picture, z in the same unit, smaller towards the camera; 0 is the head's centre.
        confidence: certainty that the square shows a face, 0 to 1.
    """

    points: Float32[np.ndarray, "478 3"]
    confidence: float


class FaceLandmarker:
    """The three networks of the bundle, for one thread at a time.

    Source: google-ai-edge/mediapipe, tasks/cc/vision/face_landmarker and face_detector (Apache-2.0), whose steps and
    constants are followed; the networks are described in the model cards of BlazeFace (short range), Face Mesh V2 and
    Blendshape V2.
    """

    def __init__(self, bundle: bytes, *, threads: int = 1) -> None:
        """Build the networks.

        Args:
            bundle: content of `face_landmarker.task`.
            threads: CPU threads of each network.

        Raises:
            DataError: the bundle lacks a network, or LiteRT cannot read one.
        """
        self._detector, self._landmarks, self._blendshapes = (
            _Network(member, threads) for member in _read_members(bundle)
        )
        self._anchors = _anchor_centres()

    def detect(self, image: UInt8[np.ndarray, "H W 3"]) -> list[DetectedFace]:
        """Find the faces of an RGB picture, best first; they should fill a sixth of its longer side or more."""
        height, width = image.shape[:2]
        side = max(height, width)
        square = FaceSquare(width / 2, height / 2, side, 0.0)
        found = square.cut(image, DETECTOR_SIDE, cv2.BORDER_CONSTANT).astype(np.float32) / 127.5 - 1
        boxes, logits = self._detector(found, "regressors", "classificators")
        scores = expit(logits[0, :, 0])
        likely = np.flatnonzero(scores >= _MINIMUM_SCORE)
        places = (boxes[0, likely] / DETECTOR_SIDE).reshape(-1, 8, 2).astype(np.float64)
        places[:, [0, 2, 3, 4, 5, 6, 7]] += self._anchors[likely, None]  # the second row is a size
        corner = np.array([width - side, height - side]) / 2
        return [_to_picture(face, side, corner) for face in _merge_overlapping(places, scores[likely])]

    def place_points(self, image: UInt8[np.ndarray, "H W 3"], square: FaceSquare) -> FaceReading:
        """Place the points of the face in a square of an RGB picture."""
        seen = square.cut(image, LANDMARK_SIDE, cv2.BORDER_REPLICATE).astype(np.float32) / 255
        raw, logit = self._landmarks(seen, "Identity", "Identity_1")
        local = raw.reshape(POINT_COUNT, 3) * np.float32(square.side / LANDMARK_SIDE)
        points = np.empty_like(local)
        points[:, :2] = (local[:, :2] - square.side / 2) @ square.turn.T + (square.x, square.y)
        points[:, 2] = local[:, 2]
        return FaceReading(points, float(expit(logit.item())))

    def score_blendshapes(self, points: Float32[np.ndarray, "478 3"]) -> Float32[np.ndarray, "52"]:
        """Score the blendshapes of `BLENDSHAPES`, 0 to 1, from the points of a face."""
        (scores,) = self._blendshapes(points[_BLENDSHAPE_POINTS, :2], "StatefulPartitionedCall:0")
        return scores.astype(np.float32)


def square_about_face(face: DetectedFace) -> FaceSquare:
    """Return the square in which the points of a detected face are placed."""
    left, right = face.keypoints[:2]
    angle = math.atan2(right[1] - left[1], right[0] - left[0])
    x, y = (face.box[:2] + face.box[2:]) / 2
    return FaceSquare(float(x), float(y), float((face.box[2:] - face.box[:2]).max()) * ROI_SCALE, angle)


def square_about_points(points: Float[np.ndarray, "478 _"]) -> FaceSquare:
    """Return the square in which the points of a face are placed again."""
    left, right = points[list(EYE_CORNERS), :2].astype(np.float64)
    angle = math.atan2(right[1] - left[1], right[0] - left[0])
    turn = FaceSquare(0, 0, 0, angle).turn
    level = points[:, :2].astype(np.float64) @ turn
    low, high = level.min(axis=0), level.max(axis=0)
    x, y = turn @ (low + high) / 2
    return FaceSquare(float(x), float(y), float((high - low).max()) * ROI_SCALE, angle)


@lru_cache(maxsize=1)
def read_bundle(path: Path | None = None) -> bytes:
    """Read the verified bundle.

    Args:
        path: a bundle; by default the one placed by hand, else that of an installed package.

    Raises:
        DataError: it is missing or has another checksum; the message names file, size, checksum, licence and places.
    """
    return (path or require_file("face_landmarker")).read_bytes()


class _Network:
    """A network of the bundle."""

    def __init__(self, content: bytes, threads: int) -> None:
        # imported here: other detectors do without it
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ModuleNotFoundError as error:
            raise DataError(
                f"landmark_detector mediapipe needs the package ai-edge-litert ({error}). Run make env, or use dlib."
            ) from error

        try:
            with _without_notices():
                self._interpreter = Interpreter(model_content=content, num_threads=threads)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise DataError(
                f"a network of the Face Landmarker is unreadable: {error}. Fetch the file again."
            ) from error
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._outputs = {item["name"]: item["index"] for item in self._interpreter.get_output_details()}

    def __call__(self, values: Float32[np.ndarray, "..."], *outputs: str) -> list[np.ndarray]:
        self._interpreter.set_tensor(self._input, values[None])
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(self._outputs[name]) for name in outputs]


@contextmanager
def _without_notices() -> Iterator[None]:
    """Keep LiteRT's notices, which it writes to the process's error stream past Python, out of notebooks."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _read_members(bundle: bytes) -> list[bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
            return [archive.read(name) for name in _MEMBERS]
    except (zipfile.BadZipFile, KeyError) as error:
        raise DataError(f"the Face Landmarker's bundle cannot be read: {error}. Fetch the file again.") from error


def _anchor_centres() -> Float[np.ndarray, "A 2"]:
    """Return the centres of the detector's cells, each as often as it has boxes, in shares of the picture's side."""
    centres = []
    for cells, boxes in _STRIDES:
        rows, columns = np.mgrid[:cells, :cells]
        grid = (np.stack([columns, rows], axis=-1).reshape(-1, 2) + 0.5) / cells
        centres.append(np.repeat(grid, boxes, axis=0))
    return np.concatenate(centres)


def _merge_overlapping(
    places: Float[np.ndarray, "K 8 2"], scores: Float[np.ndarray, " K"]
) -> list[tuple[Float[np.ndarray, "8 2"], float]]:
    """Merge detections of the same face to their mean by score; rows become low corner, high corner, six keypoints."""
    corners = places.copy()
    corners[:, 0], corners[:, 1] = places[:, 0] - places[:, 1] / 2, places[:, 0] + places[:, 1] / 2
    area = np.prod(places[:, 1], axis=1)
    waiting = np.argsort(-scores, kind="stable")
    merged = []
    while len(waiting):
        best = waiting[0]
        low = np.maximum(corners[waiting, 0], corners[best, 0])
        high = np.minimum(corners[waiting, 1], corners[best, 1])
        shared = np.prod(np.maximum(high - low, 0), axis=1)
        is_same = shared / (area[waiting] + area[best] - shared) > _SAME_FACE_OVERLAP
        is_same[0] = True
        same = waiting[is_same]
        weight = scores[same] / scores[same].sum()
        merged.append((np.tensordot(weight, corners[same], axes=1), float(scores[best])))
        waiting = waiting[~is_same]
    return merged


def _to_picture(face: tuple[np.ndarray, float], side: int, corner: np.ndarray) -> DetectedFace:
    places = face[0] * side + corner
    return DetectedFace(places[:2].ravel(), places[2:], face[1])
