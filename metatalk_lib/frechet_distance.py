"""The Fréchet distance of two sets of pictures in the features of a network: Inception for FID, a face network, FFD."""

import numpy as np
from jaxtyping import Float
from scipy import linalg

from metatalk_lib.errors import ParameterError

_EPSILON = 1e-6


def compute_frechet_distance(features: Float[np.ndarray, "N D"], reference: Float[np.ndarray, "M D2"]) -> float:
    """Distance of the normal distributions that two sets of features have.

    ‖μ₁ − μ₂‖² + Tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½), Σ with N − 1

    Lower is better; 0 for equal sets. It depends on the number of frames: below D + 1 the covariance is singular, and
    fewer frames give a larger distance even from the same source. Compare equal counts only.

    Args:
        features: of the pictures to judge.
        reference: of the real ones.

    Raises:
        ParameterError: fewer than two pictures in a set, or lengths of features differ.

    Source: Heusel et al., "GANs trained by a two time-scale update rule", 2017, eq. 6; numbers of mseitzer/pytorch-fid.
    """
    if min(len(features), len(reference)) < 2 or features.shape[1] != reference.shape[1]:
        raise ParameterError(
            f"a Fréchet distance needs two pictures or more in each set and equal features, got {features.shape} and "
            f"{reference.shape}."
        )
    (mean, covariance), (mean_2, covariance_2) = _describe(features), _describe(reference)
    root = _root_of_product(covariance, covariance_2)
    difference = mean - mean_2
    return float(difference @ difference + np.trace(covariance) + np.trace(covariance_2) - 2 * np.trace(root))


def _describe(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values = features.astype(np.float64)
    return values.mean(axis=0), np.atleast_2d(np.cov(values, rowvar=False))


def _root_of_product(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    root = linalg.sqrtm(first @ second)
    if not np.isfinite(root).all():
        # near-singular covariances: pytorch-fid's remedy
        offset = _EPSILON * np.eye(len(first))
        root = linalg.sqrtm((first + offset) @ (second + offset))
    return root.real
