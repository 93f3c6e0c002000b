"""Cheats that an image measure must see through, each made from the original frame alone.

A figure for a talking face means something only beside these rows: what an untouched copy scores, and what faces score
that were blurred, have no mouth, or do not move it.
"""

from collections.abc import Callable

import cv2
import numpy as np
import pandas as pd
from jaxtyping import Bool, UInt8

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.evaluation.controls import GROUND_TRUTH, REENCODED
from metatalk_lib.metrics.image_quality import MID_GREY

BLUR_SHARE = 1 / 40
"""Standard deviation of the heavy blur, as a share of the crop's side: lips and teeth melt into one."""
FILL_SHARE = 1 / 8
"""Standard deviation of the skin fill, as a share of the crop's side."""
FILL_REDUCTION = 4
"""The fill is smooth, so that it is computed on a smaller copy."""
EXACT, CHEAT_SHARPNESS, REENCODED_SSIM = 1e-6, 0.8, 0.9
"""How near 1 a copy must come, what the blurred face must stay below, and what encoding must keep."""


def pass_through(
    original: UInt8[np.ndarray, "H W 3"], mask: Bool[np.ndarray, "H W"], first: UInt8[np.ndarray, "H W 3"]
) -> UInt8[np.ndarray, "H W 3"]:
    """The original frame itself: a control of the measure, which must give its ideal value. Arguments: see `CHEATS`."""
    return original


def blur_lower_face(
    original: UInt8[np.ndarray, "H W 3"], mask: Bool[np.ndarray, "H W"], first: UInt8[np.ndarray, "H W 3"]
) -> UInt8[np.ndarray, "H W 3"]:
    """The original with its masked region heavily blurred. Arguments: see `CHEATS`."""
    blurred = cv2.GaussianBlur(original, (0, 0), BLUR_SHARE * max(original.shape[:2]))
    return np.where(mask[..., None], blurred, original)


def remove_mouth(
    original: UInt8[np.ndarray, "H W 3"], mask: Bool[np.ndarray, "H W"], first: UInt8[np.ndarray, "H W 3"]
) -> UInt8[np.ndarray, "H W 3"]:
    """The original with smooth colour in its masked region, interpolated from the surroundings.

    Fill = blur(image * outside) / blur(outside). Arguments: see `CHEATS`.
    """
    height, width = original.shape[:2]
    small = max(width // FILL_REDUCTION, 1), max(height // FILL_REDUCTION, 1)
    outside = cv2.resize((~mask).astype(np.float32), small, interpolation=cv2.INTER_AREA)
    colours = cv2.resize(original.astype(np.float32) * ~mask[..., None], small, interpolation=cv2.INTER_AREA)
    sigma = FILL_SHARE * max(small)
    weight = cv2.GaussianBlur(outside, (0, 0), sigma)[..., None]
    # far from any surroundings the weight underflows; there the mean surrounding colour is the limit
    mean = colours.sum(axis=(0, 1)) / max(float(outside.sum()), 1.0)
    fill = (cv2.GaussianBlur(colours, (0, 0), sigma) + 1e-6 * mean) / (weight + 1e-6)
    fill = cv2.resize(np.clip(fill, 0, 255), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.where(mask[..., None], np.round(fill).astype(np.uint8), original)


def freeze_mouth(
    original: UInt8[np.ndarray, "H W 3"], mask: Bool[np.ndarray, "H W"], first: UInt8[np.ndarray, "H W 3"]
) -> UInt8[np.ndarray, "H W 3"]:
    """The original with the first frame's pixels in its masked region. Arguments: see `CHEATS`."""
    return np.where(mask[..., None], first, original)


def paint_grey(
    original: UInt8[np.ndarray, "H W 3"], mask: Bool[np.ndarray, "H W"], first: UInt8[np.ndarray, "H W 3"]
) -> UInt8[np.ndarray, "H W 3"]:
    """The original with its masked region mid-grey, as an untrained network paints it. Arguments: see `CHEATS`."""
    return np.where(mask[..., None], np.uint8(MID_GREY), original)


CHEATS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    GROUND_TRUTH: pass_through,
    "blurred lower face (cheat)": blur_lower_face,
    "no mouth (cheat)": remove_mouth,
    "grey patch (cheat)": paint_grey,
    "static mouth (cheat)": freeze_mouth,
}
"""Row name to function of (original, mask, first): the original frame, the measured region, the clip's first frame."""

PASS_THROUGH, STATIC_MOUTH, BLURRED = GROUND_TRUTH, "static mouth (cheat)", "blurred lower face (cheat)"


def make_cheat(
    name: str,
    original: UInt8[np.ndarray, "H W 3"],
    mask: Bool[np.ndarray, "H W"],
    first: UInt8[np.ndarray, "H W 3"],
) -> UInt8[np.ndarray, "H W 3"]:
    """One control or cheat frame.

    Args:
        name: a key of `CHEATS`.
        original: the original frame, RGB; it is not changed.
        mask: the measured region.
        first: the clip's first original frame.

    Returns:
        The frame, equal to the original outside the mask.

    Raises:
        ParameterError: unknown name, or sizes differ.

    Source: Original to this project.
    """
    if name not in CHEATS:
        raise ParameterError(f"no control `{name}`. There are: {', '.join(CHEATS)}.")
    if mask.shape != original.shape[:2] or first.shape != original.shape:
        raise ParameterError(f"sizes differ: frame {original.shape}, mask {mask.shape}, first frame {first.shape}.")
    return CHEATS[name](original, mask, first)


def find_passing_cheats(images: pd.DataFrame) -> list[str]:
    """Cheats that an image measure takes for the encoded truth, and a copy that it does not take for the truth.

    Args:
        images: of `image_measures.measure_images`.
    """
    copy, encoded = (float(images.loc[name, "SSIM in mask"]) for name in (PASS_THROUGH, REENCODED))
    passing = [] if abs(copy - 1) < EXACT else [f"an untouched copy has SSIM in mask {copy:.6f}, not 1"]
    for name in CHEATS:
        value = float(images.loc[name, "SSIM in mask"])
        if name != PASS_THROUGH and value >= encoded:
            passing.append(f"`{name}` has SSIM in mask {value:.4f}, the truth once more encoded {encoded:.4f}")
    blur = float(images.loc[BLURRED, "sharpness ratio in mask"])
    if blur >= CHEAT_SHARPNESS:
        passing.append(f"`{BLURRED}` has a sharpness ratio of {blur:.3f}")
    if encoded <= REENCODED_SSIM:
        passing.append(f"encoding alone costs more than {1 - REENCODED_SSIM:.2f} of SSIM in mask")
    return passing
