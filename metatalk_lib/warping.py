"""Carrying pixels of one frame to where the same points of the face lie in another.

The drawn face says for each of its pixels which point of the surface it shows, and so where that point lies in any
other frame whose coefficients are known. Off the face, in the rim of the mask, the displacement goes on smoothly.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from metatalk_lib.errors import ParameterError
from metatalk_lib.rasterizer import Raster, interpolate


def fill_outwards(field: Float[np.ndarray, "H W C"], known: Bool[np.ndarray, "H W"]) -> Float[np.ndarray, "H W C"]:
    """Continue a field smoothly from where it is known to everywhere else; known values stay as they are.

    Averages of the known values on ever coarser grids (pull), each filling the holes of the finer one (push).

    Args:
        field: values; those of unknown pixels do not matter.
        known: where they count.

    Raises:
        ParameterError: nothing is known.

    Source: the pull-push algorithm of Gortler et al., "The Lumigraph", SIGGRAPH 1996; the code is original.
    """
    if not known.any():
        raise ParameterError("fill_outwards: no value is known, so that there is nothing to continue.")
    weight = known.astype(np.float32)
    values = field.astype(np.float32) * weight[..., None]
    levels = []
    while not weight.all():
        levels.append((values, weight))
        small = (max(1, (weight.shape[1] + 1) // 2), max(1, (weight.shape[0] + 1) // 2))
        values, share = (cv2.resize(part, small, interpolation=cv2.INTER_AREA) for part in (values, weight))
        weight = (share > 0).astype(np.float32)
        values = _with_channels(values, field) / np.maximum(share, 1e-6)[..., None] * weight[..., None]
    for finer, known_share in reversed(levels):
        above = _with_channels(cv2.resize(values, finer.shape[1::-1], interpolation=cv2.INTER_LINEAR), field)
        values = np.where(known_share[..., None] > 0, finer, above)
    return values


def _with_channels(image: np.ndarray, like: np.ndarray) -> np.ndarray:
    """OpenCV drops the last axis where it has one element."""
    return image.reshape(*image.shape[:2], like.shape[2])


def locate_pixels(
    raster: Raster,
    triangles: Int[np.ndarray, "F 3"],
    points: Float[np.ndarray, "N 2"],
    other_points: Float[np.ndarray, "N 2"],
) -> Float[np.ndarray, "H W 2"]:
    """Where each pixel of a drawn window lies in another frame, as (column, row) of the same window, px.

    Args:
        raster: what the window shows.
        triangles: those that were drawn.
        points: projected vertices of the frame that was drawn, px.
        other_points: the same vertices in the other frame, px. Where nothing is drawn at all, nothing moves.
    """
    known = raster.face_id >= 0
    places = interpolate(raster, triangles, other_points - points)
    if known.any():
        places = fill_outwards(places, known)
    rows, columns = raster.face_id.shape
    places[..., 0] += np.arange(columns, dtype=np.float32)
    places[..., 1] += np.arange(rows, dtype=np.float32)[:, None]
    return places


def sample_pixels(
    image: UInt8[np.ndarray, "H W 3"], places: Float[np.ndarray, "H2 W2 2"]
) -> UInt8[np.ndarray, "H2 W2 3"]:
    """Colours of an image at (column, row) places, bicubic; beyond the border its edge pixels are repeated."""
    return cv2.remap(image, places, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
