"""ATVG's landmarks: cutting a face out of a frame and pasting it back, and the networks' landmark coefficients."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from metatalk_lib.core.errors import DataError
from metatalk_lib.networks.vg_net import VG_NET_FACE_SIZE
from metatalk_lib.tracking.crop import CropTransform

LANDMARK_SCALE = 5.0
"""Scale of normalised landmarks; landmarks of norm about 1 are first multiplied by it."""
PUBLISHED_GAINS = (1.0, 2.2, 2.4, 2.6, 2.8, 3.0)
"""The demo's gains 2 · (1.1, 1.2, 1.3, 1.4, 1.5) on components 1 to 5; without them the lips move too little."""
SQUARE_PX = 163
"""Side of the aligned square, px; the face is cut out of it from its pixel (1, 1) on."""
HALF_SIDE = 0.64
"""Half the square's side, relative to the larger extent of the landmarks."""
ALIGNED_POINTS = slice(27, 45)
"""Landmarks of nose and eyes (all but the last three), by which a face is aligned."""


@dataclass(frozen=True)
class FacePlace:
    """Position of the face's 128 px square in a frame.

    Attributes:
        square: upright square around the landmarks, scaled to 163 px, with an equal margin square on every side.
        similarity: (2, 3) map from px of the base's square to px of the upright one.
    """

    square: CropTransform
    similarity: Float[np.ndarray, "2 3"]

    @classmethod
    def find(cls, landmarks: Float[np.ndarray, "68 2"], base: Float[np.ndarray, "68 2"]) -> "FacePlace":
        """Find the square of half side int(0.64 h) around the landmarks, and the similarity fitted to nose and eyes.

        Args:
            landmarks: landmarks, source px.
            base: landmarks of an aligned face, px of 163.

        Raises:
            DataError: the landmarks are not finite, or coincide.

        Source: facts of lelechen63/ATVGnet code/demo.py and code/test.py (MIT).
        """
        points = landmarks.astype(np.float64)
        if not np.isfinite(points).all():
            raise DataError("ATVG: the still's landmarks are not all finite. Run 01_crop again.")
        low, high = points.min(axis=0), points.max(axis=0)
        half = int(HALF_SIDE * (high - low).max())
        if half < 1 or np.ptp(points[ALIGNED_POINTS], axis=0).max() == 0:
            raise DataError("ATVG: the still's landmarks lie all in one place. Run 01_crop again.")
        corner = ((low + high) / 2).astype(int) - half
        in_square = (points - corner) * (SQUARE_PX / (2 * half))
        left, top = (int(value) for value in corner - 2 * half)
        square = CropTransform(left, top, side=6 * half, size=3 * SQUARE_PX)
        return cls(square, fit_similarity(base[ALIGNED_POINTS], in_square[ALIGNED_POINTS]))

    def align(self, landmarks: Float[np.ndarray, "68 2"]) -> Float[np.ndarray, "68 2"]:
        """Map landmarks from source px to px of the base's square."""
        corner = np.array([self.square.left, self.square.top]) + self.square.side / 3
        in_square = (landmarks - corner) * (self.square.size / self.square.side)
        linear, shift = self.similarity[:, :2], self.similarity[:, 2]
        return np.linalg.solve(linear, (in_square - shift).T).T

    def cut(self, frame: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "128 128 3"]:
        """Cut out the aligned face; beyond the frame its edge pixels are repeated."""
        return cv2.warpAffine(
            self.square.crop_image(frame),
            self._to_square(),
            (VG_NET_FACE_SIZE, VG_NET_FACE_SIZE),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )

    def paste(
        self, frame: UInt8[np.ndarray, "H W 3"], face: UInt8[np.ndarray, "128 128 3"]
    ) -> UInt8[np.ndarray, "H W 3"]:
        """Return a copy of the frame with the face pasted where it was cut out; pixels outside are unchanged."""
        scale = self.square.side / self.square.size
        matrix = scale * self._to_square()
        matrix[:, 2] += 0.5 * scale - 0.5 + np.array([self.square.left, self.square.top])
        size = (frame.shape[1], frame.shape[0])
        warped = cv2.warpAffine(face, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        inside = cv2.warpAffine(np.full(face.shape[:2], 255, np.uint8), matrix, size, flags=cv2.INTER_NEAREST)
        return cv2.copyTo(warped, inside, frame.copy())

    def _to_square(self) -> Float[np.ndarray, "2 3"]:
        """Return the map from px of the face to px of the square with its surroundings."""
        matrix = self.similarity.copy()
        # the face begins at pixel (1, 1) of the base's square, and the upright square lies behind its neighbour
        matrix[:, 2] += matrix[:, :2].sum(axis=1) + SQUARE_PX
        return matrix


def fit_similarity(source: Float[np.ndarray, "K 2"], target: Float[np.ndarray, "K 2"]) -> Float[np.ndarray, "2 3"]:
    """Fit the rotation, scale and shift that map `source` to `target` by least squares.

    In complex numbers w = c z + d with c = Σ z̄ w / Σ |z|², both centred.

    Args:
        source: points that do not all coincide.
        target: target positions of the points.
    """
    from_mean, to_mean = source.mean(axis=0), target.mean(axis=0)
    z, w = ((part - mean) @ (1, 1j) for part, mean in ((source, from_mean), (target, to_mean)))
    factor = (z.conj() * w).sum() / (np.abs(z) ** 2).sum()
    linear = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return np.column_stack([linear, to_mean - linear @ from_mean])


def normalise_landmarks(
    aligned: Float[np.ndarray, "*T 68 2"], base: Float[np.ndarray, "68 2"]
) -> Float[np.ndarray, "*T 136"]:
    """Normalise landmarks, x and y in turn: 5 (aligned − centre of the base) / norm of the base about its centre.

    Args:
        aligned: landmarks in px of the base's square.
        base: landmarks of an aligned face.
    """
    centre = base.mean(axis=0)
    points = (aligned - centre) * (LANDMARK_SCALE / np.linalg.norm(base - centre))
    return points.reshape(*aligned.shape[:-2], 136).astype(np.float32)


@dataclass(frozen=True)
class LandmarkSpace:
    """The networks' landmark space: six coefficients c with landmarks = c · componentsᵀ + mean.

    Attributes:
        base: landmarks of an aligned face, px of 163.
        mean: mean landmarks in the fivefold scale, x and y of 68 points in turn.
        components: orthonormal columns.
    """

    base: Float[np.ndarray, "68 2"]
    mean: Float[np.ndarray, "136"]
    components: Float[np.ndarray, "136 6"]

    def encode(self, landmarks: Float[np.ndarray, "*T 136"]) -> Float[np.ndarray, "*T 6"]:
        """Compute the coefficients of normalised landmarks."""
        return ((landmarks - self.mean) @ self.components).astype(np.float32)

    def decode(self, coefficients: Float[np.ndarray, "*T 6"]) -> Float[np.ndarray, "*T 136"]:
        """Compute the normalised landmarks of coefficients."""
        return (coefficients @ self.components.T + self.mean).astype(np.float32)

    def describe(self, place: FacePlace, landmarks: Float[np.ndarray, "68 2"]) -> Float[np.ndarray, "6"]:
        """Compute the coefficients of a still from its own landmarks, source px."""
        return self.encode(normalise_landmarks(place.align(landmarks), self.base))

    def move(self, example: Float[np.ndarray, "6"], told: Float[np.ndarray, "T 6"]) -> Float[np.ndarray, "T 6"]:
        """Compute the frames' coefficients from AT-net's output, which is their difference from the still's."""
        return example + told


@dataclass(frozen=True)
class PublishedSpace(LandmarkSpace):
    """The published demo's space: one constant for every still, and AT-net predicts the coefficients themselves.

    Attributes:
        constant: normalised landmarks before the fivefold scale.

    Source: facts of lelechen63/ATVGnet code/demo.py (MIT).
    """

    constant: Float[np.ndarray, "136"]

    def describe(self, place: FacePlace, landmarks: Float[np.ndarray, "68 2"]) -> Float[np.ndarray, "6"]:
        """Return the coefficients of the constant, whatever the face."""
        return self.encode(LANDMARK_SCALE * self.constant)

    def move(self, example: Float[np.ndarray, "6"], told: Float[np.ndarray, "T 6"]) -> Float[np.ndarray, "T 6"]:
        """Multiply AT-net's output by the published gains."""
        return told * np.asarray(PUBLISHED_GAINS, np.float32)
