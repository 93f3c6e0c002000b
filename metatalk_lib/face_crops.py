"""The 224 px face crops that SyncNet sees, after the recipe of its published pipeline, from any track of face boxes."""

from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from scipy.signal import medfilt

from metatalk_lib.errors import ParameterError
from metatalk_lib.networks.syncnet import FACE_SIZE

MEDIAN_FRAMES = 13
MIN_BOXES = MEDIAN_FRAMES // 2 + 1
"""Fewer are lost among the zeros that the filter puts beyond both ends."""
MARGIN = 0.4
"""The crop reaches this many half sides beyond the box: left and right, and twice as far below."""
PADDING_GREY = 110
"""What lies beyond the frame."""


def crop_faces(
    frames: Iterable[UInt8[np.ndarray, "H W 3"]], boxes: Float[np.ndarray, "T 4"]
) -> Iterator[UInt8[np.ndarray, "224 224 3"]]:
    """Cut the face out of every frame.

    Half the larger side s and the centre (x, y) of the boxes pass a median filter over 13 frames; rows y - s to
    y + 1.8 s and columns x - 1.4 s to x + 1.4 s are resized to 224 px, bilinearly. Beyond the frame all is grey.

    Args:
        frames: RGB or BGR, one for each box.
        boxes: left, top, right, bottom, px.

    Raises:
        ParameterError: more frames than boxes, or fewer; a box without area; fewer than `MIN_BOXES`.

    Source: joonson/syncnet_python run_pipeline.py, whose numbers were used.
    """
    if len(boxes) < MIN_BOXES:
        raise ParameterError(f"crop_faces: {len(boxes)} boxes; the filter needs {MIN_BOXES}.")
    sides = boxes[:, 2:] - boxes[:, :2]
    if not (sides > 0).all():
        raise ParameterError(f"crop_faces: box {int((sides <= 0).any(axis=1).argmax())} is empty.")
    half = medfilt(sides.max(axis=1).astype(np.float64) / 2, MEDIAN_FRAMES)
    x, y = (medfilt(boxes[:, [axis, axis + 2]].mean(axis=1, dtype=np.float64), MEDIAN_FRAMES) for axis in (0, 1))
    count = 0
    for count, frame in enumerate(frames, 1):
        if count > len(boxes):
            break
        yield _cut(frame, half[count - 1], x[count - 1], y[count - 1])
    if count != len(boxes):
        raise ParameterError(f"crop_faces: {len(boxes)} boxes for {count} frames. Give one for each frame.")


def _cut(frame: np.ndarray, half: float, x: float, y: float) -> UInt8[np.ndarray, "224 224 3"]:
    border, width = int(half * (1 + 2 * MARGIN)), half * (1 + MARGIN)
    grey = (PADDING_GREY,) * 3
    padded = cv2.copyMakeBorder(frame, border, border, border, border, cv2.BORDER_CONSTANT, value=grey)
    row, column = y + border, x + border
    rows = slice(int(row - half), int(row + half * (1 + 2 * MARGIN)))
    return cv2.resize(padded[rows, int(column - width) : int(column + width)], (FACE_SIZE, FACE_SIZE))
