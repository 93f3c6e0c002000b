"""MakeItTalk's landmarks: how a face is brought to the networks' space, and what is done to what they predict."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.signal import savgol_filter

from metatalk_lib.errors import ParameterError

WIDTH = 1.6
"""Distance of the jaw's ends in the networks' space."""
DEPTH = 0.1
"""Depth is taken from a standard face, times this."""
LIP_GAIN, POSE_GAIN = 2.0, 0.5
CLOSED_SHARE = 0.99
"""How far the speaker branch's mouth is closed: it moves the head, the lips are the content branch's."""

_OUTER, _OUTER_OPPOSITE = slice(49, 54), np.arange(59, 54, -1)
_INNER, _INNER_OPPOSITE = slice(61, 64), np.arange(67, 64, -1)


@dataclass(frozen=True)
class FaceFrame:
    """From image to network space: x, y = −(p + shift) · scale.

    Attributes:
        scale: negative; network units a px.
        shift: (2,) px.
    """

    scale: float
    shift: Float[np.ndarray, " 2"]

    def to_network(self, points: Float[np.ndarray, "*T 68 3"], depth: Float[np.ndarray, " 68"]) -> np.ndarray:
        """Landmarks in the networks' space, their depth replaced."""
        out = np.array(points, np.float64)
        out[..., :2] = -(out[..., :2] + self.shift) * self.scale
        out[..., 2] = DEPTH * depth
        return out

    def to_image(self, points: Float[np.ndarray, "*T 68 3"]) -> Float[np.ndarray, "*T 68 3"]:
        """Landmarks in px; the depth stays."""
        out = np.array(points, np.float64)
        out[..., :2] = -out[..., :2] / self.scale - self.shift
        return out


def find_frame(points: Float[np.ndarray, "68 3"]) -> FaceFrame:
    """The frame that centres the jaw's ends and sets them `WIDTH` apart.

    Raises:
        ParameterError: the jaw's ends have the same x.

    Source: adobe-research/MakeItTalk util/utils.py.
    """
    left, right = points[0, :2].astype(np.float64), points[16, :2].astype(np.float64)
    if left[0] == right[0]:
        raise ParameterError("MakeItTalk: the jaw's ends lie above each other; the face is seen from the side.")
    return FaceFrame(float(WIDTH / (left[0] - right[0])), -0.5 * (left + right))


def calibrate_content(displacements: Float[np.ndarray, "T 204"]) -> Float[np.ndarray, "T 204"]:
    """Each column less the mean of its lower half; the mouth's x and y twice as large.

    Args:
        displacements: of the content branch.

    Source: adobe-research/MakeItTalk src/approaches/train_audio2landmark.py.
    """
    half = len(displacements) // 2
    lowest = np.sort(displacements, axis=0)[:half].mean(axis=0) if half else 0.0
    out = (displacements - lowest).reshape(-1, 68, 3)
    out[:, 48:, :2] *= LIP_GAIN
    return out.reshape(-1, 204)


def calm_speaker(displacements: Float[np.ndarray, "T 204"]) -> Float[np.ndarray, "T 204"]:
    """The speaker branch smoothed over time, its mouth all but closed, at half strength.

    Source: adobe-research/MakeItTalk src/approaches/train_audio2landmark.py.
    """
    length = min(len(displacements) - 1, 31) // 2 * 2 + 1
    out = savgol_filter(displacements, length, min(3, length - 1), axis=0).reshape(-1, 68, 3)
    for upper, lower in ((_OUTER, _OUTER_OPPOSITE), (_INNER, _INNER_OPPOSITE)):
        mean = 0.5 * (out[:, upper] + out[:, lower])
        for part in (upper, lower):
            out[:, part] = CLOSED_SHARE * mean + (1 - CLOSED_SHARE) * out[:, part]
    return POSE_GAIN * out.reshape(-1, 204)
