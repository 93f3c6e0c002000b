"""The face alignment network (FAN) as a predictor of the 68 landmarks, with published weights.

It takes a picture and dlib's box around the face, and returns landmarks in the iBUG order.
"""

import zipfile
from functools import lru_cache
from pathlib import Path
from pickle import UnpicklingError

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8

from metatalk_lib.core.errors import DataError
from metatalk_lib.tracking.box_predictor import BoxPredictor
from metatalk_lib.tracking.face_points import FacePoints

FAN_SIDE = 256
"""Side of FAN's input picture, px."""
HEATMAP_SIDE = 64
"""Side of FAN's heatmaps, px; there is one per landmark."""
FAN_HOURGLASSES = 4

# from face_alignment 1.5.0 (api.py, utils.py): the square around the landmarks' bounding box of width w and height h
# has the side 200 (w + h) / 195, and its centre lies 0.12 h above the box's centre
_FAN_ENLARGEMENT = 200 / 195
_FAN_RISE = 0.12
# the landmarks' bounding box within dlib's box, as fractions of its side: left, top, right, bottom; averaged over two
# clips of real people and one of the studio
_BOUNDS_IN_BOX = np.array([0.03, 0.097, 0.97, 1.052])
# the landmark at the position of landmark i in a mirrored picture
_MIRRORED = np.r_[16:-1:-1, 26:16:-1, 27:31, 35:30:-1, 45:41:-1, 47:45:-1, 39:35:-1, 41:39:-1, 54:47:-1, 59:54:-1,
                  64:59:-1, 67:64:-1]  # fmt: skip


class FanPredictor(BoxPredictor):
    """The face alignment network, applied to a square around the face and to its mirror image.

    Source: A. Bulat and G. Tzimiropoulos, How far are we from solving the 2D and 3D face alignment problem?, ICCV 2017;
    the network is that of the package face_alignment (BSD-3-Clause). The square is cut out and the peaks are located
    with sub-pixel accuracy, where the package returns whole pixels: original to this project.
    """

    uses_colour = True

    def __init__(self, network: torch.nn.Module, device: str | torch.device = "cpu") -> None:
        self.network, self.device = network.to(device).eval(), torch.device(device)

    def predict(self, image: UInt8[np.ndarray, "H W *C"], box: Float[np.ndarray, " 4"]) -> FacePoints:
        """See `LandmarkPredictor`."""
        corner, side = fan_square(box)
        square = _cut_out(image, corner, side)
        pair = np.stack([square, square[:, ::-1]]).transpose(0, 3, 1, 2).astype(np.float32) / 255
        with torch.inference_mode():
            # FAN returns one set of heatmaps per stack; the last one is used
            straight, mirrored = self.network(torch.from_numpy(pair).to(self.device))[-1].float().cpu().numpy()
        heatmaps = (straight + mirrored[_MIRRORED, :, ::-1]) / 2
        return FacePoints((find_peaks(heatmaps) * (side / HEATMAP_SIDE) + corner).astype(np.float32))


def fan_square(box: Float[np.ndarray, " 4"]) -> tuple[Float[np.ndarray, " 2"], float]:
    """Compute FAN's input square from dlib's box: its top left corner and its side, px."""
    box = np.asarray(box, np.float64)
    left, top, right, bottom = np.tile(box[:2], 2) + _BOUNDS_IN_BOX * (box[2] - box[0])
    side = _FAN_ENLARGEMENT * (right - left + bottom - top)
    centre = np.array([(left + right) / 2, (top + bottom) / 2 - _FAN_RISE * (bottom - top)])
    return centre - side / 2, float(side)


def find_peaks(heatmaps: Float[np.ndarray, "L M M"]) -> Float[np.ndarray, "L 2"]:
    """Locate the peak (x, y) of each heatmap; the centre of the first pixel is (0.5, 0.5).

    The highest pixel is refined along each axis by the parabola through the logarithms of it and its two neighbours,
    which is exact for a Gaussian: dx = (log h+ - log h-) / 2 / (2 log h0 - log h+ - log h-), at most half a pixel.
    """
    count, side, _ = heatmaps.shape
    best = heatmaps.reshape(count, -1).argmax(axis=1)
    rows, columns = best // side, best % side
    # the floor keeps the logarithm finite where the network's output is 0 or less
    logs = np.log(np.maximum(np.pad(heatmaps.astype(np.float64), ((0, 0), (1, 1), (1, 1)), mode="edge"), 1e-6))
    every, rows, columns = np.arange(count), rows + 1, columns + 1
    peak = logs[every, rows, columns]
    offsets = []
    for low, high in (
        (logs[every, rows, columns - 1], logs[every, rows, columns + 1]),
        (logs[every, rows - 1, columns], logs[every, rows + 1, columns]),
    ):
        curvature = np.maximum(2 * peak - low - high, 1e-9)  # 0 on a plateau
        offsets.append(np.clip((high - low) / 2 / curvature, -0.5, 0.5))
    return np.stack([columns - 0.5 + offsets[0], rows - 0.5 + offsets[1]], axis=1)


@lru_cache(maxsize=1)
def load_fan(path: Path) -> torch.nn.Module:
    """Build FAN with the weights of a file.

    Raises:
        DataError: the package face-alignment is absent, or the file does not hold FAN's weights.
    """
    # imported here: it takes seconds, and other detectors need none of it
    try:
        from face_alignment.models import FAN
    except ModuleNotFoundError as error:
        raise DataError(
            f"landmark_detector fan needs the package face-alignment ({error}). Install metatalk[fan] or use mediapipe."
        ) from error

    network = FAN(FAN_HOURGLASSES)
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True), strict=True)
    except (RuntimeError, TypeError, AttributeError, EOFError, UnpicklingError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path} does not hold the weights of FAN: {reason}. Fetch the file again.") from error
    return network


def _cut_out(image: np.ndarray, corner: np.ndarray, side: float) -> np.ndarray:
    """Cut out the square at 256 px, black beyond the picture; a larger one is blurred first, so no pixel is skipped."""
    scale = FAN_SIDE / side
    image = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if image.ndim == 2 else np.ascontiguousarray(image)
    source = cv2.GaussianBlur(image, (0, 0), 0.4 / scale) if scale < 0.7 else image
    matrix = np.array([[scale, 0, -corner[0] * scale - 0.5], [0, scale, -corner[1] * scale - 0.5]])
    return cv2.warpAffine(source, matrix, (FAN_SIDE, FAN_SIDE), flags=cv2.INTER_LINEAR)
