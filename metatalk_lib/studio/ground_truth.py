"""The ground truth of a studio video, in the terms of the open face model."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import least_squares

from metatalk_lib.core.errors import DataError
from metatalk_lib.face3d.anny_data import ACTION_NAMES
from metatalk_lib.face3d.camera import DISTANCE, project, transform
from metatalk_lib.face3d.coefficients import Coefficients
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.studio.base_mesh import PIVOT, load_figure_actions
from metatalk_lib.studio.performance import Performance
from metatalk_lib.studio.scene import Scene, euler_matrix
from metatalk_lib.tracking.crop import CropTransform
from metatalk_lib.tracking.landmarks import INNER_LIP_PAIRS

PRIOR = 1e-5  # dm^2: weight of the unit-variance prior against squared distances, about the squared error of one vertex
MOUTH_CORNERS = (48, 54)


class Alignment(NamedTuple):
    """A head in the face model: head = rotation (mean + identity . basis) + translation.

    Attributes:
        identity: (80,) in standard deviations.
        rotation: (3, 3).
        translation: (3,) dm.
        error_dm: mean distance between the head's control vertices and the model's.
    """

    identity: Float[np.ndarray, "80"]
    rotation: Float[np.ndarray, "3 3"]
    translation: Float[np.ndarray, "3"]
    error_dm: float


def fit_identity(model: FaceModel, head: Float[np.ndarray, "Nb 3"], rounds: int = 8) -> Alignment:
    """Least squares: identity and rigid motion that bring the model nearest to a head, in turns.

    identity = argmin sum |R (mean + identity . basis) + t - head|^2 + PRIOR |identity|^2

    Args:
        model: the face model.
        head: (Nb, 3) its control vertices on the head, dm.
        rounds: number of times that rigid motion and identity are each solved.
    """
    mean = model.mean_shape.double().numpy()
    basis = model.identity_basis.double().numpy().reshape(80, -1)
    gram = basis @ basis.T + PRIOR * np.eye(80)
    identity = np.zeros(80)
    for _ in range(rounds):
        shape = mean + (identity @ basis).reshape(-1, 3)
        rotation, translation = _align(shape, head.astype(np.float64))
        local = (head - translation) @ rotation
        identity = np.linalg.solve(gram, basis @ (local - mean).ravel())
    shape = mean + (identity @ basis).reshape(-1, 3)
    rotation, translation = _align(shape, head.astype(np.float64))
    error = np.linalg.norm(shape @ rotation.T + translation - head, axis=1).mean()
    return Alignment(identity, rotation, translation, float(error))


def _align(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotation and translation that bring `source` nearest to `target`."""
    a, b = source.mean(axis=0), target.mean(axis=0)
    u, _, vt = np.linalg.svd((target - b).T @ (source - a))
    rotation = u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt
    return rotation, b - rotation @ a


