"""MediaPipe's points as points of the open face model's surface, with weights for the fit.

Which vertex each point means was learnt on studio people (training/learn_tracked_points.py). Points of the outline and
of the lips may slide along their contour: what the detector tells there is where the contour runs, and only roughly
which of its points is which.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int

from metatalk_lib.core.artifacts import load_json
from metatalk_lib.core.errors import DataError
from metatalk_lib.core.paths import PACKAGE_DATA_DIR
from metatalk_lib.face3d.coefficients import Coefficients
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.reconstruction.gauss_newton import project_landmarks
from metatalk_lib.reconstruction.surface_points import SurfacePoints, surface_operator
from metatalk_lib.tracking.face_points import FACE_OVAL, INNER_CONTOUR, IRISES, LIDS, OUTER_CONTOUR

TABLE_NAME = "tracked_points.json"
COUNT = IRISES.start
"""Number of points: all but those of the irises, which the face model does not have."""
_REMEDY = "Install the project again, or make it with training/learn_tracked_points.py."

SLIDING = 3.0
"""Standard deviation along a contour over that across it."""
OUTLINE_SLIDING = 6.0
INDEPENDENT_TRACKED = 60.0
"""Number of independent points that the points outside of lips and lids count as: neighbours err alike."""
LIP_WEIGHT = 1.8
"""Factor of the weights of the lips' contours. Of what a point is off, the greater part stays the same through a clip,
and is the person's; the motion is told more precisely than the place."""


def weigh_tracked(
    model: FaceModel, dense: Float[np.ndarray, "T 478 C"], noise_px: Float[np.ndarray, "478"], eye_px: float
) -> SurfacePoints:
    """Turn tracked points into weighted observations of surface points.

    Args:
        model: the open face model.
        dense: MediaPipe's points, px of the crop.
        noise_px: noise of each point, px of the crop.
        eye_px: outer-eye distance, px of the crop.

    Raises:
        DataError: the table of points is missing or belongs to another face model.
    """
    vertices, learnt = read_table(len(model.mirror))
    points = dense[:, :COUNT, :2].astype(np.float64)
    doubt = np.hypot(learnt * eye_px, noise_px[:COUNT])
    free = np.ones(COUNT, bool)
    free[np.concatenate([OUTER_CONTOUR, INNER_CONTOUR, *LIDS])] = False
    doubt[free] /= np.sqrt(min(INDEPENDENT_TRACKED / free.sum(), 1.0))
    weights = np.zeros((*points.shape, 2))
    weights[:] = (1 / doubt)[:, None, None] * np.eye(2)
    for contour, sliding in ((OUTER_CONTOUR, SLIDING), (INNER_CONTOUR, SLIDING), (FACE_OVAL, OUTLINE_SLIDING)):
        rows = list(contour)
        along = np.roll(points[:, rows], -1, axis=1) - np.roll(points[:, rows], 1, axis=1)
        along /= np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-6)
        outer = along[..., :, None] * along[..., None, :]
        weights[:, rows] = (np.eye(2) - outer * (1 - 1 / sliding)) / doubt[rows, None, None]
    weights[:, [*OUTER_CONTOUR, *INNER_CONTOUR]] *= LIP_WEIGHT
    return SurfacePoints(points, weights, surface_operator(model)[vertices], replaces_landmarks=True)


def predicted_points(model: FaceModel, coefficients: Coefficients, size: int) -> Float[np.ndarray, "T 468 2"]:
    """Project the fitted face's tracked points to px of a crop of side `size`.

    Args:
        model: the open face model.
        coefficients: a fit of it.
        size: side of the crop, px.
    """
    vertices, _ = read_table(len(model.mirror))
    matrix = surface_operator(model)[vertices]
    identity, expression = coefficients.identity.astype(np.float64), coefficients.expression.astype(np.float64)
    shape = model.mean_shape.double().numpy() + np.tensordot(identity, model.identity_basis.double().numpy(), axes=1)
    modes = np.stack([matrix @ mode for mode in model.expression_basis.double().numpy()])
    pose = np.concatenate([coefficients.rotation, coefficients.translation], axis=1).astype(np.float64)
    return project_landmarks(matrix @ shape + np.tensordot(expression, modes, axes=1), pose, size)


@lru_cache(maxsize=1)
def read_table(surface_vertices: int) -> tuple[Int[np.ndarray, "468"], Float[np.ndarray, "468"]]:
    """Read the vertex of each point and the standard deviation of a coordinate about it, in outer-eye distances.

    Raises:
        DataError: the table is missing or belongs to another face model.
    """
    path = PACKAGE_DATA_DIR / TABLE_NAME
    table = load_json(path)
    if table["surface_vertices"] != surface_vertices:
        raise DataError(
            f"{path} belongs to a face of {table['surface_vertices']} vertices; this one has {surface_vertices}. "
            f"{_REMEDY}"
        )
    return np.array(table["vertex"]), np.array(table["doubt"])
