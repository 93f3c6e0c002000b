"""The drawing of landmarks that MakeItTalk's image translation turns into a face."""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from metatalk_lib.networks.residual_unet import FACE_SIZE

JAW, BROWS, NOSE, EYES, LIPS = (255, 144, 25), (50, 205, 50), (208, 224, 63), (71, 99, 255), (238, 130, 238)
"""Colours, BGR."""
LINE_PX = 2

_CURVES = (
    (range(0, 17), False, JAW),
    (range(17, 22), False, BROWS),
    (range(22, 27), False, BROWS),
    (range(27, 36), False, NOSE),
    (range(36, 42), True, EYES),
    (range(42, 48), True, EYES),
    (range(48, 60), True, LIPS),
    (range(60, 68), True, LIPS),
)
"""Points in turn, whether the last joins the first, and the colour."""


def draw_landmarks(points: Float[np.ndarray, "68 _"]) -> UInt8[np.ndarray, "256 256 3"]:
    """Jaw, brows, nose, eyes and lips on white, BGR.

    Args:
        points: px; truncated to whole ones, what lies outside is cut off. Depth is not looked at.

    Source: facts of adobe-research/MakeItTalk src/dataset/image_translation/data_preparation.py.
    """
    image = np.full((FACE_SIZE, FACE_SIZE, 3), 255, np.uint8)
    whole = points[:, :2].astype(int).tolist()
    for curve, is_closed, colour in _CURVES:
        places = [whole[index] for index in curve]
        ends = places[1:] + places[:1] if is_closed else places[1:]
        for start, end in zip(places, ends, strict=False):
            cv2.line(image, start, end, colour, LINE_PX)
    return image
