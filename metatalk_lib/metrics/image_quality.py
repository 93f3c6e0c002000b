"""Image and landmark measures: pure functions of arrays, each with formula, unit, direction and ideal value.

Measures that take a `mask` average over its pixels only. A whole-crop score says little about a talking face: most of
the crop is copied from the source, so even a face without a mouth scores high.
"""

from typing import Literal

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from metatalk_lib.core.errors import ParameterError

SsimVariant = Literal["gaussian", "uniform", "zero_padded"]

SSIM_K1, SSIM_K2 = 0.01, 0.03
"""Stabilising constants of Wang et al. (2004), as fractions of the data range."""
GAUSSIAN_SIGMA_PX = 1.5
GAUSSIAN_SIZE_PX = 11
UNIFORM_SIZE_PX = 7
DATA_RANGE = 255.0
MID_GREY = np.float32(128)
LUMA_WEIGHTS = np.array([0.299, 0.587, 0.114])
"""Luma weights of R, G and B, ITU-R BT.601."""


def ssim_map(
    image: UInt8[np.ndarray, "H W 3"], reference: UInt8[np.ndarray, "H W 3"], *, variant: SsimVariant = "gaussian"
) -> Float[np.ndarray, "H W"]:
    """Structural similarity at every pixel, averaged over the colours.

    SSIM = (2 m_x m_y + c1)(2 s_xy + c2) / ((m_x^2 + m_y^2 + c1)(s_x^2 + s_y^2 + c2)), with local means m, variances
    s^2 and covariance s_xy in a window round the pixel, c1 = (0.01 * 255)^2, c2 = (0.03 * 255)^2.

    Args:
        image: the image to judge, RGB.
        reference: the true image, RGB.
        variant: `gaussian` is Wang et al.'s window (sigma 1.5 px, 11 x 11, population covariance, mirrored edges), the
            default everywhere; `uniform` is scikit-image's default (7 x 7, sample covariance); `zero_padded` is the
            Gaussian with zeros beyond the edges, as in pytorch_ssim.

    Returns:
        SSIM in [-1, 1]; higher is better, identical images score 1.

    Raises:
        ParameterError: sizes differ or are smaller than the window, or the variant is unknown.

    Source: Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004.
    """
    check_pair(image, reference)
    window = _window(variant)
    half = len(window) // 2
    if min(image.shape[:2]) < len(window):
        raise ParameterError(f"SSIM needs images of at least {len(window)} px a side, got {image.shape[:2]}.")
    if variant == "zero_padded":
        image, reference = (np.pad(picture, ((half, half), (half, half), (0, 0))) for picture in (image, reference))
    sample = UNIFORM_SIZE_PX**2 / (UNIFORM_SIZE_PX**2 - 1) if variant == "uniform" else 1.0
    # one colour channel at a time fits the cache
    planes = zip(cv2.split(image), cv2.split(reference), strict=True)
    scores = [_ssim_plane(x, y, window, sample) for x, y in planes]
    values: np.ndarray = np.asarray(np.mean(scores, axis=0, dtype=np.float64))
    return values[half:-half, half:-half] if variant == "zero_padded" else values


def ssim(
    image: UInt8[np.ndarray, "H W 3"],
    reference: UInt8[np.ndarray, "H W 3"],
    *,
    mask: Bool[np.ndarray, "H W"] | None = None,
    variant: SsimVariant = "gaussian",
) -> float:
    """Mean structural similarity, of the whole image or of a region: the mean of `ssim_map` over its pixels.

    Without a mask the map's border of half a window is left out, as in scikit-image (not for `zero_padded`, which
    averages all pixels). With a mask exactly its pixels count; their windows reach beyond the mask.

    Args:
        image: the image to judge, RGB.
        reference: the true image, RGB.
        mask: the region; None is the whole image.
        variant: see `ssim_map`.

    Returns:
        SSIM in [-1, 1], no unit; higher is better, identical images score 1.

    Raises:
        ParameterError: sizes differ, the mask is empty, or the variant is unknown.

    Source: Wang et al. 2004; the region mean is original to this project.
    """
    check_pair(image, reference)
    half = len(_window(variant)) // 2
    if mask is None:
        values = ssim_map(image, reference, variant=variant)
        return float((values if variant == "zero_padded" else values[half:-half, half:-half]).mean())
    check_mask(mask, image)
    if min(image.shape[:2]) < 4 * half:
        return float(ssim_map(image, reference, variant=variant)[mask].mean())
    rows, columns = _bounding_slices(mask, margin=2 * half + 1)
    return float(ssim_map(image[rows, columns], reference[rows, columns], variant=variant)[mask[rows, columns]].mean())


