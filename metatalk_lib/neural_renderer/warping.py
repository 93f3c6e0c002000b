"""Warping of pixels from one frame to the position of the same surface points in another.

The rasterised face gives the surface point of each pixel, and hence its position in any other frame with known
coefficients. Off the face, in the rim of the mask, the displacement is extrapolated smoothly.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.face3d.rasterizer import Raster, interpolate

JUMP_DM = 0.2
"""Depth step from which a surface counts as another part of the face rather than a slope, dm."""
REACH_PER_SIDE = 1 / 64
"""Distance from a silhouette edge within which the surface behind it is not trusted, in units of the crop's side."""


def fill_outwards(field: Float[np.ndarray, "H W C"], known: Bool[np.ndarray, "H W"]) -> Float[np.ndarray, "H W C"]:
    """Extrapolate a field smoothly from where it is known to everywhere else; known values are unchanged.

    Known values are averaged on ever coarser grids (pull), and each grid fills the holes of the next finer one (push).

    Args:
        field: values; those of unknown pixels are ignored.
        known: whether the value of a pixel is known.

    Raises:
        ParameterError: nothing is known.

    Source: the pull-push algorithm of Gortler et al., "The Lumigraph", SIGGRAPH 1996; the code is original.
    """
    if not known.any():
        raise ParameterError("fill_outwards: no value is known, so that there is nothing to continue.")
    weight = known.astype(np.float32)
    planes = [plane * weight for plane in np.moveaxis(field.astype(np.float32), 2, 0)]
    levels = []
    while not weight.all():
        levels.append((planes, (weight > 0).view(np.uint8)))
        small = ((weight.shape[1] + 1) // 2, (weight.shape[0] + 1) // 2)
        share = cv2.resize(weight, small, interpolation=cv2.INTER_AREA)
        weight = (share > 0).astype(np.float32)
        gain = weight / np.maximum(share, 1e-6)
        planes = [cv2.resize(plane, small, interpolation=cv2.INTER_AREA) * gain for plane in planes]
    for finer, is_known in reversed(levels):
        size = is_known.shape[::-1]
        wider = (cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR) for plane in planes)
        planes = [cv2.copyTo(plane, is_known, guess) for plane, guess in zip(finer, wider, strict=True)]
    return np.stack(planes, axis=2)


def trusted_surface(raster: Raster, size: int) -> Bool[np.ndarray, "H W"]:
    """Find the pixels of a rendered face that move with their surface points: all but those just behind a silhouette.

    The surface next to the cheek's silhouette, such as the root of the ear, moves differently from the cheek. Since the
    fitted model places the edge some pixels off, that other motion would tear the cheek.

    Args:
        raster: raster of the face, depth in dm.
        size: side of the crop, px.
    """
    reach = max(1, round(size * REACH_PER_SIDE))
    nearest = cv2.erode(raster.depth, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    return (raster.face_id >= 0) & (raster.depth < nearest + JUMP_DM)


def locate_pixels(
    raster: Raster,
    triangles: Int[np.ndarray, "F 3"],
    points: Float[np.ndarray, "N 2"],
    others: Float[np.ndarray, "K N 2"],
    trusted: Bool[np.ndarray, "H W"],
) -> Float[np.ndarray, "K H W 2"]:
    """Locate each pixel of a rendered window in K other frames, as (column, row) of the same window, px.

    Args:
        raster: raster of the window.
        triangles: triangles that were rasterised.
        points: projected vertices of the rendered frame, px.
        others: projected vertices of the other frames, px.
        trusted: pixels that move with their surface points; all others follow them. If there are none, the
            displacement of every pixel is used, 0 off the face.
    """
    moves = (others - points).transpose(1, 0, 2).reshape(len(points), -1)
    shift = interpolate(raster, triangles, moves)
    if trusted.any():
        shift = fill_outwards(shift, trusted)
    return shift.reshape(*trusted.shape, -1, 2).transpose(2, 0, 1, 3) + pixel_places(*trusted.shape)


def pixel_places(rows: int, columns: int) -> Float[np.ndarray, "H W 2"]:
    """Compute (column, row) of every pixel."""
    return np.dstack(np.meshgrid(np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32)))


def sample_pixels(
    image: UInt8[np.ndarray, "H W 3"], places: Float[np.ndarray, "H2 W2 2"]
) -> UInt8[np.ndarray, "H2 W2 3"]:
    """Sample an image at (column, row) positions, bicubic; edge pixels are repeated beyond the border."""
    # OpenCV's types forbid the missing second map that its manual asks for
    return cv2.remap(image, places, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
