"""Sewing the painted lower face into the source frame: feathered inside the mask, untouched outside it.

    out = α paint + (1 − α) source,   0 ≤ α ≤ 1, α = 0 outside the mask

α rises with the distance from the mask's edge, so that the seam lies inside the mask. Colours are taken as painted: the
network sees the surroundings and matches them. Where the crop was not resampled (side = size) the paint goes straight
into the source's own pixel grid.
"""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from metatalk_lib.crop import CropTransform
from metatalk_lib.errors import ParameterError
from metatalk_lib.renderer_data import Roi

FEATHER_PER_SIDE = 1 / 32
"""Width of the feathered rim in units of the crop's side: 16 px at 512 px."""


class Sewn(NamedTuple):
    """A finished frame.

    Attributes:
        image: (H, W, 3) the source frame with the painted lower face.
        mask: (H, W) the mask in the source's pixels; outside it `image` equals the source.
    """

    image: UInt8[np.ndarray, "H W 3"]
    mask: Bool[np.ndarray, "H W"]


def feather_mask(mask: Bool[np.ndarray, "H W"], feather_px: float | int) -> Float[np.ndarray, "H W"]:
    """Opacity α = s(d / feather), s(u) = 3u² − 2u³ clamped to [0, 1], d the distance to the nearest pixel outside.

    The image's own border is no edge: a mask that runs out of the picture stays opaque there.

    Args:
        mask: True inside.
        feather_px: width of the rim, px, > 0.

    Returns:
        float32 in [0, 1], exactly 0 outside the mask.

    Raises:
        ParameterError: `feather_px` is not positive.

    Source: original to this project; AudioDVP erodes and blurs instead, which also stays inside its mask.
    """
    if feather_px <= 0:
        raise ParameterError(f"feather_px must be positive, got {feather_px}.")
    if mask.all():
        return np.ones(mask.shape, np.float32)
    rise = np.clip(cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5) / feather_px, 0, 1)
    return (rise * rise * (3 - 2 * rise)).astype(np.float32)


def blend(
    background: UInt8[np.ndarray, "H W 3"], paint: UInt8[np.ndarray, "H W 3"], opacity: Float[np.ndarray, "H W"]
) -> UInt8[np.ndarray, "H W 3"]:
    """α paint + (1 − α) background, rounded; where α is 0 the background's bytes are kept."""
    alpha = opacity[..., None].astype(np.float32)
    mixed = np.rint(alpha * paint + (1 - alpha) * background).astype(np.uint8)
    return np.where(alpha > 0, mixed, background)


def sew(
    source: UInt8[np.ndarray, "H W 3"],
    paint: UInt8[np.ndarray, "h w 3"],
    mask: Bool[np.ndarray, "h2 w2"],
    transform: CropTransform,
    roi: Roi,
) -> Sewn:
    """Put the painted rectangle into the source frame, at the source's resolution, inside the mask only.

    Args:
        source: the whole frame; it is not changed.
        paint: the network's picture of the rectangle, in crop pixels.
        mask: of the rectangle, True where painted.
        transform: how the crop lies in the source.
        roi: the rectangle in crop pixels.

    Returns:
        The frame, and the mask in source pixels; parts of the crop that lie outside the frame are dropped.

    Raises:
        ParameterError: paint, mask and rectangle differ in size, or the rectangle leaves the crop.
    """
    shape = (roi.height, roi.width)
    if paint.shape[:2] != shape or mask.shape != shape or roi.right > transform.size or roi.bottom > transform.size:
        raise ParameterError(
            f"sew got paint {paint.shape[:2]} and mask {mask.shape} for the rectangle {tuple(roi)} of a "
            f"{transform.size} px crop."
        )
    opacity = feather_mask(mask, transform.size * FEATHER_PER_SIDE)
    paint, opacity, mask, left, top = _to_source_grid(paint, opacity, mask, transform, roi)
    image, whole = source.copy(), np.zeros(source.shape[:2], bool)
    height, width = source.shape[:2]
    rows = slice(max(0, top), max(0, min(height, top + mask.shape[0])))
    columns = slice(max(0, left), max(0, min(width, left + mask.shape[1])))
    inner = (
        slice(rows.start - top, rows.stop - top),
        slice(columns.start - left, columns.stop - left),
    )
    image[rows, columns] = blend(source[rows, columns], paint[inner], opacity[inner])
    whole[rows, columns] = mask[inner]
    return Sewn(image, whole)


def _to_source_grid(
    paint: np.ndarray, opacity: np.ndarray, mask: np.ndarray, transform: CropTransform, roi: Roi
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int, int]:
    """Paint, opacity and mask on the source's pixels, and the source position of their top-left pixel."""
    if transform.side == transform.size:
        return paint, opacity, mask, transform.left + roi.left, transform.top + roi.top
    size, side = transform.size, transform.side
    around = ((roi.top, size - roi.bottom), (roi.left, size - roi.right))
    # x' = (x + 0.5) s - 0.5 for the whole square, so that the grid is exactly the inverse of the crop's
    smooth = cv2.INTER_AREA if side < size else cv2.INTER_CUBIC
    canvas = cv2.resize(np.pad(paint, (*around, (0, 0)), mode="edge"), (side, side), interpolation=smooth)
    inside = cv2.resize(np.pad(mask, around).astype(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST_EXACT) > 0
    linear = cv2.INTER_AREA if side < size else cv2.INTER_LINEAR
    alpha = cv2.resize(np.pad(opacity, around), (side, side), interpolation=linear)
    return canvas, np.clip(alpha, 0, 1) * inside, inside, transform.left, transform.top
