"""Cheats that an image measure must expose, each made from the original frame alone.

A score of a talking face is meaningful only beside these rows: the scores of an untouched copy, and of faces that are
blurred, have no mouth, or do not move it.
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
"""Standard deviation of the heavy blur, as a share of the crop's side; lips and teeth become indistinguishable."""
FILL_SHARE = 1 / 8
"""Standard deviation of the skin fill, as a share of the crop's side."""
FILL_REDUCTION = 4
"""Factor by which the picture is reduced to compute the fill, which is smooth."""
EXACT, CHEAT_SHARPNESS, REENCODED_SSIM = 1e-6, 0.8, 0.9
"""Largest deviation of a copy's SSIM from 1, sharpness limit of the blurred face, and lowest SSIM after encoding."""


def pass_through(
    original: UInt8[np.ndarray, "H W 3"], mask: Bool[np.ndarray, "H W"], first: UInt8[np.ndarray, "H W 3"]
) -> UInt8[np.ndarray, "H W 3"]:
    """Return the original frame: a control that must score the measure's ideal value. Arguments: see `CHEATS`."""
    return original


def blur_lower_face(
    original: UInt8[np.ndarray, "H W 3"], mask: Bool[np.ndarray, "H W"], first: UInt8[np.ndarray, "H W 3"]
) -> UInt8[np.ndarray, "H W 3"]:
    """Blur the masked region of the original heavily. Arguments: see `CHEATS`."""
    blurred = cv2.GaussianBlur(original, (0, 0), BLUR_SHARE * max(original.shape[:2]))
    return np.where(mask[..., None], blurred, original)


def remove_mouth(
    original: UInt8[np.ndarray, "H W 3"], mask: Bool[np.ndarray, "H W"], first: UInt8[np.ndarray, "H W 3"]
) -> UInt8[np.ndarray, "H W 3"]:
    """Fill the masked region of the original with smooth colour interpolated from its surroundings.

    Fill = blur(image * outside) / blur(outside). Arguments: see `CHEATS`.
    """
    height, width = original.shape[:2]
    small = max(width // FILL_REDUCTION, 1), max(height // FILL_REDUCTION, 1)
    outside = cv2.resize((~mask).astype(np.float32), small, interpolation=cv2.INTER_AREA)
    colours = cv2.resize(original.astype(np.float32) * ~mask[..., None], small, interpolation=cv2.INTER_AREA)
    sigma = FILL_SHARE * max(small)
    weight = cv2.GaussianBlur(outside, (0, 0), sigma)[..., None]
    # far from any surroundings the weight underflows; there the fill tends to the mean surrounding colour
    mean = colours.sum(axis=(0, 1)) / max(float(outside.sum()), 1.0)
    fill = (cv2.GaussianBlur(colours, (0, 0), sigma) + 1e-6 * mean) / (weight + 1e-6)
    fill = cv2.resize(np.clip(fill, 0, 255), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.where(mask[..., None], np.round(fill).astype(np.uint8), original)


def freeze_mouth(
    original: UInt8[np.ndarray, "H W 3"], mask: Bool[np.ndarray, "H W"], first: UInt8[np.ndarray, "H W 3"]
) -> UInt8[np.ndarray, "H W 3"]:
    """Replace the masked region of the original by the first frame's pixels. Arguments: see `CHEATS`."""
    return np.where(mask[..., None], first, original)


def paint_grey(
    original: UInt8[np.ndarray, "H W 3"], mask: Bool[np.ndarray, "H W"], first: UInt8[np.ndarray, "H W 3"]
) -> UInt8[np.ndarray, "H W 3"]:
    """Paint the masked region of the original mid-grey, as an untrained network does. Arguments: see `CHEATS`."""
    return np.where(mask[..., None], np.uint8(MID_GREY), original)


CHEATS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    GROUND_TRUTH: pass_through,
    "blurred lower face (cheat)": blur_lower_face,
    "no mouth (cheat)": remove_mouth,
    "grey patch (cheat)": paint_grey,
    "static mouth (cheat)": freeze_mouth,
}
"""Row name to a function of (original, mask, first): original frame, measured region, and the clip's first frame."""

PASS_THROUGH, STATIC_MOUTH, BLURRED = GROUND_TRUTH, "static mouth (cheat)", "blurred lower face (cheat)"


def make_cheat(
    name: str,
    original: UInt8[np.ndarray, "H W 3"],
    mask: Bool[np.ndarray, "H W"],
    first: UInt8[np.ndarray, "H W 3"],
) -> UInt8[np.ndarray, "H W 3"]:
    """Make one control or cheat frame.

    Args:
        name: a key of `CHEATS`.
        original: the original frame, RGB; not changed.
        mask: the measured region.
        first: the first original frame of the clip.

    Returns:
        The frame, equal to the original outside the mask.

    Raises:
        ParameterError: the name is unknown, or sizes differ.

    Source: Original to this project.
    """
    if name not in CHEATS:
        raise ParameterError(f"no control `{name}`. There are: {', '.join(CHEATS)}.")
    if mask.shape != original.shape[:2] or first.shape != original.shape:
        raise ParameterError(f"sizes differ: frame {original.shape}, mask {mask.shape}, first frame {first.shape}.")
    return CHEATS[name](original, mask, first)


def find_passing_cheats(images: pd.DataFrame) -> list[str]:
    """List cheats that score no worse than the encoded truth, and a copy that does not score as the truth.

    Args:
        images: table from `image_measures.measure_images`.
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
