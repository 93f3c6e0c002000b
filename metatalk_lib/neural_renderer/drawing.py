"""The drawn lower face of one frame, as the generator sees it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8

from metatalk_lib.core.parallel import torch_threads
from metatalk_lib.face3d.coefficients import Coefficients
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.face3d.face_renderer import MaskRegion, draw_face
from metatalk_lib.neural_renderer.background_flow import Surroundings
from metatalk_lib.neural_renderer.lower_face_region import Roi, dilated_mask
from metatalk_lib.neural_renderer.reference_bank import Reference, ReferenceBank


class DrawnFrame(NamedTuple):
    """The rendered input of one frame, in the rectangle.

    Attributes:
        image: the synthetic lower face, black where nothing is drawn.
        mask: region that the network paints.
        references: real frames warped to the drawn face.
    """

    image: UInt8[np.ndarray, "H W 3"]
    mask: Bool[np.ndarray, "H W"]
    references: UInt8[np.ndarray, "R H W 3"]


@torch_threads(1)
def draw_frame(
    model: FaceModel,
    coefficients: Coefficients,
    index: int,
    size: int,
    roi: Roi,
    bank: ReferenceBank | None = None,
    chosen: Sequence[Reference] = (),
    image: UInt8[np.ndarray, "H W 3"] | None = None,
    *,
    region: MaskRegion = "speech",
) -> DrawnFrame:
    """Draw one row of `coefficients`, with the chosen references of the bank warped to it.

    Args:
        model: the face model.
        coefficients: coefficients of a clip.
        index: row of `coefficients`.
        size: side of the crop, px.
        roi: the rectangle.
        bank: reference bank that `chosen` refers to; None draws no references.
        chosen: references to warp to the drawn face.
        image: real image of the rectangle, with whose surroundings the references are aligned; None skips this.
        region: as in `dilated_mask`.
    """
    drawn = draw_face(model, coefficients, index, size, region="lower", window=(*roi,))
    mask = dilated_mask(model, coefficients, index, size, roi, region=region)
    references = np.zeros((0, roi.height, roi.width, 3), np.uint8)
    if bank is not None and len(chosen):
        surroundings = None if image is None else Surroundings.of(image, mask, size)
        references = bank.warp(model, drawn, chosen, surroundings)
    return DrawnFrame(drawn.render.image, mask, references)


def no_references(targets: UInt8[np.ndarray, "T H W 3"]) -> UInt8[np.ndarray, "T 0 H W 3"]:
    """Return the empty `references` array of pairs without references."""
    return np.zeros((len(targets), 0, *targets.shape[1:]), np.uint8)
