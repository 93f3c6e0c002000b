"""From 68 landmarks a frame to face-model coefficients: identity shared by the clip, pose and expression by frame.

The identity is fitted on some well-spread training frames together with their poses and expressions; then the poses and
expressions of all frames are fitted together, smooth in time. Colour comes from `appearance`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from threadpoolctl import threadpool_limits

from metatalk_lib.appearance import fit_appearance
from metatalk_lib.errors import DataError, ParameterError
from metatalk_lib.face_model import Coefficients, FaceModel
from metatalk_lib.landmark_prior import frame_prior, initial_pose
from metatalk_lib.landmark_solver import (
    OUTER_EYE,
    POSE,
    FitSettings,
    FramePrior,
    LandmarkBases,
    Observation,
    linearise,
    observe,
    project_landmarks,
    step_pose,
    step_shared_identity,
    step_smooth_frames,
)
from metatalk_lib.landmarks import mouth_opening, mouth_width

POSE_ITERATIONS = 3
IDENTITY_ITERATIONS = 10
FRAME_ITERATIONS = 4
WINDOW = 600  # frames solved together; memory grows with it
OVERLAP = 24
MIN_FACE_PX = 16.0


@threadpool_limits.wrap(limits=1, user_api="blas")  # many small systems: more threads only wait for each other
def fit_landmarks(
    model: FaceModel,
    landmarks_crop: Float[np.ndarray, "T 68 2"],
    size: int,
    frame_id: Int[np.ndarray, " T"],
    *,
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
        detected: frames with a face; the others are bridged by linear interpolation and marked `valid=False`.
        train_mask: frames that may fit the identity; all where absent. Unused with a given identity.
        identity: a known identity, kept as it is.
        settings: weights of the fit.

    Returns:
        Coefficients of every frame; `landmark_error_px` is the mean distance of fitted and observed landmarks.

    Raises:
        ParameterError: lengths disagree, or frame numbers do not increase.
        DataError: no usable frame, landmarks not finite, or a face of no size.

    Source: paper section 2.2 for the coefficients; the solver is original to this project.
    """
    settings = settings or FitSettings()
    count = len(frame_id)
    detected = np.ones(count, dtype=bool) if detected is None else detected
    train_mask = np.ones(count, dtype=bool) if train_mask is None else train_mask
    landmarks = np.asarray(landmarks_crop, dtype=np.float64)
    _check_input(landmarks, frame_id, detected, train_mask, identity)
    bases = LandmarkBases(*(np.asarray(part, dtype=np.float64) for part in model.landmark_bases()))
    usable = detected if identity is not None else detected & train_mask
    observation = observe(landmarks, size, settings, detected, usable)
    pose = initial_pose(bases.mean, landmarks, size)
    prior = frame_prior(model, pose[usable])
    frames = np.concatenate([pose, np.zeros((count, len(bases.expression)))], axis=1)
    if identity is None:
        chosen = choose_identity_frames(landmarks, np.flatnonzero(usable), settings.identity_frames)
        fitted = _fit_identity(bases, observation.select(chosen), frames[chosen], prior)
    else:
        fitted = np.asarray(identity, dtype=np.float64)
    frames = _fit_frames(bases, observation, fitted, frames, prior, settings, frame_id)
    frames = bridge_frames(frames, detected, frame_id)
    return _pack(bases, observation, fitted, frames, frame_id, detected)


def reconstruct(
    model: FaceModel,
    landmarks_crop: Float[np.ndarray, "T 68 2"],
    size: int,
    frame_id: Int[np.ndarray, " T"],
    frames: Iterable[np.ndarray],
    *,
    detected: Bool[np.ndarray, " _"] | None = None,
    train_mask: Bool[np.ndarray, " _"] | None = None,
    settings: FitSettings | None = None,
) -> Coefficients:
    """All 257 coefficients of a face video: `fit_landmarks`, then `fit_appearance`.

    Args:
        model: the face model.
        landmarks_crop: landmarks in px of the crop.
        size: side of the crop, px.
        frame_id: numbers of the frames in the source video.
        frames: the crop's images, RGB, one for every `frame_id` in order.
        detected: frames with a face.
        train_mask: frames that may fit identity, texture and illumination.
        settings: weights of the fit.

    Raises:
        ParameterError: lengths disagree.
        DataError: no usable frame.
    """
    shape = fit_landmarks(
        model, landmarks_crop, size, frame_id, detected=detected, train_mask=train_mask, settings=settings
    )
    usable = shape.valid if train_mask is None else shape.valid & train_mask
    return fit_appearance(model, shape, frames, shape.frame_id[usable])


