"""Alignment of reference frames around the face, where neck, hair and background do not move with the head.

References are warped by the motion of the face's surface points, which beyond the jaw is only a guess. The pixels
outside the mask of the frame to paint show the error of the guess; the correction fades out towards the face.
"""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from metatalk_lib.neural_renderer.warping import fill_outwards, pixel_places

FLOW_SIDE_PX = 256
"""Approximate side of the reduced crop in which motion is estimated, px: coarse motion is more robust and fast."""
SMALLEST_PX = 16
"""Smallest side of a reduced rectangle in which motion can be estimated, px."""
WHOLLY = 0.999
"""Share of a reduced pixel that must be covered by the face for its motion to stay unchanged."""


class Surroundings(NamedTuple):
    """A frame to paint, of which only the pixels outside the mask are used.

    Attributes:
        image: rectangle of the real frame, RGB.
        mask: region that the network paints.
        reduction: factor by which the picture is reduced for the estimation of motion.
    """

    image: UInt8[np.ndarray, "H W 3"]
    mask: Bool[np.ndarray, "H W"]
    reduction: int

    @classmethod
    def of(cls, image: UInt8[np.ndarray, "H W 3"], mask: Bool[np.ndarray, "H W"], size: int) -> "Surroundings":
        """Create the surroundings from a rectangle in a crop of `size` px."""
        return cls(image, mask, max(1, round(size / FLOW_SIDE_PX)))


def fit_surroundings(
    places: Float[np.ndarray, "K H W 2"],
    images: list[UInt8[np.ndarray, "H W 3"]],
    face: Bool[np.ndarray, "H W"],
    surroundings: Surroundings,
) -> Float[np.ndarray, "K H W 2"]:
    """Correct the sampling positions off the face so that the warped references continue the surroundings of the mask.

    The correction is the dense optical flow between the frame and each warped reference, both filled smoothly inside
    the mask. The flow is interpolated from the mask's edge to the face, where nothing changes.

    Args:
        places: sampling positions from `locate_pixels`, (column, row) in each image, px.
        images: the K reference images.
        face: surface that moves with its points, see `trusted_surface`.
        surroundings: surroundings of the frame to paint.

    Source: original to this project; the flow is OpenCV's DIS (Kroeger et al., ECCV 2016).
    """
    height, width = face.shape
    reduction = surroundings.reduction
    small = (max(1, width // reduction), max(1, height // reduction))
    hidden = _shrink(surroundings.mask.astype(np.float32), small) > 0
    if hidden.all() or not hidden.any() or min(small) < SMALLEST_PX:
        return places
    still = cv2.erode(_shrink(face.astype(np.float32), small), np.ones((3, 3), np.uint8)) > WHOLLY
    pictures = [_shrink(_to_grey(surroundings.image), small)]
    for image, place in zip(images, places, strict=True):
        coarse = (_shrink(place, small) + 0.5) / reduction - 0.5
        pictures.append(_take(_shrink(_to_grey(image), small), coarse))
    # pixels inside the mask must not influence the flow: neither the frame's own mouth nor the warped one
    filled = fill_outwards(np.dstack(pictures).astype(np.float32), ~hidden)
    shown, *carried = np.rint(filled).astype(np.uint8).transpose(2, 0, 1).copy()
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    # OpenCV's types forbid None, for which it makes the flow itself
    shifts = np.dstack([flow.calc(shown, picture, None) for picture in carried])  # type: ignore[call-overload]
    shifts[still] = 0
    shifts = reduction * fill_outwards(shifts, still | ~hidden)
    here = pixel_places(height, width)
    return np.stack(
        [
            _take(place, here + cv2.resize(shift, (width, height), interpolation=cv2.INTER_LINEAR))
            for place, shift in zip(places, np.split(shifts, len(places), axis=2), strict=True)
        ]
    )


def _take(field: np.ndarray, places: Float[np.ndarray, "H W 2"]) -> np.ndarray:
    """Sample a picture or field at (column, row) positions, bilinearly."""
    # OpenCV's types forbid the missing second map that its manual asks for
    return cv2.remap(field, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]


def _shrink(field: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(field, size, interpolation=cv2.INTER_AREA)


def _to_grey(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W"]:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
