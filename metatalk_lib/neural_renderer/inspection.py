"""Inspection of the neural renderer: held-out frames painted, measured and in close-up; stills of finished videos."""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.core.findings import Check, judge
from metatalk_lib.face3d.feathering import feather_mask
from metatalk_lib.media.video import probe_video, read_selected_frames
from metatalk_lib.metrics.cw_ssim import cw_ssim
from metatalk_lib.metrics.image_quality import psnr, sharpness_ratio, ssim
from metatalk_lib.neural_renderer.compositing import FEATHER_PER_SIDE, blend, limit_mask
from metatalk_lib.neural_renderer.generator import NeuralRenderer
from metatalk_lib.neural_renderer.lower_face_region import Roi
from metatalk_lib.neural_renderer.training_pairs import RendererPairs
from metatalk_lib.tracking.crop import CropTransform
from metatalk_lib.tracking.landmarks import MOUTH, LandmarkTrack

MOUTH_WIDTH, MOUTH_HEIGHT = 1.3, 0.9
"""Sides of the mouth region, in mouth widths."""
ERROR_GAIN = 4
"""Factor on the absolute difference in error maps."""


class PairScores(NamedTuple):
    """Mean scores over frames, inside the mask only.

    Attributes:
        ssim_mask: Gaussian SSIM of RGB; higher is better, ideal 1.
        psnr_mask: PSNR, dB; higher is better.
        sharpness_ratio_mask: gradient of the painted image over that of the real one; ideal 1, below 1 is blurred.
        cw_ssim_mask: complex wavelet SSIM, which forgives a shift of a pixel but not blur; higher is better, ideal 1.
    """

    ssim_mask: float
    psnr_mask: float
    sharpness_ratio_mask: float
    cw_ssim_mask: float


def check_paint(painted: PairScores, blurred: PairScores) -> list[Check]:
    """Compare the painted held-out frames with what is usual.

    Args:
        painted: scores of the painted frames.
        blurred: scores of the real frames after a blur, which any painting should beat.
    """
    short = "The training was short or the mouth is seen badly: raise renderer_steps, look at stage 03's overlays."
    advice = "The painting is soft: raise renderer_steps, or give a sharper video."
    return [
        judge("painted face, SSIM in the mask", painted.ssim_mask, at_least=max(0.85, blurred.ssim_mask), advice=short),
        judge("sharpness over the real one", painted.sharpness_ratio_mask, at_least=0.8, advice=advice),
    ]


def paint_pairs(renderer: NeuralRenderer, pairs: RendererPairs) -> UInt8[np.ndarray, "T H W 3"]:
    """Paint every frame of the pairs and blend it into the real rectangle, as the test phase does."""
    feather = renderer.settings.size * FEATHER_PER_SIDE
    painted = np.empty(pairs.targets.shape, np.uint8)
    for row in range(len(pairs)):
        target, settings = np.asarray(pairs.targets[row]), renderer.settings
        mask = limit_mask(np.asarray(pairs.masks[row]), pairs.renders[row].any(axis=2), settings.size)
        paint = renderer.paint(pairs.condition([row], settings.window, settings.references))[0]
        painted[row] = blend(target, paint, feather_mask(mask, feather))
    return painted


def measure_pairs(images: UInt8[np.ndarray, "T H W 3"], pairs: RendererPairs) -> PairScores:
    """Compare images with the real ones of the pairs, inside the mask.

    Raises:
        ParameterError: the numbers of frames differ.
    """
    if len(images) != len(pairs):
        raise ParameterError(f"measure_pairs got {len(images)} images for {len(pairs)} pairs.")
    measures = (ssim, psnr, sharpness_ratio, cw_ssim)
    rows = [
        [measure(image, np.asarray(target), mask=np.asarray(mask)) for measure in measures]
        for image, target, mask in zip(images, pairs.targets, pairs.masks, strict=True)
    ]
    return PairScores(*(float(value) for value in np.mean(rows, axis=0)))


