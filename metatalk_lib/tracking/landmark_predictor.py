"""Predictors of landmarks: MediaPipe's Face Landmarker, dlib's shape predictor, or the face alignment network (FAN).

All find faces in a picture as boxes of dlib's kind, and place points on the face in a box.
"""

from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8

from metatalk_lib.core.assets import require_file
from metatalk_lib.core.errors import ParameterError
from metatalk_lib.tracking.box_predictor import BoxPredictor
from metatalk_lib.tracking.face_detector import (
    MINIMUM_FACE_PX,
    box_about,
    box_overlap,
    face_width,
    predict_landmarks,
)
from metatalk_lib.tracking.face_landmarker import (
    ROI_SCALE,
    FaceLandmarker,
    FaceReading,
    FaceSquare,
    read_bundle,
    square_about_face,
    square_about_points,
)
from metatalk_lib.tracking.face_points import FacePoints, derive_landmarks
from metatalk_lib.tracking.fan import FanPredictor, load_fan

LandmarkDetector = Literal["mediapipe", "fan", "dlib"]

SURE_FACE = 0.5
"""Confidence from which MediaPipe's points count as those of a face."""
# dlib's box over the box of MediaPipe's detector: sides, and centre above, in sides of the latter; medians over nine
# clips of real people
_DLIB_PER_BOX = 1.017
_DLIB_RISE = 0.066
_TILE_FACES = 6  # the detector finds faces from a sixth of a tile's side
_SAME_FACE = 0.3
# least scores of a face seen close, and of one beside it: hands and patterns, which points can be placed on, have less
_SURE_SCORE, _OTHER_SCORE = 0.65, 0.85
_ROOM = 0.6  # seen on each side of a face's box when it is looked at closely, in box sides
_SAME_SQUARE = 0.02  # shift, in sides, and turn, in rad, up to which a square serves the next frame, too
_LEVEL_RAD = 0.3  # a head that leans more needs one more pass


@runtime_checkable
class LandmarkPredictor(Protocol):
    """Interface of predictors.

    Attributes:
        uses_colour: True if pictures must be RGB; otherwise grey is sufficient.
    """

    uses_colour: bool

    def find(
        self, image: UInt8[np.ndarray, "H W *C"], smallest_px: float = MINIMUM_FACE_PX
    ) -> list[tuple[Float[np.ndarray, " 4"], float]]:
        """Find the faces at least `smallest_px` wide: dlib's boxes and scores, best first."""

    def predict(self, image: UInt8[np.ndarray, "H W *C"], box: Float[np.ndarray, " 4"]) -> FacePoints:
        """Place the points of a face.

        Args:
            image: the whole picture.
            box: dlib's box around the face: left, top, right, bottom, px.
        """

    def follow(self, image: UInt8[np.ndarray, "H W *C"], before: FacePoints) -> FacePoints:
        """Place the points of a face that was there a frame before.

        Args:
            image: the whole picture.
            before: points of the previous frame.
        """


class DlibPredictor(BoxPredictor):
    """dlib's detector, and its shape predictor averaged over shifted boxes."""

    uses_colour = False

    def predict(self, image: UInt8[np.ndarray, "H W *C"], box: Float[np.ndarray, " 4"]) -> FacePoints:
        """See `LandmarkPredictor`."""
        return FacePoints(predict_landmarks(image, box))


