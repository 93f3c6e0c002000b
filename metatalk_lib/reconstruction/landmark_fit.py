"""Fit of identity, pose and expression to points in the picture: 68 landmarks, and further surface points if given.

The identity is fitted to some well-spread training frames together with their poses and expressions; then the poses and
expressions of all frames are fitted together, smooth over time, in windows that bound the memory.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from threadpoolctl import threadpool_limits

from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.face3d.coefficients import Coefficients
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.reconstruction.gauss_newton import (
    OUTER_EYE,
    POSE,
    FitSettings,
    FramePrior,
    LandmarkBases,
    Linearisation,
    Observation,
    eye_distance,
    linearise,
    observe,
    project_landmarks,
    step_pose,
    step_shared_identity,
    step_smooth_frames,
)
from metatalk_lib.reconstruction.priors import add_scores, frame_prior, initial_pose
from metatalk_lib.reconstruction.surface_points import SurfacePoints
from metatalk_lib.tracking.landmarks import mouth_opening

POSE_ITERATIONS = 3
IDENTITY_ITERATIONS = 10
FRAME_ITERATIONS = 4
_WINDOW = 150  # frames solved together; memory grows with it
OVERLAP = 20
MIN_FACE_PX = 16.0

# (first row, end row, current pose and expression) -> function that appends further rows to those of the points.
MoreRows = Callable[[int, int, np.ndarray], Callable[[Linearisation], Linearisation]]


@dataclass(frozen=True)
class FrameProblem:
    """Inputs from which the poses and expressions of a clip are solved.

    Attributes:
        face_model: name of the face model.
        bases: face model evaluated at the points.
        landmarks: (T, 68, 2) landmarks, px of the crop.
        surface: further points of the surface, or None.
        size: side of the crop, px.
        frame_id: numbers of the frames.
        detected: frames with a face.
        eye_px: outer-eye distance, px.
        identity: identity coefficients of the person.
        prior: prior of one frame's unknowns.
        settings: weights of the fit.
    """

    face_model: str
    bases: LandmarkBases
    landmarks: Float[np.ndarray, "T 68 2"]
    surface: SurfacePoints | None
    size: int
    frame_id: Int[np.ndarray, " T"]
    detected: Bool[np.ndarray, " T"]
    eye_px: float
    identity: Float[np.ndarray, " I"]
    prior: FramePrior
    settings: FitSettings

    def observe(self, rows: slice | np.ndarray) -> Observation:
        """Return the points of some frames with their weights."""
        surface = None if self.surface is None else self.surface.select(rows)
        return observe(self.landmarks[rows], self.size, self.settings, self.detected[rows], self.eye_px, surface)


@threadpool_limits.wrap(limits=1, user_api="blas")  # many small systems: more threads would only wait for each other
def fit_landmarks(
    model: FaceModel,
    landmarks_crop: Float[np.ndarray, "T 68 2"],
    size: int,
    frame_id: Int[np.ndarray, " T"],
    *,
    surface: SurfacePoints | None = None,
    scores: Float[np.ndarray, "T 52"] | None = None,
    detected: Bool[np.ndarray, " _"] | None = None,
    train_mask: Bool[np.ndarray, " _"] | None = None,
    identity: Float[np.ndarray, " 80"] | None = None,
    settings: FitSettings | None = None,
) -> Coefficients:
    """Fit identity, pose and expression to landmarks; texture and illumination stay zero.

    Args:
        model: the face model.
        landmarks_crop: landmarks in px of the crop.
        size: side of the crop, px.
        frame_id: numbers of the frames in the source video, increasing.
        surface: further points of the surface on the same frames.
        scores: blendshape scores of the frames, a prior of the expression; for the open model only.
        detected: frames with a face; the others are bridged by linear interpolation and marked `valid=False`.
        train_mask: frames that may be used to fit the identity; by default all. Not used with a given identity.
        identity: a known identity, which is kept.
        settings: weights of the fit.

    Returns:
        Coefficients of every frame; `landmark_error_px` is the mean distance of fitted and observed landmarks.

    Raises:
        ParameterError: lengths disagree, or frame numbers do not increase.
        DataError: there is no usable frame, landmarks are not finite, or the face is too small.

    Source: paper section 2.2 for the coefficients; the solver is original to this project.
    """
    settings = settings or FitSettings()
    detected = np.ones(len(frame_id), dtype=bool) if detected is None else detected
    train_mask = np.ones(len(frame_id), dtype=bool) if train_mask is None else train_mask
    _check_input(landmarks_crop, frame_id, detected, train_mask, identity, surface)
    usable = detected if identity is not None else detected & train_mask
    known = np.zeros(80) if identity is None else np.asarray(identity, dtype=np.float64)
    problem, frames = pose_problem(
        model, landmarks_crop, size, frame_id, surface=surface, scores=scores, detected=detected, usable=usable,
        identity=known, settings=settings,
    )  # fmt: skip
    if identity is None:
        chosen = choose_identity_frames(problem.landmarks, np.flatnonzero(usable), settings.identity_frames)
        problem = replace_identity(problem, _fit_identity(problem, chosen, frames[chosen]))
    frames = solve_frames(problem, frames, FRAME_ITERATIONS)
    return pack_frames(problem, frames)


def pose_problem(
    model: FaceModel,
    landmarks_crop: Float[np.ndarray, "T 68 2"],
    size: int,
    frame_id: Int[np.ndarray, " T"],
    *,
    surface: SurfacePoints | None,
    scores: Float[np.ndarray, "T 52"] | None,
    detected: Bool[np.ndarray, " T"],
    usable: Bool[np.ndarray, " T"],
    identity: Float[np.ndarray, " 80"],
    settings: FitSettings,
) -> tuple[FrameProblem, Float[np.ndarray, "T X"]]:
    """Build the problem of a clip and a first pose of every frame without expression.

    Args:
        usable: frames that determine the size and distance of the face.
        model, landmarks_crop, size, frame_id, surface, scores, detected, identity, settings: as in `fit_landmarks`.
    """
    landmarks = np.asarray(landmarks_crop, dtype=np.float64)
    bases = point_bases(model, surface)
    pose = initial_pose(bases.mean[:68], landmarks, size)
    frames = np.concatenate([pose, np.zeros((len(pose), len(bases.expression)))], axis=1)
    prior = frame_prior(model, pose[usable])
    if scores is not None and model.action_names:
        prior = add_scores(prior, scores)
    return FrameProblem(
        model.name, bases, landmarks, surface, size, frame_id, detected, eye_distance(landmarks, usable), identity,
        prior, settings,
    ), frames  # fmt: skip


def replace_identity(problem: FrameProblem, identity: Float[np.ndarray, " I"]) -> FrameProblem:
    """Return the same problem with another identity."""
    return FrameProblem(**(vars(problem) | {"identity": identity}))


def choose_identity_frames(
    landmarks: Float[np.ndarray, "T 68 2"], candidates: Int[np.ndarray, " K"], count: int
) -> Int[np.ndarray, " M"]:
    """Choose frames for the identity: half evenly spaced in time, half evenly over the mouth's opening."""
    if len(candidates) <= count:
        return candidates
    by_opening = candidates[np.argsort(mouth_opening(landmarks[candidates].astype(np.float32)), kind="stable")]
    picks = np.linspace(0, len(candidates) - 1, count // 2).round().astype(int)
    return np.union1d(candidates[picks], by_opening[picks])


def bridge_frames(
    frames: Float[np.ndarray, "T X"], detected: Bool[np.ndarray, " T"], frame_id: Int[np.ndarray, " T"]
) -> Float[np.ndarray, "T X"]:
    """Replace frames without a face by linear interpolation between their neighbours (the nearest one at an end)."""
    bridged = frames.copy()
    for column in range(frames.shape[1]):
        bridged[~detected, column] = np.interp(frame_id[~detected], frame_id[detected], frames[detected, column])
    return bridged


def point_bases(model: FaceModel, surface: SurfacePoints | None) -> LandmarkBases:
    """Evaluate the face model at its 68 landmarks and, if there are any, at further points of the surface."""
    parts = [np.asarray(part, dtype=np.float64) for part in model.landmark_bases()]
    if surface is not None:
        matrix = surface.matrix.toarray()
        control = (model.mean_shape, model.identity_basis, model.expression_basis)
        dense = [matrix @ part.double().numpy() for part in control]
        parts = [np.concatenate(pair, axis=-2) for pair in zip(parts, dense, strict=True)]
    return LandmarkBases(*parts)


def solve_frames(
    problem: FrameProblem, frames: Float[np.ndarray, "T X"], iterations: int, more: MoreRows | None = None
) -> Float[np.ndarray, "T X"]:
    """Solve pose and expression of all frames, smooth over time, in overlapping windows whose inner parts are kept.

    Args:
        problem: inputs of the fit.
        frames: current pose and expression.
        iterations: number of Gauss-Newton steps.
        more: function that appends further rows.

    Returns:
        New pose and expression; frames without a face are bridged.
    """
    settings, prior = problem.settings, problem.prior
    change = prior.precision if prior.change is None else prior.change
    smoothness = change / settings.expression_step**2
    steps = [settings.rotation_step] * 3 + [settings.translation_step] * 2 + [3 * settings.translation_step]
    smoothness[range(POSE), range(POSE)] = np.array(steps) ** -2.0
    fitted = frames.copy()
    for start in range(0, len(frames), _WINDOW):
        low, high = max(start - OVERLAP, 0), min(start + _WINDOW + OVERLAP, len(frames))
        part, seen = frames[low:high].copy(), problem.observe(slice(low, high))
        for _ in range(iterations):
            linear = linearise(problem.bases, seen, problem.identity, part, by_identity=False)
            linear = linear if more is None else more(low, high, part)(linear)
            own = prior.select(slice(low, high))
            part = step_smooth_frames(linear, part, own, smoothness, problem.frame_id[low:high])
        fitted[start : start + _WINDOW] = part[start - low : start - low + _WINDOW]
    if not np.isfinite(fitted).all():
        raise DataError(
            "fit_landmarks: the fit diverged. Look at the landmarks over the frames; is it one upright face?"
        )
    return bridge_frames(fitted, problem.detected, problem.frame_id)


def stack_frames(coefficients: Coefficients) -> Float[np.ndarray, "T X"]:
    """Stack pose and expression of a fit, one row per frame, as `solve_frames` expects them."""
    parts = (coefficients.rotation, coefficients.translation, coefficients.expression)
    return np.concatenate(parts, axis=1).astype(np.float64)


def pack_frames(problem: FrameProblem, frames: Float[np.ndarray, "T X"]) -> Coefficients:
    """Convert a solution to coefficients, without texture and light."""
    bases, count = problem.bases, len(frames)
    points = bases.mean[:68] + np.tensordot(problem.identity, bases.identity[:, :68], axes=1)
    points = points + np.tensordot(frames[:, POSE:], bases.expression[:, :68], axes=1)
    projected = project_landmarks(points, frames[:, :POSE], problem.size)
    error = np.linalg.norm(projected - problem.landmarks, axis=-1).mean(axis=1)
    return Coefficients(
        frame_id=np.asarray(problem.frame_id, dtype=np.int64),
        identity=problem.identity.astype(np.float32),
        texture=np.zeros(80, dtype=np.float32),
        expression=frames[:, POSE:].astype(np.float32),
        illumination=np.zeros((count, 27), dtype=np.float32),
        rotation=frames[:, :3].astype(np.float32),
        translation=frames[:, 3:POSE].astype(np.float32),
        valid=problem.detected.copy(),
        landmark_error_px=error.astype(np.float32),
        face_model=problem.face_model,
    )


def predicted_landmarks(model: FaceModel, coefficients: Coefficients, size: int) -> Float[np.ndarray, "T 68 2"]:
    """Project the landmarks of the fitted face to px of a crop of side `size`."""
    with torch.no_grad():
        count = len(coefficients.frame_id)
        identity = torch.from_numpy(np.repeat(coefficients.identity[None], count, axis=0))
        points = model.compute_landmarks(identity, torch.from_numpy(coefficients.expression)).numpy()
    pose = np.concatenate([coefficients.rotation, coefficients.translation], axis=1).astype(np.float64)
    return project_landmarks(points.astype(np.float64), pose, size)


def _check_input(landmarks, frame_id, detected, train_mask, identity, surface) -> None:
    counts = [len(landmarks), len(frame_id), len(detected), len(train_mask)]
    if surface is not None:
        counts.append(len(surface.points))
    if len(set(counts)) > 1:
        raise ParameterError(
            f"fit_landmarks: {counts[0]} frames of landmarks, {counts[1]} frame numbers, {counts[2]} `detected` and "
            f"{counts[3]} `train_mask` values{f', {counts[4]} frames of points' if surface else ''}. "
            "Pass the same frames to each."
        )
    if np.any(np.diff(frame_id) <= 0):
        raise ParameterError("fit_landmarks: frame numbers do not increase. Sort the frames by frame_id.")
    usable = detected if identity is not None else detected & train_mask
    if not usable.any():
        raise DataError("fit_landmarks: no frame with a face to fit. Check landmarks.npz and held_out_seconds.")
    if not np.isfinite(landmarks[detected]).all():
        raise DataError("fit_landmarks: landmarks hold NaN or infinity in detected frames. Run 01_crop again.")
    left, right = OUTER_EYE
    width = np.median(np.linalg.norm(landmarks[usable, left] - landmarks[usable, right], axis=-1))
    if width < MIN_FACE_PX / 2:
        raise DataError(f"fit_landmarks: the outer eye corners are {width:.1f} px apart. Use a larger face.")


def _fit_identity(
    problem: FrameProblem, chosen: Int[np.ndarray, " M"], frames: Float[np.ndarray, "M X"]
) -> Float[np.ndarray, " I"]:
    """Fit identity, poses and expressions of chosen frames by Gauss-Newton; the first steps change only the pose."""
    identity, observation = np.zeros(len(problem.bases.identity)), problem.observe(chosen)
    for _ in range(POSE_ITERATIONS):
        linear = linearise(problem.bases, observation, identity, frames, by_identity=False)
        frames = step_pose(linear, frames)
    for _ in range(IDENTITY_ITERATIONS):
        linear = linearise(problem.bases, observation, identity, frames, by_identity=True)
        identity, frames = step_shared_identity(linear, identity, frames, problem.prior.select(chosen))
    return identity
