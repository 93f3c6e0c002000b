"""Priors of the landmark fit: the distribution of expressions in speech, and a rough estimate of the head pose."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from metatalk_lib.core.artifacts import load_json
from metatalk_lib.core.paths import PACKAGE_DATA_DIR
from metatalk_lib.face3d.camera import DISTANCE, FOCAL
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.reconstruction.gauss_newton import POSE, FramePrior

# Spread of the 52 facial actions in speech; jaw and lips move most, and a wide prior there keeps the mouth from being
# fitted too closed.
ACTION_SPREAD = (("jawOpen", 0.8), ("jaw", 0.3), ("mouth", 0.5), ("eyeBlink", 0.8), ("eyeLook", 0.1), ("cheek", 0.2))
OTHER_ACTION_SPREAD = 0.3
FREE_SPREAD = 0.25  # additional spread of every mode, standard deviations: directions that the actions do not span
SCORES_NAME = "expression_scores.json"
SCORE_WEIGHT = 0.3  # of the expressions that blendshape scores tell
POSE_SPREAD = (1.0, 1.0, 1.0, 10.0, 10.0, 0.5)  # standard deviations of the weak pose prior: radians, and decimetres


def speech_covariance(model: FaceModel) -> Float[np.ndarray, "64 64"]:
    """Compute the covariance of expressions in speech, C' diag(spread^2) C + free^2 I.

    C maps the 52 facial actions to expressions; jaw and lips have a wide spread, eyes and cheeks a narrow one. For a
    model without facial actions it is the identity, since its coefficients are standard deviations.

    Source: Original to this project.
    """
    if not model.action_names:
        return np.eye(model.expression_basis.shape[0])
    spread = [
        next((value for prefix, value in ACTION_SPREAD if name.startswith(prefix)), OTHER_ACTION_SPREAD)
        for name in model.action_names
    ]
    scaled = np.asarray(model.actions_to_expression, dtype=np.float64) * np.array(spread)[:, None]
    return scaled.T @ scaled + FREE_SPREAD**2 * np.eye(scaled.shape[1])


class ScoreMap(NamedTuple):
    """Linear map from MediaPipe's blendshape scores to expressions.

    Attributes:
        matrix, mean_scores, mean_expression: expression = mean_expression + (scores - mean_scores) @ matrix.
        precision: inverse covariance of what the map leaves open.
    """

    matrix: Float[np.ndarray, "52 64"]
    mean_scores: Float[np.ndarray, "52"]
    mean_expression: Float[np.ndarray, "64"]
    precision: Float[np.ndarray, "64 64"]


@lru_cache(maxsize=1)
def load_score_map() -> ScoreMap:
    """Load the map, which was learnt on studio people.

    Raises:
        DataError: the table is missing.
    """
    table = load_json(PACKAGE_DATA_DIR / SCORES_NAME)
    covariance = np.array(table["left_covariance"]) + FREE_SPREAD**2 * np.eye(len(table["left_covariance"]))
    matrix, mean_scores, mean = (np.array(table[name]) for name in ("map", "mean_scores", "mean_expression"))
    return ScoreMap(matrix, mean_scores, mean, np.linalg.inv(covariance))


def add_scores(prior: FramePrior, scores: Float[np.ndarray, "T 52"]) -> FramePrior:
    """Combine a prior with blendshape scores, which tell what contours cannot: how far lips stand out, what cheeks do.

        P' = P + w R,    mean' = P'^-1 (P mean + w R (e + (s - s_0) M))

    with the precision R of the scores' expression, and w < 1 since its errors stay the same from frame to frame.

    Args:
        prior: prior of one frame.
        scores: blendshape scores of T frames.

    Returns:
        A prior with a mean for every frame.

    Source: original to this project.
    """
    known = load_score_map()
    heard = known.mean_expression + (scores - known.mean_scores) @ known.matrix
    precision = prior.precision.copy()
    precision[POSE:, POSE:] += SCORE_WEIGHT * known.precision
    right = np.tile(prior.precision @ prior.mean, (len(scores), 1))
    right[:, POSE:] += SCORE_WEIGHT * heard @ known.precision
    return FramePrior(np.linalg.solve(precision, right.T).T, precision, prior.precision)


def frame_prior(model: FaceModel, pose: Float[np.ndarray, "T 6"]) -> FramePrior:
    """Build the prior of one frame's unknowns: expressions of speech, and a distance near the clip's first estimate.

    The distance needs a prior: the camera's focal length is a convention, so the landmarks cannot distinguish a small
    near face from a large distant one.

    Args:
        model: the face model.
        pose: first pose estimates of the frames with a face.
    """
    expression = np.linalg.inv(speech_covariance(model))
    precision = np.zeros((POSE + len(expression),) * 2)
    precision[range(POSE), range(POSE)] = np.array(POSE_SPREAD) ** -2.0
    precision[POSE:, POSE:] = (expression + expression.T) / 2
    mean = np.zeros(len(precision))
    mean[POSE - 1] = np.median(pose[:, -1])
    return FramePrior(mean, precision)


def initial_pose(
    mean: Float[np.ndarray, "L 3"], landmarks: Float[np.ndarray, "T L 2"], size: int
) -> Float[np.ndarray, "T 6"]:
    """Estimate the pose of every frame by scaled orthography: least squares of (x, y) = s R v + o, R made a rotation.

    Args:
        mean: mean landmarks of the model, dm.
        landmarks: landmarks, px of the crop.
        size: side of the crop, px.

    Source: Deep3DFaceRecon's alignment idea (8 unknowns), rewritten for a pinhole camera.
    """
    points = landmarks - (size - 1) / 2
    points = points * (1.0, -1.0)
    design = np.concatenate([mean, np.ones((len(mean), 1))], axis=1)
    solved = np.einsum("kl,tlc->tkc", np.linalg.pinv(design), points)
    rows = solved[:, :3].transpose(0, 2, 1)
    scale = np.linalg.norm(rows, axis=2).mean(1)
    third = np.cross(rows[:, 0], rows[:, 1])
    third *= (scale / np.maximum(np.linalg.norm(third, axis=1), 1e-9))[:, None]
    left, _, right = np.linalg.svd(np.concatenate([rows, third[:, None]], axis=1))
    matrix = left @ right
    distance = FOCAL * size / scale
    translation = np.concatenate([solved[:, 3] / scale[:, None], (DISTANCE - distance)[:, None]], axis=1)
    angles = np.stack(
        [
            np.arctan2(matrix[:, 2, 1], matrix[:, 2, 2]),
            -np.arcsin(np.clip(matrix[:, 2, 0], -1, 1)),
            np.arctan2(matrix[:, 1, 0], matrix[:, 0, 0]),
        ],
        axis=1,
    )
    return np.concatenate([angles, translation], axis=1)
