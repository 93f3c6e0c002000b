"""Observed points of the face model's surface, with the weights that they have in a fit."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from jaxtyping import Float
from scipy import sparse
from scipy.sparse import csr_matrix

from metatalk_lib.face3d.face_model import FaceModel


@dataclass(frozen=True)
class SurfacePoints:
    """K points of the surface, observed in T frames.

    Attributes:
        points: (T, K, 2) observed places, px of the crop.
        weights: (T, K, 2, 2) matrices that scale residuals in px to standard deviations.
        matrix: (K, Nb) sparse: points = matrix @ control vertices.
        replaces_landmarks: whether the 68 landmarks, which were derived from these points, have nothing to add.
    """

    points: Float[np.ndarray, "T K 2"]
    weights: Float[np.ndarray, "T K 2 2"]
    matrix: csr_matrix
    replaces_landmarks: bool = False

    def doubt_px(self, row: int) -> Float[np.ndarray, " K"]:
        """Return the standard deviation of each point of a frame in its best known direction, px."""
        return np.asarray(1 / np.linalg.norm(self.weights[row], ord=2, axis=(1, 2)))

    def scale(self, factor: float) -> "SurfacePoints":
        """Return the same points with weights multiplied by a factor."""
        return replace(self, weights=self.weights * factor)

    def select(self, rows: slice | np.ndarray) -> "SurfacePoints":
        """Return the points of some frames."""
        return replace(self, points=self.points[rows], weights=self.weights[rows])


def join_points(first: SurfacePoints, second: SurfacePoints) -> SurfacePoints:
    """Join two sets of points on the same frames."""
    return SurfacePoints(
        np.concatenate([first.points, second.points], axis=1),
        np.concatenate([first.weights, second.weights], axis=1),
        sparse.vstack([first.matrix, second.matrix]).tocsr(),
        first.replaces_landmarks or second.replaces_landmarks,
    )


@lru_cache(maxsize=2)
def surface_operator(model: FaceModel) -> csr_matrix:
    """Return the subdivision from control vertices to the surface as a SciPy matrix."""
    crow, column, value = (
        part.numpy()
        for part in (model.subdivision.crow_indices(), model.subdivision.col_indices(), model.subdivision.values())
    )
    return csr_matrix((value, column, crow), shape=tuple(model.subdivision.shape))
