"""Equations of the landmark fit: projection, its derivatives, and Gauss-Newton steps over many frames at once.

The points are the 68 landmarks, followed by further points of the surface, if given.

One frame's unknowns are its pose (rotation 3, translation 3) and expression (64); the identity (80) is shared. A step
minimises, over all frames t,

    sum_t |W_t (q_t - p(identity, x_t))|^2 / noise^2 + |identity|^2 + e_t' P e_t + smoothness,

where q are the observed and p the projected landmarks, W_t weights them, x = (rotation, translation, e) and P is the
precision of the expression prior. Camera and rotation are those of `camera`.
"""

from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.linalg import solveh_banded

from metatalk_lib.face3d.camera import DISTANCE, FOCAL
from metatalk_lib.reconstruction.surface_points import SurfacePoints
from metatalk_lib.tracking.landmarks import MOUTH

POSE = 6
OUTER_EYE = (36, 45)
EDGES = np.r_[37:39, 40:42, 43:45, 46:48, MOUTH]  # edges of lips and lids, without the corners of the eyes

# Lids and lips are also measured relative to each other: if a person's lip line differs from the model's, both lips
# are off by the same amount, and their distance is still right.
PAIRS = ((61, 67), (62, 66), (63, 65), (60, 64), (48, 54), (51, 57), (37, 41), (38, 40), (43, 47), (44, 46))


@dataclass(frozen=True)
class FitSettings:
    """Weights of the fit; noise and weights are relative, so they apply to any crop and face size.

    Attributes:
        noise: standard deviation of a landmark of weight 1, as a fraction of the outer-eye distance.
        jaw, brow, nose, eye, outer_lip, inner_lip, pair: weights of the landmark groups; higher ones are fitted closer.
        jaw_along: weight of the contour points along the contour, where the detector may slide.
        rotation_step: expected change of angular speed between frames, rad.
        translation_step: expected change of speed between frames across the picture, dm; three times that in depth.
        expression_step: expected change of speed of the expression, in units of the prior's spread.
        identity_frames: number of frames that fit the identity.
        detector_weight: factor of the landmarks' weights if surface points are given that do not replace them.
        detector_edge_weight: the same factor for the landmarks on the edges of lips and lids, and for the pairs.
    """

    noise: float = 0.03
    jaw: float = 0.3
    jaw_along: float = 0.05
    brow: float = 0.5
    nose: float = 1.0
    eye: float = 1.2
    outer_lip: float = 1.5
    inner_lip: float = 2.0
    pair: float = 3.0
    rotation_step: float = 0.006
    translation_step: float = 0.015
    expression_step: float = 1.5
    identity_frames: int = 40
    detector_weight: float = 3.0
    detector_edge_weight: float = 0.1


class LandmarkBases(NamedTuple):
    """Face model evaluated at its landmarks and further points, dm."""

    mean: Float[np.ndarray, "L 3"]
    identity: Float[np.ndarray, "I L 3"]
    expression: Float[np.ndarray, "E L 3"]


class FramePrior(NamedTuple):
    """Gaussian prior of one frame's unknowns: rotation, translation, expression.

    Attributes:
        mean: (X,), or (T, X) with one row for each frame.
        precision: inverse covariance.
        change: inverse covariance, up to a factor, of changes from frame to frame; None is that of the values.
    """

    mean: Float[np.ndarray, "*T X"]
    precision: Float[np.ndarray, "X X"]
    change: Float[np.ndarray, "X X"] | None = None

    def select(self, rows: slice | np.ndarray) -> "FramePrior":
        """Return the prior of some frames."""
        return self if self.mean.ndim == 1 else self._replace(mean=self.mean[rows])


class Observation(NamedTuple):
    """Observed landmarks with the weights that scale pixel residuals to units of their noise."""

    landmarks: Float[np.ndarray, "T L 2"]
    weights: Float[np.ndarray, "T L 2 2"]
    pair_weight: Float[np.ndarray, " T"]
    size: int

    def select(self, index: np.ndarray | slice) -> "Observation":
        """Return the observation of some frames."""
        return Observation(self.landmarks[index], self.weights[index], self.pair_weight[index], self.size)


