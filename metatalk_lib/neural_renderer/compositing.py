"""Compositing of the painted lower face into the source frame: feathered inside the mask, unchanged outside it.

    out = α paint + (1 − α) source,   0 ≤ α ≤ 1, α = 0 outside the mask

α rises with the distance from the mask's edge, so that the seam lies inside the mask. Where neither the source's own
face nor the driven one is drawn, the source is right, be it hair, collar or wall: the mask ends a rim beyond the two.
If the crop was not resampled (side = size), the paint is placed directly on the source's pixel grid.
"""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.face3d.feathering import feather_mask
from metatalk_lib.neural_renderer.lower_face_region import Roi
from metatalk_lib.tracking.crop import CropTransform

FEATHER_PER_SIDE = 1 / 32
"""Width of the feathered rim in units of the crop's side: 16 px at 512 px."""


class Sewn(NamedTuple):
    """A finished frame.

    Attributes:
        image: (H, W, 3) source frame with the painted lower face.
        mask: (h, w) mask in source pixels, within the part of the frame that the paint covers.
        rows, columns: the covered part of the frame; outside the mask, `image` equals the source.
    """

    image: UInt8[np.ndarray, "H W 3"]
    mask: Bool[np.ndarray, "h w"]
    rows: slice
    columns: slice

    def count_changed_outside(self, source: UInt8[np.ndarray, "H W 3"]) -> int:
        """Count the pixels of the covered part that differ from the source outside the mask; 0 for a frame of `sew`."""
        part = np.s_[self.rows, self.columns]
        return int((cv2.absdiff(self.image[part], source[part]).max(axis=2, initial=0) > 0)[~self.mask].sum())


def limit_mask(mask: Bool[np.ndarray, "H W"], face: Bool[np.ndarray, "H W"], size: int) -> Bool[np.ndarray, "H W"]:
    """Restrict a mask to the faces that are drawn and a rim beyond them, as wide as the feather.

    Args:
        mask: region that the network paints.
        face: pixels that the driven face, or the source's own, covers.
        size: side of the crop, px.
    """
    if not face.any():
        return mask
    beyond = cv2.distanceTransform((~face).astype(np.uint8), cv2.DIST_L2, 5)
    return mask & (beyond <= size * FEATHER_PER_SIDE)


def blend(
    background: UInt8[np.ndarray, "H W 3"], paint: UInt8[np.ndarray, "H W 3"], opacity: Float[np.ndarray, "H W"]
) -> UInt8[np.ndarray, "H W 3"]:
    """Compute α paint + (1 − α) background, rounded; where α is 0, the background's bytes are kept."""
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
    """Composite the painted rectangle into the source frame, at the source's resolution and inside the mask only.

    Args:
        source: the whole frame; not changed.
        paint: the network's picture of the rectangle, in crop pixels.
        mask: mask of the rectangle, True where painted.
        transform: position of the crop in the source.
        roi: the rectangle, in crop pixels.

    Returns:
        The frame and the mask in source pixels; parts of the crop outside the frame are dropped.

    Raises:
        ParameterError: paint, mask and rectangle differ in size, or the rectangle exceeds the crop.
    """
    shape = (roi.height, roi.width)
    if paint.shape[:2] != shape or mask.shape != shape or roi.right > transform.size or roi.bottom > transform.size:
        raise ParameterError(
            f"sew got paint {paint.shape[:2]} and mask {mask.shape} for the rectangle {tuple(roi)} of a "
            f"{transform.size} px crop."
        )
    opacity = feather_mask(mask, transform.size * FEATHER_PER_SIDE)
    placed = _to_source_grid(paint, opacity, mask, transform, roi)
    height, width = source.shape[:2]
    rows, inner_rows = _overlap(placed.top, placed.mask.shape[0], height)
    columns, inner_columns = _overlap(placed.left, placed.mask.shape[1], width)
    image, inner = source.copy(), np.s_[inner_rows, inner_columns]
    image[rows, columns] = blend(source[rows, columns], placed.paint[inner], placed.opacity[inner])
    return Sewn(image, placed.mask[inner], rows, columns)


def _overlap(start: int, length: int, limit: int) -> tuple[slice, slice]:
    """Return the part of [start, start + length) within [0, limit), and the same part relative to `start`."""
    first, last = min(max(0, start), limit), min(max(0, start + length), limit)
    return slice(first, last), slice(first - start, last - start)


class _Placed(NamedTuple):
    """Paint, opacity and mask on the source's pixel grid, and the position of their top-left pixel."""

    paint: np.ndarray
    opacity: np.ndarray
    mask: np.ndarray
    left: int
    top: int


def _to_source_grid(
    paint: np.ndarray, opacity: np.ndarray, mask: np.ndarray, transform: CropTransform, roi: Roi
) -> _Placed:
    if transform.side == transform.size:
        return _Placed(paint, opacity, mask, transform.left + roi.left, transform.top + roi.top)
    scale = transform.size / transform.side
    # source pixels whose centres lie in the rectangle: x_crop = (x_source - left + 0.5) scale - 0.5
    left, top = (int(np.ceil(start / scale - 0.5)) for start in (roi.left, roi.top))
    right, bottom = (int(np.floor(stop / scale - 0.5)) + 1 for stop in (roi.right, roi.bottom))
    shift_x, shift_y = ((start + 0.5) * scale - 0.5 - origin for start, origin in ((left, roi.left), (top, roi.top)))
    matrix = np.array([[scale, 0, shift_x], [0, scale, shift_y]])
    size = (right - left, bottom - top)

    def pull(image: np.ndarray, interpolation: int) -> np.ndarray:
        flags = interpolation | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(image, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)

    inside = pull(mask.astype(np.uint8), cv2.INTER_NEAREST) > 0
    alpha = np.clip(pull(opacity, cv2.INTER_LINEAR), 0, 1) * inside
    return _Placed(pull(paint, cv2.INTER_CUBIC), alpha, inside, transform.left + left, transform.top + top)
