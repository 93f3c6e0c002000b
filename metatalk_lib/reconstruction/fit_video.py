"""Reconstruction of 257 coefficients a frame from a face video: points, then colours, then photometric fine-tuning.

    landmarks ── open regressor ──► points ── fit ──► shape, pose, expression ──► texture, light
                                                          ▲                           │
                                                          └── photometric rows ◄──────┘

The fine-tuning is AudioDVP's step (photometric, landmark and prior terms, identity and texture shared by the clip),
solved by Gauss-Newton over the coefficients themselves instead of by training a network on them.
"""

from dataclasses import dataclass, field, replace
from typing import Literal, cast

import numpy as np
from jaxtyping import Float
from threadpoolctl import threadpool_limits

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.core.stage_configs import ReconstructionConfig
from metatalk_lib.face3d.coefficients import Coefficients
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.reconstruction.appearance import fit_appearance
from metatalk_lib.reconstruction.deep3d import load_deep3d_regressor, regress_deep3d
from metatalk_lib.reconstruction.dense_landmarks import (
    load_regressor,
    measure_familiarity,
    predict_points,
    weigh_predicted,
)
from metatalk_lib.reconstruction.face_clip import FaceClip
from metatalk_lib.reconstruction.gauss_newton import FitSettings, eye_distance
from metatalk_lib.reconstruction.landmark_fit import (
    FRAME_ITERATIONS,
    FrameProblem,
    fit_landmarks,
    pack_frames,
    pose_problem,
    solve_frames,
    stack_frames,
)
from metatalk_lib.reconstruction.photometric import (
    PhotometricSettings,
    append_rows,
    learn_skin,
    light_with_ambient,
    photometric_rows,
)
from metatalk_lib.reconstruction.surface_points import SurfacePoints, join_points
from metatalk_lib.reconstruction.tracked_points import weigh_tracked

BESIDE_REGRESSOR = 0.25
"""Factor of the tracked points' weights where the regressor knows such a face well: it is more accurate there."""
UNFAMILIAR = 0.02
"""Familiarity below which the regressor is not asked: its points would not count."""
FAMILIARITY_FRAMES = 16
"""Frames of a clip by which the regressor's familiarity with its face is measured."""


@dataclass(frozen=True)
class ReconstructionSettings:
    """Settings of the reconstruction of a face video.

    Attributes:
        regressor: network applied to the pictures before the fit. `open` places further points of the open face model
            on every frame; `deep3d`, the paper's network, predicts the identity and initial pose and expression of
            bfm09; `none` uses the 68 landmarks alone.
        fit: weights of the point fit.
        photometric: weights of the photometric fine-tuning; None skips it.
    """

    regressor: Literal["open", "deep3d", "none"] = "open"
    fit: FitSettings = field(default_factory=FitSettings)
    photometric: PhotometricSettings | None = field(default_factory=PhotometricSettings)

    @classmethod
    def from_config(cls, config: ReconstructionConfig) -> "ReconstructionSettings":
        """Build the settings from the parameters of stage 03."""
        photometric = PhotometricSettings(noise=config.photometric_noise, iterations=config.photometric_iterations)
        return cls(
            config.face_regressor,
            FitSettings(noise=config.landmark_noise, identity_frames=config.identity_frames),
            photometric if config.photometric_iterations else None,
        )


def reconstruct(model: FaceModel, clip: FaceClip, settings: ReconstructionSettings | None = None) -> Coefficients:
    """Fit all 257 coefficients to a face video.

    Args:
        model: the face model.
        clip: the video.
        settings: steps of the reconstruction and their weights.

    Raises:
        DataError: no usable frame.
        ParameterError: the regressor does not support the face model.

    Source: paper section 2.2; xinwen-cs/AudioDVP train.py (the terms of the fine-tuning); the solver is original.
    """
    settings = settings or ReconstructionSettings()
    surface = place_points(model, clip, settings)
    shape = fit_shape(model, clip, surface, settings)
    first = fit_appearance(model, shape, clip.read_all(), clip.frame_id[clip.usable])
    return fine_tune(model, clip, first, surface, settings)


def place_points(model: FaceModel, clip: FaceClip, settings: ReconstructionSettings) -> SurfacePoints | None:
    """Collect the surface points of every frame: those that were tracked, and those of the open regressor.

    The regressor was trained on rendered people. On them it is more accurate than the tracker and leads; the less a
    face is like theirs, by its own doubt, the less it has to say. Faces unlike all that it knows are not shown to it.

    Returns:
        None where there are neither.

    Raises:
        ParameterError: the regressor is asked for, and the face model is not the open one, on whose surface its points
            lie.
    """
    eye_px = eye_distance(clip.landmarks, cast(np.ndarray, clip.usable))
    tracked = None
    if clip.dense is not None and clip.dense_noise is not None and model.action_names:
        tracked = weigh_tracked(model, clip.dense, clip.dense_noise, eye_px)
    if settings.regressor != "open":
        return tracked
    if not model.action_names:
        raise ParameterError("the open regressor knows the open face model only. Set face_regressor to deep3d or none.")
    familiarity = 1.0 if tracked is None else _ask_some_frames(model, clip, eye_px)
    if tracked is not None and familiarity < UNFAMILIAR:
        return tracked
    predicted = predict_points(load_regressor(), model, clip.read_all(), clip.landmarks)
    surface = weigh_predicted(model, predicted, eye_px)
    if tracked is None:
        return surface
    return join_points(tracked.scale(1 + (BESIDE_REGRESSOR - 1) * familiarity), surface.scale(familiarity))