def rotation_with_derivatives(
    rotation: Float[np.ndarray, "T 3"],
) -> tuple[Float[np.ndarray, "T 3 3"], Float[np.ndarray, "T 3 3 3"]]:
    """Compute M = Rz Ry Rx and its derivative with respect to each of the three angles.

    Args:
        rotation: angles about x, y, z in radians.

    Returns:
        M, and dM with dM[t, k] the derivative with respect to angle k.

    Source: Original to this project; convention of `camera.euler_to_matrix`.
    """
    count = len(rotation)
    cosine, sine = np.cos(rotation), np.sin(rotation)
    single = np.zeros((3, count, 3, 3))
    slope = np.zeros((3, count, 3, 3))
    for axis, (i, j) in enumerate(((1, 2), (2, 0), (0, 1))):
        c, s = cosine[:, axis], sine[:, axis]
        single[axis][:, axis, axis] = 1.0
        single[axis][:, i, i], single[axis][:, i, j], single[axis][:, j, i], single[axis][:, j, j] = c, -s, s, c
        slope[axis][:, i, i], slope[axis][:, i, j], slope[axis][:, j, i], slope[axis][:, j, j] = -s, -c, c, -s
    x, y, z = single
    derivatives = np.stack([z @ y @ slope[0], z @ slope[1] @ x, slope[2] @ y @ x], axis=1)
    return z @ y @ x, derivatives


def project_landmarks(
    points: Float[np.ndarray, "T L 3"], pose: Float[np.ndarray, "T 6"], size: int
) -> Float[np.ndarray, "T L 2"]:
    """Project model-space points into a crop: v_cam = M v + t, then the pinhole camera.

    Args:
        points: points in model space, dm.
        pose: rotation (rad) and translation (dm).
        size: side of the crop, px.

    Source: docs/architecture.md, "projection".
    """
    matrix, _ = rotation_with_derivatives(pose[:, :3])
    return _project(points @ matrix.transpose(0, 2, 1) + pose[:, None, 3:], size)


def _project(camera: np.ndarray, size: int) -> np.ndarray:
    scale = FOCAL * size / (DISTANCE - camera[..., 2])
    centre = (size - 1) / 2
    return np.stack([centre + scale * camera[..., 0], centre - scale * camera[..., 1]], axis=-1)


class Linearisation(NamedTuple):
    """Weighted residuals q - p and derivatives of p; rows are points and pairs, x and y."""

    residual: Float[np.ndarray, "T R"]
    frame: Float[np.ndarray, "T R X"]
    identity: Float[np.ndarray, "T R I"] | None


def linearise(
    bases: LandmarkBases,
    observation: Observation,
    identity: Float[np.ndarray, " I"],
    frames: Float[np.ndarray, "T X"],
    *,
    by_identity: bool,
) -> Linearisation:
    """Compute residuals and the analytic Jacobian at the current estimate.

    With G = d(col, row)/d v_cam: dp/dt = G, dp/d angle_k = G dM_k v, dp/de_j = G M E_j, dp/d identity_i = G M I_i.

    Args:
        bases: face model at the points.
        observation: observed points with their weights.
        identity: current identity.
        frames: rotation, translation and expression of every frame.
        by_identity: also differentiate with respect to the identity.

    Source: Original to this project.
    """
    neutral = bases.mean + np.tensordot(identity, bases.identity, axes=1)
    points = neutral + np.tensordot(frames[:, POSE:], bases.expression, axes=1)
    matrix, derivatives = rotation_with_derivatives(frames[:, :3])
    camera = points @ matrix.transpose(0, 2, 1) + frames[:, None, 3:POSE]
    gradient = _projection_gradient(camera, observation.size)
    turned = np.einsum("tkab,tlb->tlak", derivatives, points, optimize=True)
    in_model = gradient @ matrix[:, None]
    jacobian = [gradient @ turned, gradient, _by_modes(in_model, bases.expression)]
    residual = observation.landmarks - _project(camera, observation.size)
    return Linearisation(
        _weigh(residual[..., None], observation)[..., 0],
        _weigh(np.concatenate(jacobian, axis=-1), observation),
        _weigh(_by_modes(in_model, bases.identity), observation) if by_identity else None,
    )


def _projection_gradient(camera: np.ndarray, size: int) -> np.ndarray:
    """Compute d(col, row) / d(x, y, z) in camera space, (T, L, 2, 3)."""
    inverse = FOCAL * size / (DISTANCE - camera[..., 2])
    gradient = np.zeros((*camera.shape[:-1], 2, 3))
    gradient[..., 0, 0] = inverse
    gradient[..., 1, 1] = -inverse
    gradient[..., 0, 2] = inverse * camera[..., 0] / (DISTANCE - camera[..., 2])
    gradient[..., 1, 2] = -inverse * camera[..., 1] / (DISTANCE - camera[..., 2])
    return gradient


