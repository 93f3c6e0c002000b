"""Agreement of a fit with the landmarks and the picture that it was made from."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.face3d.coefficients import Coefficients
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.face3d.face_renderer import render_face
from metatalk_lib.metrics.correlation import relate_curves
from metatalk_lib.reconstruction.gauss_newton import OUTER_EYE
from metatalk_lib.reconstruction.landmark_fit import predicted_landmarks
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
