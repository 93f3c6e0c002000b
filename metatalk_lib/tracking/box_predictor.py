"""The half that dlib's predictor and FAN share: dlib finds faces, and the box about the last points follows them."""

from abc import ABC, abstractmethod

import numpy as np
from jaxtyping import Float, UInt8

from metatalk_lib.tracking.face_detector import MINIMUM_FACE_PX, box_about, find_faces
from metatalk_lib.tracking.face_points import FacePoints


class BoxPredictor(ABC):
    """A `landmark_predictor.LandmarkPredictor` that needs nothing but dlib's box around the face."""

    def find(
        self, image: UInt8[np.ndarray, "H W *C"], smallest_px: float = MINIMUM_FACE_PX
    ) -> list[tuple[Float[np.ndarray, " 4"], float]]:
        """See `LandmarkPredictor`."""
        return find_faces(image, float(smallest_px))

    @abstractmethod
    def predict(self, image: UInt8[np.ndarray, "H W *C"], box: Float[np.ndarray, " 4"]) -> FacePoints:
        """See `LandmarkPredictor`."""

    def follow(self, image: UInt8[np.ndarray, "H W *C"], before: FacePoints) -> FacePoints:
        """See `LandmarkPredictor`."""
        return self.predict(image, box_about(before.landmarks))
