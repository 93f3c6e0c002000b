"""The rectangle of the crop in which the neural face renderer works."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from metatalk_lib.errors import DataError, ParameterError

MARGIN_PX = 8
"""Least distance of the mask from the rectangle's edge, where the crop allows it."""


class Roi(NamedTuple):
    """A rectangle of the crop, px; `right` and `bottom` are exclusive. As a tuple it is `render_face`'s window."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """Columns."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Rows."""
        return self.bottom - self.top

    def cut(self, image: np.ndarray) -> np.ndarray:
        """The rectangle's part of a crop image or mask (a view)."""
        return image[self.top : self.bottom, self.left : self.right]


def enclosing_roi(bounds: Int[np.ndarray, "4"], size: int, *, multiple: int) -> Roi:
    """Grow the box (left, top, right, bottom; exclusive ends) to allowed sides, centred as far as the crop allows.

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