def choose_identity_frames(
    landmarks: Float[np.ndarray, "T 68 2"], candidates: Int[np.ndarray, " K"], count: int
) -> Int[np.ndarray, " M"]:
    """Frames for the identity: half spread evenly in time, half evenly over the mouth's opening."""
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


def _check_input(landmarks, frame_id, detected, train_mask, identity) -> None:
    if not len(landmarks) == len(frame_id) == len(detected) == len(train_mask):
        raise ParameterError(
            f"fit_landmarks: {len(landmarks)} frames of landmarks, {len(frame_id)} frame numbers, {len(detected)} "
            f"`detected` and {len(train_mask)} `train_mask` values. Pass the same frames to each."
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
    bases: LandmarkBases, observation: Observation, frames: np.ndarray, prior: FramePrior
) -> Float[np.ndarray, " I"]:
    """Gauss-Newton over identity, poses and expressions of the chosen frames; the first steps move the pose alone."""
    identity = np.zeros(len(bases.identity))
    for _ in range(POSE_ITERATIONS):
        linear = linearise(bases, observation, identity, frames, by_identity=False)
        frames = step_pose(linear, frames)
    for _ in range(IDENTITY_ITERATIONS):
        linear = linearise(bases, observation, identity, frames, by_identity=True)
        identity, frames = step_shared_identity(linear, identity, frames, prior)
    return identity


def _fit_frames(
    bases: LandmarkBases,
    observation: Observation,
    identity: np.ndarray,
    frames: np.ndarray,
    prior: FramePrior,
    settings: FitSettings,
    frame_id: np.ndarray,
) -> Float[np.ndarray, "T X"]:
    """Pose and expression of all frames; long clips in overlapping windows, of which the inner part is kept."""
    smoothness = prior.precision / settings.expression_step**2
    steps = [settings.rotation_step] * 3 + [settings.translation_step] * 2 + [3 * settings.translation_step]
    smoothness[range(POSE), range(POSE)] = np.array(steps) ** -2.0
    fitted = frames.copy()
    for start in range(0, len(frames), WINDOW):
        low, high = max(start - OVERLAP, 0), min(start + WINDOW + OVERLAP, len(frames))
        part, seen = frames[low:high].copy(), observation.select(slice(low, high))
        for _ in range(FRAME_ITERATIONS):
            linear = linearise(bases, seen, identity, part, by_identity=False)
            part = step_smooth_frames(linear, part, prior, smoothness, frame_id[low:high])
        fitted[start : start + WINDOW] = part[start - low : start - low + WINDOW]
    return fitted


def _pack(
    bases: LandmarkBases,
    observation: Observation,
    identity: np.ndarray,
    frames: np.ndarray,
    frame_id: np.ndarray,
    detected: np.ndarray,
) -> Coefficients:
    points = bases.mean + np.tensordot(identity, bases.identity, axes=1)
    points = points + np.tensordot(frames[:, POSE:], bases.expression, axes=1)
    projected = project_landmarks(points, frames[:, :POSE], observation.size)
    error = np.linalg.norm(projected - observation.landmarks, axis=-1).mean(1)
    if not np.isfinite(frames).all():
        raise DataError(
            "fit_landmarks: the fit diverged. Look at the landmarks over the frames; is it one upright face?"
        )
    count = len(frame_id)
    return Coefficients(
        frame_id=np.asarray(frame_id, dtype=np.int64),
        identity=identity.astype(np.float32),
        texture=np.zeros(80, dtype=np.float32),
        expression=frames[:, POSE:].astype(np.float32),
        illumination=np.zeros((count, 27), dtype=np.float32),
        rotation=frames[:, :3].astype(np.float32),
        translation=frames[:, 3:POSE].astype(np.float32),
        valid=detected.copy(),
        landmark_error_px=error.astype(np.float32),
    )


