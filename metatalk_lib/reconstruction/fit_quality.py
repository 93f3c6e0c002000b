"""Agreement of a fit with the landmarks and the picture that it was made from."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.core.findings import Check, judge
from metatalk_lib.face3d.coefficients import Coefficients
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.face3d.face_renderer import render_face
from metatalk_lib.metrics.correlation import relate_curves
from metatalk_lib.reconstruction.gauss_newton import OUTER_EYE
from metatalk_lib.reconstruction.landmark_fit import predicted_landmarks
from metatalk_lib.reconstruction.tracked_points import predicted_points
from metatalk_lib.tracking.face_landmarker import EYE_CORNERS
from metatalk_lib.tracking.face_points import INNER_CONTOUR, OUTER_CONTOUR, contour_opening, contour_width
from metatalk_lib.tracking.landmarks import mouth_opening, mouth_width

ERROR_FRAMES = 12


def photometric_error(
    model: FaceModel, coefficients: Coefficients, frames: Iterable[np.ndarray], count: int = ERROR_FRAMES
) -> float:
    """Compute the mean absolute colour difference of rendered face and frame, on a scale of 255; lower is better.

    Args:
        model: the face model.
        coefficients: coefficients of the clip.
        frames: images of the crop, one for each row of coefficients.
        count: number of compared frames, evenly spread over those with a face.

    Raises:
        ParameterError: the numbers of frames and coefficients differ, or no frame has a face.
    """
    valid = np.flatnonzero(coefficients.valid)
    if not len(valid):
        raise ParameterError("photometric_error: no frame with a face. Pass coefficients of a fit.")
    chosen = set(valid[np.linspace(0, len(valid) - 1, count).round().astype(int)].tolist())
    errors, seen = [], 0
    for row, frame in enumerate(frames):
        seen += 1
        if row in chosen:
            drawn = render_face(model, coefficients, row, len(frame))
            difference = np.abs(drawn.image.astype(np.int16) - frame.astype(np.int16))
            errors.append(float(difference[drawn.mask].mean()))
    if seen != len(coefficients):
        raise ParameterError(f"photometric_error: {seen} frames for {len(coefficients)} coefficients. Pass all.")
    return float(np.mean(errors))


@dataclass(frozen=True)
class FitQuality:
    """Agreement of fitted with observed landmarks, over the frames with a face.

    Attributes:
        error_px: mean distance of all 68 landmarks, px of the crop.
        error_percent: mean distance of all 68 landmarks, percent of the outer-eye distance.
        inner_error_percent: mean distance without the jaw contour, whose points slide on the face; same unit.
        mouth_error_percent: mean distance of the twenty mouth landmarks; same unit.
        opening_correlation: correlation of fitted and observed mouth opening; 1 is best.
        opening_slope: slope of fitted against observed opening; 1 is best, below 1 the fitted mouth is too closed.
        width_correlation: correlation of fitted and observed mouth width; 1 is best.
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
        landmarks_crop: observed landmarks that were fitted, px of the crop.
        size: side of the crop, px.

    Raises:
        ParameterError: the numbers of frames and coefficients differ, or no frame is valid.
    """
    _check_frames("measure_fit", "landmarks", len(landmarks_crop), coefficients)
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


@dataclass(frozen=True)
class ContourQuality:
    """Agreement of fitted with tracked contours, over the frames with a face; percent of the outer-eye distance.

    Attributes:
        lip_error_percent: mean distance of the forty points on the lips' contours.
        error_percent: mean distance of all points.
        opening_correlation, opening_slope: fitted against tracked mouth opening; 1 is best, a slope below 1 means that
            the fitted mouth moves too little.
        width_correlation, width_slope: the same of the distance of the mouth's corners.
        explained_motion: share of the tracked lips' motion about the head that the fit explains; 1 is best.
    """

    lip_error_percent: float
    error_percent: float
    opening_correlation: float
    opening_slope: float
    width_correlation: float
    width_slope: float
    explained_motion: float


def measure_contours(
    model: FaceModel, coefficients: Coefficients, dense_crop: Float[np.ndarray, "T 478 2"], size: int
) -> ContourQuality:
    """Compare the fitted face with MediaPipe's points.

    Args:
        model: the open face model.
        coefficients: the fit.
        dense_crop: the points that were tracked, px of the crop.
        size: side of the crop, px.

    Raises:
        ParameterError: the numbers of frames and coefficients differ, or no frame is valid.
    """
    _check_frames("measure_contours", "points", len(dense_crop), coefficients)
    fitted = predicted_points(model, coefficients, size)[coefficients.valid]
    still = coefficients.with_expression(np.zeros_like(coefficients.expression))
    resting = predicted_points(model, still, size)[coefficients.valid]
    lips = [*OUTER_CONTOUR, *INNER_CONTOUR]
    observed = dense_crop[coefficients.valid, : fitted.shape[1]].astype(np.float64)
    distance = np.linalg.norm(fitted - observed, axis=-1)
    left, right = EYE_CORNERS
    percent = 100 / float(np.median(np.linalg.norm(observed[:, left] - observed[:, right], axis=-1)))
    opening = relate_curves(contour_opening(fitted), contour_opening(observed))
    width = relate_curves(contour_width(fitted), contour_width(observed))
    return ContourQuality(
        lip_error_percent=float(percent * distance[:, lips].mean()),
        error_percent=float(percent * distance.mean()),
        opening_correlation=opening[0],
        opening_slope=opening[1],
        width_correlation=width[0],
        width_slope=width[1],
        explained_motion=_explain_motion(observed[:, lips], fitted[:, lips], resting[:, lips]),
    )


def _explain_motion(observed: np.ndarray, fitted: np.ndarray, resting: np.ndarray) -> float:
    """Compute 1 - var(observed - fitted) / var(observed - resting) over time, summed over the points."""
    missed, moved = ((observed - other).var(axis=0).sum() for other in (fitted, resting))
    return float(1 - missed / max(moved, 1e-9))


def _check_frames(caller: str, observed: str, count: int, coefficients: Coefficients) -> None:
    if count != len(coefficients) or not coefficients.valid.any():
        raise ParameterError(
            f"{caller}: {count} frames of {observed} for {len(coefficients)} coefficients, of which "
            f"{int(coefficients.valid.sum())} are valid. Pass the {observed} that were fitted."
        )


def check_fit(
    quality: FitQuality,
    contours: ContourQuality | None,
    *,
    colour_errors: tuple[float, float],
    taught_correlation: float | None,
) -> list[Check]:
    """Compare a fit with what is usual, as findings with advice.

    Args:
        quality: from `measure_fit`.
        contours: from `measure_contours`, where a detector gave contours.
        colour_errors: from `photometric_error`, before and after the fine-tuning.
        taught_correlation: correlation of the fitted with the taught mouth of the pseudo video, if it is known.
    """
    sheet = "Look at the contact sheet of 01 and the overlays: beard, blur, a covered or turned mouth? Go on with care."
    checks = [
        judge("fitted landmarks, distance", quality.inner_error_percent / 100, at_most=0.08, unit="%", advice=sheet),
        judge("fitted mouth opening, r", quality.opening_correlation, at_least=0.9, advice=sheet),
    ]
    if contours is not None:
        checks += [
            judge("fitted lips, distance, % of the eyes", contours.lip_error_percent, at_most=2.0, advice=sheet),
            judge("fitted mouth opening, slope", contours.opening_slope, at_least=0.9, advice=sheet),
            judge("fitted mouth width, slope", contours.width_slope, at_least=0.8, advice=sheet),
        ]
    before, after = colour_errors
    light = "Light that changes, or glasses that mirror it, may be the reason. photometric_iterations: 0 leaves it out."
    checks.append(judge("colour error, fine-tuned over before", after / before, at_most=1.02, advice=light))
    if taught_correlation is not None:
        advice = "The pseudo video is seen badly: a small or dim face? Lips will be learnt less exactly."
        checks.append(judge("taught mouth fitted again, r", taught_correlation, at_least=0.7, advice=advice))
    return checks
