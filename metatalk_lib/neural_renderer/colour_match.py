"""Removal of the remaining colour difference between the paint and the surrounding skin.

    matched = paint + c,   c = source − paint on a ring round the mask, continued smoothly into it

On the ring, paint and source show the same skin and should agree; where they do not, the light has changed since the
reference frames were filmed.
"""

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from metatalk_lib.neural_renderer.warping import fill_outwards

RING_PER_SIDE = 1 / 64
"""Width of the ring around the mask on which colours are compared, in units of the crop's side."""
MATCH_REDUCTION = 8
"""Factor by which the picture is reduced before colours are compared; the correction is smooth."""
LARGEST_CORRECTION = 24.0
"""Largest colour correction, of 255; a larger difference is not skin but an occluder such as hair or a collar."""


def match_colours(
    paint: UInt8[np.ndarray, "H W 3"],
    background: UInt8[np.ndarray, "H W 3"],
    mask: Bool[np.ndarray, "H W"],
    ring_px: int,
) -> UInt8[np.ndarray, "H W 3"]:
    """Remove the smooth part of the paint's colour difference to the background.

    Args:
        paint: the painted rectangle, which must also be meaningful slightly beyond the mask.
        background: the real picture; its pixels inside the mask are not used.
        mask: True where painted.
        ring_px: width of the ring outside the mask on which the two are compared, px.

    Source: original to this project; the correction is the membrane of Poisson image editing (Perez et al., SIGGRAPH
    2003), computed by `fill_outwards` instead of a linear system.
    """
    kernel = np.ones((2 * ring_px + 1,) * 2, np.uint8)
    ring = (cv2.dilate(mask.astype(np.uint8), kernel) > 0) & ~mask
    if not ring.any():
        return paint
    height, width = mask.shape
    small = (max(1, width // MATCH_REDUCTION), max(1, height // MATCH_REDUCTION))
    difference = (background.astype(np.float32) - paint) * ring[..., None]
    share = cv2.resize(ring.astype(np.float32), small, interpolation=cv2.INTER_AREA)
    sums = cv2.resize(difference, small, interpolation=cv2.INTER_AREA)
    known = share > 0
    means = np.clip(sums / np.maximum(share, 1e-6)[..., None], -LARGEST_CORRECTION, LARGEST_CORRECTION)
    correction = cv2.resize(fill_outwards(means, known), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.rint(np.clip(paint + correction, 0, 255)).astype(np.uint8)
