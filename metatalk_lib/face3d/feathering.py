"""Opacity that falls smoothly to 0 towards the edge of a mask, and never reaches beyond it."""

import cv2
import numpy as np
from jaxtyping import Bool, Float

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.core.smooth_step import smooth_step


def feather_mask(
    mask: Bool[np.ndarray, "H W"],
    feather_px: float | int,
    *,
    start_px: float = 0.0,
    mask_size: int = 5,
    is_border_edge: bool = False,
) -> Float[np.ndarray, "H W"]:
    """Compute the opacity α = s((d − start) / feather), s(u) = 3u² − 2u³ clamped to [0, 1].

    d is the distance to the nearest pixel outside the mask.

    Args:
        mask: True inside.
        feather_px: width of the feathered rim, px, > 0.
        start_px: distance up to which the opacity is 0, px.
        mask_size: size of the neighbourhood that distances are summed over, 3 or 5; 5 is more exact.
        is_border_edge: whether the border of the image counts as an edge. Where it does not, a mask that extends beyond
            the image stays opaque there.

    Returns:
        float32 in [0, 1], exactly 0 outside the mask.

    Raises:
        ParameterError: `feather_px` is not positive.

    Source: original to this project; AudioDVP erodes and blurs instead, which also stays inside its mask.
    """
    if feather_px <= 0:
        raise ParameterError(f"feather_px must be positive, got {feather_px}.")
    if mask.all() and not is_border_edge:
        return np.ones(mask.shape, np.float32)
    margin = 1 if is_border_edge else 0
    padded = np.pad(mask.astype(np.uint8), margin)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, mask_size)
    inside = distance[margin : margin + mask.shape[0], margin : margin + mask.shape[1]]
    return smooth_step(start_px, start_px + feather_px, inside).astype(np.float32)
