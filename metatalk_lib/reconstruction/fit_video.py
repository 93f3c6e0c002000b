"""A face video to 257 coefficients a frame: points, then colours, then the photometric fine-tuning.

    landmarks ── open regressor ──► points ── fit ──► shape, pose, expression ──► texture, light
                                                          ▲                           │
                                                          └── photometric rows ◄──────┘

The fine-tuning is AudioDVP's step (photometric, landmark and prior terms, identity and texture shared by the clip),
solved by Gauss-Newton over the coefficients themselves instead of by training a network on them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from threadpoolctl import threadpool_limits

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.core.params import ReconstructionConfig
from metatalk_lib.face3d.coefficients import Coefficients
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.media.video import read_frames
from metatalk_lib.reconstruction.appearance import fit_appearance
from metatalk_lib.reconstruction.deep3d import load_deep3d_regressor, regress_deep3d
from metatalk_lib.reconstruction.dense_landmarks import DenseLandmarks, load_regressor, predict_points
from metatalk_lib.reconstruction.gauss_newton import FitSettings
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
    FrameReader,
    PhotometricSettings,
    append_rows,
    learn_skin,
    light_with_ambient,
    photometric_rows,
)


@dataclass(frozen=True)
class ReconstructionSettings:
    """How a face video is reconstructed.

    Attributes:
        regressor: what sees the pictures before the fit. `open` places further points of the open face model on every
            frame; `deep3d`, the paper's network, gives the identity and a first pose and expression of bfm09; `none`
            trusts the 68 landmarks alone.
        fit: weights of the point fit.
        photometric: weights of the fine-tuning; None leaves it out.
    """

    regressor: Literal["open", "deep3d", "none"] = "open"
    fit: FitSettings = field(default_factory=FitSettings)
    photometric: PhotometricSettings | None = field(default_factory=PhotometricSettings)

    @classmethod
    def from_config(cls, config: ReconstructionConfig) -> "ReconstructionSettings":
        """The settings that the parameters of stage 03 ask for."""
        photometric = PhotometricSettings(noise=config.photometric_noise, iterations=config.photometric_iterations)
        return cls(
            config.face_regressor,
            FitSettings(noise=config.landmark_noise, identity_frames=config.identity_frames),
            photometric if config.photometric_iterations else None,
        )


@dataclass(frozen=True)
class FaceClip:
    """A face video that is to be fitted.

    Attributes:
        landmarks: (T, 68, 2) px of the crop.
        size: side of the crop, px.
        frame_id: (T,) numbers of the frames in the source video.
        read: the crop's frames, RGB, row i for `frame_id[i]`.
        detected: (T,) frames with a face; all where absent.
        usable: (T,) frames with a face that identity, texture and light may come from; where absent, all `detected`.
    """

    landmarks: Float[np.ndarray, "_ 68 2"]
    size: int
    frame_id: Int[np.ndarray, " T"]
    read: FrameReader
    detected: Bool[np.ndarray, " _"] | None = None
    usable: Bool[np.ndarray, " _"] | None = None

    def __post_init__(self) -> None:
        if self.detected is None:
            object.__setattr__(self, "detected", np.ones(len(self.frame_id), dtype=bool))
        if self.usable is None:
            object.__setattr__(self, "usable", self.detected)
        for name in ("landmarks", "detected", "usable"):
            if len(getattr(self, name)) != len(self.frame_id):
                raise ParameterError(
                    f"{len(getattr(self, name))} frames in `{name}` for {len(self.frame_id)} frame numbers. Pass the "
                    "same frames to each."
                )

    def read_all(self) -> Iterable[np.ndarray]:
        """Every frame, in order."""
        return self.read(0, len(self.frame_id))


def video_reader(path: Path) -> FrameReader:
    """Reads any stretch of a video's frames."""
    return lambda start, stop: read_frames(path, start=start, stop=stop)


def reconstruct(model: FaceModel, clip: FaceClip, settings: ReconstructionSettings | None = None) -> Coefficients:
    """All 257 coefficients of a face video.

    Args:
        model: the face model.
        clip: the video.
        settings: what is done, and its weights.

    Raises:
        DataError: no usable frame.
        ParameterError: the regressor does not know the face model.

    Source: paper section 2.2; xinwen-cs/AudioDVP train.py (the terms of the fine-tuning); the solver is original.
    """
    settings = settings or ReconstructionSettings()
    dense = place_points(model, clip, settings)
    shape = fit_shape(model, clip, dense, settings)
    first = fit_appearance(model, shape, clip.read_all(), clip.frame_id[clip.usable])
    return fine_tune(model, clip, first, dense, settings)