def psnr(
    image: UInt8[np.ndarray, "H W 3"],
    reference: UInt8[np.ndarray, "H W 3"],
    *,
    mask: Bool[np.ndarray, "H W"] | None = None,
) -> float:
    """Peak signal-to-noise ratio: 10 log10(255^2 / MSE), over the colour values of all pixels or of the mask's.

    Args:
        image: the image to judge, RGB.
        reference: the true image, RGB.
        mask: the region; None is the whole image.

    Returns:
        Decibels; higher is better, identical images score infinity.

    Raises:
        ParameterError: sizes differ, or the mask is empty.

    Source: the usual definition.
    """
    check_pair(image, reference)
    difference = image.astype(np.float64) - reference
    if mask is not None:
        check_mask(mask, image)
        difference = difference[mask]
    return to_psnr(float(np.mean(difference**2)))


def to_psnr(mean_square: float) -> float:
    """Convert a mean squared difference of 8-bit values to PSNR, dB; infinity for 0."""
    return float("inf") if mean_square == 0 else float(10.0 * np.log10(DATA_RANGE**2 / mean_square))


def sharpness(image: UInt8[np.ndarray, "H W 3"], *, mask: Bool[np.ndarray, "H W"] | None = None) -> float:
    """Mean gradient magnitude of the luma Y: mean of sqrt(Y_x^2 + Y_y^2), by central differences.

    Args:
        image: RGB.
        mask: the region; None is the whole image.

    Returns:
        Grey levels a pixel, >= 0; a constant image scores 0. There is no ideal: compare with the true image, and
        remember that noise counts as detail.

    Raises:
        ParameterError: the mask is empty or of another size.

    Source: Original to this project.
    """
    return float(_gradients_inside(image, mask).mean())


def gradient_energy(image: UInt8[np.ndarray, "H W 3"], *, mask: Bool[np.ndarray, "H W"] | None = None) -> float:
    """Mean squared gradient of the luma Y: mean of Y_x^2 + Y_y^2, by central differences.

    Compared with `sharpness`, it gives more weight to strong edges: lips, teeth and the line between the lips.

    Args:
        image: RGB.
        mask: the region; None is the whole image.

    Returns:
        Squared grey levels a pixel, >= 0. There is no ideal: compare with the true image.

    Raises:
        ParameterError: the mask is empty or of another size.

    Source: the usual measure of focus.
    """
    return float((_gradients_inside(image, mask) ** 2).mean())


def sharpness_ratio(
    image: UInt8[np.ndarray, "H W 3"],
    reference: UInt8[np.ndarray, "H W 3"],
    *,
    mask: Bool[np.ndarray, "H W"] | None = None,
) -> float:
    """Ratio of the sharpness of an image to that of the true image.

    Args:
        image: the image to judge, RGB.
        reference: the true image, RGB.
        mask: the region; None is the whole image.

    Returns:
        A ratio >= 0; the ideal is 1, below it the image is blurred, above it noisy or over-sharpened.

    Raises:
        ParameterError: sizes differ, the mask is empty, or the true region is constant and so has no sharpness.

    Source: Original to this project.
    """
    check_pair(image, reference)
    true_sharpness = sharpness(reference, mask=mask)
    if true_sharpness == 0:
        raise ParameterError(
            "sharpness_ratio: the reference is constant in the region, so that the ratio has no meaning."
        )
    return sharpness(image, mask=mask) / true_sharpness


def landmark_distance(landmarks: Float[np.ndarray, "*T L 2"], reference: Float[np.ndarray, "*T L 2"]) -> float:
    """Mean Euclidean distance of landmarks: mean over frames and landmarks of |p - q|.

    Args:
        landmarks: landmarks measured on the video to judge, px.
        reference: landmarks of the true video, px.

    Returns:
        Distance in px; lower is better, identical landmarks score 0.

    Raises:
        ParameterError: the shapes differ, or there is nothing to compare.

    Source: the usual landmark distance (LMD), as in Chen et al. (ATVG), 2019.
    """
    if landmarks.shape != reference.shape or landmarks.size == 0:
        raise ParameterError(
            f"landmark_distance compares equal, non-empty shapes, got {landmarks.shape} and {reference.shape}."
        )
    return float(np.linalg.norm(landmarks.astype(np.float64) - reference, axis=-1).mean())


