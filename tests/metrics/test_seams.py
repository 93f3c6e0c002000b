"""Seam measures: no change scores 0, and each measure detects what the other misses."""

import inspect

import cv2
import numpy as np
import pytest
from scipy.ndimage import convolve

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.metrics import seams
from tests.synthetic import centre_mask, random_pair


def test_seam_is_zero_without_change_and_larger_for_a_hard_edge() -> None:
    reference = np.full((64, 64, 3), 90, np.uint8)
    mask = centre_mask(reference.shape)
    hard, soft = reference.copy(), reference.astype(float)
    hard[mask] += 40
    weight = convolve(mask.astype(float), np.ones((15, 15)) / 225)
    soft = np.round(soft + 40 * weight[..., None]).astype(np.uint8)
    assert seams.seam(reference, reference, mask) == 0.0
    assert seams.seam(hard, reference, mask) > 1.5 * seams.seam(soft, reference, mask)


def test_a_feathered_patch_of_another_tone_has_no_seam_but_a_contrast() -> None:
    reference, _ = random_pair()
    mask = centre_mask(reference.shape)
    weight = np.clip(cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5) / 8, 0, 1)[..., None]
    brighter = np.clip(np.rint(reference + 16 * weight), 0, 255).astype(np.uint8)
    noisy = np.clip(reference + np.random.default_rng(1).normal(0, 8, reference.shape), 0, 255).astype(np.uint8)
    assert seams.rim_contrast(reference, reference, mask, width_px=8) == 0.0
    assert seams.seam(brighter, reference, mask) < seams.seam(noisy, reference, mask)
    assert seams.rim_contrast(brighter, reference, mask, width_px=8) > 3
    assert seams.rim_contrast(noisy, reference, mask, width_px=8) < 1.5


def test_a_mask_without_an_edge_is_refused() -> None:
    image, reference = random_pair()
    # without the shape check of the test run, so that its own message shows
    with pytest.raises(ParameterError, match="no edge"):
        inspect.unwrap(seams.seam)(image, reference, np.ones(image.shape[:2], bool))