def place_points(model: FaceModel, clip: FaceClip, settings: ReconstructionSettings) -> DenseLandmarks | None:
    """The open regressor's points on every frame, or None where the settings ask for none.

    Raises:
        ParameterError: the face model is not the open one, on whose surface the points lie.
    """
    if settings.regressor != "open":
        return None
    if not model.action_names:
        raise ParameterError("the open regressor knows the open face model only. Set face_regressor to deep3d or none.")
    return predict_points(load_regressor(), model, clip.read_all(), clip.landmarks)


def fit_shape(
    model: FaceModel,
    clip: FaceClip,
    dense: DenseLandmarks | None,
    settings: ReconstructionSettings,
    identity: Float[np.ndarray, " 80"] | None = None,
) -> Coefficients:
    """Identity, pose and expression; with `deep3d` the network's, pose and expression then moved onto the landmarks.

    Args:
        model: the face model.
        clip: the video.
        dense: from `place_points`.
        settings: what is done, and its weights.
        identity: a known one, kept as it is; the fit then starts without the network of `deep3d`.

    Raises:
        DataError: no usable frame, or the checkpoint of `deep3d` is missing or another one.
        ParameterError: `deep3d` is asked for and the model is not bfm09.
    """
    if settings.regressor != "deep3d" or identity is not None:
        return fit_landmarks(
            model, clip.landmarks, clip.size, clip.frame_id, dense=dense, detected=clip.detected,
            train_mask=clip.usable, identity=identity, settings=settings.fit,
        )  # fmt: skip
    found = regress_deep3d(
        load_deep3d_regressor(), model, clip.read_all(), clip.landmarks, clip.size, shared_mask=clip.usable
    )
    start = Coefficients.unpack(clip.frame_id, found.coefficients, clip.detected, found.landmark_error_px, model.name)
    problem = _problem_of(model, clip, None, start, settings)
    return pack_frames(problem, solve_frames(problem, stack_frames(start), FRAME_ITERATIONS))


def fine_tune(
    model: FaceModel,
    clip: FaceClip,
    coefficients: Coefficients,
    dense: DenseLandmarks | None,
    settings: ReconstructionSettings,
) -> Coefficients:
    """`refine_photometric`, then texture and light of the moved face; the fit as it is where the settings ask for none.

    Args:
        model, clip, coefficients, dense, settings: as in `refine_photometric`.
    """
    if settings.photometric is None:
        return coefficients
    refined = refine_photometric(model, clip, coefficients, dense, settings)
    return fit_appearance(model, refined, clip.read_all(), clip.frame_id[clip.usable])


@threadpool_limits.wrap(limits=1, user_api="blas")  # many small systems: more threads only wait for each other
def refine_photometric(
    model: FaceModel,
    clip: FaceClip,
    coefficients: Coefficients,
    dense: DenseLandmarks | None,
    settings: ReconstructionSettings,
) -> Coefficients:
    """Move pose and expression of a fit until the person's skin lies on its pixels; identity, texture, light are kept.

    Args:
        model: the face model.
        clip: the video; the person's colours are learnt from its usable frames.
        coefficients: a fit with texture and illumination.
        dense: the regressor's points.
        settings: weights.
    """
    photometric = settings.photometric or PhotometricSettings()
    problem = _problem_of(model, clip, dense, coefficients, settings)
    skin = learn_skin(model, coefficients, clip.read, clip.size, np.flatnonzero(clip.usable))

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
    dense: DenseLandmarks | None,
    coefficients: Coefficients,
    settings: ReconstructionSettings,
) -> FrameProblem:
    """The problem of a clip whose identity is known from a fit."""
    problem, _ = pose_problem(
        model, clip.landmarks, clip.size, clip.frame_id, dense=dense, detected=clip.detected, usable=clip.usable,
        identity=coefficients.identity.astype(np.float64), settings=settings.fit,
    )  # fmt: skip
    return problem