def flicker_energy(
    image: UInt8[np.ndarray, "H W 3"], previous: UInt8[np.ndarray, "H W 3"], mask: Bool[np.ndarray, "H W"]
) -> float:
    """Mean squared change of the luma from one frame to the next, in a region: mean of (Y_t - Y_(t-1))^2.

    Args:
        image: a frame, RGB.
        previous: the preceding frame, RGB.
        mask: the region.

    Returns:
        Squared grey levels, >= 0. There is no ideal: compare with the true video, whose grain and motion count too.

    Raises:
        ParameterError: sizes differ, or the mask is empty.

    Source: Original to this project.
    """
    check_pair(image, previous)
    check_mask(mask, image)
    return float(np.mean(((image[mask].astype(np.float64) - previous[mask]) @ LUMA_WEIGHTS) ** 2))


def _ssim_plane(image: np.ndarray, reference: np.ndarray, window: np.ndarray, sample: float) -> np.ndarray:
    """SSIM of one colour channel; `sample` scales population variances, as for sample variances."""
    # single precision is three times faster; centring on mid-grey keeps the differences of squares exact to 1e-5
    x, y = image.astype(np.float32) - MID_GREY, reference.astype(np.float32) - MID_GREY
    mean_x, mean_y = _blur(x, window), _blur(y, window)
    variances = sample * (_blur(x * x + y * y, window) - mean_x * mean_x - mean_y * mean_y)
    covariance = sample * (_blur(x * y, window) - mean_x * mean_y)
    mean_x, mean_y = mean_x + MID_GREY, mean_y + MID_GREY
    c1, c2 = (SSIM_K1 * DATA_RANGE) ** 2, (SSIM_K2 * DATA_RANGE) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x * mean_x + mean_y * mean_y + c1)
    similarity: np.ndarray = luminance * ((2 * covariance + c2) / (variances + c2))
    return similarity


def _window(variant: str) -> np.ndarray:
    if variant == "uniform":
        return np.full(UNIFORM_SIZE_PX, 1 / UNIFORM_SIZE_PX, np.float32)
    if variant not in ("gaussian", "zero_padded"):
        raise ParameterError(f"no SSIM variant `{variant}`. There are: gaussian, uniform, zero_padded.")
    offsets = np.arange(GAUSSIAN_SIZE_PX) - GAUSSIAN_SIZE_PX // 2
    weights = np.exp(-0.5 * (offsets / GAUSSIAN_SIGMA_PX) ** 2)
    normalised: np.ndarray = (weights / weights.sum()).astype(np.float32)
    return normalised


def _blur(values: np.ndarray, window: np.ndarray) -> np.ndarray:
    return cv2.sepFilter2D(values, cv2.CV_32F, window, window, borderType=cv2.BORDER_REFLECT)


def _gradients_inside(image: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Gradient magnitudes of the luma at the mask's pixels, in no particular order."""
    if mask is None:
        return gradient_magnitude(image.astype(np.float64) @ LUMA_WEIGHTS)
    check_mask(mask, image)
    rows, columns = _bounding_slices(mask, margin=1)
    inside: np.ndarray = gradient_magnitude(image[rows, columns].astype(np.float64) @ LUMA_WEIGHTS)[mask[rows, columns]]
    return inside


def gradient_magnitude(luma: Float[np.ndarray, "H W"]) -> Float[np.ndarray, "H W"]:
    """Compute sqrt(Y_x^2 + Y_y^2) by central differences, grey levels a pixel."""
    down, right = np.gradient(luma)
    magnitudes: np.ndarray = np.hypot(down, right)
    return magnitudes


def _bounding_slices(mask: np.ndarray, *, margin: int) -> tuple[slice, slice]:
    """Rows and columns of the mask's bounding box, grown by a margin."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (
        slice(max(rows[0] - margin, 0), rows[-1] + margin + 1),
        slice(max(columns[0] - margin, 0), columns[-1] + margin + 1),
    )


def check_pair(image: np.ndarray, reference: np.ndarray) -> None:
    """Refuse images of different sizes with a `ParameterError`."""
    if image.shape != reference.shape:
        raise ParameterError(f"the images to compare differ in size: {image.shape} and {reference.shape}.")


def check_mask(mask: np.ndarray, image: np.ndarray) -> None:
    """Refuse a mask that is empty or of another size than the image with a `ParameterError`."""
    if mask.shape != image.shape[:2]:
        raise ParameterError(f"the mask has the size {mask.shape}, the image {image.shape[:2]}.")
    if not mask.any():
        raise ParameterError("the mask is empty, so that there is no region to measure.")