class MediaPipePredictor:
    """MediaPipe's Face Landmarker on crops of the picture.

    Its detector sees pictures at 128 px, so small faces are looked for in overlapping tiles, too. Points are placed
    twice: in a square about the given box, then in one about the points found there. So they hardly depend on what was
    seen before.

    Source: original to this project, on `face_landmarker`.
    """

    uses_colour = True

    def __init__(self, landmarker: FaceLandmarker) -> None:
        self.landmarker = landmarker

    def find(
        self, image: UInt8[np.ndarray, "H W 3"], smallest_px: float = MINIMUM_FACE_PX
    ) -> list[tuple[Float[np.ndarray, " 4"], float]]:
        """See `LandmarkPredictor`; the score is the detector's, of faces on which points can be placed."""
        found: list[tuple[np.ndarray, float]] = []
        for top, bottom, left, right in search_tiles(image.shape[0], image.shape[1], float(smallest_px)):
            # the points see beyond the tile, the detector only the tile
            for face in self.landmarker.detect(image[top:bottom, left:right]):
                square = square_about_face(face)
                square = square._replace(x=square.x + left, y=square.y + top)
                if any(_contains(box, square) for box, _ in found):
                    continue
                reading = self._settle(image, square)
                landmarks = derive_landmarks(reading.points)
                if reading.confidence < SURE_FACE or face_width(landmarks) < smallest_px:
                    continue
                box = box_about(landmarks)
                score = self._look_closer(image, box)
                if score >= _SURE_SCORE and all(box_overlap(box, known) < _SAME_FACE for known, _ in found):
                    found.append((box, score))
        found.sort(key=lambda face: -face[1])
        return [face for place, face in enumerate(found) if place == 0 or face[1] >= _OTHER_SCORE]

    def predict(self, image: UInt8[np.ndarray, "H W 3"], box: Float[np.ndarray, " 4"]) -> FacePoints:
        """See `LandmarkPredictor`."""
        side = float(box[2] - box[0]) / _DLIB_PER_BOX
        x, y = (float(box[axis] + box[axis + 2]) / 2 for axis in (0, 1))
        return self._score(self._settle(image, FaceSquare(x, y + _DLIB_RISE * side, ROI_SCALE * side, 0.0)))

    def follow(self, image: UInt8[np.ndarray, "H W 3"], before: FacePoints) -> FacePoints:
        """See `LandmarkPredictor`; a face that has hardly moved is placed once, in the square of the previous frame."""
        if before.dense is None:
            return self.predict(image, box_about(before.landmarks))
        square = square_about_points(before.dense)
        reading = self.landmarker.place_points(image, square)
        moved = square_about_points(reading.points)
        if _differ(square, moved):
            reading = self.landmarker.place_points(image, moved)
        return self._score(reading)

    def _score(self, reading: FaceReading) -> FacePoints:
        scores = self.landmarker.score_blendshapes(reading.points)
        return FacePoints(derive_landmarks(reading.points), reading.points, scores, reading.confidence)

    def _look_closer(self, image: np.ndarray, box: np.ndarray) -> float:
        """Return the detector's score of the face in a box where only its surroundings are seen; 0 if it is none."""
        room = _ROOM * (box[2] - box[0])
        left, top = np.maximum(box[:2] - room, 0).astype(int)
        right, bottom = np.ceil(box[2:] + room).astype(int)
        faces = self.landmarker.detect(image[top:bottom, left:right])
        local = box - np.tile([left, top], 2)
        return max((face.score for face in faces if box_overlap(face.box, local) > _SAME_FACE), default=0.0)

    def _settle(self, image: np.ndarray, square: FaceSquare) -> FaceReading:
        """Place the points, then again in the square about them; once more for a head that leans further than seen."""
        image = np.ascontiguousarray(image)
        reading = self.landmarker.place_points(image, square)
        better = square_about_points(reading.points)
        reading = self.landmarker.place_points(image, better)
        if abs(better.angle - square.angle) > _LEVEL_RAD:
            reading = self.landmarker.place_points(image, square_about_points(reading.points))
        return reading


def search_tiles(height: int, width: int, smallest_px: float) -> list[tuple[int, int, int, int]]:
    """Divide a picture into overlapping squares of halving sides, in which faces from `smallest_px` on are found.

    Args:
        height, width: size of the picture, px.
        smallest_px: width of the smallest face, px.

    Returns:
        Top, bottom, left and right of each tile, px, the whole picture first.
    """
    tiles = [(0, height, 0, width)]
    side = float(max(height, width))
    while side > _TILE_FACES * smallest_px:
        side /= 2
        size = [min(round(side), length) for length in (height, width)]
        starts = [
            np.unique(np.linspace(0, length - own, 2 * -(-length // own) - 1).round().astype(int))
            for length, own in zip((height, width), size, strict=True)
        ]
        tiles += [(top, top + size[0], left, left + size[1]) for top in starts[0] for left in starts[1]]
    return [(int(a), int(b), int(c), int(d)) for a, b, c, d in tiles]


def load_landmark_predictor(name: LandmarkDetector, device: str | torch.device = "cpu") -> LandmarkPredictor:
    """Load a predictor by name, ready to use by one thread. Nothing is downloaded.

    Args:
        name: `mediapipe` or `dlib`, which come with the installation, or `fan`, whose weights are placed by hand.
        device: device on which FAN runs.

    Raises:
        ParameterError: there is no such predictor.
        DataError: weights are missing, damaged, or not those of this network.
    """
    if name == "mediapipe":
        return MediaPipePredictor(FaceLandmarker(read_bundle()))
    if name == "dlib":
        return DlibPredictor()
    if name == "fan":
        return FanPredictor(load_fan(require_file("fan")), device)
    raise ParameterError(f"landmark_detector is {name!r}; there are mediapipe, fan, dlib.")


def _differ(square: FaceSquare, other: FaceSquare) -> bool:
    """Whether two squares differ so much that the points would."""
    apart = max(abs(square.x - other.x), abs(square.y - other.y), abs(square.side - other.side))
    return apart > _SAME_SQUARE * square.side or abs(square.angle - other.angle) > _SAME_SQUARE


def _contains(box: np.ndarray, square: FaceSquare) -> bool:
    """Whether the centre of a square lies in the middle half of a face's box."""
    centre, quarter = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 4
    return bool((np.abs(np.array([square.x, square.y]) - centre) < quarter).all())
