"""Reconstruction of the pseudo utterances: identity and colours are the person's, pose and expression are fitted."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from metatalk_lib.core.artifacts import load_json, save_json, sha256_file
from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.core.parallel import CORES, draw_ahead
from metatalk_lib.core.progress import track
from metatalk_lib.face3d.camera import MM_PER_DM
from metatalk_lib.face3d.coefficients import Coefficients
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.media.video import probe_video, read_frames
from metatalk_lib.metrics.correlation import relate_curves
from metatalk_lib.pseudo_video.pairs import load_taught
from metatalk_lib.reconstruction.face_clip import open_clip, video_reader
from metatalk_lib.reconstruction.fit_video import ReconstructionSettings, fit_shape, place_points, refine_photometric
from metatalk_lib.tracking.crop import CropTransform
from metatalk_lib.tracking.face_tracker import track_landmarks
from metatalk_lib.tracking.landmarks import INNER_LIP_PAIRS

MAX_MISSING_FRACTION = 0.05
FIT_VERSION = 5  # raised when a code change alters the fits, so that old ones are not reused


def reconstruct_pairs(
    model: FaceModel,
    videos: Sequence[Path],
    target: Coefficients,
    folder: Path,
    *,
    settings: ReconstructionSettings | None = None,
) -> list[Coefficients]:
    """Fit every utterance, several in parallel, and write `NNN.npz`; fits of an interrupted run are reused.

    A fit is reused only if its stamp, a checksum of all its inputs, is unchanged. Files of utterances that are not in
    `videos` are removed.

    Args:
        model: the face model.
        videos: videos of the utterances; each fit is named after its video's stem.
        target: coefficients of the person.
        folder: output folder for the fits, each with a stamp file beside it.
        settings: weights of the fit.

    Raises:
        DataError: a video cannot be read, or shows a face in too few frames.
    """
    settings = settings or ReconstructionSettings()

    def fit(video: Path) -> Coefficients:
        path, stamp_path = folder / f"{video.stem}.npz", folder / f"{video.stem}.stamp.json"
        stamp = _stamp(video, target, settings)
        if path.exists() and stamp_path.exists() and load_json(stamp_path) == stamp:
            return Coefficients.load(path)
        fitted = reconstruct_pseudo(model, video, target, settings=settings)
        stamp_path.unlink(missing_ok=True)
        fitted.save(path)
        save_json(stamp_path, stamp)
        return fitted

    fitted = draw_ahead(fit, videos, CORES)
    fits = list(track(fitted, "fitting utterances", total=len(videos), unit="utterance"))
    _remove_others(folder, {video.stem for video in videos})
    return fits


def reconstruct_pseudo(
    model: FaceModel, video_path: Path, target: Coefficients, *, settings: ReconstructionSettings | None = None
) -> Coefficients:
    """Fit pose and expression of a pseudo utterance to its frames; all other coefficients are the target's.

    Args:
        model: the face model.
        video_path: a square face video.
        target: coefficients of the person, the source of identity, texture and mean illumination.
        settings: weights of the fit.

    Raises:
        DataError: the video cannot be read, is not square, or shows a face in too few frames.
    """
    info = probe_video(video_path)
    if info.width != info.height:
        raise DataError(f"{video_path} is {info.width}x{info.height}, not square. Run 02_pseudo_video again.")
    found = track_landmarks(
        read_frames(video_path),
        frame_count=info.frame_count,
        fps=info.fps,
        face_position="largest",
        max_missing_fraction=MAX_MISSING_FRACTION,
        name=video_path,
    )
    settings = settings or ReconstructionSettings()
    clip = open_clip(found, CropTransform(0, 0, info.width, info.width), video_reader(video_path))
    surface = place_points(model, clip, settings)
    fitted = with_appearance_of(fit_shape(model, clip, surface, settings, target.identity), target)
    if settings.photometric is None:
        return fitted
    return refine_photometric(model, clip, fitted, surface, settings)


def with_appearance_of(coefficients: Coefficients, target: Coefficients) -> Coefficients:
    """Replace texture and illumination by the texture and mean illumination of another clip of the same person."""
    illumination = np.repeat(target.illumination.mean(0, keepdims=True), len(coefficients.frame_id), axis=0)
    return replace(coefficients, texture=target.texture, illumination=illumination.astype(np.float32))


class TeacherAgreement(NamedTuple):
    """Agreement of the mouth that the teacher drew with the fitted one, over all frames with a face.

    Attributes:
        taught, fitted: (K,) opening of the lips in all utterances in turn, mm; `taught` is NaN if the teacher gives no
            expressions.
        correlation: Pearson correlation of `fitted` and `taught`; 1 is best. None if `taught` is unknown.
        slope: slope of fitted against taught opening; below 1 the fitted mouth is too closed. None if `taught` is
            unknown.
    """

    taught: Float[np.ndarray, " K"]
    fitted: Float[np.ndarray, " K"]
    correlation: float | None
    slope: float | None


def compare_with_teacher(
    model: FaceModel,
    fits: Sequence[Coefficients],
    taught_model: FaceModel,
    taught_identity: Float[np.ndarray, " 80"],
    taught_paths: Sequence[Path],
) -> TeacherAgreement:
    """Compare fitted expressions with the teacher's by the opening of the lips on the person's face.

    Args:
        model: the face model of the fits.
        fits: from `reconstruct_pairs`.
        taught_model, taught_identity: the teacher's face model and identity, those of `02_pseudo_video/quick_fit.npz`.
        taught_paths: `02_pseudo_video/pairs/NNN.npz` of the same utterances.

    Raises:
        ParameterError: the numbers of files and fits differ.
        DataError: the numbers of frames of a file and its fit differ.
    """
    if len(fits) != len(taught_paths) or not fits:
        raise ParameterError(f"{len(fits)} fits, {len(taught_paths)} taught expressions: pass one file for each fit.")
    taught, fitted = [], []
    for fit, path in zip(fits, taught_paths, strict=True):
        expression = load_taught(path)
        if expression is not None and len(expression) != len(fit):
            raise DataError(f"{path} has {len(expression)} frames, its fit {len(fit)}. Run 02_pseudo_video again.")
        fitted.append(lip_opening_mm(model, fit.identity, fit.expression[fit.valid]))
        taught.append(
            np.full(len(fitted[-1]), np.nan)
            if expression is None
            else lip_opening_mm(taught_model, taught_identity, expression[fit.valid])
        )
    wanted, found = np.concatenate(taught), np.concatenate(fitted)
    if np.isnan(wanted).any():
        return TeacherAgreement(wanted, found, None, None)
    correlation, slope = relate_curves(found, wanted)
    return TeacherAgreement(wanted, found, correlation, slope)


def lip_opening_mm(
    model: FaceModel, identity: Float[np.ndarray, " 80"], expression: Float[np.ndarray, "T 64"]
) -> Float[np.ndarray, " T"]:
    """Compute the mean distance of the inner-lip landmark pairs in face space, independent of the pose, mm."""
    mean, identity_modes, expression_modes = model.landmark_bases()
    points = mean + np.tensordot(identity, identity_modes, axes=1) + np.tensordot(expression, expression_modes, axes=1)
    upper, lower = np.array(INNER_LIP_PAIRS).T
    return MM_PER_DM * np.linalg.norm(points[:, upper] - points[:, lower], axis=-1).mean(axis=1)


def _stamp(video: Path, target: Coefficients, settings: ReconstructionSettings) -> dict[str, object]:
    digest = hashlib.sha256(target.identity.tobytes() + target.texture.tobytes() + target.illumination.tobytes())
    return {
        "version": FIT_VERSION,
        "video": sha256_file(video),
        "target": digest.hexdigest(),
        "settings": asdict(settings),
    }


def _remove_others(folder: Path, stems: set[str]) -> None:
    for path in folder.glob("*"):
        if path.is_file() and path.name.split(".")[0] not in stems:
            path.unlink()
