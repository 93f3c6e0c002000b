"""The lower face in the crop: its dilated mask and the rectangle that is painted."""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Int

from metatalk_lib.core.artifacts import load_json, save_json
from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.core.parallel import CORES, draw_ahead, torch_threads
from metatalk_lib.core.progress import track
from metatalk_lib.face3d.coefficients import Coefficients
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.face3d.face_renderer import MaskRegion, lower_face_mask

MARGIN_PX = 8
"""Smallest distance of the mask from the rectangle's edge where the crop allows it, px."""


class Roi(NamedTuple):
    """A rectangle of the crop, px; `right` and `bottom` are exclusive. The tuple is a window for `render_face`."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.bottom - self.top

    def cut(self, image: np.ndarray) -> np.ndarray:
        """Cut the rectangle out of a crop image or mask (a view)."""
        return image[self.top : self.bottom, self.left : self.right]


def enclosing_roi(bounds: Int[np.ndarray, "4"], size: int, *, multiple: int) -> Roi:
    """Grow a box (left, top, right, bottom; exclusive ends) to allowed sides, centred as far as the crop allows.

    Raises:
        ParameterError: `size` is no multiple of `multiple`.
        DataError: the box is empty.
    """
    if size % multiple:
        raise ParameterError(
            f"the crop's side {size} px is no multiple of {multiple}. Choose a smaller renderer_depth."
        )
    if bounds[0] >= bounds[2] or bounds[1] >= bounds[3]:
        raise DataError("the lower face lies outside the crop in every frame. Run 01_crop and 03_reconstruction again.")
    left, right = _grow(int(bounds[0]), int(bounds[2]), size, multiple)
    top, bottom = _grow(int(bounds[1]), int(bounds[3]), size, multiple)
    return Roi(left, top, right, bottom)


def _grow(low: int, high: int, size: int, multiple: int) -> tuple[int, int]:
    low, high = max(0, low - MARGIN_PX), min(size, high + MARGIN_PX)
    length = -(-(high - low) // multiple) * multiple
    start = min(max(0, (low + high - length) // 2), size - length)
    return start, start + length


DILATION_PER_SIDE = 1 / 64
"""Width of the rim by which a mask is dilated, in units of the crop's side: AudioDVP's 4 px at 256 px."""


@torch_threads(1)
def dilated_mask(
    model: FaceModel,
    coefficients: Coefficients,
    index: int,
    size: int,
    roi: Roi | None = None,
    *,
    region: MaskRegion = "speech",
) -> Bool[np.ndarray, "H W"]:
    """Compute the mask of one frame (mouth closed united with wide open), dilated by 1/64 of the crop's side.

    Args:
        model: the face model.
        coefficients: coefficients of the clip; the expression is not used.
        index: row of `coefficients`.
        size: side of the crop, px.
        roi: rectangle to compute; it must contain the whole mask for the result to equal that part of the full mask.
        region: what our renderer paints, `speech`, or the whole lower face, on which all methods are judged.

    Source: paper section 2.4; AudioDVP's mask (3×3 dilation, four times at 256 px), scaled with the crop.
    """
    mask = lower_face_mask(model, coefficients, index, size, window=None if roi is None else (*roi,), region=region)
    rim = max(1, round(size * DILATION_PER_SIDE))
    kernel = np.ones((2 * rim + 1, 2 * rim + 1), np.uint8)
    return cv2.dilate(mask.astype(np.uint8), kernel) > 0


def find_roi(
    model: FaceModel,
    coefficients: Coefficients,
    size: int,
    *,
    multiple: int,
    folder: Path | None = None,
    key: str = "",
    region: MaskRegion = "speech",
) -> Roi:
    """Find the smallest rectangle, with sides that are multiples of `multiple`, that contains every dilated mask.

    Args:
        model: the face model.
        coefficients: coefficients of the whole clip, including the held-out tail, so that one rectangle serves both.
        size: side of the crop, px; must itself be a multiple of `multiple`.
        multiple: 2^depth of the U-Net.
        folder: folder to save the rectangle in, for a later run with the same key; None saves nothing.
        key: identifies the inputs, as for `render_pairs`.
        region: as in `dilated_mask`.

    Raises:
        ParameterError: `size` is no multiple of `multiple`.
        DataError: no frame shows any lower face.
    """
    path = None if folder is None else folder / "roi.json"
    if path is not None and path.exists() and (kept := load_json(path))["key"] == key:
        return Roi(*kept["roi"])

    def find_bounds(index: int) -> Int[np.ndarray, "4"]:
        ys, xs = np.nonzero(dilated_mask(model, coefficients, index, size, region=region))
        return np.array([xs.min(), ys.min(), -xs.max() - 1, -ys.max() - 1] if len(xs) else [size, size, 0, 0])

    rows = track(range(len(coefficients)), "finding the rectangle", unit="frame")
    least = np.min(list(draw_ahead(find_bounds, rows, CORES)), axis=0)
    roi = enclosing_roi(np.concatenate([least[:2], -least[2:]]), size, multiple=multiple)
    if path is not None:
        save_json(path, {"key": key, "roi": list(roi)})
    return roi