def blur_pairs(pairs: RendererPairs) -> UInt8[np.ndarray, "T H W 3"]:
    """Make a trivial baseline: the real image, blurred inside the mask (sigma 1/64 of the crop's side)."""
    sigma, feather = pairs.size / 64, pairs.size * FEATHER_PER_SIDE
    return np.stack(
        [
            blend(target, cv2.GaussianBlur(target, (0, 0), sigma), feather_mask(np.asarray(mask), feather))
            for target, mask in zip(np.asarray(pairs.targets), pairs.masks, strict=True)
        ]
    )


def withhold(images: UInt8[np.ndarray, "T H W 3"], masks: Bool[np.ndarray, "T H W"]) -> UInt8[np.ndarray, "T H W 3"]:
    """Hide the pixels inside the mask, as in the network's input: mid-grey."""
    return np.where(masks[..., None], np.uint8(128), images)


def error_maps(
    images: UInt8[np.ndarray, "T H W 3"], references: UInt8[np.ndarray, "T H W 3"]
) -> UInt8[np.ndarray, "T H W 3"]:
    """Compute four times the absolute difference; equal pixels are black."""
    difference = np.abs(images.astype(np.int16) - references)
    return np.clip(ERROR_GAIN * difference, 0, 255).astype(np.uint8)


def cut_mouths(
    images: UInt8[np.ndarray, "T H W 3"], landmarks: Float[np.ndarray, "T 68 2"], *, width: int
) -> UInt8[np.ndarray, "T h w 3"]:
    """Cut close-ups around the mouth landmarks, without resampling.

    Args:
        images: T pictures.
        landmarks: (T, 68, 2) landmarks, px of the images.
        width: columns of a close-up, px; it has three quarters as many rows.
    """
    height = 3 * width // 4
    corners = (landmarks[:, 48:68].mean(axis=1) - (width / 2, height / 2)).round().astype(int)
    limits = (max(0, images.shape[2] - width), max(0, images.shape[1] - height))
    return np.stack(
        [
            image[top : top + height, left : left + width]
            for image, (left, top) in zip(images, np.clip(corners, 0, limits), strict=True)
        ]
    )


def mouth_rectangle(landmarks: Float[np.ndarray, "68 2"], shape: tuple[int, int]) -> tuple[slice, slice]:
    """Find rows and columns around a mouth: 1.3 mouth widths wide and 0.9 high, within the picture.

    Args:
        landmarks: landmarks of a frame, px.
        shape: rows and columns of the picture.
    """
    mouth = landmarks[MOUTH].astype(np.float64)
    (left, top), (right, bottom) = mouth.min(axis=0), mouth.max(axis=0)
    width, x, y = right - left, (left + right) / 2, (top + bottom) / 2
    rows = slice(max(0, int(y - MOUTH_HEIGHT / 2 * width)), min(shape[0], int(y + MOUTH_HEIGHT / 2 * width) + 1))
    columns = slice(max(0, int(x - MOUTH_WIDTH / 2 * width)), min(shape[1], int(x + MOUTH_WIDTH / 2 * width) + 1))
    return rows, columns


def landmarks_in_roi(
    track: LandmarkTrack, frame_id: Int[np.ndarray, " T"], transform: CropTransform, roi: Roi
) -> Float[np.ndarray, "T 68 2"]:
    """Convert the landmarks (T, 68, 2) of some frames to px of the rectangle."""
    row_of = {int(number): row for row, number in enumerate(track.frame_id)}
    rows = [row_of[int(number)] for number in frame_id]
    return transform.to_crop(track.landmarks[rows]) - np.array([roi.left, roi.top], np.float32)


def read_stills(path: Path, count: int) -> tuple[UInt8[np.ndarray, "K H W 3"], Int[np.ndarray, " K"]]:
    """Read `count` evenly spread frames of a finished video, with their frame numbers."""
    wanted = np.unique(np.linspace(0, probe_video(path).frame_count - 1, count).round().astype(int))
    return np.stack(list(read_selected_frames(path, wanted))), wanted
