"""Fréchet distance between two sets of network features: FID for Inception, FFD for a face recognition network."""

import numpy as np
from jaxtyping import Float

from metatalk_lib.core.errors import ParameterError


def compute_frechet_distance(features: Float[np.ndarray, "N D"], reference: Float[np.ndarray, "M D2"]) -> float:
    """Compute the Fréchet distance between the normal distributions of two sets of features.

    ‖μ₁ − μ₂‖² + Tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½), Σ with N − 1

    Lower is better; 0 for equal sets. It depends on the number of frames: below D + 1 the covariance is singular, and
    fewer frames give a larger distance even from the same source. Compare equal counts only.

    Args:
        features: features of the pictures to judge.
        reference: features of the real pictures.

    Raises:
        ParameterError: a set has fewer than two pictures, or the lengths of the features differ.

    Source: Heusel et al., "GANs trained by a two time-scale update rule", 2017, eq. 6; the results equal those of
    mseitzer/pytorch-fid, which computes the matrix root differently.
    """
    if min(len(features), len(reference)) < 2 or features.shape[1] != reference.shape[1]:
        raise ParameterError(
            f"a Fréchet distance needs two pictures or more in each set and equal features, got {features.shape} and "
            f"{reference.shape}."
        )
    (mean, covariance), (mean_2, covariance_2) = _describe(features), _describe(reference)
    difference = mean - mean_2
    shared = _trace_of_root(covariance, covariance_2)
    return float(difference @ difference + np.trace(covariance) + np.trace(covariance_2) - 2 * shared)


def _describe(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values = features.astype(np.float64)
    return values.mean(axis=0), np.atleast_2d(np.cov(values, rowvar=False))


def _trace_of_root(first: np.ndarray, second: np.ndarray) -> float:
    """Compute Tr (Σ₁ Σ₂)^½ = Tr (Σ₁^½ Σ₂ Σ₁^½)^½ from a symmetric matrix; exact for singular covariances, too."""
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return float(np.sqrt(np.maximum(np.linalg.eigvalsh(root @ second @ root), 0)).sum())
