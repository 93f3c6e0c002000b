"""Measures of the seam around a painted region: pure functions of arrays, as in `image_quality`."""

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.metrics.image_quality import LUMA_WEIGHTS, check_mask, check_pair, gradient_magnitude


def seam(
    image: UInt8[np.ndarray, "H W 3"],
    reference: UInt8[np.ndarray, "H W 3"],
    mask: Bool[np.ndarray, "H W"],
    *,
    width_px: int = 3,
) -> float:
    """Visibility of the mask's edge: mean gradient magnitude of the luma of (image - reference) in a ring around it.

    A patch pasted without blending leaves a step in the difference image at the mask's edge; a feathered one leaves a
    ramp.

    Args:
        image: the composite, RGB.
        reference: the source image that the region was blended into, RGB.
        mask: the region that was replaced.
        width_px: width of the ring on either side of the edge, px.

    Returns:
        Grey levels a pixel; lower is better, the unchanged source scores 0.

    Raises:
        ParameterError: sizes differ, or the mask is empty or fills the image, so that there is no edge.

    Source: Original to this project.
    """
    check_pair(image, reference)
    check_mask(mask, image)
    ring = border_ring(mask, width_px)
    return float(gradient_magnitude((image.astype(np.float64) - reference) @ LUMA_WEIGHTS)[ring].mean())


def rim_contrast(
    image: UInt8[np.ndarray, "H W 3"],
    reference: UInt8[np.ndarray, "H W 3"],
    mask: Bool[np.ndarray, "H W"],
    *,
    width_px: int,
) -> float:
    """Brightness error along the mask's edge: mean |G * (Y - Y_ref)| in the rim inside it.

    G is a Gaussian blur of half the rim's width. A well-feathered patch of another brightness has no step at the edge,
    so `seam` and gradients miss it, but a viewer does not.

    Args:
        image: the composite, RGB.
        reference: the true image, RGB.
        mask: the region that was replaced.
        width_px: width of the rim, such as that of the feathering, px.

    Returns:
        Grey levels; lower is better, the unchanged source scores 0.

    Raises:
        ParameterError: sizes differ, or the mask is empty or fills the image, so that there is no edge.

    Source: original to this project.
    """
    check_pair(image, reference)
    check_mask(mask, image)
    rim = border_ring(mask, width_px) & mask
    difference = (image.astype(np.float64) - reference) @ LUMA_WEIGHTS
    return float(np.abs(cv2.GaussianBlur(difference, (0, 0), width_px / 2))[rim].mean())


def border_ring(mask: Bool[np.ndarray, "H W"], width_px: int = 3) -> Bool[np.ndarray, "H W"]:
    """Compute the pixels within `width_px` of the mask's edge, on either side; the picture's border is not an edge.

    Raises:
        ParameterError: the mask has no edge.
    """
    kernel = np.ones((2 * width_px + 1,) * 2, np.uint8)
    ring: np.ndarray = cv2.dilate(mask.astype(np.uint8), kernel) != cv2.erode(mask.astype(np.uint8), kernel)
    if not ring.any():
        raise ParameterError("seam: the mask is empty or fills the whole image, so that it has no edge.")
    return ring