def _by_modes(in_model: np.ndarray, modes: np.ndarray) -> np.ndarray:
    """Multiply (T, L, 2, 3) gradients in model space by (K, L, 3) modes -> (T, L, 2, K)."""
    count, points = in_model.shape[:2]
    by_landmark = in_model.transpose(1, 0, 2, 3).reshape(points, count * 2, 3)
    product = by_landmark @ modes.transpose(1, 2, 0)
    return product.reshape(points, count, 2, -1).transpose(1, 0, 2, 3)


def _weigh(rows: np.ndarray, observation: Observation) -> np.ndarray:
    """Weight rows, (T, L, 2, K) -> (T, (L + pairs) * 2, K): weighted points, then weighted differences of the pairs."""
    first, second = np.array(PAIRS).T
    pairs = (rows[:, first] - rows[:, second]) * observation.pair_weight[:, None, None, None]
    stacked = np.concatenate([observation.weights @ rows, pairs], axis=1)
    return stacked.reshape(len(rows), -1, rows.shape[-1])


def eye_distance(landmarks: Float[np.ndarray, "T 68 2"], reference: Bool[np.ndarray, " T"]) -> float:
    """Compute the median distance of the outer eye corners over the reference frames, px."""
    left, right = OUTER_EYE
    return float(np.median(np.linalg.norm(landmarks[reference, left] - landmarks[reference, right], axis=-1)))


def observe(
    landmarks: Float[np.ndarray, "T 68 2"],
    size: int,
    settings: FitSettings,
    seen: Bool[np.ndarray, " T"],
    eye_px: float,
    surface: SurfacePoints | None = None,
) -> Observation:
    """Weight landmarks by group; contour points count mainly across the contour, hardly along it.

    Args:
        landmarks: landmarks, px of the crop.
        size: side of the crop, px.
        settings: weights of the fit.
        seen: frames with a face; the others get no weight.
        eye_px: outer-eye distance of the face, the unit of the noise.
        surface: further points with their weights; the landmarks then count less, or not at all.

    Source: Original to this project.
    """
    groups = ((0, 17, "jaw"), (17, 27, "brow"), (27, 36, "nose"), (36, 48, "eye"), (48, 60, "outer_lip"))
    values = np.full(68, settings.inner_lip)
    for start, stop, name in groups:
        values[start:stop] = getattr(settings, name)
    weights = np.zeros((len(landmarks), 68, 2, 2))
    weights[:] = values[:, None, None] * np.eye(2)
    along = np.gradient(landmarks[:, :17], axis=1)
    along /= np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-6)  # contour points may coincide
    outer = along[..., :, None] * along[..., None, :]
    weights[:, :17] = settings.jaw * (np.eye(2) - outer) + settings.jaw_along * outer
    scale = seen / max(settings.noise * eye_px, 1e-6)
    if surface is None:
        return Observation(landmarks, weights * scale[:, None, None, None], settings.pair * scale, size)
    inner, edge = (
        (0.0, 0.0) if surface.replaces_landmarks else (settings.detector_weight, settings.detector_edge_weight)
    )
    factor = np.full(68, inner)
    factor[EDGES] = edge
    return Observation(
        np.concatenate([landmarks, surface.points], axis=1),
        np.concatenate(
            [weights * (scale[:, None] * factor)[..., None, None], surface.weights * seen[:, None, None, None]], axis=1
        ),
        edge * settings.pair * scale,
        size,
    )


def step_pose(linear: Linearisation, frames: Float[np.ndarray, "T X"]) -> Float[np.ndarray, "T X"]:
    """Take one Gauss-Newton step of the six pose parameters of every frame, with identity and expression fixed.

    Source: Original to this project.
    """
    pose = linear.frame[:, :, :POSE]
    right = pose.transpose(0, 2, 1) @ linear.residual[..., None]
    moved = frames.copy()
    moved[:, :POSE] += np.linalg.solve(pose.transpose(0, 2, 1) @ pose + 1e-6 * np.eye(POSE), right)[..., 0]
    return moved


