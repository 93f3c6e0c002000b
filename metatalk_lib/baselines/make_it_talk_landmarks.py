"""MakeItTalk's landmarks: conversion to the networks' space, and post-processing of the predictions."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from scipy.signal import savgol_filter

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.networks.residual_unet import RESIDUAL_UNET_FACE_SIZE

FACE_WIDTH_POINTS = 1.6
"""Distance of the jaw's ends in the networks' space."""
FACE_DEPTH = 0.1
"""Factor of the depth, which is taken from a standard face."""
LIP_GAIN, POSE_GAIN = 2.0, 0.5
CLOSED_SHARE = 0.99
"""Share by which the speaker branch's mouth is closed; this branch moves the head, the content branch the lips."""
SHORTEST = 15
"""Minimum number of frames for the last smoothing."""

_OUTER, _OUTER_OPPOSITE = slice(49, 54), np.arange(59, 54, -1)
_INNER, _INNER_OPPOSITE = slice(61, 64), np.arange(67, 64, -1)
_UPPER_LIDS, _LOWER_LIDS = [37, 38, 43, 44], [41, 40, 47, 46]
"""Eyelid points, each upper one above a lower one."""
_FOLLOWS = ((slice(55, 59), slice(64, 68)), (slice(59, 60), slice(60, 61)), (slice(49, 54), slice(60, 65)))
"""Points of the outer lip, and the inner ones from which they keep their distance in repaired frames."""
_NARROWED = 0.05
"""Share of an eye's opening by which each lid is moved inwards."""
_FIRST_BLINK, _BLINK_APART = 30, (90, 150)
"""First blink and range of the distance between blinks (end excluded), frames at 62.5 Hz."""
_CLOSING, _OPENING = 10, 15


def nudge_still(points: Float[np.ndarray, "68 2"]) -> Float[np.ndarray, "68 2"]:
    """Make the lips slimmer and the eyes wider: the outer lip 1 px towards the middle, the lids 2 px outwards each.

    Args:
        points: landmarks of the still, px of its 256.

    Source: facts of adobe-research/MakeItTalk main_end2end.py.
    """
    out = np.array(points, np.float64)
    out[_OUTER, 1] += 1
    out[_OUTER_OPPOSITE, 1] -= 1
    out[_UPPER_LIDS, 1] -= 2
    out[_LOWER_LIDS, 1] += 2
    return out


@dataclass(frozen=True)
class FaceFrame:
    """Transform from image to network space: x, y = −(p + shift) · scale.

    Attributes:
        scale: network units per px; negative.
        shift: (2,) shift, px.
    """

    scale: float
    shift: Float[np.ndarray, " 2"]

    def to_network(self, points: Float[np.ndarray, "*T 68 3"], depth: Float[np.ndarray, " 68"]) -> np.ndarray:
        """Convert landmarks to the networks' space and replace their depth."""
        out = np.array(points, np.float64)
        out[..., :2] = -(out[..., :2] + self.shift) * self.scale
        out[..., 2] = FACE_DEPTH * depth
        return out

    def to_image(self, points: Float[np.ndarray, "*T 68 3"]) -> Float[np.ndarray, "*T 68 3"]:
        """Convert landmarks to px; the depth is unchanged."""
        out = np.array(points, np.float64)
        out[..., :2] = -out[..., :2] / self.scale - self.shift
        return out


def find_frame(points: Float[np.ndarray, "68 3"]) -> FaceFrame:
    """Find the transform that centres the jaw's ends and sets them `WIDTH` apart.

    Raises:
        ParameterError: the jaw's ends have the same x.

    Source: adobe-research/MakeItTalk util/utils.py.
    """
    left, right = points[0, :2].astype(np.float64), points[16, :2].astype(np.float64)
    if left[0] == right[0]:
        raise ParameterError("MakeItTalk: the jaw's ends lie above each other; the face is seen from the side.")
    return FaceFrame(float(FACE_WIDTH_POINTS / (left[0] - right[0])), -0.5 * (left + right))


def calibrate_content(displacements: Float[np.ndarray, "T 204"]) -> Float[np.ndarray, "T 204"]:
    """Subtract from each column the mean of its lower half, and double the mouth's x and y.

    Args:
        displacements: output of the content branch.

    Source: adobe-research/MakeItTalk src/approaches/train_audio2landmark.py.
    """
    half = len(displacements) // 2
    lowest = np.sort(displacements, axis=0)[:half].mean(axis=0) if half else 0.0
    out = (displacements - lowest).reshape(-1, 68, 3)
    out[:, 48:, :2] *= LIP_GAIN
    return out.reshape(-1, 204)


def calm_speaker(displacements: Float[np.ndarray, "T 204"]) -> Float[np.ndarray, "T 204"]:
    """Smooth the speaker branch's output over time, nearly close its mouth, and halve its strength.

    Source: adobe-research/MakeItTalk src/approaches/train_audio2landmark.py.
    """
    length = min(len(displacements) - 1, 31) // 2 * 2 + 1
    out = savgol_filter(displacements, length, min(3, length - 1), axis=0).reshape(-1, 68, 3)
    for upper, lower in ((_OUTER, _OUTER_OPPOSITE), (_INNER, _INNER_OPPOSITE)):
        mean = 0.5 * (out[:, upper] + out[:, lower])
        for part in (upper, lower):
            out[:, part] = CLOSED_SHARE * mean + (1 - CLOSED_SHARE) * out[:, part]
    return POSE_GAIN * out.reshape(-1, 204)


