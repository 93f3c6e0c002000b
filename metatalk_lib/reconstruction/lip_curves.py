"""Curves of lip movement in millimetres from expression coefficients, and scores of predicted curves."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.face3d.camera import MM_PER_DM
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.metrics.correlation import correlation
from metatalk_lib.tracking.landmarks import mouth_opening, mouth_width


class LipCurves(NamedTuple):
    """Curves of mouth opening and width over frames.

    Attributes:
        opening_mm: (T,) mean gap of the inner lips.
        width_mm: (T,) distance of the mouth's corners.
    """

    opening_mm: Float[np.ndarray, " T"]
    width_mm: Float[np.ndarray, " T"]


def compute_lip_curves(
    model: FaceModel, identity: Float[np.ndarray, " 80"], expression: Float[np.ndarray, "T 64"]
) -> LipCurves:
    """Compute mouth opening and width of a person seen from the front, without the head pose.

    Args:
        model: the face model.
        identity: identity coefficients of the person, sigma.
        expression: expression coefficients of every frame, sigma.

    Source: Original to this project.
    """
    mean, identity_rows, expression_rows = model.landmark_bases()
    # in double precision, so that equal expressions give curves equal to the last digits, to which correlations respond
    still = mean + np.tensordot(identity.astype(np.float64), identity_rows, axes=1)
    landmarks = (still + np.tensordot(expression.astype(np.float64), expression_rows, axes=1))[..., :2] * MM_PER_DM
    return LipCurves(mouth_opening(landmarks), mouth_width(landmarks))


def compute_r2(
    predicted: Float[np.ndarray, "..."], truth: Float[np.ndarray, "..."], mean: Float[np.ndarray, "..."] | None = None
) -> float:
    """Compute the share of the truth's variance that is predicted, over all columns together.

    R² = 1 − Σ (predicted − truth)² / Σ (truth − mean)²

    Args:
        predicted: predicted values, (T,) or (T, D).
        truth: true values of the same frames, of the same shape.
        mean: constant reference prediction; by default the mean of the truth.

    Returns:
        R²: 1 is perfect, 0 is no better than the mean, negative is worse.

    Raises:
        ParameterError: shapes differ, or the truth is constant.
    """
    if predicted.shape != truth.shape:
        raise ParameterError(f"compute_r2 needs equal shapes, got {predicted.shape} and {truth.shape}.")
    total = float(np.square(truth - (truth.mean(axis=0) if mean is None else mean), dtype=np.float64).sum())
    if total == 0:
        raise ParameterError("compute_r2: the truth does not vary, so there is nothing to predict. Give more frames.")
    return 1.0 - float(np.square(predicted - truth, dtype=np.float64).sum()) / total


def compare_lips(
    model: FaceModel,
    identity: Float[np.ndarray, " 80"],
    predicted: Float[np.ndarray, "T 64"],
    fitted: Float[np.ndarray, "T 64"],
) -> dict[str, float]:
    """Compare the lip movements of predicted and fitted expressions.

    Args:
        model: the face model.
        identity: identity coefficients of the person, sigma.
        predicted: predicted expression of every frame.
        fitted: fitted expression of the same frames.

    Returns:
        `expression_r2` over the 64 coefficients; for the mouth's opening the correlation `opening_r`, the share of
        variance `opening_r2` and the mean absolute error `opening_error_mm`; `width_r` for its width.

    Source: Original to this project.
    """
    own, truth = (compute_lip_curves(model, identity, item) for item in (predicted, fitted))
    return {
        "expression_r2": compute_r2(predicted, fitted),
        "opening_r": correlation(own.opening_mm, truth.opening_mm),
        "opening_r2": compute_r2(own.opening_mm, truth.opening_mm),
        "opening_error_mm": float(np.abs(own.opening_mm - truth.opening_mm).mean()),
        "width_r": correlation(own.width_mm, truth.width_mm),
    }