def _ask_some_frames(model: FaceModel, clip: FaceClip, eye_px: float) -> float:
    """Measure the regressor's familiarity with a clip's face on a few frames throughout."""
    rows = np.unique(np.linspace(0, len(clip.frame_id) - 1, FAMILIARITY_FRAMES).round().astype(int))
    frames = (frame for row in rows.tolist() for frame in clip.read(row, row + 1))
    return measure_familiarity(model, predict_points(load_regressor(), model, frames, clip.landmarks[rows]), eye_px)


def fit_shape(
    model: FaceModel,
    clip: FaceClip,
    surface: SurfacePoints | None,
    settings: ReconstructionSettings,
    identity: Float[np.ndarray, " 80"] | None = None,
) -> Coefficients:
    """Fit identity, pose and expression; with `deep3d`, adjust the network's pose and expression to the landmarks.

    Args:
        model: the face model.
        clip: the video.
        surface: points from `place_points`.
        settings: steps of the reconstruction and their weights.
        identity: known identity, kept fixed; the fit then starts without the network of `deep3d`.

    Raises:
        DataError: no usable frame, or the checkpoint of `deep3d` is missing or not the expected one.
        ParameterError: `deep3d` is asked for and the model is not bfm09.
    """
    if settings.regressor != "deep3d" or identity is not None:
        return fit_landmarks(
            model, clip.landmarks, clip.size, clip.frame_id, surface=surface, scores=clip.scores,
            detected=clip.detected, train_mask=clip.usable, identity=identity, settings=settings.fit,
        )  # fmt: skip
    found = regress_deep3d(
        load_deep3d_regressor(), model, clip.read_all(), clip.landmarks, clip.size, shared_mask=clip.usable
    )
    start = Coefficients.unpack(
        clip.frame_id, found.coefficients, cast(np.ndarray, clip.detected), found.landmark_error_px, model.name
    )
    problem = _problem_of(model, clip, None, start, settings)
    return pack_frames(problem, solve_frames(problem, stack_frames(start), FRAME_ITERATIONS))


def fine_tune(
    model: FaceModel,
    clip: FaceClip,
    coefficients: Coefficients,
    surface: SurfacePoints | None,
    settings: ReconstructionSettings,
) -> Coefficients:
    """Apply `refine_photometric`, then fit texture and light again; returns the fit unchanged if the settings skip it.

    Args:
        model, clip, coefficients, surface, settings: as in `refine_photometric`.
    """
    if settings.photometric is None:
        return coefficients
    refined = refine_photometric(model, clip, coefficients, surface, settings)
    return fit_appearance(model, refined, clip.read_all(), clip.frame_id[clip.usable])


@threadpool_limits.wrap(limits=1, user_api="blas")  # many small systems: more threads only wait for each other
def refine_photometric(
    model: FaceModel,
    clip: FaceClip,
    coefficients: Coefficients,
    surface: SurfacePoints | None,
    settings: ReconstructionSettings,
) -> Coefficients:
    """Refine pose and expression until the person's skin lies on its pixels; identity, texture and light are kept.

    Args:
        model: the face model.
        clip: the video; the person's colours are estimated from its usable frames.
        coefficients: a fit with texture and illumination.
        surface: points from `place_points`.
        settings: weights.
    """
    photometric = settings.photometric or PhotometricSettings()
    problem = _problem_of(model, clip, surface, coefficients, settings)
    skin = learn_skin(model, coefficients, clip.read, clip.size, np.flatnonzero(cast(np.ndarray, clip.usable)))

    def more(low: int, high: int, part: np.ndarray):
        light = light_with_ambient(coefficients, slice(low, high))
        residual, jacobian, _ = photometric_rows(
            skin, light, clip.read(low, high), part, coefficients.valid[low:high], clip.size, photometric
        )
        return lambda linear: append_rows(linear, residual, jacobian)

    frames = solve_frames(problem, stack_frames(coefficients), photometric.iterations, more)
    found = pack_frames(problem, frames)
    return replace(found, texture=coefficients.texture, illumination=coefficients.illumination)


def _problem_of(
    model: FaceModel,
    clip: FaceClip,
    surface: SurfacePoints | None,
    coefficients: Coefficients,
    settings: ReconstructionSettings,
) -> FrameProblem:
    """Build the frame-wise fitting problem of a clip whose identity is known from a fit."""
    problem, _ = pose_problem(
        model, clip.landmarks, clip.size, clip.frame_id, surface=surface, scores=clip.scores,
        detected=cast(np.ndarray, clip.detected), usable=cast(np.ndarray, clip.usable),
        identity=coefficients.identity.astype(np.float64), settings=settings.fit,
    )  # fmt: skip
    return problem