def repair_lips(points: Float[np.ndarray, "T 68 3"]) -> Float[np.ndarray, "T 68 3"]:
    """Repair lips that fold over each other.

    The lips fold over if the signed area of the inner lip is negative. In such frames both inner lips move to the
    middle between them, and the outer lip keeps its vertical distance from the inner one of the previous frame.

    Args:
        points: landmarks in the networks' space.

    Source: facts of adobe-research/MakeItTalk src/approaches/train_audio2landmark.py.
    """
    out = np.array(points, np.float64)
    x, y = out[:, 60:68, 0], out[:, 60:68, 1]
    areas = 0.5 * (x * np.roll(y, -1, axis=1) - np.roll(x, -1, axis=1) * y).sum(axis=1)
    for row in np.flatnonzero(areas < 0):
        frame, before = out[row], out[max(int(row) - 1, 0)].copy()
        frame[_INNER_OPPOSITE] = 0.5 * (frame[_INNER] + frame[_INNER_OPPOSITE])
        frame[_INNER] = frame[_INNER_OPPOSITE]
        if row == 0:
            continue
        for outer, inner in _FOLLOWS:
            frame[outer, 1] = frame[inner, 1] + before[outer, 1] - before[inner, 1]
    return out


def settle(points: Float[np.ndarray, "T 68 3"]) -> Float[np.ndarray, "T 68 3"]:
    """Extrapolate the nose's root from the two points below it, and smooth all points over five frames.

    Args:
        points: landmarks in the networks' space, at least five frames.

    Source: facts of adobe-research/MakeItTalk src/approaches/train_audio2landmark.py.
    """
    out = np.array(points, np.float64)
    out[:, 27] = 2 * out[:, 28] - out[:, 29]
    return savgol_filter(out, 5, 3, axis=0)


def add_blinks(points: Float[np.ndarray, "T 68 3"], *, seed: int = 0) -> Float[np.ndarray, "T 68 3"]:
    """Narrow the eyes slightly, and add a blink at frame 30 and then every 90 to 149 frames.

    The lids close over 10 frames, three quarters of the way by the upper one, and open over 15. A blink that would not
    end within the clip is left out.

    Args:
        points: landmarks, px, at 62.5 frames per second.
        seed: seed of the times between blinks; the published ones differ in each run.

    Source: facts of adobe-research/MakeItTalk util/utils.py.
    """
    out = np.array(points, np.float64)
    upper, lower = out[:, _UPPER_LIDS].copy(), out[:, _LOWER_LIDS].copy()
    out[:, _UPPER_LIDS] = (1 - _NARROWED) * upper + _NARROWED * lower
    out[:, _LOWER_LIDS] = (1 - _NARROWED) * lower + _NARROWED * upper
    lids, generator, at = _UPPER_LIDS + _LOWER_LIDS, np.random.default_rng(seed), _FIRST_BLINK
    closing = (np.arange(1, _CLOSING) / _CLOSING)[:, None, None]
    opening = (np.arange(1, _OPENING) / _OPENING + 1 / _OPENING)[:, None, None]
    while at < len(out) - 1 - _OPENING:
        shut = 0.25 * out[at, _UPPER_LIDS] + 0.75 * out[at, _LOWER_LIDS]
        out[at, lids] = np.concatenate([shut, shut])
        before, after = out[at - _CLOSING, lids], out[at + _OPENING, lids]
        out[at - _CLOSING + 1 : at, lids] = (1 - closing) * before + closing * out[at, lids]
        out[at + 1 : at + _OPENING, lids] = (1 - opening) * out[at, lids] + opening * after
        at += int(generator.integers(*_BLINK_APART))
    return out


def smooth_in_image(points: Float[np.ndarray, "T 68 3"]) -> Float[np.ndarray, "T 68 3"]:
    """Apply the last smoothing: over 15 frames, lips over five.

    Args:
        points: landmarks, px, at least `SHORTEST` frames.

    Source: facts of adobe-research/MakeItTalk main_end2end.py.
    """
    return np.concatenate(
        [savgol_filter(points[:, :48], SHORTEST, 3, axis=0), savgol_filter(points[:, 48:], 5, 3, axis=0)], axis=1
    )


JAW, BROWS, NOSE, EYES, LIPS = (255, 144, 25), (50, 205, 50), (208, 224, 63), (71, 99, 255), (238, 130, 238)
"""Colours of the parts, BGR."""
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
"""Curves: point numbers in order, whether the last point joins the first, and the colour."""


def draw_landmarks(points: Float[np.ndarray, "68 _"]) -> UInt8[np.ndarray, "256 256 3"]:
    """Draw jaw, brows, nose, eyes and lips on white, BGR.

    Args:
        points: landmarks, px, truncated to integers; parts outside the picture are cut off, and depth is ignored.

    Source: facts of adobe-research/MakeItTalk src/dataset/image_translation/data_preparation.py.
    """
    image = np.full((RESIDUAL_UNET_FACE_SIZE, RESIDUAL_UNET_FACE_SIZE, 3), 255, np.uint8)
    whole = points[:, :2].astype(int).tolist()
    for curve, is_closed, colour in _CURVES:
        places = [whole[index] for index in curve]
        ends = places[1:] + places[:1] if is_closed else places[1:]
        for start, end in zip(places, ends, strict=False):
            cv2.line(image, start, end, colour, LINE_PX)
    return image
