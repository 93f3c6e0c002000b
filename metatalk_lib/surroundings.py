"""What lies round the face moves in its own way: neck, hair and background do not turn with the head.

A frame that lends its pixels is carried to the drawn face by the face's own points, which beyond the jaw is a guess.
What the frame to paint shows outside its mask tells how wrong the guess is; the correction fades out towards the face.
"""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from metatalk_lib.warping import fill_outwards

FLOW_SIDE_PX = 256
"""Motion is estimated in a crop of about this side: the better for being coarse, and quick."""
PASSES = 2
"""The first one sees half of a step at the mask's edge, since inside there is nothing to compare with."""


class Surroundings(NamedTuple):
    """A frame to paint, of which only what lies outside the mask is looked at.

    Attributes:
        image: the real frame's rectangle, RGB.
        mask: where the network paints.
        reduction: by how much the picture is made smaller to look for motion.
    """

    image: UInt8[np.ndarray, "H W 3"]
    mask: Bool[np.ndarray, "H W"]
    reduction: int

    @classmethod
    def of(cls, image: UInt8[np.ndarray, "H W 3"], mask: Bool[np.ndarray, "H W"], size: int) -> "Surroundings":
        """Of a rectangle in a crop of `size` px."""
        return cls(image, mask, max(1, round(size / FLOW_SIDE_PX)))


def fit_surroundings(
    places: Float[np.ndarray, "K H W 2"],
    images: list[UInt8[np.ndarray, "H W 3"]],
    face: Bool[np.ndarray, "H W"],
    surroundings: Surroundings,
) -> Float[np.ndarray, "K H W 2"]:
    """Correct places off the face so that what they bring continues what surrounds the mask.

    Dense optical flow between the frame, its mask filled with what was carried, and what was carried; smoothly
    continued between the mask's edge and the face, on which nothing changes.

    Args:
        places: of `locate_pixels`, (column, row) in each image, px.
        images: the K pictures that lend.
        face: where the face is drawn.
        surroundings: of the frame to paint.

    Source: original to this project; the flow is OpenCV's DIS (Kroeger et al., ECCV 2016).
    """
    height, width = face.shape
    reduction = surroundings.reduction
    small = (max(1, width // reduction), max(1, height // reduction))
    still = cv2.erode(_shrink(face.astype(np.float32), small), np.ones((3, 3), np.uint8)) > 0.999
    hidden = _shrink(surroundings.mask.astype(np.float32), small) > 0
    known = still | ~hidden
    if hidden.all() or not hidden.any() or min(small) < 16:
        return places
    shown = _shrink(_to_grey(surroundings.image), small)
    carried = [
        cv2.remap(_shrink(_to_grey(image), small), (_shrink(place, small) + 0.5) / reduction - 0.5, None,
                  cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for image, place in zip(images, places, strict=True)
    ]  # fmt: skip
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    shifts = np.zeros((len(images), small[1], small[0], 2), np.float32)
    for _ in range(PASSES):
        for shift, picture in zip(shifts, carried, strict=True):
            moved = _look_up(picture, shift)
            change = flow.calc(np.where(hidden, moved, shown), moved, None)
            shift[:] = change + _look_up(shift, change)
        shifts[:, still] = 0
        filled = fill_outwards(shifts.transpose(1, 2, 0, 3).reshape(*known.shape, -1), known)
        shifts = filled.reshape(*known.shape, -1, 2).transpose(2, 0, 1, 3).copy()
    whole = (cv2.resize(shift, (width, height), interpolation=cv2.INTER_LINEAR) * reduction for shift in shifts)
    return np.stack([_look_up(place, shift) for place, shift in zip(places, whole, strict=True)])


def _look_up(field: np.ndarray, shift: Float[np.ndarray, "H W 2"]) -> np.ndarray:
    """A picture or field at every pixel's place plus a shift."""
    rows, columns = shift.shape[:2]
    here = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).astype(np.float32)
    return cv2.remap(field, here + shift, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _shrink(field: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(field, size, interpolation=cv2.INTER_AREA)


def _to_grey(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W"]:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