def matrix_to_euler(matrix: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3"]:
    """Angles (a, b, c) with Rz(c) Ry(b) Rx(a) = matrix."""
    return np.array(
        [np.arctan2(matrix[2, 1], matrix[2, 2]), np.arcsin(-matrix[2, 0]), np.arctan2(matrix[1, 0], matrix[0, 0])]
    )


def compute_truth(scene: Scene, performance: Performance, model: FaceModel) -> dict[str, np.ndarray]:
    """The arrays of `truth.npz`: see docs/architecture.md.

    Raises:
        DataError: the face model's actions are not in the order of the head data.
    """
    if tuple(model.action_names) != ACTION_NAMES:
        raise DataError("the face model's actions are not those of the head data. Delete its cache file and run again.")
    ids = model.base_ids.numpy()
    neutral = scene.figure.base[ids]
    fit = fit_identity(model, neutral)
    actions = load_figure_actions()[:, ids]
    rows = model.landmark_matrix.numpy().astype(np.float64)
    neutral_landmarks, moving = rows @ neutral, np.einsum("lb,abd->ald", rows, actions)
    shift = np.array(scene.camera.shift)
    rotations, translations, frames = [], [], []
    for row, angles, sway in zip(performance.actions, performance.rotation, performance.sway, strict=True):
        turn = euler_matrix(angles)
        points = neutral_landmarks + np.tensordot(row, moving, axes=1)
        seen = (points - PIVOT) @ turn.T + PIVOT + sway + shift
        frames.append(project_points(seen, scene.camera.focal_px, scene.camera.principal_point_px))
        rotations.append(matrix_to_euler(turn @ fit.rotation))
        translations.append(turn @ (fit.translation - PIVOT) + PIVOT + sway + shift)
    landmarks = np.array(frames)
    gaps = [np.linalg.norm(landmarks[:, a] - landmarks[:, b], axis=1) for a, b in INNER_LIP_PAIRS]
    expression = torch.from_numpy(performance.actions) @ model.actions_to_expression
    values = {
        "frame_id": np.arange(len(landmarks)),
        "landmarks": landmarks,
        "vertices_identity": neutral,
        "identity": fit.identity,
        "expression": expression.numpy(),
        "actions": performance.actions,
        "rotation": np.array(rotations),
        "translation": np.array(translations),
        "focal_px": np.array(scene.camera.focal_px),
        "principal_point_px": np.array(scene.camera.principal_point_px),
        "mouth_opening_px": np.mean(gaps, axis=0),
        "mouth_width_px": np.linalg.norm(landmarks[:, MOUTH_CORNERS[0]] - landmarks[:, MOUTH_CORNERS[1]], axis=1),
        "identity_error_dm": np.array(fit.error_dm),
    }
    return {name: value.astype(np.int64 if name == "frame_id" else np.float32) for name, value in values.items()}


def true_control_vertices(
    truth: dict[str, np.ndarray], model: FaceModel, rows: Sequence[int] | slice
) -> Float[np.ndarray, "T Nb 3"]:
    """The head's own control vertices in some frames, camera space, dm; no face model's modes are between.

    Args:
        truth: arrays of `compute_truth`.
        model: the face model that the truth's poses refer to.
        rows: frames.
    """
    neutral = truth["vertices_identity"].astype(np.float64)
    fit = fit_identity(model, neutral)
    moved = neutral + np.tensordot(truth["actions"][rows], load_figure_actions()[:, model.base_ids.numpy()], axes=1)
    in_model = (moved - fit.translation) @ fit.rotation
    turns = np.stack([euler_matrix(angles) for angles in truth["rotation"][rows]])
    return in_model @ turns.transpose(0, 2, 1) + truth["translation"][rows][:, None]


def project_truth(points: Float[np.ndarray, "*T K 3"], truth: dict[str, np.ndarray]) -> Float[np.ndarray, "*T K 2"]:
    """Camera-space points in pixels of the studio video that the truth belongs to."""
    return project_points(points, truth["focal_px"], truth["principal_point_px"])


def project_points(
    points: Float[np.ndarray, "*T K 3"], focal_px: float | np.ndarray, principal_point_px: Sequence | np.ndarray
) -> Float[np.ndarray, "*T K 2"]:
    """Camera-space points in pixels of a video."""
    scale = focal_px / (DISTANCE - points[..., 2:])
    return np.asarray(principal_point_px) + points[..., :2] * scale * (1.0, -1.0)


def true_coefficients(model: FaceModel, truth: dict[str, np.ndarray], crop: CropTransform) -> Coefficients:
    """The true identity and expressions, and the poses with which the crop's camera sees the face where it truly is.

    The studio's camera has another focal length and looks elsewhere than the crop's, so that no pose agrees exactly;
    the one nearest in pixels is taken. Texture is the mean skin, the light plain: the truth holds neither.

    Args:
        model: the open face model.
        truth: arrays of `compute_truth`.
        crop: of the studio video.
    """
    frames = len(truth["frame_id"])
    seen = project_truth(true_control_vertices(truth, model, slice(None)), truth)
    wanted = crop.to_crop(seen)
    identity, expression = (torch.from_numpy(truth[name]) for name in ("identity", "expression"))
    with torch.no_grad():
        base = model.compute_base(identity.expand(frames, -1), expression).double()
    pose, poses, errors = np.concatenate([truth["rotation"][0], np.zeros(3)]).astype(np.float64), [], []
    for frame in range(frames):

        def miss(values: np.ndarray, frame: int = frame) -> np.ndarray:
            rotation, translation = torch.from_numpy(values)[None].split(3, dim=1)
            placed = project(transform(base[frame : frame + 1], rotation, translation), crop.size)
            return (placed[0].numpy() - wanted[frame]).ravel()

        found = least_squares(miss, pose, x_scale=(0.1, 0.1, 0.1, 0.1, 0.1, 1.0))
        pose = found.x
        poses.append(pose)
        errors.append(np.linalg.norm(found.fun.reshape(-1, 2), axis=1).mean())
    return Coefficients(
        frame_id=truth["frame_id"],
        identity=truth["identity"],
        texture=np.zeros(80, np.float32),
        expression=truth["expression"],
        illumination=np.zeros((frames, 27), np.float32),
        rotation=np.array(poses, np.float32)[:, :3],
        translation=np.array(poses, np.float32)[:, 3:],
        valid=np.ones(frames, bool),
        landmark_error_px=np.array(errors, np.float32),
    )
