"""Frames in which something hides the mouth: a hand, a microphone, a cup.

A detector places points on a hidden mouth all the same, and is sure of them. So the picture is asked: the lower face,
cut out by the eyes and the nose alone, looks in every frame of speech like it does at some other time of the clip; what
covers it does not.
"""

from fractions import Fraction

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8
from scipy.ndimage import median_filter

VIEW_WIDTH, VIEW_HEIGHT = 32, 24
"""Size of the small picture of the lower face, px."""
_EYES, _NOSE_BASE = (36, 45), 33
_HALF_WIDTH, _TOP, _BOTTOM = 0.42, 0.06, 0.62  # the picture's edges about the nose's base, outer-eye distances
_APART_S = 1.0  # what hides a mouth stays for about this long, so nearer frames do not count as another time
_NEIGHBOURS = 3
_SAMPLES = 400  # frames that others are compared with; more tell no more
_TOGETHER = 256  # frames that are compared at once, so that a long clip takes no more memory
_CENTRE = np.s_[:, 4:20, 6:26]  # where lips move, without the picture's rim
_TOLERANCE = 4.0  # difference in CIELAB that is added to the usual one, so that a still region is not too strict
_UNLIKE, _PALE_UNLIKE = 1.4, 1.1  # unlikeness of a hidden mouth, and where the lips' colour is gone, too
_PALE = 0.4  # share of the usual redness of the lips below which it is gone
_LIP_SHARE = 0.12  # share of the picture that is reddest over the clip: the lips


def look_at_mouth(
    image: UInt8[np.ndarray, "H W 3"], landmarks: Float[np.ndarray, "68 2"]
) -> UInt8[np.ndarray, "24 32 3"]:
    """Cut out the lower face, RGB, upright and of one scale, whatever the mouth's own points say.

    Args:
        image: RGB picture.
        landmarks: landmarks, px of the picture.
    """
    left, right = landmarks[list(_EYES)].astype(np.float64)
    across = right - left
    down = np.array([-across[1], across[0]])
    corner = landmarks[_NOSE_BASE] - _HALF_WIDTH * across + _TOP * down
    columns, rows = 2 * _HALF_WIDTH * across / VIEW_WIDTH, (_BOTTOM - _TOP) * down / VIEW_HEIGHT
    matrix = np.stack([columns, rows, corner + (columns + rows) / 2], axis=1)
    fine = max(1, round(float(np.hypot(*columns))))  # averaged, not skipped: grain is not motion
    matrix[:, :2] /= fine
    matrix[:, 2] += matrix[:, :2].sum(axis=1) * (1 - fine) / 2
    size = (VIEW_WIDTH * fine, VIEW_HEIGHT * fine)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    view = cv2.warpAffine(image, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return cv2.resize(view, (VIEW_WIDTH, VIEW_HEIGHT), interpolation=cv2.INTER_AREA)


def find_occlusions(views: UInt8[np.ndarray, "T 24 32 3"], fps: Fraction) -> Bool[np.ndarray, " T"]:
    """Find the frames in which the lower face looks like at no other time of the clip.

    A frame counts if it is very unlike all others, or unlike them and without the lips' colour. A wide grin is unlike,
    but red; turned away, lips are less red, but the face is still like itself.

    Args:
        views: pictures from `look_at_mouth` of successive frames.
        fps: frame rate, Hz.

    Returns:
        True where the mouth is hidden; nowhere in a clip of less than three seconds, which is too short to know.

    Source: original to this project.
    """
    unlikeness, redness = measure_unlikeness(views, fps), measure_redness(views)
    hidden = (unlikeness > _UNLIKE) | ((unlikeness > _PALE_UNLIKE) & (redness < _PALE))
    return np.asarray(median_filter(hidden, size=3, mode="nearest"))


def to_lab(views: UInt8[np.ndarray, "T 24 32 3"]) -> Float32[np.ndarray, "T 24 32 3"]:
    """Convert pictures from RGB to CIELAB."""
    tall = views.reshape(-1, VIEW_WIDTH, 3).astype(np.float32) / np.float32(255)
    return cv2.cvtColor(tall, cv2.COLOR_RGB2LAB).reshape(views.shape)


def measure_unlikeness(views: UInt8[np.ndarray, "T 24 32 3"], fps: Fraction) -> Float[np.ndarray, " T"]:
    """Measure how much the mouth of each frame differs from the frames that resemble it most, a second or more away.

        u_t = median over pixels of min_k |v_t - v_k| / (usual difference there + 4), in CIELAB

    Args:
        views: pictures from `look_at_mouth` of successive frames.
        fps: frame rate, Hz.

    Returns:
        About 0.5 for a mouth that is seen; zeros for a clip of less than three seconds.
    """
    count, apart = len(views), round(_APART_S * float(fps))
    if count < 3 * apart:
        return np.zeros(count)
    samples = np.unique(np.linspace(0, count - 1, min(count, _SAMPLES)).round().astype(int))
    known = to_lab(views[samples])
    difference = np.concatenate([_compare(views, first, known, samples, apart) for first in range(0, count, _TOGETHER)])
    return np.asarray(np.median(difference / (np.median(difference, axis=0) + _TOLERANCE), axis=(1, 2)), np.float64)


def _compare(views: np.ndarray, first: int, known: np.ndarray, samples: np.ndarray, apart: int) -> np.ndarray:
    """Compute each pixel's least difference from the nearest of the known pictures, for some frames from `first` on."""
    colours = to_lab(views[first : first + _TOGETHER])
    flat, flat_known = colours.reshape(len(colours), -1), known.reshape(len(known), -1)
    square = np.einsum("kd,kd->k", flat_known, flat_known) - 2 * flat @ flat_known.T
    frames = np.arange(first, first + len(colours))
    square[np.abs(frames[:, None] - samples[None]) < apart] = np.inf
    nearest = np.argpartition(square, _NEIGHBOURS, axis=1)[:, :_NEIGHBOURS]
    centre, centre_known = colours[_CENTRE], known[_CENTRE]
    return np.stack([np.linalg.norm(centre - centre_known[other], axis=-1) for other in nearest.T]).min(axis=0)


def measure_redness(views: UInt8[np.ndarray, "T 24 32 3"]) -> Float[np.ndarray, " T"]:
    """Measure how much redder than the skin the lips of each frame are, over what is usual in the clip.

    Args:
        views: pictures from `look_at_mouth` of a clip.

    Returns:
        About 1 where the lips are seen, 0 or less where they are not; ones where lips are never redder than skin.
    """
    parts = [to_lab(views[first : first + _TOGETHER])[..., 1] for first in range(0, len(views), _TOGETHER)]
    green_red = np.concatenate(parts)
    usual = np.median(green_red, axis=0)
    is_lip = usual > np.quantile(usual, 1 - _LIP_SHARE)
    if not is_lip.any():  # one colour throughout
        return np.ones(len(views))
    contrast = np.median(green_red[:, is_lip], axis=1) - np.median(green_red[:, ~is_lip], axis=1)
    middle = float(np.median(contrast))
    return (contrast / middle if middle > 1 else np.ones(len(views))).astype(np.float64)
