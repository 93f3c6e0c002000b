"""Errors of a reconstruction against a studio character's true face."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from skimage.measure import points_in_poly

from metatalk_lib.face3d.camera import transform
from metatalk_lib.face3d.coefficients import Coefficients
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.metrics.correlation import relate_curves
from metatalk_lib.reconstruction.dense_landmarks import OUTER_LIP
from metatalk_lib.studio.ground_truth import MOUTH_CORNERS, true_control_vertices
from metatalk_lib.tracking.crop import CropTransform
from metatalk_lib.tracking.landmarks import INNER_LIP_PAIRS, MOUTH

MM_PER_DM = 100.0
FACE_STRIDE = 16  # every sixteenth surface vertex represents the face


class Accuracy(NamedTuple):
    """Errors of a clip, each a mean over its frames with a face.

    Attributes:
        opening_r, opening_slope: correlation and slope of mouth opening, fitted against true.
        width_r: correlation of mouth width, fitted against true.
        lip_mm, face_mm: distance of vertices after similarity alignment of the whole face with the true one, mm.
        rotation_deg: rotation between the fitted and the true face, degrees.
    """

    opening_r: float
    opening_slope: float
    width_r: float
    lip_mm: float
    face_mm: float
    rotation_deg: float


class Surfaces(NamedTuple):
    """Sampled points of a face in camera space and model space, dm: of the skin, the lips, and the 68 landmarks."""

    face: Float[np.ndarray, "T V 3"]
    lips: Float[np.ndarray, "T U 3"]
    landmarks: Float[np.ndarray, "T 68 3"]


def measure_accuracy(
    model: FaceModel, fit: Coefficients, truth: dict[str, np.ndarray], crop: CropTransform
) -> Accuracy:
    """Compare a fit with the truth.

    Vertices are compared after a similarity for each frame, since a camera of unknown focal length cannot tell a small
    near face from a large far one. The crop's camera looks at the centre of the crop, the studio's at the centre of its
    picture; the rotation between the two axes is removed.

    Args:
        model: the face model of the fit.
        fit: of all frames of the studio video.
        truth: arrays of `studio.truth`.
        crop: of the video.
    """
    rows = np.flatnonzero(fit.valid)
    own, true = fitted_surfaces(model, fit.select(fit.frame_id[rows])), true_surfaces(model, truth, rows)
    scale, turn, shift = align(own.face, true.face)

    def moved(points: np.ndarray) -> np.ndarray:
        return scale[:, None, None] * points @ turn.transpose(0, 2, 1) + shift[:, None]

    size = float(np.median(scale))
    openings = [size * gap(own.landmarks, INNER_LIP_PAIRS), gap(true.landmarks, INNER_LIP_PAIRS)]
    widths = [size * gap(own.landmarks, (MOUTH_CORNERS,)), gap(true.landmarks, (MOUTH_CORNERS,))]
    opening_r, slope = relate_curves(*openings)
    residual = view_rotation(truth, crop).T @ turn
    angle = np.arccos(np.clip((np.trace(residual, axis1=1, axis2=2) - 1) / 2, -1, 1))
    return Accuracy(
        opening_r,
        slope,
        relate_curves(*widths)[0],
        float(MM_PER_DM * np.linalg.norm(moved(own.lips) - true.lips, axis=-1).mean()),
        float(MM_PER_DM * np.linalg.norm(moved(own.face) - true.face, axis=-1).mean()),
        float(np.degrees(angle).mean()),
    )


def fitted_surfaces(model: FaceModel, fit: Coefficients) -> Surfaces:
    """Points of the fitted face, camera space of the crop."""
    identity = torch.from_numpy(np.repeat(fit.identity[None], len(fit), axis=0))
    with torch.no_grad():
        base = model.compute_base(identity, torch.from_numpy(fit.expression))
        base = transform(base, torch.from_numpy(fit.rotation), torch.from_numpy(fit.translation))
    return sample_surfaces(model, base.double().numpy())


def true_surfaces(model: FaceModel, truth: dict[str, np.ndarray], rows: np.ndarray) -> Surfaces:
    """The same points of the true face, camera space of the studio."""
    return sample_surfaces(model, true_control_vertices(truth, model, rows))


def sample_surfaces(model: FaceModel, control: Float[np.ndarray, "T Nb 3"]) -> Surfaces:
    """Points on the surface that control vertices make."""
    operator = model.subdivision.to_dense().double().numpy()
    rows = (operator[::FACE_STRIDE], operator[find_lips(model)], model.landmark_matrix.double().numpy())
    return Surfaces(*(np.stack([part @ frame for frame in control]) for part in rows))


def find_lips(model: FaceModel) -> Bool[np.ndarray, " V"]:
    """Surface vertices of the open model that lie on the lips."""
    mean = (model.subdivision @ model.mean_shape).numpy()
    outer = (model.landmark_matrix @ model.mean_shape).numpy()[OUTER_LIP]
    places = (model.landmark_matrix @ model.mean_shape).numpy()[MOUTH]
    return points_in_poly(mean[:, :2], outer[:, :2]) & (mean[:, 2] > places[:, 2].min() - 0.05)


def gap(landmarks: Float[np.ndarray, "T 68 3"], pairs: tuple) -> Float[np.ndarray, " T"]:
    """Mean distance of pairs of landmarks, mm."""
    first, second = np.array(pairs).T
    return MM_PER_DM * np.linalg.norm(landmarks[:, first] - landmarks[:, second], axis=-1).mean(axis=1)


def align(source: Float[np.ndarray, "T V 3"], target: Float[np.ndarray, "T V 3"]) -> tuple:
    """Scale (T,), rotation (T, 3, 3) and shift (T, 3) that bring every source nearest to its target.

    Source: S. Umeyama, IEEE PAMI 13, 1991.
    """
    a, b = source.mean(axis=1, keepdims=True), target.mean(axis=1, keepdims=True)
    u, strength, vt = np.linalg.svd((target - b).transpose(0, 2, 1) @ (source - a))
    flip = np.ones_like(strength)
    flip[:, 2] = np.linalg.det(u @ vt)
    turn = (u * flip[:, None]) @ vt
    scale = (strength * flip).sum(axis=1) / np.square(source - a).sum(axis=(1, 2))
    shift = b[:, 0] - scale[:, None] * (turn @ a.transpose(0, 2, 1))[..., 0]
    return scale, turn, shift


def view_rotation(truth: dict[str, np.ndarray], crop: CropTransform) -> Float[np.ndarray, "3 3"]:
    """Turn of the crop's optical axis into the studio camera's direction of the crop's centre."""
    centre = np.array([crop.left, crop.top]) + (crop.side - 1) / 2
    x, y = (centre - truth["principal_point_px"]) / truth["focal_px"] * (1.0, -1.0)
    ray = np.array([x, y, -1.0]) / np.sqrt(1 + x * x + y * y)
    axis = np.cross((0.0, 0.0, -1.0), ray)
    sine, cosine = np.linalg.norm(axis), -ray[2]
    if sine < 1e-9:
        return np.eye(3)
    x, y, z = axis / sine
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + sine * skew + (1 - cosine) * skew @ skew


def identity_shape(model: FaceModel, identity: Float[np.ndarray, " 80"]) -> Float[np.ndarray, "V 3"]:
    """The neutral face of an identity at its control vertices, brought to the mean face's place and size, mm."""
    shape = model.mean_shape.double().numpy() + np.tensordot(
        identity.astype(np.float64), model.identity_basis.double().numpy(), axes=1
    )
    mean = model.mean_shape.double().numpy()
    scale, turn, shift = (part[0] for part in align(shape[None], mean[None]))
    return MM_PER_DM * (scale * shape @ turn.T + shift)