def step_shared_identity(
    linear: Linearisation,
    identity: Float[np.ndarray, " I"],
    frames: Float[np.ndarray, "T X"],
    prior: FramePrior,
) -> tuple[Float[np.ndarray, " I"], Float[np.ndarray, "T X"]]:
    """Take one Gauss-Newton step for the identity and all frames, eliminating the frames (Schur complement).

    If a person's face differs from the model, or the detector's definition of a landmark from ours, every frame has the
    same error: T frames tell no more about the identity than one. Its prior therefore counts T times.

    Args:
        linear: residuals and Jacobian, including the derivatives by the identity.
        identity: current identity.
        frames: current pose and expression.
        prior: prior of a frame's unknowns.

    Returns:
        The new identity and the new frames.

    Source: Original to this project.
    """
    slopes = cast(np.ndarray, linear.identity)
    by_frame, by_identity = linear.frame.transpose(0, 2, 1), slopes.transpose(0, 2, 1)
    frame_block = by_frame @ linear.frame + prior.precision
    cross = by_frame @ slopes
    frame_right = (by_frame @ linear.residual[..., None])[..., 0] - (frames - prior.mean) @ prior.precision
    identity_block = (by_identity @ slopes).sum(0) + len(frames) * np.eye(len(identity))
    identity_right = (by_identity @ linear.residual[..., None])[..., 0].sum(0) - len(frames) * identity
    eliminated = np.linalg.solve(frame_block, np.concatenate([cross, frame_right[..., None]], axis=-1))
    transposed = cross.transpose(0, 2, 1)
    schur = identity_block - (transposed @ eliminated[..., :-1]).sum(0)
    step = np.linalg.solve(schur, identity_right - (transposed @ eliminated[..., -1:]).sum(0)[:, 0])
    return identity + step, frames + eliminated[..., -1] - eliminated[..., :-1] @ step


def step_smooth_frames(
    linear: Linearisation,
    frames: Float[np.ndarray, "T X"],
    prior: FramePrior,
    smoothness: Float[np.ndarray, "X X"],
    frame_id: Int[np.ndarray, " T"],
) -> Float[np.ndarray, "T X"]:
    """Take one Gauss-Newton step for all frames of a clip together, smooth over time.

    The smoothness penalises second differences, sum_t (x_{t-1} - 2 x_t + x_{t+1})' S (x_{t-1} - 2 x_t + x_{t+1}), which
    leaves a steady opening of the mouth free; the system is banded and solved exactly.

    Args:
        linear: residuals and Jacobian by the frames' unknowns.
        frames: current pose and expression.
        prior: prior of a frame's unknowns.
        smoothness: matrix S of the smoothness term.
        frame_id: frame numbers in the source; there is no smoothness across a gap.

    Returns:
        The new frames.

    Source: Original to this project.
    """
    transposed = linear.frame.transpose(0, 2, 1)
    diagonals = _second_difference(frame_id)
    blocks = transposed @ linear.frame + prior.precision + diagonals[0][:, None, None] * smoothness
    pulled = diagonals[0][:, None] * frames
    for lag in (1, 2):
        pulled[lag:] += diagonals[lag][: len(frames) - lag, None] * frames[:-lag]
        pulled[:-lag] += diagonals[lag][: len(frames) - lag, None] * frames[lag:]
    right = (transposed @ linear.residual[..., None])[..., 0]
    right -= (frames - prior.mean) @ prior.precision + pulled @ smoothness
    step = _solve_banded(blocks, diagonals, smoothness, right)
    return frames + step


def _second_difference(frame_id: np.ndarray) -> np.ndarray:
    """Return main, first and second diagonal of D'D, (3, T), with D the second differences of consecutive frames."""
    count = len(frame_id)
    diagonals = np.zeros((3, count))
    follows = np.diff(frame_id) == 1
    start = np.flatnonzero(follows[:-1] & follows[1:])
    stencil = (1.0, -2.0, 1.0)
    for i in range(3):
        for j in range(i, 3):
            np.add.at(diagonals[j - i], start + i, stencil[i] * stencil[j])
    return diagonals


def _solve_banded(blocks: np.ndarray, diagonals: np.ndarray, smoothness: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve the symmetric system with `blocks` on the diagonal and multiples of `smoothness` one and two off it."""
    count, width = right.shape
    band = np.zeros((3 * width, count, width))
    row, column = np.meshgrid(np.arange(width), np.arange(width), indexing="ij")
    lower = row >= column
    band[(row - column)[lower], :, column[lower]] = blocks[:, row[lower], column[lower]].T
    for lag in (1, 2):
        band[lag * width + row - column, :, column] += smoothness[:, :, None] * diagonals[lag]
    solution = solveh_banded(band.reshape(3 * width, -1), right.reshape(-1), lower=True, overwrite_ab=True)
    return solution.reshape(count, width)