def predicted_landmarks(model: FaceModel, coefficients: Coefficients, size: int) -> Float[np.ndarray, "T 68 2"]:
    """Landmarks of the fitted face in px of a crop of side `size`."""
    with torch.no_grad():
        count = len(coefficients.frame_id)
        identity = torch.from_numpy(np.repeat(coefficients.identity[None], count, axis=0))
        points = model.compute_landmarks(identity, torch.from_numpy(coefficients.expression)).numpy()
    pose = np.concatenate([coefficients.rotation, coefficients.translation], axis=1).astype(np.float64)
    return project_landmarks(points.astype(np.float64), pose, size)


@dataclass(frozen=True)
class FitQuality:
    """How well fitted landmarks agree with observed ones, over the frames with a face.

    Attributes:
        error_px: mean distance of all 68, px of the crop.
        error_percent: the same in percent of the outer-eye distance.
        inner_error_percent: of all but the jaw contour, whose points slide on the face.
        mouth_error_percent: of the twenty mouth landmarks.
        opening_correlation: correlation of fitted and observed mouth opening; 1 is best.
        opening_slope: fitted per observed opening (least squares); 1 is best, less is a mouth fitted too closed.
        width_correlation: correlation of fitted and observed mouth width.
    """

    error_px: float
    error_percent: float
    inner_error_percent: float
    mouth_error_percent: float
    opening_correlation: float
    opening_slope: float
    width_correlation: float


def measure_fit(
    model: FaceModel, coefficients: Coefficients, landmarks_crop: Float[np.ndarray, "T 68 2"], size: int
) -> FitQuality:
    """Compare the fitted face's landmarks with the observed ones.

    Args:
        model: the face model.
        coefficients: the fit.
        landmarks_crop: what was fitted, px of the crop.
        size: side of the crop, px.

    Raises:
        ParameterError: another number of frames than coefficients, or none of them valid.
    """
    if len(landmarks_crop) != len(coefficients) or not coefficients.valid.any():
        raise ParameterError(
            f"measure_fit: {len(landmarks_crop)} frames of landmarks for {len(coefficients)} coefficients, of which "
            f"{int(coefficients.valid.sum())} are valid. Pass the landmarks that were fitted."
        )
    observed = np.asarray(landmarks_crop, dtype=np.float64)[coefficients.valid]
    fitted = predicted_landmarks(model, coefficients, size)[coefficients.valid]
    distance = np.linalg.norm(fitted - observed, axis=-1)
    left, right = OUTER_EYE
    percent = 100 / np.median(np.linalg.norm(observed[:, left] - observed[:, right], axis=-1))
    opening_correlation, opening_slope = relate_curves(mouth_opening(fitted), mouth_opening(observed))
    width_correlation, _ = relate_curves(mouth_width(fitted), mouth_width(observed))
    return FitQuality(
        error_px=float(distance.mean()),
        error_percent=float(percent * distance.mean()),
        inner_error_percent=float(percent * distance[:, 17:].mean()),
        mouth_error_percent=float(percent * distance[:, 48:].mean()),
        opening_correlation=opening_correlation,
        opening_slope=opening_slope,
        width_correlation=width_correlation,
    )


def relate_curves(fitted: Float[np.ndarray, " T"], observed: Float[np.ndarray, " T"]) -> tuple[float, float]:
    """Correlation, and slope of fitted against observed by least squares; both 0 for a mouth that does not move."""
    fitted, observed = fitted - fitted.mean(), observed - observed.mean()
    still = 1e-9  # keeps the divisions finite
    slope = fitted @ observed / max(observed @ observed, still)
    return float(slope * np.sqrt((observed @ observed) / max(fitted @ fitted, still))), float(slope)
